"""Set by set in an order: GPT, random order, delay pattern, next scale."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from ..core.distribution import Sampling
from ..core.errors import BadArgument, Intractable, OrderError
from ..core.net import Net
from ..core.order import Order, Pattern
from ..core.process import Ask, Losses, Posed, Process, State, begun, dues_of
from ..core.query import Answer, Query
from ..core.rng import Rng
from ..core.spec import Spec
from ..core.tokens import Space, Tokens, in_every_row
from .feeds import Feed, taken


@dataclass(frozen=True)
class Course:
    """What depends on the order alone, made once a sample: a token's own step has little else to do than to ask.

    turn, lane: (B, L) of each place. plan: the feed's. spans: the places of each turn, as slices where they lie together and as (B, n)
    indices else; said: turn and lane of each span. within: (B, L) given, and
    not the last that is: a stop token there ends nothing (a conversation's turns). at, progress: (B,) after each number of turns.
    """

    turn: Tensor
    lane: Tensor
    plan: Any
    spans: tuple[slice | Tensor, ...] = ()
    said: tuple[tuple[Tensor, Tensor], ...] = ()
    within: Tensor | None = None
    at: tuple[Tensor, ...] = ()
    progress: tuple[Tensor, ...] = ()


@dataclass(frozen=True)
class Growing(State):
    """next: the turn to come."""

    course: Course
    given: Tensor | None
    next: int

    def spoken(self) -> Tensor:
        """Those of the turns that have been."""
        return self.course.turn < self.next


class Autoregress(Process[Growing]):
    """At each turn the slots of that turn are fed something of lower turns and answer at once; equal turn = generated together.

    order, feed: Specs. aim: slots are told the place that they answer about (random orders). The nll is exact where the head's is.
    """

    memory = "kv"
    likelihood = "exact"

    def __init__(self, space: Space, order: Spec, feed: Spec, codec: Any = None, aim: bool = False, sampling: Sampling | None = None):
        super().__init__()
        self.order: Order = order.build(space=space)
        self.ordered = self.order.pattern == "causal"
        self.feed: Feed = feed.build(space=space, codec=codec)
        self.space, self.aim = space, aim
        self.sampling = sampling or Sampling()

    def _course(self, tokens: Tokens, rng: Rng) -> Course:
        turn = self.order.turns(tokens.coord, rng=rng.split("order"))
        lane = in_every_row(torch.zeros(tokens.length, dtype=torch.long, device=turn.device), tokens.batch)
        return Course(turn, lane, self.feed.plan(tokens, turn, self.order))

    def _query(
        self, tokens: Tokens, course: Course, places: slice | Tensor, progress: Tensor, pattern: Pattern, said: tuple[Tensor, Tensor] | None = None
    ) -> Query:
        fed, known = self.feed.fed(tokens, course.plan, places)
        turn, lane = said or (taken(course.turn, places), taken(course.lane, places))
        return Query(fed, known, turn, lane, progress, None, taken(tokens.coord, places) if self.aim else None, "main", pattern)

    def pose(self, tokens: Tokens, *, rng: Rng, floor: Tensor | None = None) -> Posed:
        none = torch.zeros(tokens.batch, device=tokens.doc.device)
        first = self.feed.skips

        def price(answer: Answer) -> tuple[Tensor, Tensor]:
            asked = tokens.at(slice(first, None)) if first else tokens
            nll, real = answer.distribution.nll(asked, rng=rng.split("nll")) * asked.real, tokens.real
            return (nn.functional.pad(nll, (first, 0)), nn.functional.pad(asked.real, (first, 0))) if first else (nll, real)

        return Posed(self._query(tokens, self._course(tokens, rng), slice(first, None), none, self.order.pattern), price)

    def _nll(self, net: Net, tokens: Tokens, rng: Rng, exact: bool = False) -> tuple[Tensor, Any]:
        posed = self.pose(tokens, rng=rng)
        answer = net(posed.query)
        if exact and not answer.distribution.exact:
            raise Intractable(f"{type(answer.distribution).__name__} has no likelihood, so an autoregressive model of it has none; compare it by samples")
        return posed.price(answer)[0], answer

    def loss(self, net: Net, tokens: Tokens, *, rng: Rng) -> Losses:
        nll, answer = self._nll(net, tokens, rng)
        count = tokens.real[:, self.feed.skips :].sum()
        return Losses({"main": nll.sum(), **dues_of(answer.dues, count)}, count)

    def bound(self, net: Net, tokens: Tokens, *, rng: Rng) -> Tensor:
        return self._nll(net, tokens, rng, exact=True)[0].sum(-1)

    def asks(self, blank: Tokens) -> list[Ask]:
        asks, seen = [], 0
        for size in self.order.sizes(blank.coord)[self.feed.skips :]:
            asks.append(Ask(size, seen))
            seen += size
        return asks

    def init(self, blank: Tokens, *, rng: Rng, given: Tensor | None = None) -> Growing:
        course = self._course(blank, rng)
        spans = _spans(course.turn)
        share = torch.tensor([i / len(spans) for i in range(len(spans) + 1)], device=blank.doc.device)
        each = lambda x: x[:, None].expand(-1, blank.batch).unbind()  # noqa: E731
        said = tuple(zip(_cut(course.turn, spans), _cut(course.lane, spans), strict=True))
        at = torch.arange(len(spans) + 1, device=blank.doc.device)
        skips = self.feed.skips
        if skips and (given is None or not bool(given[:, :skips].all())):
            raise BadArgument("this system goes on with what it is given and was given nothing; give a prompt")
        within = None if given is None else given & (given.flip(1).cumsum(1).flip(1) > 1)
        course = replace(course, spans=spans, said=said, within=within, at=each(at), progress=each(share))
        return Growing(tokens=blank, course=course, given=given, next=skips, **{**begun(blank), "at": course.at[skips]})

    def step(self, net: Net, state: Growing, *, rng: Rng) -> Growing:
        first, course, tokens, done = state.next, state.course, state.tokens, state.done
        last = first + (1 if state.given is None or first > self.feed.skips else self._prompted(state))
        one = last == first + 1
        places = course.spans[first] if one else _joined(course.spans[first:last])
        query = self._query(tokens, course, places, state.progress, "full" if one else self.order.pattern, course.said[first] if one else None)
        answer = net(query, remember=True)
        if one:
            distribution = answer.distribution
            if self.sampling.repetition != 1:
                said = torch.zeros((*tokens.doc.shape, 1)) if tokens.ids is None else tokens.ids
                distribution = distribution.discouraged(said, state.spoken() & tokens.real, self.sampling.repetition)
            drawn: Any = distribution.sample(rng=rng, how=self.sampling)
            if state.given is not None:
                drawn = _at(tokens, places).where(taken(state.given, places), drawn)
            tokens = tokens.put(places, drawn)
        over = last == len(course.spans)
        if self.space.stop is not None and tokens.ids is not None:
            said = (drawn.ids if one else taken(tokens.ids, places))[..., 0]
            if course.within is not None:
                said = said.masked_fill(taken(course.within, places), -1)
            if any(self.space.stop in row for row in said.tolist()):
                done = done | (said == self.space.stop).any(-1)
                over = over or bool(done.all())
            tokens = self._ended(tokens, course.within) if over else tokens
        done = torch.ones_like(done) if over else done
        return Growing(tokens, course.at[last], course.progress[last], done, course, state.given, last)

    def _prompted(self, state: Growing) -> int:
        """How many turns to begin with at once: all that are given in every row (their answers are not needed), else one."""
        known = 0
        for places in state.course.spans[state.next :]:
            if not bool(taken(state.given, places).all()):
                break
            known += 1
        return max(known, 1)

    def _ended(self, tokens: Tokens, within: Tensor | None) -> Tokens:
        """Everything from the stop token on is padding."""
        assert tokens.ids is not None
        stops = tokens.ids[..., 0] == self.space.stop
        over = (stops if within is None else stops & ~within).cumsum(1) > 0
        return replace(tokens, doc=torch.where(over, -1, tokens.doc))


def _spans(turn: Tensor) -> tuple[slice | Tensor, ...]:
    """The places of each turn."""
    shared = turn.stride(0) == 0 or turn.shape[0] == 1
    if shared:
        row = turn[0]
        if not bool((row.diff() < 0).any()):
            ends = torch.bincount(row).cumsum(0).tolist()
            return tuple(slice(a, b) for a, b in zip([0, *ends[:-1]], ends, strict=True))
    counts = torch.bincount(turn[0]).tolist()
    ranked = turn.argsort(dim=-1, stable=True)
    if not shared and not bool((turn.gather(1, ranked) == turn[:1].gather(1, ranked[:1])).all()):
        raise OrderError("every row must have as many places at each turn as every other row; this order does not")
    return tuple(ranked.split(counts, 1))


def _cut(x: Tensor, spans: tuple[slice | Tensor, ...]) -> tuple[Tensor, ...]:
    """x (B, L) at each span."""
    if isinstance(spans[0], slice):
        return x.split([s.stop - s.start for s in spans], 1)  # type: ignore[union-attr]
    return tuple(taken(x, s) for s in spans)


def _joined(spans: tuple[slice | Tensor, ...]) -> slice | Tensor:
    if isinstance(spans[0], slice):
        return slice(spans[0].start, spans[-1].stop)  # type: ignore[union-attr]
    return torch.cat(spans, 1)  # type: ignore[arg-type]


def _at(tokens: Tokens, places: slice | Tensor) -> Tokens:
    return tokens.at(places) if isinstance(places, slice) else tokens.gather(places)
