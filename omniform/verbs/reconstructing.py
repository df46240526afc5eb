"""What a codec loses."""

from __future__ import annotations

from typing import Any

import torch

from omniform.codecs.quality import codebook_use
from omniform.core.errors import BadArgument, DataError
from omniform.data import Dataset, order
from omniform.evaluation.features import Classifier, evaluate_images
from omniform.evaluation.metrics import frechet
from omniform.system.system import CodecSystem, System

_AT_ONCE = 256
"""Examples that the codec looks at together (ours; memory)."""


@torch.no_grad()
def reconstructed(owner: CodecSystem | System, dataset: Dataset, classifier: Classifier, num: int = 1000, *, seed: int = 0) -> dict[str, Any]:
    """Held-out pictures against what their tokens decode to.

    "absolute" and "psnr" (dB, of the range 2) are pixel errors; "rfid" is the Frechet distance between the two sets in the classifier's features (not the
    published rFID, which uses another network); "accuracy" that of the classifier on the decoded pictures; "codebooks" says how each is used.
    """
    if dataset.modality != "image":
        raise DataError(f"reconstructions are measured on pictures and {dataset.name} holds {dataset.modality}")
    if num < 4:
        raise BadArgument(f"expected 4 pictures or more to compare, found {num}")
    codec = owner.codec.eval()
    batch = dataset.test.batch(order(len(dataset.test), seed, 0, min(num, len(dataset.test))))
    tokens = [codec.encode(part) for part in batch.data.split(_AT_ONCE)]
    decoded = torch.cat([codec.decode(part) for part in tokens])
    labels = batch.condition.get("label") if classifier.classes else None
    judged = evaluate_images(classifier, batch.data, decoded, labels)
    square = float((decoded - batch.data).double().square().mean())
    found: dict[str, Any] = {
        "recipe": owner.recipe.name,
        "data": dataset.name,
        "split": "test",
        "pictures": len(decoded),
        "tokens": codec.space.length,
        "absolute": float((decoded - batch.data).abs().double().mean()),
        "psnr": 10 * float(torch.log10(torch.tensor(4.0 / max(square, 1e-12)))),
        "rfid": frechet(classifier.features(batch.data), classifier.features(decoded)),
        "accuracy": judged.get("accuracy_on_conditions"),
        "judge": classifier.sentence(),
    }
    if tokens[0].ids is not None:
        ids = torch.cat([t.ids for t in tokens])
        found["codebooks"] = [codebook_use(ids[..., book], size) for book, size in enumerate(codec.space.vocab)]
    return found
