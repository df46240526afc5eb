"""The next of very many items: cosines with the embedding table, and a loss that looks at a few of them."""

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
from .categorical import Categorical


class SampledItems(Distribution):
    """The same distribution while it is learned: nll against `negatives` uniform items in place of all others (sampled softmax; an item that is the right one
    does not count against itself). h (B, L, D) and table (V, D) of unit length."""

    exact = False

    def __init__(self, h: Tensor, table: Tensor, temperature: float, negatives: int):
        self.h, self.table, self.temperature, self.negatives = h, table, temperature, negatives

    def full(self) -> Categorical:
        """Over all items."""
        return Categorical((F.linear(self.h, self.table) / self.temperature).unsqueeze(2))

    def nll(self, target: Says, *, rng: Rng) -> Tensor:
        assert target.ids is not None
        right = target.ids[..., 0]
        wrong = (rng.split("negatives").uniform((*right.shape, self.negatives)) * len(self.table)).long().clamp(max=len(self.table) - 1).to(right.device)
        score = lambda ids: torch.einsum("bld,blnd->bln", self.h, self.table[ids]).float() / self.temperature  # noqa: E731
        against = score(wrong).masked_fill(wrong == right[..., None], -torch.inf)
        mine = score(right[..., None])
        return torch.cat([mine, against], -1).logsumexp(-1) - mine[..., 0]

    def sample(self, *, rng: Rng, how: Sampling) -> Content:
        return self.full().sample(rng=rng, how=how)

    def confidence(self, content: Says) -> Tensor:
        return self.full().confidence(content)

    def mapped(self, change: Callable[[Tensor], Tensor]) -> Self:
        return type(self)(change(self.h), self.table, self.temperature, self.negatives)

    @classmethod
    def mix(cls, distributions: Sequence[Self], weights: Sequence[Tensor]) -> Self:
        first = distributions[0]
        return cls(weighted([d.h for d in distributions], weights), first.table, first.temperature, first.negatives)


class ItemHead(Head):
    """cos(h, item) / temperature over the items of the embedding table (HSTU, arXiv:2402.17152, and its official code: 0.05).

    negatives: while training, how many items stand for all others (0: all of them, the exact likelihood).
    """

    tied = True

    def __init__(self, width: int, space: Space, temperature: float = 0.05, negatives: int = 0):
        super().__init__()
        if len(space.vocab) != 1:
            raise BadArgument(f"items are of one table, not of {len(space.vocab)}")
        self.vocab, self.temperature, self.negatives = space.vocab[0], temperature, negatives

    def tie(self, tables: Sequence[nn.Embedding]) -> None:
        """Where the items live: the embedding owns them, this head looks them up."""
        self._table = lambda: tables[0].weight

    def forward(self, h: Tensor) -> Distribution:
        said = SampledItems(F.normalize(h, dim=-1), F.normalize(self._table()[: self.vocab], dim=-1).to(h.dtype), self.temperature, self.negatives)
        return said if self.training and self.negatives else said.full()
