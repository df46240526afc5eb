"""The eye that pictures are judged with: a small classifier, trained on the same data as the systems it judges."""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional

from omniform.core.errors import BadArgument, CheckpointError, DataError, ShapeError
from omniform.evaluation.metrics import frechet, kernel_distance, precision_recall

if TYPE_CHECKING:
    from omniform.data import Dataset, Split

FEATURES = 128  # ours
SMALLEST, LARGEST = 8, 64
BATCH = 128  # ours
PEAK_RATE = 4e-3  # ours: found on the glyphs, one cycle up and down
WEIGHTS, CARD = "classifier.safetensors", "classifier.json"

Progress = Callable[[float, str], None]  # share done in [0, 1], and a sentence on how it goes


class Classifier(nn.Module):
    """A small convolutional network over (B, C, H, W) images in [-1, 1]; its penultimate layer gives the features.

    kind: "trained classifier", or "random convolutions" for data without labels, where distances still rank
    systems roughly but say less, and nothing is classified. accuracy: on held-out images, None when untrained.
    """

    def __init__(
        self,
        shape: Sequence[int],
        classes: Sequence[str],
        *,
        seed: int = 0,
        kind: str = "trained classifier",
        accuracy: float | None = None,
        num_held_out: int = 0,
    ) -> None:
        super().__init__()
        self.shape, self.classes = _checked_shape(shape), tuple(classes)
        self.seed, self.kind, self.accuracy, self.num_held_out = seed, kind, accuracy, num_held_out
        channels, height, width = self.shape
        with torch.random.fork_rng(devices=[]):  # the layers draw weights from the global stream: leave it as it was
            stride = [1 + (min(height, width) >= size) for size in (48, 12, 24)]  # to 6..11 pixels a side
            layers = [
                *_convolve(channels, 16, stride[0]),
                *_convolve(16, 32, stride[1]),
                *_convolve(32, 64, stride[2]),
                *_convolve(64, 64, 1),
                nn.AdaptiveAvgPool2d(4),
                nn.Flatten(),
            ]
            self.trunk = nn.Sequential(*layers, nn.Linear(64 * 16, FEATURES), nn.BatchNorm1d(FEATURES), nn.ReLU())
            self.last = nn.Linear(FEATURES, len(self.classes)) if self.classes else None
        generator = torch.Generator().manual_seed(seed)
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu", generator=generator)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def forward(self, images: Tensor) -> Tensor:
        """Logits, (B, number of classes)."""
        if self.last is None:
            raise BadArgument(f"a judge of {self.kind} knows no classes; write train_classifier(data) on labelled data")
        return self.last(self.trunk(self._checked(images)))

    @torch.no_grad()
    def features(self, images: Tensor, *, batch: int = 256) -> Tensor:
        """(N, 128), in evaluation mode whatever mode the module is in; images are clamped to [-1, 1] as when shown."""
        return self._apply_in_batches(self.trunk, images, batch)

    @torch.no_grad()
    def predict(self, images: Tensor, *, batch: int = 256) -> Tensor:
        """The most likely class of each image, (N,) long."""
        return self._apply_in_batches(self, images, batch).argmax(1)

    def _apply_in_batches(self, part: Callable[[Tensor], Tensor], images: Tensor, batch: int) -> Tensor:
        was_training = self.training
        self.eval()
        try:
            weight = next(self.parameters())
            images = self._checked(images)
            return torch.cat([part(rows.to(weight).clamp(-1, 1)) for rows in images.split(batch)])
        finally:
            self.train(was_training)

    def _checked(self, images: Tensor) -> Tensor:
        found = tuple(images.shape) if isinstance(images, Tensor) else type(images).__name__
        if not isinstance(images, Tensor) or images.ndim != 4 or found[0] == 0 or found[1:] != self.shape:
            raise ShapeError(f"expected images of shape (N, {', '.join(map(str, self.shape))}), found {found}; use the classifier of the same data set")
        return images

    def sentence(self) -> str:
        """Who judges, in words for a report."""
        size = "x".join(map(str, self.shape[1:]))
        if self.kind != "trained classifier":
            return (
                f"Features come from an untrained convolutional network with fixed {self.kind} (seed {self.seed}, "
                f"{FEATURES} features, {size} images): the data has no labels to train a classifier with."
            )
        held_out = "" if self.accuracy is None else (f", right on {self.accuracy:.1%} of {self.num_held_out:,} held-out images")
        return (
            f"Features come from the penultimate layer ({FEATURES} wide) of a small convolutional classifier "
            f"of {len(self.classes)} classes, trained here on the same data ({size}){held_out}."
        )


