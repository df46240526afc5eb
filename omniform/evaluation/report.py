"""The report of a comparison: one HTML file that needs nothing else, no network and no script."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from omniform.core.errors import ShapeError

Score = float | str | None  # a number; or in a number's place the reason why there is none; None: not measured


@dataclass(frozen=True)
class FamilyResult:
    """One family after one training.

    samples: (N, C, H, W) in [-1, 1], array or tensor, or N texts, or None;
    conditions: the label of each sample (may be empty).
    scores: "frechet", "kernel", "precision", "recall", "accuracy", "nats_per_dim" with "nats_kind" ("exact" or
    "bound") and "nats_space" (what a dimension is: "pixel", "byte"...), "calls", "seconds_per_sample",
    "parameters", "train_steps", "train_seconds", "examples_seen". Absent ones are shown as a dash.
    losses: (step, loss). strip: how a sample grows, (caption, picture (C, H, W) or (K, C, H, W) or text).
    """

    family: str
    recipe: str
    title: str
    sentence: str
    origin: Literal["shipped", "trained here"]
    samples: Any = None
    conditions: Sequence[str] = ()
    scores: Mapping[str, Score] = field(default_factory=dict)
    losses: Sequence[tuple[int, float]] = ()
    strip: Sequence[tuple[str, Any]] = ()

    def __post_init__(self) -> None:
        _check_conditions(f"{self.title} ({self.origin})", self.samples, self.conditions)


@dataclass(frozen=True)
class Report:
    """What the page says. real: samples of the data itself, like `FamilyResult.samples`, with their labels."""

    title: str
    data_name: str
    data_sentence: str
    budget_sentence: str
    results: Sequence[FamilyResult]
    floor: Mapping[str, Score] = field(default_factory=dict)
    ceiling: Mapping[str, Score] = field(default_factory=dict)
    classifier_sentence: str = ""
    codec_sentence: str = ""
    environment: Mapping[str, str] = field(default_factory=dict)
    notes: Sequence[str] = ()
    real: Any = None
    real_conditions: Sequence[str] = ()

    def __post_init__(self) -> None:
        _check_conditions("real data", self.real, self.real_conditions)


def write_report(path: Path, content: Report) -> Path:
    """The page at `path`, complete or not at all; folders on the way are made."""
    from omniform.evaluation.page.document import document

    path = Path(path)
    page = document(content).encode("utf-8")
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        part.write_bytes(page)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
    return path


def _check_conditions(name: str, samples: Any, conditions: Sequence[str]) -> None:
    if samples is not None and len(conditions) not in (0, len(samples)):
        raise ShapeError(f"expected no conditions or one a sample ({len(samples)}) for {name}, found {len(conditions)}; write conditions=[] for none")
