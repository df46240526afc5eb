"""Grids: the times that a solver visits; and times drawn in training."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor

from ..core.errors import BadArgument
from ..core.rng import Rng

GridKind = Literal["uniform", "cosine", "shifted"]


def grid(kind: GridKind | Levels | Sigmas | Curve, steps: int, *, shift: float = 1.0, first: float = 0.0) -> list[float]:
    """steps + 1 times from `first` to 1. uniform; cosine: 1 - cos(pi u / 2), fine near noise; shifted: u / (u + shift (1 - u)), finer near noise for shift > 1
    (SD3, arXiv:2403.03206, equation 23)."""
    if isinstance(kind, Levels | Sigmas | Curve):
        return kind(steps)
    u = torch.linspace(0, 1, steps + 1, dtype=torch.float64)
    if kind == "cosine":
        u = 1 - torch.cos(u * math.pi / 2)
    elif kind == "shifted":
        u = u / (u + shift * (1 - u))
    elif kind != "uniform":
        raise BadArgument(f"a grid is 'uniform', 'cosine' or 'shifted', not {kind!r}")
    return [*(first + (1 - first) * u[:-1]).tolist(), 1.0]  # 1 exactly: solvers look for it


def clock(kind: GridKind | Levels | Sigmas | Curve, steps: int) -> Callable[[Tensor], Tensor] | None:
    """What the network is told at a time of a grid; None: that time."""
    return partial(kind.told, steps=steps) if isinstance(kind, Sigmas) and kind.whole else None


@dataclass(frozen=True)
class Levels:
    """DDPM's noise levels on the way down, as times (paths.Betas): `steps` of them, then no noise.

    spacing: "leading", multiples of levels // steps from 0 on; "trailing", from the last level on; "linspace", both ends (arXiv:2305.08891, table 2). offset is
    added to leading ones. open: of one level more the least is left out (DPM-Solver's in diffusers). whole: the end is the data, else level 0.
    """

    spacing: Literal["leading", "trailing", "linspace"] = "leading"
    levels: int = 1000
    offset: int = 0
    open: bool = False
    whole: bool = True

    def numbers(self, steps: int) -> list[int]:
        """The levels, from the noisiest."""
        if not 0 < steps <= self.levels - self.open:
            raise BadArgument(f"{steps} steps do not fit into {self.levels} levels; take fewer")
        num = steps + self.open
        if self.spacing == "trailing":
            return [round(self.levels - i * self.levels / steps) - 1 for i in range(steps)]
        if self.spacing == "leading":
            every = [i * (self.levels // num) + self.offset for i in range(num)]
        elif self.spacing == "linspace":
            every = [round(i * (self.levels - 1) / max(num - 1, 1)) for i in range(num)]
        else:
            raise BadArgument(f"levels are spaced 'leading', 'trailing' or 'linspace', not {self.spacing!r}")
        return every[: self.open - 1 if self.open else None : -1]

    def __call__(self, steps: int) -> list[float]:
        """steps + 1 times."""
        return [*(1 - (i + 1) / self.levels for i in self.numbers(steps)), 1.0 if self.whole else 1 - 1 / self.levels]


@dataclass(frozen=True)
class Sigmas:
    """Shares of noise from 1 to `least` in even steps (0: 1 / steps), shifted as a grid is, then stretched so that the last is `terminal` (0: not), then none.

    As flow models are sampled in diffusers (SD3, arXiv:2403.03206, equation 23); with least and terminal 0 it is the grid "shifted". open: of one share more
    the least is left out. first: the first time, where a solver that looks at signal over noise cannot begin at 0. whole: the network is told a share as a
    whole number of so many, rounded down (with them UniPC's in diffusers).
    """

    shift: float = 1.0
    least: float = 0.0
    terminal: float = 0.0
    open: bool = False
    first: float = 0.0
    whole: int = 0

    def told(self, t: Tensor, steps: int) -> Tensor:
        """The time that the network is told at the time t of so many steps, where shares are whole numbers to it."""
        shares = self._shares(steps)
        now = shares[(1 - shares - t.cpu()).abs().argmin()]  # 1 - t may have lost the last bit, and with it a whole number
        return (1 - (now * self.whole).floor() / self.whole).to(t)

    def _shares(self, steps: int) -> Tensor:
        """Of noise, all but the last one, 0."""
        num = steps + self.open
        last = self.least or 1 / num
        u = torch.arange(steps, dtype=torch.float64) * ((last - 1) / steps) + 1 if self.open else torch.linspace(1, last, steps, dtype=torch.float64)
        u = self.shift * u / (1 + (self.shift - 1) * u)
        if self.terminal:
            u = 1 - (1 - u) * (1 - self.terminal) / (1 - u[-1])
        if self.first:
            u[0] = 1 - self.first
        return u

    def __call__(self, steps: int) -> list[float]:
        """steps + 1 times."""
        return [*(1 - self._shares(steps)).tolist(), 1.0]


@dataclass(frozen=True)
class Curve:
    """Times written down, from 0 to 1: with one step less than there are, these; with another number, even shares of the way along them, between two in a
    straight line (LaVin-DiT's code has 20)."""

    times: tuple[float, ...]

    def __call__(self, steps: int) -> list[float]:
        """steps + 1 times."""
        last = len(self.times) - 1
        if last < 1 or self.times[0] != 0 or self.times[-1] != 1 or any(b <= a for a, b in pairwise(self.times)):
            raise BadArgument(f"a grid that is written down rises from 0 to 1, and this one is {self.times}")
        at = [min(i * last // steps, last - 1) for i in range(steps + 1)]
        share = [i * last / steps - low for i, low in enumerate(at)]
        return [(1 - s) * self.times[low] + s * self.times[low + 1] for low, s in zip(at, share, strict=True)]


TimesKind = Literal["uniform", "logit_normal", "log_normal", "levels"]


def drawn(kind: TimesKind, shape: tuple[int, ...], rng: Rng, *, mean: float = 0.0, sd: float = 1.0, shift: float = 1.0, levels: int = 1000) -> Tensor:
    """Training times. uniform, stratified over the batch; logit_normal (SD3, section 3.1), then shifted as a grid is; levels: one of DDPM's n noise levels.

    log_normal: the log of noise over signal is normal (EDM, arXiv:2206.00364, section 5) on the trigonometric path, tan(pi t / 2) = signal / noise.
    """
    if kind == "levels":
        return 1 - (rng.integers(levels, shape).float() + 1) / levels
    u = rng.uniform(shape)
    if kind == "uniform":
        first = torch.arange(shape[0]).reshape(-1, *(1,) * (len(shape) - 1)) / shape[0]
        t = (first + u / shape[0] + rng.uniform((1,) * len(shape))) % 1.0 if shape[0] > 1 else u
    elif kind == "logit_normal":
        t = torch.sigmoid(mean + sd * torch.special.ndtri(u.double())).float()
    elif kind == "log_normal":
        t = (2 / math.pi * torch.atan(torch.exp(-mean - sd * torch.special.ndtri(u.double())))).float()
    else:
        raise BadArgument(f"times are 'uniform', 'logit_normal', 'log_normal' or 'levels', not {kind!r}")
    return t / (t + shift * (1 - t)) if shift != 1 else t
