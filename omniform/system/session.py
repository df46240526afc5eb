"""Conversations with a network: what a session asks, and all that it remembers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any, get_args

import torch
from torch import Tensor

from ..core.errors import BadArgument, LaneError, TurnError, nearest
from ..core.net import Context, Encoded, Env, MemoryPolicy, Net, Record
from ..core.query import PRELUDE, Answer, Query, one_row, visible

if TYPE_CHECKING:
    from .network import Network, Tower


def _table_of(coord: Tensor) -> Tensor | None:
    """(N, A): the table that coord (B, L, A) shows a run of, the same in every row; None where it is no such view."""
    every = coord._base
    if every is None or every.dim() != 2 or not every.is_contiguous() or coord.stride() != (0, every.shape[1], 1) or coord.shape[2] != every.shape[1]:
        return None
    return every


def _range(x: Tensor) -> tuple[int, int]:
    """The lowest and the highest of whole numbers."""
    row = one_row(x)
    if row.numel() == 1:
        return (one := int(row), one)
    low, high = row.aminmax()
    return int(low), int(high)


def _last_turn(turn: Tensor, doc: Tensor) -> int:
    """The highest turn of a place that is not padding."""
    return int(torch.where(doc >= 0, turn, PRELUDE).amax())


def _not_after(query: Query, past: tuple[Tensor, Tensor, Tensor] | None) -> bool:
    """Whether some row would remember a real place that does not come after all of that row's past."""
    if past is None:
        return False
    turn, _, doc = past
    latest = torch.where(doc >= 0, turn, PRELUDE).amax(1)
    soonest = torch.where(query.tokens.doc >= 0, query.turn, torch.iinfo(torch.long).max).amin(1)
    return bool(((latest > PRELUDE) & (soonest <= latest)).any())


