"""Set by set in an order: GPT, random order, delay pattern, next scale."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from ..core.distribution import Sampling
from ..core.errors import Intractable, OrderError
from ..core.net import Net
from ..core.order import Order
from ..core.process import Losses, Process, State, begun, dues_of
from ..core.query import Query
from ..core.rng import Rng
from ..core.spec import Spec
from ..core.tokens import Space, Tokens
from .feeds import Feed, taken


@dataclass(frozen=True)
class Growing(State):
    """turn: of each place. spans: the places of each turn, as slices where they lie together and as (B, n) indices else. next: the turn to come."""

    turn: Tensor
    plan: Any
    spans: tuple[slice | Tensor, ...]
    given: Tensor | None
    next: int

    def spoken(self) -> Tensor:
        """Those of the turns that have been."""
        return self.turn < self.next


class Autoregress(Process[Growing]):
    """At each turn the slots of that turn are fed something of lower turns and answer at once; equal turn = generated together.

    order, feed: Specs. aim: slots are told the place that they answer about (random orders). The nll is exact where the head's is.
    """

    memory = "kv"
    likelihood = "exact"

    def __init__(self, space: Space, order: Spec, feed: Spec, codec: Any = None, aim: bool = False, sampling: Sampling | None = None):
        super().__init__()
        self.order: Order = order.build(space=space)
        self.feed: Feed = feed.build(space=space, codec=codec)
        self.space, self.aim = space, aim
        self.sampling = sampling or Sampling()

    def _query(self, tokens: Tokens, turn: Tensor, plan: Any, places: slice | Tensor, progress: Tensor, pattern: Any) -> Query:
        fed, known = self.feed.fed(tokens, plan, places)
        here = taken(turn, places)
        lane = here.new_zeros(()).expand(here.shape)
        return Query(tokens=fed, known=known, turn=here, lane=lane, progress=progress, aim=taken(tokens.coord, places) if self.aim else None, pattern=pattern)

    def _nll(self, net: Net, tokens: Tokens, rng: Rng, exact: bool = False) -> tuple[Tensor, Any]:
        turn = self.order.turns(tokens.coord, rng=rng.split("order"))
        plan = self.feed.plan(tokens, turn, self.order)
        query = self._query(tokens, turn, plan, slice(None), torch.zeros(tokens.batch, device=turn.device), self.order.pattern)
        answer = net(query)
        if exact and not answer.distribution.exact:
            raise Intractable(f"{type(answer.distribution).__name__} has no likelihood, so an autoregressive model of it has none; compare it by samples")
        return answer.distribution.nll(tokens, rng=rng.split("nll")) * tokens.real, answer

    def loss(self, net: Net, tokens: Tokens, *, rng: Rng) -> Losses:
        nll, answer = self._nll(net, tokens, rng)
        count = tokens.real.sum()
        return Losses({"main": nll.sum(), **dues_of(answer.dues, count)}, count)

    def bound(self, net: Net, tokens: Tokens, *, rng: Rng) -> Tensor:
        return self._nll(net, tokens, rng, exact=True)[0].sum(-1)

    def init(self, blank: Tokens, *, rng: Rng, given: Tensor | None = None) -> Growing:
        turn = self.order.turns(blank.coord, rng=rng.split("order"))
        spans = _spans(turn)
        return Growing(tokens=blank, turn=turn, plan=self.feed.plan(blank, turn, self.order), spans=spans, given=given, next=0, **begun(blank))

    def step(self, net: Net, state: Growing, *, rng: Rng) -> Growing:
        first = state.next
        last = first + self._prompted(state)
        one = last == first + 1
        places = state.spans[first] if one else _joined(state.spans[first:last])
        answer = net(self._query(state.tokens, state.turn, state.plan, places, state.progress, "full" if one else self.order.pattern), remember=True)
        tokens, done, over = state.tokens, state.done, last == len(state.spans)
        if one:
            drawn: Any = answer.distribution.sample(rng=rng, how=self.sampling)
            if state.given is not None:
                drawn = _at(tokens, places).where(taken(state.given, places), drawn)
            tokens = tokens.put(places, drawn)
        if self.space.stop is not None and tokens.ids is not None:
            stopped = taken(tokens.ids, places)[..., 0] == self.space.stop
            if bool(stopped.any()):
                done = done | stopped.any(-1)
                over = over or bool(done.all())
            tokens = self._ended(tokens) if over else tokens
        return Growing(
            tokens=tokens,
            at=state.at + (last - first),
            progress=torch.full_like(state.progress, last / len(state.spans)),
            done=torch.ones_like(done) if over else done,
            turn=state.turn,
            plan=state.plan,
            spans=state.spans,
            given=state.given,
            next=last,
        )

    def _prompted(self, state: Growing) -> int:
        """How many turns to ask at once: all that are given in every row (their answers are not needed, only remembered), else one."""
        if state.given is None or state.next:
            return 1
        known = 0
        for places in state.spans:
            if not bool(taken(state.given, places).all()):
                break
            known += 1
        return max(known, 1)

    def _ended(self, tokens: Tokens) -> Tokens:
        """Everything from the stop token on is padding."""
        assert tokens.ids is not None
        over = (tokens.ids[..., 0] == self.space.stop).cumsum(1) > 0
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


def _joined(spans: tuple[slice | Tensor, ...]) -> slice | Tensor:
    if isinstance(spans[0], slice):
        return slice(spans[0].start, spans[-1].stop)  # type: ignore[union-attr]
    return torch.cat(spans, 1)  # type: ignore[arg-type]


def _at(tokens: Tokens, places: slice | Tensor) -> Tokens:
    return tokens.at(places) if isinstance(places, slice) else tokens.gather(places)
