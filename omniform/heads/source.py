"""Where a flow begins, if not in noise: a Gaussian a token, told by a condition."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Self

import torch
from torch import Tensor

from ..core.distribution import Content, Distribution, Head, Sampling, Says
from ..core.errors import BadArgument
from ..core.rng import Rng
from ..core.tokens import Space


class Source(Distribution):
    """A diagonal Gaussian: mean and log_var (B, L, C). nll is exact. Guidance does not reach it: of a mixture, the first term's, for all of them begin at one
    place (CrossFlow, arXiv:2412.15213, section 4.3)."""

    exact = True

    def __init__(self, mean: Tensor, log_var: Tensor):
        self.mean, self.log_var = mean, log_var

    def nll(self, target: Says, *, rng: Rng) -> Tensor:
        assert target.vec is not None
        mean, log_var = self.mean.float(), self.log_var.float()
        return 0.5 * ((target.vec.float() - mean).square() / log_var.exp() + log_var + torch.log(torch.tensor(2 * torch.pi))).sum(-1)

    def kl(self) -> Tensor:
        """(B, L) nats from the standard Gaussian."""
        mean, log_var = self.mean.float(), self.log_var.float()
        return 0.5 * (mean.square() + log_var.exp() - 1 - log_var).sum(-1)

    def reached(self, noise: Tensor) -> Tensor:
        """The draw that this standard noise leads to."""
        return self.mean + torch.exp(0.5 * self.log_var) * noise

    def sample(self, *, rng: Rng, how: Sampling) -> Content:
        return Content(vec=self.reached(rng.normal(self.mean.shape).to(self.mean) * how.temperature))

    def confidence(self, content: Says) -> Tensor:
        return -self.nll(content, rng=Rng.seeded(0))

    def mapped(self, change: Callable[[Tensor], Tensor]) -> Self:
        return type(self)(change(self.mean), change(self.log_var))

    @classmethod
    def mix(cls, distributions: Sequence[Self], weights: Sequence[Tensor]) -> Self:
        return distributions[0]


class SourceHead(Head):
    """Reads mean and log-variance off a stream of 2 C channels; it has no weights."""

    def __init__(self, width: int, space: Space):
        super().__init__()
        if width != 2 * space.channels:
            raise BadArgument(f"the tower of a source is as wide as mean and log-variance of its tokens: write width {2 * space.channels}, not {width}")

    def forward(self, h: Tensor) -> Source:
        return Source(*h.chunk(2, -1))
