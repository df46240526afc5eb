"""Continuous content as a mixture of diagonal Gaussians."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Self

import torch
from torch import Tensor, nn

from ..core.distribution import Content, Distribution, Head, Sampling, Says, weighted
from ..core.rng import Rng
from ..core.tokens import Space


class Mixture(Distribution):
    """logits (B, L, K), mean and log_scale (B, L, K, C) (GIVT, arXiv:2312.02116, section 3.2; JetFormer, arXiv:2411.19722)."""

    exact = True

    def __init__(self, logits: Tensor, mean: Tensor, log_scale: Tensor):
        self.logits, self.mean, self.log_scale = logits, mean, log_scale

    def nll(self, target: Says, *, rng: Rng) -> Tensor:
        assert target.vec is not None
        z = (target.vec.float().unsqueeze(-2) - self.mean) * torch.exp(-self.log_scale)
        each = (-0.5 * z.square() - self.log_scale - 0.5 * math.log(2 * math.pi)).sum(-1)
        return -torch.logsumexp(self.logits.log_softmax(-1) + each, -1)

    def sample(self, *, rng: Rng, how: Sampling) -> Content:
        logits = how.filtered(self.logits) if how.temperature else self.logits
        noise = rng.gumbel(logits.shape).to(logits) if how.temperature else torch.zeros_like(logits)
        pick = (logits + noise).argmax(-1)[..., None, None].expand(*logits.shape[:-1], 1, self.mean.shape[-1])
        mean, log_scale = self.mean.gather(-2, pick).squeeze(-2), self.log_scale.gather(-2, pick).squeeze(-2)
        return Content(vec=mean + torch.exp(log_scale) * rng.normal(mean.shape).to(mean) * how.temperature)

    def confidence(self, content: Says) -> Tensor:
        return -self.nll(content, rng=Rng(torch.zeros(1, dtype=torch.long)))

    def mapped(self, change: Callable[[Tensor], Tensor]) -> Self:
        return type(self)(change(self.logits), change(self.mean), change(self.log_scale))

    @classmethod
    def mix(cls, distributions: Sequence[Self], weights: Sequence[Tensor]) -> Self:
        # In parameter space, as with Affine: the density of the guided mixture itself has no closed form (GIVT samples it by rejection).
        return cls(*(weighted([getattr(d, n) for d in distributions], weights) for n in ("logits", "mean", "log_scale")))


class MixtureHead(Head):
    """A linear map to K Gaussians; log-scales are bounded below at -floor."""

    def __init__(self, width: int, space: Space, components: int = 8, floor: float = 7.0):
        super().__init__()
        self.channels, self.components, self.floor = space.channels, components, floor
        self.out = nn.Linear(width, components * (1 + 2 * space.channels))

    def forward(self, h: Tensor) -> Mixture:
        y = self.out(h).float()
        logits, mean, log_scale = y.split([self.components, self.components * self.channels, self.components * self.channels], -1)
        shape = (self.components, self.channels)
        return Mixture(logits, mean.unflatten(-1, shape), log_scale.unflatten(-1, shape).clamp(min=-self.floor))
