"""One process inside another: block by block, each block by the inner process, given the finished ones."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal, Self

import torch
from torch import Tensor

from ..core.distribution import Sampling
from ..core.errors import BadArgument, OrderError
from ..core.net import Net
from ..core.order import Order
from ..core.process import Ask, Losses, Process, State, begun, generate
from ..core.query import Answer, Query
from ..core.rng import Rng
from ..core.spec import Spec
from ..core.tokens import Space, Tokens
from .autoregress import _spans


@dataclass(frozen=True)
class Paving(State):
    """turn: of each place. spans: the places of each block. next: the block to come."""

    turn: Tensor
    spans: tuple[Any, ...]
    given: Tensor | None
    next: int

    def spoken(self) -> Tensor:
        """Those of the finished blocks."""
        return self.turn < self.next


def recorded(tokens: Tokens, turn: Tensor, progress: Tensor, timed: bool) -> Query:
    """Clean tokens as the record: after their own questions (turn 2 r + 1), public, at time 1."""
    rows, length = tokens.doc.shape
    time = torch.ones((rows, length), device=turn.device) if timed else None
    return Query(
        tokens=tokens,
        known=torch.ones_like(tokens.doc, dtype=torch.bool),
        turn=2 * turn + 1,
        lane=torch.zeros_like(turn[:1]).expand(rows, -1),
        progress=progress,
        time=time,
        pattern="any",
    )


class Recorded:
    """Training: every question of the inner process is preceded by the clean record, and moved to the turn and lane of its block."""

    def __init__(self, net: Net, tokens: Tokens, turn: Tensor):
        self.net, self.tokens, self.turn = net, tokens, turn

    def __call__(self, query: Query, *, remember: bool = False) -> Answer:
        if remember:
            raise OrderError("a process inside blocks may not remember: its past is the record of the blocks; use Masked, Flow or Energy inside")
        past = recorded(self.tokens, self.turn, query.progress, query.time is not None)
        answer = self.net(replace(query, turn=2 * self.turn, lane=self.turn + 1, pattern="any").after(past))
        places = slice(past.tokens.length, None)
        return Answer(answer.distribution.at(places), {k: v[:, places] for k, v in answer.taps.items()}, answer.dues)

    def forget(self, turn: Tensor) -> None:
        """Nothing is remembered in training."""

    def fork(self, rows: Tensor) -> Recorded:
        return Recorded(self.net.fork(rows), self.tokens.rows(rows), self.turn[rows])


class Unrecorded:
    """Training without a clean record: each block sees the noisy ones before it, as they are, and itself."""

    def __init__(self, net: Net, turn: Tensor):
        self.net, self.turn = net, turn

    def __call__(self, query: Query, *, remember: bool = False) -> Answer:
        if remember:
            raise OrderError("a process inside blocks may not remember: its past is the record of the blocks; use Masked, Flow or Energy inside")
        return self.net(replace(query, turn=2 * self.turn + 1, lane=torch.zeros_like(query.turn[:1]).expand(query.turn.shape), pattern="any"))

    def forget(self, turn: Tensor) -> None:
        """Nothing is remembered in training."""

    def fork(self, rows: Tensor) -> Unrecorded:
        return Unrecorded(self.net.fork(rows), self.turn[rows])


class Placed:
    """Generation: the inner process asks as if alone; its places are put at the turn and in the lane of their block."""

    def __init__(self, net: Net, block: int, total: int):
        self.net, self.block, self.total = net, block, total

    def __call__(self, query: Query, *, remember: bool = False) -> Answer:
        if remember:
            raise OrderError("a process inside blocks may not remember: its past is the record of the blocks; use Masked, Flow or Energy inside")
        turn = torch.full_like(query.turn[:1], 2 * self.block).expand(query.turn.shape)
        lane = torch.full_like(query.turn[:1], self.block + 1).expand(query.turn.shape)
        return self.net(replace(query, turn=turn, lane=lane, progress=(self.block + query.progress) / self.total))

    def forget(self, turn: Tensor) -> None:
        """The record stays as it is."""

    def fork(self, rows: Tensor) -> Placed:
        return Placed(self.net.fork(rows), self.block, self.total)


class Blocks(Process[Paving]):
    """The blocks of an order one after another, each generated whole by `inner`, which never knows that it is inside.

    Next-frame diffusion: Along("frame") with Flow. Block diffusion language models (arXiv:2503.09573): BlocksOf(4) with Masked. AR energy models:
    BlocksOf(1) with Energy.
    The price is one more question a block, to remember it clean.
    record "clean": in training every block is there twice, clean for later ones and as the inner process asks about it. "noisy": once, so that later blocks see
    what the inner process asks about (a time a block: diffusion forcing, arXiv:2407.01392; some of them shown clean: FAR, arXiv:2503.19325, section 3.2).
    """

    memory = "kv"

    def __init__(self, space: Space, order: Spec, inner: Spec, codec: Any = None, record: Literal["clean", "noisy"] = "clean"):
        super().__init__()
        if record not in ("clean", "noisy"):
            raise BadArgument(f"the record of a block is 'clean' or 'noisy', not {record!r}")
        self.record = record
        self.order: Order = order.build(space=space)
        self.inner: Process[Any] = inner.build(space=space, codec=codec)
        if self.inner.memory != "nothing":
            raise BadArgument(f"{type(self.inner).__name__} remembers and cannot stand inside Blocks; use Masked, Flow or Energy")
        self.likelihood = self.inner.likelihood  # type: ignore[misc]
        self.second_order = self.inner.second_order  # type: ignore[misc]
        self.sampling = self.inner.sampling or Sampling()

    def _recorded(self, net: Net, tokens: Tokens, rng: Rng) -> Recorded:
        return Recorded(net, tokens, self.order.turns(tokens.coord, rng=rng.split("order")))

    def loss(self, net: Net, tokens: Tokens, *, rng: Rng) -> Losses | tuple[Losses, ...]:
        if self.record == "noisy":
            seen = Unrecorded(net, self.order.turns(tokens.coord, rng=rng.split("order")))
            return self.inner.loss(seen, tokens, rng=rng.split("inner"))
        return self.inner.loss(self._recorded(net, tokens, rng), tokens, rng=rng.split("inner"))

    def bound(self, net: Net, tokens: Tokens, *, rng: Rng) -> Tensor:
        return self.inner.bound(self._recorded(net, tokens, rng), tokens, rng=rng.split("inner"))

    def stepped(self, steps: int) -> Self:
        return self.but(inner=self.inner.stepped(steps))

    def taken(self, blank: Tokens) -> int:
        return len(self.order.sizes(blank.coord)) * (self.inner.steps or 1)

    def asks(self, blank: Tokens) -> list[Ask]:
        asks, seen = [], 0
        for size in self.order.sizes(blank.coord):
            asks += [replace(a, seen=seen, known=None) for a in self.inner.asks(blank.at(slice(seen, seen + size)))]
            if seen + size < blank.length:
                asks.append(Ask(size, seen))  # the finished block, remembered
            seen += size
        return asks

    def init(self, blank: Tokens, *, rng: Rng, given: Tensor | None = None) -> Paving:
        turn = self.order.turns(blank.coord, rng=rng.split("order"))
        return Paving(tokens=blank, turn=turn, spans=_spans(turn), given=given, next=0, **begun(blank))

    def step(self, net: Net, state: Paving, *, rng: Rng) -> Paving:
        """One block: the inner loop, and the record of what it made."""
        block, places = state.next, state.spans[state.next]
        pick = (lambda x: x[:, places]) if isinstance(places, slice) else (lambda x: x.gather(1, places))
        sub = state.tokens.at(places) if isinstance(places, slice) else state.tokens.gather(places)
        given = None if state.given is None else pick(state.given)
        inner = self.inner.but(sampling=self.sampling) if self.inner.sampling else self.inner
        if given is None or not bool(given.all()):
            sub = generate(inner, Placed(net, block, len(state.spans)), sub, rng=rng.split("inner"), given=given)
        last = block + 1 == len(state.spans)
        if not last:
            net(replace(recorded(sub, pick(state.turn), state.progress, self.inner.timed), pattern="full"), remember=True)
        index = torch.arange(places.start, places.stop, device=sub.doc.device)[None].expand(sub.batch, -1) if isinstance(places, slice) else places
        return replace(
            state,
            tokens=state.tokens.put(index, sub),
            next=block + 1,
            at=state.at + 1,
            progress=torch.full_like(state.progress, (block + 1) / len(state.spans)),
            done=torch.full_like(state.done, last),
        )