class Session:
    """One open conversation. It owns everything that is remembered; the network itself remembers nothing."""

    def __init__(self, network: Network, context: Context, policy: MemoryPolicy, taps: frozenset[str]):
        if policy not in get_args(MemoryPolicy):
            raise BadArgument(f"a session remembers 'nothing', by 'recall', by 'kv' or its 'last' answer, not {policy!r}")
        if context.prefix is not None and context.joint is not None:
            raise BadArgument('conditions are placed "prefix" or "joint", not some so and some so: both stand before the sequence')
        self.network, self.context, self.policy, self.taps = network, context, policy, taps
        self.towers: dict[str, Any] = dict(network.towers.items())
        self.records: dict[str, Record] = {}
        self.recalled: dict[str, Query] = {}
        self.placed: dict[str, tuple[Tensor, list[Tensor]]] = {}
        self.kept: dict[str, dict[str, Any]] = {}

    def __call__(self, query: Query, *, remember: bool = False) -> Answer:
        if query.stage not in self.towers:
            raise BadArgument(f"this network has no stage {query.stage!r}; {nearest(query.stage, self.towers)}")
        if self.policy in ("nothing", "last"):
            return self._ask(query, None, remember and self.policy == "last")
        if self.policy == "kv":
            record = self.records.setdefault(query.stage, Record())
            if remember and not query.turn.is_cuda:  # a check would wait for the device at every question
                last = self._checked(query, record.last, record.ledger)
                answer = self._ask(query, record, True)
                record.last = last
                return answer
            return self._ask(query, record, remember)
        past = self.recalled.get(query.stage)
        if remember and not query.turn.is_cuda:
            earlier = None if past is None else (past.turn, past.lane, past.tokens.doc)
            self._checked(query, PRELUDE if past is None else _last_turn(past.turn, past.tokens.doc), lambda: earlier)
        whole = query if past is None else query.after(past)
        answer = self._ask(whole, None, False)
        if remember:
            self.recalled[query.stage] = whole
        if past is None:
            return answer
        places = slice(past.tokens.length, None)
        return Answer(answer.distribution.at(places), {k: v[:, places] for k, v in answer.taps.items()}, answer.dues)

    @staticmethod
    def _checked(query: Query, last: int, ledger: Callable[[], tuple[Tensor, Tensor, Tensor] | None]) -> int:
        """The highest turn of what will be remembered, `last` being that of what is. Rows may be at different turns; each comes after its own past."""
        if _range(query.lane) != (0, 0):
            raise LaneError("scratch lanes cannot be remembered: ask the finished tokens again in lane 0 with remember=True")
        low, high = _range(query.turn)
        if PRELUDE < last >= low and _not_after(query, ledger()):
            raise TurnError(
                f"a remembered token must come after everything remembered before it (turn {last}), not at turn {low}; "
                "give the question a later turn, or forget first"
            )
        doc = query.tokens.doc
        return max(last, high if doc.stride(0) == 0 else _last_turn(query.turn, doc))

    def _ask(self, query: Query, record: Record | None, remember: bool) -> Answer:
        tower = self.towers[query.stage]
        told = self.network.told
        context = self.context if told is None or query.stage in told else Context(self.context.batch)
        prefix = context.before
        if prefix is not None and record is not None and not record.prefixed:
            if not bool((query.turn == PRELUDE).all()):
                self._recite(tower, prefix, query, record)
            elif remember:
                record.prefixed = True
        if record is not None and record.prefixed and record.used:
            prefix = None
        x = tower.embed(query, context.start, context.added(self.network.width, query.stage, list(self.towers)), self._places(query, tower))
        tokens = query.tokens
        coord, kind, turn, lane, doc, known, front = tokens.coord, tokens.kind, query.turn, query.lane, tokens.doc, query.known, 0
        ids = tokens.ids
        if prefix is not None:
            front = prefix.tokens.shape[1]
            x = torch.cat([tower.embed.ahead(prefix.tokens).to(x.dtype), x], 1)
            before = prefix.doc
            coord = torch.cat([coord.new_zeros(coord.shape[0], front, coord.shape[2]), coord], 1)
            kind, doc = torch.cat([torch.zeros_like(before), kind], 1), torch.cat([before, doc], 1)
            turn, lane = torch.cat([context.prelude(), turn], 1), torch.cat([torch.zeros_like(before), lane], 1)
            known = torch.cat([torch.ones_like(before, dtype=torch.bool), known], 1)
            ids = None if ids is None else torch.cat([ids.new_zeros(ids.shape[0], front, ids.shape[2]), ids], 1)
        pattern, mask = self._visibility(query, turn, lane, doc, record, prefix, context.ordered)
        time = self.network.timed(query, front)
        env = Env(
            coord=coord,
            kind=kind,
            turn=turn,
            lane=lane,
            doc=doc,
            known=known,
            modulation=self.network.modulation(time, context),
            time=time,
            clock=self.network.time,
            context=context,
            record=record,
            remember=remember,
            progress=query.progress,
            pattern=pattern,
            mask=mask,
            prefix=front,
            wanted=self.taps,
            ids=ids,
            kept=self.kept.setdefault(query.stage, {}) if self.policy == "last" else None,
        )
        h = tower.backbone(x, env)
        if record is not None and remember:
            record.extend(turn, lane, doc)
        if not front:
            return Answer(tower.head(h), env.taps, env.dues)
        return Answer(tower.head(h[:, front:]), {k: v[:, front:] for k, v in env.taps.items()}, env.dues)

    def _places(self, query: Query, tower: Tower) -> list[Tensor] | None:
        """What the embedding adds for where tokens lie, made once while the same places are asked about."""
        if torch.is_grad_enabled():
            return None
        coord = query.tokens.coord
        every = _table_of(coord)  # all places of the sample, where these are a run of them
        whole = coord if every is None else every
        seen = self.placed.get(query.stage)
        if seen is None or seen[0] is not whole:
            seen = self.placed[query.stage] = (whole, tower.embed.places(whole if every is None else every[None]))
        if every is None or coord.shape[1] == every.shape[0]:
            return seen[1]
        first = (coord.storage_offset() - every.storage_offset()) // every.shape[1]
        return [x.narrow(1, first, coord.shape[1]) for x in seen[1]]

    def _visibility(
        self, query: Query, turn: Tensor, lane: Tensor, doc: Tensor, record: Record | None, prefix: Encoded | None, ordered: bool
    ) -> tuple[str, Tensor | None]:
        """The kernel's pattern and mask: a promise where it holds, else the dense rule."""
        used = 0 if record is None else record.used
        intact = record is None or record.intact
        plain = prefix is None or (
            (ordered or prefix.doc.shape[1] == 1 if query.pattern == "causal" else not ordered and bool((one_row(query.turn) == PRELUDE).all()))
            and bool((prefix.doc >= 0).all())
        )
        if intact and plain:
            if query.pattern == "full" or (query.pattern == "causal" and query.tokens.length == 1 and prefix is None):
                return "full", None
            if query.pattern == "causal" and not used:
                return "causal", None
        past = None if record is None else record.ledger()
        return "any", visible(turn, lane, doc, past)[:, None]

    def _recite(self, tower: Tower, prefix: Encoded, query: Query, record: Record) -> None:
        """Remember the prefix, before a first question that is not one with it."""
        rows, length = prefix.doc.shape
        turn, zero = self.context.prelude(), torch.zeros_like(prefix.doc)
        whole = bool((prefix.doc >= 0).all())
        mask = None if whole else visible(turn, zero, prefix.doc)[:, None]
        alone = None if query.time is None else query.time.new_ones(rows, length)
        time = None if alone is None or self.network.time is None else self.network.time(alone)
        env = Env(
            coord=query.tokens.coord.new_zeros(rows, length, query.tokens.coord.shape[2]),
            kind=zero,
            turn=turn,
            lane=zero,
            doc=prefix.doc,
            known=torch.ones_like(zero, dtype=torch.bool),
            modulation=self.network.modulation(time, self.context),
            time=time,
            clock=self.network.time,
            context=self.context,
            record=record,
            remember=True,
            progress=query.progress,
            pattern=("causal" if self.context.ordered else "full") if whole else "any",
            mask=mask,
            prefix=length,
            wanted=frozenset(),
        )
        with torch.no_grad():  # what is remembered is not differentiated through
            tower.backbone(tower.embed.ahead(prefix.tokens), env)
        record.extend(turn, zero, prefix.doc)
        record.prefixed = True

    def forget(self, turn: Tensor) -> None:
        self.kept.clear()
        for record in self.records.values():
            ledger = record.ledger()
            if ledger is None:
                continue
            rows = turn.shape[0]
            turns, lanes, docs = (x.expand(rows, -1) for x in ledger)
            gone = turns.clamp(min=PRELUDE) >= turn[:, None]  # a prefix is forgotten as a whole
            kept = int((~gone).any(0).nonzero().max()) + 1 if bool((~gone).any()) else 0
            docs = torch.where(gone, -1, docs)[:, :kept]
            record.intact = record.intact and not bool(gone[:, :kept].any())
            record.chunks = [(turns[:, :kept], lanes[:, :kept], docs)] if kept else []
            record.used = kept
            record.last = _last_turn(turns[:, :kept], docs) if kept else PRELUDE
            record.prefixed = record.prefixed and kept > 0
        for stage, past in list(self.recalled.items()):
            gone = past.turn >= turn[:, None]
            tokens = past.tokens
            doc = torch.where(gone, -1, tokens.doc)
            self.recalled[stage] = replace(past, tokens=replace(tokens, doc=doc))

    def fork(self, rows: Tensor) -> Net:
        other = Session(self.network, self.context.rows(rows), self.policy, self.taps)
        for stage, record in self.records.items():
            other.records[stage] = record.rows(rows)
        other.kept = {stage: {name: part.rows(rows) for name, part in kept.items()} for stage, kept in self.kept.items()}
        for stage, past in self.recalled.items():
            pick = lambda x: None if x is None else x[rows]  # noqa: E731
            other.recalled[stage] = replace(
                past,
                tokens=past.tokens.rows(rows),
                known=pick(past.known),
                turn=pick(past.turn),
                lane=pick(past.lane),
                time=pick(past.time),
                aim=pick(past.aim),
                progress=pick(past.progress),
            )
        return other
