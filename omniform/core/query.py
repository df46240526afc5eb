"""One question to a network, and the answer. Training and generation ask in the same words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from .order import Pattern
from .tokens import Tokens

if TYPE_CHECKING:
    from .distribution import Distribution

PRELUDE = -1
"""The turn of what is said before generation begins (a prefix of conditions). A question asked at this turn is one with the prefix: each sees the other."""


@dataclass(frozen=True, slots=True)
class Query:
    """Here are tokens, this much is known, each has a turn; answer at these places.

    q may see k  iff  doc[k] == doc[q] != -1  and  turn[k] <= turn[q]  and  lane[k] in (0, lane[q]).
    """

    tokens: Tokens
    known: Tensor  # (B, L) bool   False: content is hidden (the mask vector is embedded instead)
    turn: Tensor  # (B, L) long
    lane: Tensor  # (B, L) long   0 = the record, read by all; n > 0 = scratch, read only by lane n
    progress: Tensor  # (B,) float    share of the generation already done; required, no default
    time: Tensor | None = None  # (B, L) or (B, 1) float   noise level; None when the family has none
    aim: Tensor | None = None  # (B, L, A)     the place each answer is about, if not the token's own
    stage: str = "main"  # which tower is asked (flow block, cascade stage, noise expert)
    pattern: Pattern = "any"  # a promise: "full" = one turn, one lane, one document, no padding that matters

    def at(self, places: slice) -> Query:
        """Some of the asked places."""
        cut = lambda x: None if x is None else x[:, places]  # noqa: E731
        return replace(
            self,
            tokens=self.tokens.at(places),
            known=cut(self.known),
            turn=cut(self.turn),
            lane=cut(self.lane),
            time=self.time if self.time is None or self.time.shape[1] == 1 else cut(self.time),
            aim=cut(self.aim),
        )

    def repeated(self, times: int) -> Query:
        """All rows, `times` over. What is the same in every row stays one view."""

        def again(x: Tensor | None) -> Tensor | None:
            if x is None:
                return None
            if x.stride(0) == 0 or x.shape[0] == 1:
                return x[:1].expand(times * x.shape[0], *x.shape[1:])
            return x.repeat(times, *(1,) * (x.dim() - 1))

        fields = {n: again(getattr(self, n)) for n in ("known", "turn", "lane", "progress", "time", "aim")}
        return replace(self, tokens=self.tokens._mapped(again), **fields)

    def after(self, past: Query) -> Query:
        """Both questions as one, the past one first; visibility by the dense rule."""
        join = lambda x, y: None if x is None or y is None else torch.cat([x, y], 1)  # noqa: E731
        spread = lambda q: None if q.time is None else q.time.expand(-1, q.tokens.length)  # noqa: E731
        return replace(
            self,
            tokens=Tokens.join([past.tokens, self.tokens]),
            known=join(past.known, self.known),
            turn=join(past.turn, self.turn),
            lane=join(past.lane, self.lane),
            time=join(spread(past), spread(self)),
            aim=join(past.aim, self.aim),
            pattern="any",
        )


@dataclass(frozen=True, slots=True)
class Answer:
    """What the network says: a distribution a place, hidden states that somebody asked for, and what the backbone itself adds to the loss."""

    distribution: Distribution
    taps: Mapping[str, Tensor] = field(default_factory=dict)
    dues: Mapping[str, Tensor] = field(default_factory=dict)


def one_row(x: Tensor) -> Tensor:
    """x (B, ...) or, where every row is the same view, its first row (1, ...)."""
    return x[:1] if x.shape[0] > 1 and x.stride(0) == 0 else x


def visible(turn: Tensor, lane: Tensor, doc: Tensor, past: tuple[Tensor, Tensor, Tensor] | None = None) -> Tensor:
    """The rule as a mask: (B or 1, Lq, Lk) bool, keys being `past` (turn, lane, doc) and then the asked themselves. A place that may see nothing sees
    itself."""
    turn, lane, doc = one_row(turn), one_row(lane), one_row(doc)
    keys = (turn, lane, doc) if past is None else tuple(torch.cat(_paired(one_row(p), q), 1) for p, q in zip(past, (turn, lane, doc), strict=True))
    k_turn, k_lane, k_doc = keys
    see = (k_turn[:, None, :] <= turn[:, :, None]) & ((k_lane[:, None, :] == 0) | (k_lane[:, None, :] == lane[:, :, None]))
    see = see & (k_doc[:, None, :] == doc[:, :, None]) & (doc[:, :, None] >= 0)
    asked, keyed = see.shape[1], see.shape[2]
    at = torch.arange(keyed, device=see.device)
    return see | (at == at[keyed - asked :, None])  # padding must not be a row of -inf: softmax would make NaN of it


def _paired(p: Tensor, q: Tensor) -> tuple[Tensor, Tensor]:
    """Two row-wise tensors brought to the same number of rows."""
    rows = max(p.shape[0], q.shape[0])
    return p.expand(rows, -1), q.expand(rows, -1)