def random_features(shape: Sequence[int], *, seed: int = 0) -> Classifier:
    """The judge for images without labels: the same network, untrained. Its kind is "random convolutions"."""
    return Classifier(shape, (), seed=seed, kind="random convolutions").eval()


def train_classifier(
    dataset: Dataset,
    *,
    seconds: float | None = None,
    steps: int | None = None,
    seed: int = 0,
    on_progress: Progress | None = None,
) -> Classifier:
    """A classifier of the data set's labels, trained for `seconds` or for `steps` (which repeats exactly).

    Shift, scale, turn, blur and noise, all slight, keep it from hanging on details that every generated picture gets
    wrong. A data set without image labels is a DataError that names the alternative.
    """
    if (seconds is None) == (steps is None) or (seconds or steps or 0) <= 0:
        raise BadArgument(f"expected one of seconds or steps, positive, found seconds={seconds}, steps={steps}; write seconds=60")
    if len(dataset.train) < 2 or len(dataset.test) < 1:
        raise DataError(f"expected 2 training images or more and a held-out one, found {len(dataset.train)} and {len(dataset.test)}; use a larger data set")
    images, _ = _labelled(dataset.train, torch.arange(2))
    model = Classifier(images.shape[1:], dataset.classes, seed=seed)
    optimizer = torch.optim.AdamW(model.parameters(), lr=PEAK_RATE, weight_decay=0.02)  # ours
    generator = torch.Generator().manual_seed(seed)
    order, step, share, began = torch.empty(0, dtype=torch.long), 0, 0.0, time.monotonic()
    size = min(BATCH, len(dataset.train))
    model.train()
    while share < 1:
        if len(order) < size:
            order = torch.cat([order, torch.randperm(len(dataset.train), generator=generator)])
        indices, order = order[:size], order[size:]
        images, labels = _labelled(dataset.train, indices)
        for group in optimizer.param_groups:
            group["lr"] = PEAK_RATE * max(0.01, min(share / 0.2, (1 - share) / 0.8))
        loss = functional.cross_entropy(model(_disturbed(images, generator)), labels, label_smoothing=0.05)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        step += 1
        share = min(1.0, step / steps if steps else (time.monotonic() - began) / seconds)
        if on_progress is not None:
            on_progress(share, f"classifier: step {step}, loss {loss.item():.3f}")
    model.eval()
    model.accuracy, model.num_held_out = held_out_accuracy(model, dataset.test), len(dataset.test)
    return model


def held_out_accuracy(classifier: Classifier, rows: Split) -> float:
    """The share of images whose most likely class is their label."""
    right = 0
    for indices in torch.arange(len(rows)).split(512):
        images, labels = _labelled(rows, indices)
        right += int((classifier.predict(images) == labels).sum())
    return right / len(rows)


def save(classifier: Classifier, folder: Path) -> Path:
    """Weights (safetensors) and a card (JSON) in a folder; the card comes last and names the weights' checksum."""
    from safetensors.torch import save as to_bytes

    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    weights = to_bytes({name: value.contiguous() for name, value in classifier.state_dict().items()})
    card = {
        "format": 1,
        "shape": classifier.shape,
        "classes": classifier.classes,
        "seed": classifier.seed,
        "kind": classifier.kind,
        "accuracy": classifier.accuracy,
        "num_held_out": classifier.num_held_out,
        "sha256": hashlib.sha256(weights).hexdigest(),
    }
    _write(folder / WEIGHTS, weights)
    _write(folder / CARD, (json.dumps(card, indent=1) + "\n").encode())
    return folder


def load(folder: Path) -> Classifier:
    """The classifier that `save` wrote; anything missing, cut short or altered is a CheckpointError."""
    from safetensors.torch import load as from_bytes

    folder = Path(folder)
    try:
        card = json.loads((folder / CARD).read_text(encoding="utf-8"))
        weights = (folder / WEIGHTS).read_bytes()
        if card.pop("format") != 1 or card.pop("sha256") != hashlib.sha256(weights).hexdigest():
            raise CheckpointError(f"{folder / WEIGHTS} is not the file that {CARD} describes; train it again")
        classifier = Classifier(card.pop("shape"), card.pop("classes"), **card)
        classifier.load_state_dict(from_bytes(weights))
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RuntimeError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise CheckpointError(f"expected a classifier in {folder} ({WEIGHTS}, {CARD}), found: {reason}; train it again") from error
    return classifier.eval()


