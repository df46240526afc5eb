"""Continuous content as a Gaussian with learned shift and scale: an affine map of noise."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..core.distribution import Content, Distribution, Head, Sampling, Says, weighted
from ..core.rng import Rng
from ..core.tokens import Space


class Affine(Distribution):
    """x = shift + exp(log_scale) z with z standard normal; shift, log_scale (B, L, C) (TarFlow, arXiv:2412.06329, equation 5)."""

    exact = True

    def __init__(self, shift: Tensor, log_scale: Tensor, product: bool = False):
        self.shift, self.log_scale, self.product = shift, log_scale, product

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
        return type(self)(change(self.shift), change(self.log_scale), self.product)

    @classmethod
    def mix(cls, distributions: Sequence[Self], weights: Sequence[Tensor]) -> Self:
        if distributions[0].product:
            return cls._product(distributions, weights)
        # Guidance on shift and log-scale alike: TarFlow, section 3.6 and its code.
        return cls(weighted([d.shift for d in distributions], weights), weighted([d.log_scale for d in distributions], weights))


    @classmethod
    def _product(cls, distributions: Sequence[Self], weights: Sequence[Tensor]) -> Self:
        """The Gaussian in proportion to the product of all p^weight (STARFlow, arXiv:2506.06276, section 3.4): precisions add up, and shifts by precision.

        Against negative weights, whose precision could outweigh the first's, ratios of variances count as 1 at the most (its code).
        """
        first = distributions[0]
        total, shift = torch.zeros_like(first.shift), torch.zeros_like(first.shift)
        for d, w in zip(distributions, weights, strict=True):
            share = w.to(first.shift).reshape(-1, 1, 1) * torch.exp(2 * (first.log_scale - d.log_scale)).clamp(max=1)
            total, shift = total + share, shift + share * d.shift
        return cls(shift / total, first.log_scale - 0.5 * total.log(), True)


_UNIT = 0.541324854612918
"""softplus of it is 1."""


class AffineHead(Head):
    """A linear map to shift and log-scale, zero at the start: the identity map of noise.

    bound: where positive, log-scale is bound * tanh(raw / bound), which keeps small models from blowing up (ours). softplus: both raw numbers are bounded so,
    and the scale is softplus of its own (STARFlow's code). product: guidance multiplies densities instead of going on in shift and log-scale.
    """

    def __init__(self, width: int, space: Space, bound: float = 0.0, bias: bool = True, softplus: bool = False, product: bool = False):
        super().__init__()
        self.channels, self.bound, self.softplus, self.product = space.channels, bound, softplus, product
        self.out = nn.Linear(width, 2 * space.channels, bias=bias)
        with torch.no_grad():
            self.out.weight.zero_()
            if bias:
                self.out.bias.zero_()

    def forward(self, h: Tensor) -> Affine:
        log_scale, shift = self.out(h).float().chunk(2, -1)
        if self.softplus:
            if self.bound:
                log_scale, shift = (self.bound * torch.tanh(x / self.bound) for x in (log_scale, shift))
            return Affine(shift, F.softplus(log_scale + _UNIT).log(), self.product)
        if self.bound:
            log_scale = self.bound * torch.tanh(log_scale / self.bound)
        return Affine(shift, log_scale, self.product)
