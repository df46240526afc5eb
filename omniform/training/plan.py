"""How long and how fast to learn: the knobs of a run as plain data, the learning rate as a pure function of them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal, get_args

from omniform.core.errors import BadArgument
from omniform.core.spec import Spec, from_json, to_json

Shape = Literal["constant", "cosine", "linear"]
Precision = Literal["fp32", "bf16"]
_RISE = 0.1  # ours: warm-up never takes more than this share of a run, so that a short one learns at all


@dataclass(frozen=True)
class Training:
    """The knobs of a run.

    steps or seconds decides the end (steps if both are given). batch: examples of one backward pass; a step sees
    batch * accumulate, however many processes share them. lr: the peak; lrs: another peak for some players.
    warmup: steps, at most a tenth of the run. clip: the largest norm of a player's gradient, 0 = any. ema: the decay of
    the averaged weights, 0 = none. objective:
    a Spec of a part of training.objectives, None: what the process asks and no more.
    The *_every are in steps, 0 = never; a checkpoint is written at the end anyway.
    """

    batch: int = 64
    steps: int | None = None
    seconds: float | None = None
    lr: float = 1e-3
    warmup: int = 100
    shape: Shape = "cosine"
    betas: tuple[float, float] = (0.9, 0.95)  # GPT-3 (arXiv:2005.14165, appendix B)
    weight_decay: float = 0.01  # AdamW's default in torch
    clip: float = 1.0
    accumulate: int = 1
    ema: float = 0.999
    precision: Precision = "fp32"
    seed: int = 0
    checkpoint_every: int = 500
    validate_every: int = 500
    log_every: int = 20
    lrs: Mapping[str, float] = field(default_factory=dict)
    objective: Spec | None = None

    def __post_init__(self) -> None:
        if self.steps is None and self.seconds is None:
            raise BadArgument("a training needs an end and was given none; write steps=2000 or seconds=300")
        for name, low in _WHOLE.items():
            value = getattr(self, name)
            if not (name == "steps" and value is None):
                fine = isinstance(value, int) and not isinstance(value, bool) and value >= low
                _ask(fine, name, value, f"a whole number of at least {low}")
        for name, (low, high) in _REAL.items():
            value = getattr(self, name)
            if not (name == "seconds" and value is None):
                _ask(_real(value) and low <= value <= high, name, value, f"a number from {low:g} to {high:g}")
        _ask(self.lr > 0, "lr", self.lr, "a number above 0")
        _ask(self.shape in get_args(Shape), "shape", self.shape, " or ".join(get_args(Shape)))
        _ask(self.precision in get_args(Precision), "precision", self.precision, " or ".join(get_args(Precision)))
        fine = isinstance(self.betas, tuple | list) and [_real(b) and 0 <= b < 1 for b in self.betas] == [True, True]
        _ask(fine, "betas", self.betas, "two numbers in [0, 1)")
        fine = isinstance(self.lrs, Mapping) and all(_real(v) and v > 0 for v in self.lrs.values())
        _ask(fine, "lrs", self.lrs, 'like {"critic": 1e-4}')
        objective = from_json(self.objective) if isinstance(self.objective, Mapping) else self.objective
        _ask(objective is None or isinstance(objective, Spec), "objective", self.objective, "a Spec of a part of training.objectives")
        object.__setattr__(self, "objective", objective)
        object.__setattr__(self, "betas", tuple(self.betas))
        object.__setattr__(self, "lrs", dict(self.lrs))

    @property
    def timed(self) -> bool:
        """Whether the clock decides the end."""
        return self.steps is None

    def json(self) -> dict[str, Any]:
        """Plain data."""
        return {**asdict(replace(self, objective=None)), "betas": list(self.betas), "objective": to_json(self.objective)}

    def factor(self, step: int, share: float) -> float:
        """What the peak rate is multiplied with in a step (counted from 0), when this share of the run is over."""
        rise = min(1.0, max((step + 1) / max(1, self.warmup), share / _RISE))
        gone = min(1.0, share)
        return rise * {"constant": 1.0, "cosine": 0.5 * (1 + math.cos(math.pi * gone)), "linear": 1 - gone}[self.shape]

    def changes(self, earlier: Training, step: int) -> list[str]:
        """The knobs whose change makes the first `step` steps others than they were.

        More steps are fine where the schedule so far was the same (a constant one), more seconds always.
        """
        mine, theirs = self.json(), earlier.json()
        changed = [n for n in mine if n not in _HARMLESS and mine[n] != theirs[n]]
        if self.timed != earlier.timed:
            return [*changed, "steps"]
        if (
            not self.timed
            and self.steps != earlier.steps
            and (step > self.steps or any(self.factor(s, s / self.steps) != earlier.factor(s, s / earlier.steps) for s in range(step)))
        ):
            changed.append("steps")
        return changed


_WHOLE = {"batch": 1, "steps": 1, "warmup": 0, "accumulate": 1, "seed": 0, "checkpoint_every": 0, "validate_every": 0, "log_every": 1}
_REAL = {"seconds": (0.0, math.inf), "lr": (0.0, math.inf), "weight_decay": (0.0, math.inf), "clip": (0.0, math.inf), "ema": (0.0, 1.0)}
_HARMLESS = frozenset({"steps", "seconds", "checkpoint_every", "validate_every", "log_every"})  # steps: see changes


def _real(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _ask(fine: bool, name: str, value: Any, wanted: str) -> None:
    if not fine:
        raise BadArgument(f"expected {name} to be {wanted}, found {value!r}")
