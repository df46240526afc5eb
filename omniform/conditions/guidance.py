"""Guidance: a Net made of Nets, one session a term, or one of all terms' rows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from ..core.errors import BadArgument
from ..core.net import Net
from ..core.query import Answer, Query

Ramp = Literal["constant", "rising", "falling", "power_cosine"]


@dataclass(frozen=True)
class Term:
    """One term: which conditions are kept, and its weight (B,) at a progress (B,)."""

    weight: Callable[[Tensor], Tensor]
    keep: frozenset[str] | None = None  # None = all, empty = none


class ClassifierFree:
    """(1 + g) said - g unsaid, with g = scale - 1 (arXiv:2207.12598, equation 6); the weights of both terms sum to one.

    ramp: g over progress p: "constant"; "rising": g p (VAR's code, where g = scale, and MAR's); "falling": g (1 - p)
    (MAGNeT, arXiv:2401.04577, section 3.4); "power_cosine": g (1 - cos(pi p^3)) / 2 (TiTok's code).
    interval: shares of progress between which guidance acts (arXiv:2404.07724).
    """

    def __init__(self, scale: float, ramp: Ramp = "constant", interval: tuple[float, float] = (0.0, 1.0)):
        if ramp not in ("constant", "rising", "falling", "power_cosine"):
            raise BadArgument(f"guidance rises 'constant', 'rising', 'falling' or 'power_cosine', not {ramp!r}")
        self.scale, self.ramp, self.interval = scale, ramp, interval

    def extra(self, progress: Tensor) -> Tensor:
        """g (B,)."""
        g = torch.full_like(progress, self.scale - 1)
        if self.ramp == "rising":
            g = g * progress
        elif self.ramp == "falling":
            g = g * (1 - progress)
        elif self.ramp == "power_cosine":
            g = g * (1 - torch.cos(torch.pi * progress**3)) / 2
        low, high = self.interval
        return torch.where((progress >= low) & (progress <= high), g, torch.zeros_like(g))

    def terms(self) -> tuple[Term, ...]:
        """What to ask: everything said, and nothing said; no second question at scale 1."""
        if self.scale == 1:
            return (Term(lambda p: torch.ones_like(p)),)
        return Term(lambda p: 1 + self.extra(p)), Term(lambda p: -self.extra(p), frozenset())


class Batched:
    """A session of several contexts with `rows` rows each (Context.stacked): one question of them all in place of one after another, equal to rounding."""

    def __init__(self, net: Net, rows: int, times: int):
        self.net, self.rows, self.times = net, rows, times

    def ask(self, query: Query, remember: bool) -> list[Answer]:
        """What each context is answered. A backbone's dues are of the one question: the first answer has them."""
        answer = self.net(query.repeated(self.times), remember=remember)
        cuts = [slice(i * self.rows, (i + 1) * self.rows) for i in range(self.times)]
        taps = {k: v[: self.rows] for k, v in answer.taps.items()}
        return [Answer(answer.distribution.rows(cut), *((taps, answer.dues) if not i else ())) for i, cut in enumerate(cuts)]

    def forget(self, turn: Tensor) -> None:
        self.net.forget(turn.repeat(self.times))

    def fork(self, rows: Tensor) -> Batched:
        return Batched(self.net.fork(torch.cat([rows + i * self.rows for i in range(self.times)])), len(rows), self.times)


class InTurn:
    """A session a term, asked one after another."""

    def __init__(self, nets: Sequence[Net]):
        self.nets = list(nets)

    def ask(self, query: Query, remember: bool) -> list[Answer]:
        """What each session answers."""
        return [net(query, remember=remember) for net in self.nets]

    def forget(self, turn: Tensor) -> None:
        for net in self.nets:
            net.forget(turn)

    def fork(self, rows: Tensor) -> InTurn:
        return InTurn([net.fork(rows) for net in self.nets])


class Guided:
    """Asks on every term's behalf and mixes the distributions."""

    def __init__(self, asked: Batched | InTurn, terms: Sequence[Term]):
        self.asked, self.terms = asked, list(terms)

    def __call__(self, query: Query, *, remember: bool = False) -> Answer:
        answers = self.asked.ask(query, remember)
        mixed = type(answers[0].distribution).mix([a.distribution for a in answers], [t.weight(query.progress) for t in self.terms])
        dues = {k: sum((a.dues[k] for a in answers[1:] if k in a.dues), v) for k, v in answers[0].dues.items()}
        return Answer(mixed, answers[0].taps, dues)

    def forget(self, turn: Tensor) -> None:
        self.asked.forget(turn)

    def fork(self, rows: Tensor) -> Guided:
        return Guided(self.asked.fork(rows), self.terms)
