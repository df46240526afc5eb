"""Discrete content: one choice of a table a codebook."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal, Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..core.distribution import Content, Distribution, Head, Sampling, Says, weighted
from ..core.rng import Rng
from ..core.tokens import Space


class Categorical(Distribution):
    """Independent choices over Q codebooks of V codes: logits (B, L, Q, V)."""

    exact = True

    def __init__(self, logits: Tensor):
        self.logits = logits

    def nll(self, target: Says, *, rng: Rng) -> Tensor:
        assert target.ids is not None
        logits = self.logits.float()
        flat = F.cross_entropy(logits.reshape(-1, logits.shape[-1]), target.ids.reshape(-1), reduction="none")
        return flat.reshape(target.ids.shape).sum(-1)

    def sample(self, *, rng: Rng, how: Sampling) -> Content:
        if how.temperature == 0:
            return Content(ids=self.logits.argmax(-1))
        logits = how.filtered(self.logits)
        return Content(ids=(logits + rng.gumbel(logits.shape).to(logits.device)).argmax(-1))

    def discouraged(self, said: Tensor, where: Tensor, by: float) -> Self:
        num = self.logits.shape[-1]
        ids = torch.where(where[..., None], said, num).transpose(1, 2)  # (B, Q, L), with a row to spare for what was not said
        seen = torch.zeros((*ids.shape[:2], num + 1), dtype=torch.bool, device=ids.device).scatter_(-1, ids, True)[:, None, :, :num]
        logits = self.logits.float()
        return type(self)(torch.where(seen, torch.where(logits > 0, logits / by, logits * by), logits))

    def confidence(self, content: Says) -> Tensor:
        assert content.ids is not None
        return self.logits.float().log_softmax(-1).gather(-1, content.ids.unsqueeze(-1)).squeeze(-1).sum(-1)

    def entropy(self) -> Tensor:
        """(B, L) nats."""
        log = self.logits.float().log_softmax(-1)
        return -(log.exp() * log).sum((-1, -2))

    def even(self) -> Tensor:
        return -self.logits.float().log_softmax(-1).mean(-1).sum(-1)

    def logit(self, content: Says) -> Tensor:
        assert content.ids is not None
        return self.logits.float().gather(-1, content.ids.unsqueeze(-1)).squeeze(-1).sum(-1)

    def book(self, number: int) -> Self:
        """One codebook's alone."""
        return type(self)(self.logits[:, :, number : number + 1])

    def mapped(self, change: Callable[[Tensor], Tensor]) -> Self:
        return type(self)(change(self.logits))

    @classmethod
    def mix(cls, distributions: Sequence[Self], weights: Sequence[Tensor]) -> Self:
        return cls(weighted([d.logits for d in distributions], weights))


class CategoricalHead(Head):
    """A linear map to logits, or a product with the embedding table.

    tied: use the first embedding table (handed over by `tie`); "read": and teach it nothing through this (ENAT's code). transform: Linear, GELU, LayerNorm
    before it (BERT, arXiv:1810.04805; MaskGIT's code); GELU by its tanh approximation, or as it is ("exact").
    scaled: what comes in is divided by the root of its width (T5's code, whose table is of unit variance).
    small: scale of the initial weights (1: PyTorch's own; 0: uniform predictions at the start, MDLM's code).
    vocab: how many choices a codebook has, if not what the space says (labels of codes: CTF).
    """

    def __init__(
        self,
        width: int,
        space: Space,
        bias: bool = True,
        tied: bool | Literal["read"] = False,
        transform: bool | Literal["exact"] = False,
        small: float = 1.0,
        eps: float = 1e-5,
        scaled: bool = False,
        vocab: int | None = None,
    ):
        super().__init__()
        if not space.vocab or len(set(space.vocab)) != 1:
            raise ValueError(f"a categorical head needs codebooks of one size, not {space.vocab}")
        self.books, self.vocab = len(space.vocab), vocab or space.vocab[0]
        gelu = nn.GELU("none" if transform == "exact" else "tanh")
        self.transform = nn.Sequential(nn.Linear(width, width), gelu, nn.LayerNorm(width, eps=eps)) if transform else None
        self.tied, self.by = tied, width**-0.5 if scaled else None
        if tied:
            self.bias = nn.Parameter(torch.zeros(self.books * self.vocab)) if bias else None
            self._table: tuple[Any, ...] = ()
        else:
            self.out = nn.Linear(width, self.books * self.vocab, bias=bias)
            with torch.no_grad():
                self.out.weight.mul_(small)
                if bias:
                    self.out.bias.zero_()

    def tie(self, tables: Sequence[nn.Embedding]) -> None:
        """Where the weights live: the embedding owns them, this head looks them up."""
        self._table = tuple(lambda table=table: table.weight for table in tables)

    def forward(self, h: Tensor) -> Categorical:
        h = h if self.transform is None else self.transform(h)
        h = h if self.by is None else h * self.by
        if self.tied:
            weights = [w if (w := look()).shape[0] == self.vocab else w[: self.vocab] for look in self._table]
            weights = [w.detach() for w in weights] if self.tied == "read" else weights
            logits = F.linear(h, weights[0] if len(weights) == 1 else torch.cat(weights), self.bias)
        else:
            logits = self.out(h)
        return Categorical(logits.view(*logits.shape[:2], self.books, self.vocab))
