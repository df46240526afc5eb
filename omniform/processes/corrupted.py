"""Masked, with wrong codes among those that are shown in training, and a network that is fed what codes mean: MMM."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from ..core.errors import BadArgument
from ..core.process import Posed
from ..core.query import Answer, Query
from ..core.rng import Rng
from ..core.tokens import Space, Tokens
from .masked import Masked


class Corrupted(Masked):
    """A Masked that asks about codes by the vectors of their book, and in training replaces a `share` of all codes by random ones before it hides some; every
    place is priced, hidden or not (MMM, arXiv:2312.03596, section 3.2 and official code: train_t2m_trans.py, pkeep).

    The codec says what codes mean (`alone`: the book of a VQ, which the network does not learn), so the embedding is given channels. Generation is that of a
    Masked that shows the surest, without noise. With share 0 the price of the hidden places is Masked's. A codec without a book is a BadArgument.
    """

    def __init__(
        self,
        space: Space,
        codec: Any,
        steps: int = 10,
        share: float = 0.5,
        schedule: str = "cosine",
        ratio: str | tuple[float, float, float] | tuple[str, float, float] = ("uniform", 0.5, 1.0),
        noise: float = 0.0,
    ):
        super().__init__(steps=steps, schedule=schedule, choose="confidence", noise=noise, ratio=ratio)
        if len(space.vocab) != 1 or not 0 <= share < 1:
            raise BadArgument(f"expected one book of codes and a share from 0 to below 1, found books {space.vocab} and a share of {share}")
        self.vocab, self.share, self.means = space.vocab[0], share, codec.alone

    def _asked(self, tokens: Tokens, known: Tensor, progress: Tensor) -> Query:
        query = super()._asked(tokens, known, progress)
        return replace(query, tokens=replace(query.tokens, vec=self.means(tokens)))

    def pose(self, tokens: Tokens, *, rng: Rng, floor: Tensor | None = None) -> Posed:
        assert tokens.ids is not None
        hide, _ = self._hidden(tokens, rng)
        drawn = (rng.split("code").uniform(tuple(tokens.ids.shape)) * self.vocab).long().to(tokens.ids.device)
        wrong = rng.split("wrong").uniform(tuple(tokens.ids.shape)).to(tokens.ids.device) < self.share
        fed = replace(tokens, ids=torch.where(wrong, drawn, tokens.ids))

        def price(answer: Answer) -> tuple[Tensor, Tensor]:
            return answer.distribution.nll(tokens, rng=rng.split("nll")) * tokens.real, tokens.real

        return Posed(self._asked(fed, ~hide, torch.zeros(tokens.batch, device=hide.device)), price)
