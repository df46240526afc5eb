"""Grids: the times that a solver visits; and times drawn in training."""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor

from ..core.errors import BadArgument
from ..core.rng import Rng

GridKind = Literal["uniform", "cosine", "shifted"]


def grid(kind: GridKind, steps: int, *, shift: float = 1.0, first: float = 0.0) -> list[float]:
    """steps + 1 times from `first` to 1. uniform; cosine: 1 - cos(pi u / 2), fine near noise; shifted: u / (u + shift (1 - u)), finer near noise for shift > 1
    (SD3, arXiv:2403.03206, equation 23)."""
    u = torch.linspace(0, 1, steps + 1, dtype=torch.float64)
    if kind == "cosine":
        u = 1 - torch.cos(u * math.pi / 2)
    elif kind == "shifted":
        u = u / (u + shift * (1 - u))
    elif kind != "uniform":
        raise BadArgument(f"a grid is 'uniform', 'cosine' or 'shifted', not {kind!r}")
    return [*(first + (1 - first) * u[:-1]).tolist(), 1.0]  # 1 exactly: solvers look for it


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
