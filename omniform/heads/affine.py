"""Continuous content as a Gaussian with learned shift and scale: an affine map of noise."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Self

import torch
from torch import Tensor, nn

from ..core.distribution import Content, Distribution, Head, Sampling, Says, weighted
from ..core.rng import Rng
from ..core.tokens import Space


class Affine(Distribution):
    """x = shift + exp(log_scale) z with z standard normal; shift, log_scale (B, L, C) (TarFlow, arXiv:2412.06329, equation 5)."""

    exact = True

    def __init__(self, shift: Tensor, log_scale: Tensor):
        self.shift, self.log_scale = shift, log_scale

    def whiten(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """x (B, L, C) -> its z, and log|dz/dx| (B, L)."""
        return (x - self.shift) * torch.exp(-self.log_scale), -self.log_scale.float().sum(-1)

    def colour(self, z: Tensor) -> Tensor:
        """The inverse of whiten."""
        return self.shift + torch.exp(self.log_scale) * z

    def nll(self, target: Says, *, rng: Rng) -> Tensor:
        assert target.vec is not None
        z, log_det = self.whiten(target.vec.float())
        return 0.5 * z.square().sum(-1) + 0.5 * math.log(2 * math.pi) * z.shape[-1] - log_det

    def sample(self, *, rng: Rng, how: Sampling) -> Content:
        z = rng.normal(self.shift.shape).to(self.shift) * how.temperature
        return Content(vec=self.colour(z))

    def confidence(self, content: Says) -> Tensor:
        return -self.nll(content, rng=Rng(torch.zeros(1, dtype=torch.long)))

    def mapped(self, change: Callable[[Tensor], Tensor]) -> Self:
        return type(self)(change(self.shift), change(self.log_scale))

    @classmethod
    def mix(cls, distributions: Sequence[Self], weights: Sequence[Tensor]) -> Self:
        # Guidance on shift and log-scale alike: TarFlow, section 3.6 and its code.
        return cls(weighted([d.shift for d in distributions], weights), weighted([d.log_scale for d in distributions], weights))


class AffineHead(Head):
    """A linear map to shift and log-scale, zero at the start: the identity map of noise.

    bound: where positive, log-scale is bound * tanh(raw / bound), which keeps small models from blowing up (ours).
    """

    def __init__(self, width: int, space: Space, bound: float = 0.0, bias: bool = True):
        super().__init__()
        self.channels, self.bound = space.channels, bound
        self.out = nn.Linear(width, 2 * space.channels, bias=bias)
        with torch.no_grad():
            self.out.weight.zero_()
            if bias:
                self.out.bias.zero_()

    def forward(self, h: Tensor) -> Affine:
        log_scale, shift = self.out(h).float().chunk(2, -1)
        if self.bound:
            log_scale = self.bound * torch.tanh(log_scale / self.bound)
        return Affine(shift, log_scale)
