"""Forecasts: for each place the next tokens, over several horizons at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..core.distribution import Content, Distribution, Head, Sampling, Says, weighted
from ..core.errors import BadArgument
from ..core.rng import Rng
from ..core.tokens import Space


class Forecasts(Distribution):
    """values: for each horizon h (B, L, h, C), what the h tokens after a place will say. A point each: drawing gives the value itself.

    nll is Huber's loss of the token right after each place, up to its constant the nats of Huber's density: a surrogate where errors have another scale.
    """

    exact = False

    def __init__(self, values: Sequence[Tensor], delta: float):
        self.values, self.delta = tuple(values), delta

    @property
    def horizons(self) -> tuple[int, ...]:
        return tuple(v.shape[2] for v in self.values)

    def ahead(self, horizon: int) -> Tensor:
        """(B, L, horizon, C): by the head of exactly that horizon."""
        if horizon not in self.horizons:
            raise BadArgument(f"there is no forecast of {horizon} tokens here, only of {', '.join(map(str, self.horizons))}")
        return self.values[self.horizons.index(horizon)]

    def error(self, series: Tensor, real: Tensor) -> Tensor:
        """The mean over horizons of each one's mean Huber loss. series (B, L + 1, C) begins with the first place, whose successor is the first forecast; real
        (B, L + 1): what counts. What lies beyond the end is not counted."""
        total = series.new_zeros((), dtype=torch.float32)
        for value in self.values:
            horizon = value.shape[2]
            wanted = F.pad(series[:, 1:], (0, 0, 0, horizon - 1)).unfold(1, horizon, 1).transpose(2, 3)
            counts = F.pad(real[:, 1:], (0, horizon - 1)).unfold(1, horizon, 1)[..., None].expand_as(wanted)
            each = F.huber_loss(value.float(), wanted.float(), reduction="none", delta=self.delta)
            total = total + (each * counts).sum() / counts.sum().clamp(min=1)
        return total / len(self.values)

    def nll(self, target: Says, *, rng: Rng) -> Tensor:
        assert target.vec is not None
        return F.huber_loss(self.values[0][:, :, 0].float(), target.vec.float(), reduction="none", delta=self.delta).sum(-1)

    def sample(self, *, rng: Rng, how: Sampling) -> Content:
        return Content(vec=self.values[0][:, :, 0])

    def confidence(self, content: Says) -> Tensor:
        assert content.vec is not None
        return -F.huber_loss(self.values[0][:, :, 0].float(), content.vec.float(), reduction="none", delta=self.delta).sum(-1)

    def mapped(self, change: Callable[[Tensor], Tensor]) -> Self:
        return type(self)([change(v) for v in self.values], self.delta)

    @classmethod
    def mix(cls, distributions: Sequence[Self], weights: Sequence[Tensor]) -> Self:
        columns = zip(*(d.values for d in distributions), strict=True)
        return cls([weighted(column, weights) for column in columns], distributions[0].delta)


class ForecastHead(Head):
    """A linear map a horizon, all from the same stream (Time-MoE, arXiv:2409.16040, section 3.2.2). delta: where Huber's loss turns straight."""

    def __init__(self, width: int, space: Space, horizons: tuple[int, ...] = (1, 8, 32, 64), delta: float = 2.0, bias: bool = False):
        super().__init__()
        if not space.channels or not horizons or min(horizons) < 1 or len(set(horizons)) != len(horizons):
            raise BadArgument(f"forecasts are of continuous tokens, over different horizons of 1 or more, not {tuple(horizons)} of {space.channels} channels")
        self.channels, self.delta = space.channels, delta
        self.outs = nn.ModuleList(nn.Linear(width, h * space.channels, bias=bias) for h in horizons)
        for out in self.outs:
            nn.init.normal_(out.weight, std=0.02)

    def forward(self, h: Tensor) -> Forecasts:
        return Forecasts([out(h).unflatten(-1, (-1, self.channels)) for out in self.outs], self.delta)
