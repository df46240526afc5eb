"""Binary content: each code is n bits, predicted independently."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..core.distribution import Content, Distribution, Head, Sampling, Says, weighted
from ..core.rng import Rng
from ..core.tokens import Space


def bits_of(ids: Tensor, num: int) -> Tensor:
    """(...,) long -> (..., num) float 0/1, the lowest bit first."""
    return ((ids.unsqueeze(-1) >> torch.arange(num, device=ids.device)) & 1).float()


class Bits(Distribution):
    """Independent bits: logits (B, L, n) of the bit being 1 (Infinity's infinite-vocabulary classifier, arXiv:2412.04431, section 3.2)."""

    exact = True

    def __init__(self, logits: Tensor):
        self.logits = logits

    def nll(self, target: Says, *, rng: Rng) -> Tensor:
        assert target.ids is not None
        bits = bits_of(target.ids[..., 0], self.logits.shape[-1])
        return F.binary_cross_entropy_with_logits(self.logits.float(), bits, reduction="none").sum(-1)

    def sample(self, *, rng: Rng, how: Sampling) -> Content:
        logits = self.logits.float()
        if how.temperature == 0:
            bits = logits > 0
        else:
            u = rng.uniform(logits.shape).to(logits.device)
            bits = (logits / how.temperature) > torch.log(u) - torch.log1p(-u)
        return Content(ids=(bits.long() << torch.arange(logits.shape[-1], device=logits.device)).sum(-1, keepdim=True))

    def confidence(self, content: Says) -> Tensor:
        assert content.ids is not None
        bits = bits_of(content.ids[..., 0], self.logits.shape[-1])
        return -F.binary_cross_entropy_with_logits(self.logits.float(), bits, reduction="none").sum(-1)

    def mapped(self, change: Callable[[Tensor], Tensor]) -> Self:
        return type(self)(change(self.logits))

    @classmethod
    def mix(cls, distributions: Sequence[Self], weights: Sequence[Tensor]) -> Self:
        return cls(weighted([d.logits for d in distributions], weights))


class BitsHead(Head):
    """A linear map to one logit a bit."""

    def __init__(self, width: int, space: Space):
        super().__init__()
        self.out = nn.Linear(width, space.bits)

    def forward(self, h: Tensor) -> Bits:
        return Bits(self.out(h))
