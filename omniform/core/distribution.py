"""What a head returns: a distribution over the content of each asked token."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar, NamedTuple, Protocol, Self

import torch
from torch import Tensor, nn

from .errors import BadArgument
from .rng import Rng
from .tokens import Space, _picked


class Content(NamedTuple):
    """What some tokens say, without where they sit."""

    ids: Tensor | None = None  # (B, L, Q) long
    vec: Tensor | None = None  # (B, L, C) float


class Says(Protocol):
    """Anything with content: Tokens or Content."""

    @property
    def ids(self) -> Tensor | None: ...
    @property
    def vec(self) -> Tensor | None: ...


@dataclass(frozen=True)
class Sampling:
    """How to draw. temperature 0 is the mode; the filters act on discrete content, in the order top-k, top-p, min-p.

    repetition: above 1, codes that an autoregressive sample has said already are less likely (CTRL, arXiv:1909.05858, section 4.1); 1 is none.
    """

    temperature: float = 1.0
    top_k: int = 0  # 0: all
    top_p: float = 1.0
    min_p: float = 0.0
    repetition: float = 1.0

    def __post_init__(self) -> None:
        if not 0 <= self.temperature < math.inf:
            raise BadArgument(f"a temperature is 0 (the mode) or above, not {self.temperature}")
        if self.top_k < 0 or self.top_k != int(self.top_k):
            raise BadArgument(f"top_k is how many of the likeliest are kept, 0 for all, not {self.top_k}")
        if not 0 <= self.top_p <= 1:
            raise BadArgument(f"top_p is the share of probability that is kept, from 0 (the likeliest alone) to 1, not {self.top_p}")
        if not 0 <= self.min_p <= 1:
            raise BadArgument(f"min_p is the least share of the likeliest one's probability, from 0 to 1, not {self.min_p}")

        if not 0 < self.repetition < math.inf:
            raise BadArgument(f"a repetition penalty is above 0, 1 for none, not {self.repetition}")

    def filtered(self, logits: Tensor) -> Tensor:
        """(..., V) logits after temperature and filters (temperature above 0)."""
        logits = logits.float() / self.temperature if self.temperature not in (0.0, 1.0) else logits.float()
        if 0 < self.top_k < logits.shape[-1]:
            least = logits.topk(self.top_k, -1).values[..., -1:]
            logits = logits.masked_fill(logits < least, -torch.inf)
        if self.top_p < 1:
            ranked, order = logits.sort(-1, descending=True)
            share = ranked.softmax(-1)
            over = share.cumsum(-1) - share >= self.top_p  # the token that crosses the line stays, and the first always
            over[..., 0] = False
            logits = logits.masked_fill(torch.zeros_like(over).scatter(-1, order, over), -torch.inf)
        if self.min_p > 0:
            share = logits.softmax(-1)
            logits = logits.masked_fill(share < self.min_p * share.amax(-1, keepdim=True), -torch.inf)
        return logits


class Distribution(ABC):
    """A distribution a place. Its tensors are (B, L, ...)."""

    exact: ClassVar[bool]
    """Whether nll is a likelihood, in nats; else a bound or a surrogate."""

    together: ClassVar[bool] = False
    """Whether all asked places are drawn together, so that some of them cannot be drawn alone."""

    @abstractmethod
    def nll(self, target: Says, *, rng: Rng) -> Tensor:
        """(B, L) nats."""

    @abstractmethod
    def sample(self, *, rng: Rng, how: Sampling) -> Content: ...

    @abstractmethod
    def confidence(self, content: Says) -> Tensor:
        """(B, L), any score that rises with the belief in that content."""

    @abstractmethod
    def mapped(self, change: Callable[[Tensor], Tensor]) -> Self:
        """The same with every (B, L, ...) tensor changed alike along its first two dimensions."""

    @classmethod
    @abstractmethod
    def mix(cls, distributions: Sequence[Self], weights: Sequence[Tensor]) -> Self:
        """Guidance: weights (B,) a distribution; they sum to 1 and may be negative."""

    def even(self) -> Tensor:
        """(B, L): the cross-entropy with the uniform distribution, which is what label smoothing adds."""
        raise BadArgument(f"label smoothing needs a categorical head, not {type(self).__name__}")

    def logit(self, content: Says) -> Tensor:
        """(B, L): what the head itself says of that content, before any softmax."""
        raise BadArgument(f"choosing by logits needs a categorical head, not {type(self).__name__}")

    def of(self, kind: int) -> Distribution:
        """As tokens of this kind have it, where several kinds are spoken of (heads.by_kind); else itself."""
        return self

    def each(self, kind: Tensor) -> list[Distribution]:
        """What is said at tokens of these kinds (L,), by the kinds that are told apart."""
        return [self]

    def at(self, places: slice) -> Self:
        """The distribution of some of the asked places."""
        return self.mapped(lambda x: x[:, places])

    def discouraged(self, said: Tensor, where: Tensor, by: float) -> Self:
        """The same with the codes that were said less likely: ids (B, L, Q), of the places where (B, L) is true. BadArgument where content is not codes."""
        raise BadArgument(f"a repetition penalty is for codes, and {type(self).__name__} has none; leave it out")

    def rows(self, which: slice) -> Self:
        """The distribution in some rows."""
        return self.mapped(lambda x: x[which])

    def gather(self, index: Tensor) -> Self:
        """Places index (B, n), chosen row by row."""
        return self.mapped(lambda x: _picked(x, index))


class Head(nn.Module, ABC):
    """Hidden states to a distribution."""

    tied: bool | str = False
    """Whether it says by the embedding's tables, which `tie` hands over."""

    def tie(self, tables: Sequence[nn.Embedding]) -> None:
        """The embedding owns them, a tied head looks them up."""

    def kinds(self, space: Space) -> list[tuple[Head, Space]]:
        """The heads inside, each with the tokens that it speaks of; for those who count."""
        return [(self, space)]

    def passes(self) -> int:
        """How many questions of a small network of its own a token is drawn by; 0 where a head has none."""
        return 0

    def small(self, h: Tensor) -> None:
        """One of these questions, of hidden states (B, L, D); for those who count what it costs."""

    @abstractmethod
    def forward(self, h: Tensor) -> Distribution:
        """(B, L, D) -> a distribution a place."""


def weighted(tensors: Sequence[Tensor], weights: Sequence[Tensor]) -> Tensor:
    """sum of weight (B,) times tensor (B, L, ...)."""
    total = torch.zeros_like(tensors[0])
    for x, w in zip(tensors, weights, strict=True):
        total = total + x * w.to(x.dtype).reshape(-1, *(1,) * (x.dim() - 1))
    return total
