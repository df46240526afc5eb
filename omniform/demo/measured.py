"""What the page says of one system: samples, scores, film."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from omniform import verbs
from omniform.core.errors import Intractable
from omniform.core.net import Net
from omniform.data import Dataset
from omniform.demo.families import Family
from omniform.demo.film import film
from omniform.evaluation.features import Classifier, evaluate_images
from omniform.evaluation.report import FamilyResult
from omniform.system.system import Counted, System
from omniform.training.trainer import Run

SCORED = {"image": 128, "text": 16}
"""Held-out examples whose nats are measured (ours; a bound asks sixteen times of each)."""
BATCH = {"image": 32, "text": 8}
"""Examples a step of the systems trained in the demo (ours): at a few hundred steps, more of them say more than larger ones. A text is four pictures long."""
CHARACTERS = 192
"""Of a text sample at the most (ours)."""


def labels_for(dataset: Dataset, num: int) -> Tensor | None:
    """As many of each class as of any other, class after class, round and round."""
    return torch.arange(num) % len(dataset.classes) if dataset.classes else None


def measured(
    system: System, family: Family, dataset: Dataset, origin: str, *, num: int, real: Tensor | None, judge: Classifier | None, seed: int, run: Run | None = None
) -> FamilyResult:
    """Generates, scores and films."""
    labels = labels_for(dataset, num)
    told = {} if labels is None or "label" not in system.conditioning.parts else {"label": labels}
    meters: list[Counted] = []

    def metered(net: Net) -> Net:
        meters.append(Counted(net))
        return meters[-1]

    text = dataset.modality == "text"
    length = min(system.codec.space.length, CHARACTERS) if text else None
    began = time.monotonic()
    samples = system.generate(num, told, seed=seed, wrap=metered, length=length)
    seconds = time.monotonic() - began
    scores: dict[str, Any] = {
        "calls": sum(m.rows for m in meters) // num,
        "seconds_per_sample": seconds / num,
        "parameters": sum(p.numel() for part in (system.network, system.conditioning) for p in part.parameters()),
    }
    if judge is not None and real is not None:
        scores |= evaluate_images(judge, real, samples, labels if judge.classes else None)
    try:
        scored = verbs.score(system, dataset, SCORED[dataset.modality], seed=seed, progress=False)
        scores |= {"nats_per_dim": scored["nats_per_dimension"], "nats_kind": scored["kind"], "nats_space": scored["space"]}
    except Intractable:
        scores |= {"nats_per_dim": "no likelihood and no bound in this family", "nats_kind": None, "nats_space": None}
    if run is not None:
        scores |= {"train_steps": run.steps, "train_seconds": run.seconds, "examples_seen": run.steps * BATCH[dataset.modality]}
    shown = 1 if text else 4
    strip = film(system, {} if not told else {"label": _spread(labels, shown)}, shown, seed=seed + 1, length=length)
    return FamilyResult(
        family=family.name,
        recipe=family.recipe,
        title=family.title,
        sentence=family.sentence,
        origin=origin,
        samples=samples,  # type: ignore[arg-type]
        conditions=names_of(dataset, labels),
        scores=scores,
        losses=() if run is None else run.losses,
        strip=strip,
    )


def _spread(labels: Tensor, num: int) -> Tensor:
    """`num` labels far apart."""
    kinds = int(labels.max()) + 1
    return torch.tensor([(i * kinds) // num for i in range(num)])


def names_of(dataset: Dataset, labels: Tensor | Sequence[int] | None) -> list[str]:
    """Class names, one a sample."""
    return [] if labels is None else [dataset.classes[int(i)] for i in labels]
