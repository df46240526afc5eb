"""Continuous content as one prediction: a unit Gaussian about it, so that squared error is its nll."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Self

import torch
from torch import Tensor, nn

from ..core.distribution import Content, Distribution, Head, Sampling, Says, weighted
from ..core.rng import Rng
from ..core.tokens import Space


class Point(Distribution):
    """value (B, L, C), and where the head speaks it spread (B, L, C), a raw number a channel that a process may read as a variance.

    nll is half the squared error, without the Gaussian's constant: a surrogate. Drawing gives the value itself.
    """

    exact = False

    def __init__(self, value: Tensor, spread: Tensor | None = None):
        self.value, self.spread = value, spread

    def nll(self, target: Says, *, rng: Rng) -> Tensor:
        assert target.vec is not None
        return 0.5 * (self.value.float() - target.vec.float()).square().sum(-1)

    def sample(self, *, rng: Rng, how: Sampling) -> Content:
        return Content(vec=self.value)

    def confidence(self, content: Says) -> Tensor:
        assert content.vec is not None
        return -0.5 * (self.value.float() - content.vec.float()).square().sum(-1)

    def mapped(self, change: Callable[[Tensor], Tensor]) -> Self:
        return type(self)(change(self.value), None if self.spread is None else change(self.spread))

    @classmethod
    def mix(cls, distributions: Sequence[Self], weights: Sequence[Tensor]) -> Self:
        # The spread is the first term's: guidance moves the mean only (DiT's code; MAR's code).
        return cls(weighted([d.value for d in distributions], weights), distributions[0].spread)


class PointHead(Head):
    """A linear map to C channels (2 C with learned variance; DiT, arXiv:2212.09748, section 3.2). small 0: starts at zero."""

    def __init__(self, width: int, space: Space, learned_variance: bool = False, channels: int = 0, small: float = 0.0, bias: bool = True):
        super().__init__()
        self.channels = channels or space.channels
        self.learned_variance = learned_variance
        self.out = nn.Linear(width, self.channels * (2 if learned_variance else 1), bias=bias)
        with torch.no_grad():
            self.out.weight.mul_(small)
            if bias:
                self.out.bias.zero_()

    def forward(self, h: Tensor) -> Point:
        y = self.out(h)
        return Point(y[..., : self.channels], y[..., self.channels :]) if self.learned_variance else Point(y)


class BareHead(Head):
    """The first C channels of the stream as they are: for a backbone that ends in content itself."""

    def __init__(self, width: int, space: Space):
        super().__init__()
        self.channels = space.channels

    def forward(self, h: Tensor) -> Point:
        return Point(h[..., : self.channels])


class EnergyHead(Head):
    """One number a token, read as an energy (EBT, arXiv:2507.02092, section 3)."""

    def __init__(self, width: int, bias: bool = False):
        super().__init__()
        self.out = nn.Linear(width, 1, bias=bias)

    def forward(self, h: Tensor) -> Point:
        return Point(self.out(h))