def evaluate_images(classifier: Classifier, real: Tensor, fake: Tensor, labels: Tensor | None = None) -> dict[str, float | None]:
    """How far the fakes are from the reals in the classifier's features, and whether they are what was asked for.

    real, fake: (N, C, H, W), (M, C, H, W) in [-1, 1]; labels: (M,) the class asked of each fake, None when none was.
    """
    a, b = classifier.features(real), classifier.features(fake)
    scores: dict[str, float | None] = {"frechet": frechet(a, b), "kernel": kernel_distance(a, b)}
    scores |= precision_recall(a, b)
    scores["accuracy_on_conditions"] = None
    if labels is not None and classifier.last is not None:
        if labels.shape != (len(fake),):
            raise ShapeError(f"expected {len(fake)} labels, one a fake image, found shape {tuple(labels.shape)}")
        scores["accuracy_on_conditions"] = float((classifier.predict(fake) == labels.to(fake.device)).double().mean())
    return scores | {"n_real": len(real), "n_fake": len(fake)}


def floor_and_ceiling(
    classifier: Classifier, real_a: Tensor, real_b: Tensor, labels: Tensor | None = None, *, seed: int = 0
) -> tuple[dict[str, float | None], dict[str, float | None]]:
    """The scores against real_a of other real images (floor) and of as many noise pictures (ceiling).

    real_b has the labels. It is a floor only if it is drawn like real_a: two random halves of one split are; a held-out
    split of unseen kinds (the glyphs hold out whole typefaces of a character) differs from the training split, and a
    system may come closer to the training split than it does. A collapsed system may be further away than noise.
    """
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(real_b.shape, generator=generator).clamp(-1, 1)
    return evaluate_images(classifier, real_a, real_b, labels), evaluate_images(classifier, real_a, noise, labels)


def _convolve(inputs: int, outputs: int, stride: int) -> tuple[nn.Module, ...]:
    return nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()


def _checked_shape(shape: Sequence[int]) -> tuple[int, int, int]:
    shape = tuple(int(n) for n in shape)
    if len(shape) != 3 or shape[0] not in (1, 3) or not all(SMALLEST <= n <= LARGEST for n in shape[1:]):
        raise ShapeError(f"expected images of 1 or 3 channels and {SMALLEST} to {LARGEST} pixels a side, (C, H, W), found {shape}; resize them first")
    return shape


def _labelled(rows: Split, indices: Tensor) -> tuple[Tensor, Tensor]:
    batch = rows.batch(indices)
    if not isinstance(batch.data, Tensor):
        raise DataError("expected a data set of images, found text; text has no feature distances, score its nats")
    labels = batch.condition.get("label")
    if not isinstance(labels, Tensor):
        raise DataError('expected a data set with a "label" for each image, found none; write random_features(shape) to judge without labels')
    return batch.data.float(), labels.long()


def _disturbed(images: Tensor, generator: torch.Generator) -> Tensor:
    """Slightly shifted, scaled and turned; some blurred, some noisy. Amounts are ours."""
    count, height = len(images), images.shape[2]
    draw = torch.rand(count, 6, generator=generator) * 2 - 1
    scale, turn = 1 + 0.08 * draw[:, 0], 0.1 * draw[:, 1]
    move = draw[:, 2:4] * 2 * min(2.0, height / 14) / height
    cos, sin = scale * turn.cos(), scale * turn.sin()
    theta = torch.stack([torch.stack([cos, -sin, move[:, 0]], 1), torch.stack([sin, cos, move[:, 1]], 1)], 1)
    grid = functional.affine_grid(theta, list(images.shape), align_corners=False)
    images = functional.grid_sample(images, grid, padding_mode="border", align_corners=False)
    soft = functional.avg_pool2d(functional.pad(images, (1, 1, 1, 1), mode="replicate"), 3, stride=1)
    blur = (draw[:, 4] * 0.8).clamp(min=0)[:, None, None, None]
    loud = (draw[:, 5] * 0.4).clamp(min=0)[:, None, None, None]
    noise = torch.randn(images.shape, generator=generator)
    return (images + blur * (soft - images) + loud * noise).clamp(-1, 1)


def _write(path: Path, content: bytes) -> None:
    """Beside its place, then renamed: never half a file."""
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        part.write_bytes(content)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
