"""Whoever answers: the Net protocol, the Block signature, what a block may consult, and what a session remembers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, Protocol

import torch
from torch import Tensor, nn

from .errors import BadArgument
from .order import Pattern
from .query import PRELUDE, Answer, Query, one_row, visible

Place = Literal["modulate", "prefix", "ordered", "cross", "joint", "add", "start", "lead"]


@dataclass(frozen=True)
class Encoded:
    """A condition as the network receives it."""

    tokens: Tensor  # (B, M, D)
    pooled: Tensor  # (B, D)
    coord: Tensor  # (B, M, A)
    doc: Tensor  # (B, M) 0 = said, -1 = padding

    @staticmethod
    def one(pooled: Tensor) -> Encoded:
        """A condition of a single vector (B, D)."""
        row = pooled.shape[0]
        return Encoded(pooled[:, None], pooled, pooled.new_zeros(row, 1, 1), torch.zeros(row, 1, dtype=torch.long, device=pooled.device))


@dataclass(frozen=True)
class Context:
    """All conditions of one conversation, by the place where they enter."""

    batch: int
    modulate: Tensor | None = None  # (B, D) into the modulation, beside time
    add: Tensor | None = None  # (B, D) onto every token; or (B, S D), a vector for each of the network's S stages
    start: Tensor | None = None  # (B, D) onto every hidden token (the token that a sequence starts from)
    prefix: Encoded | None = None  # tokens before the sequence, at turn PRELUDE
    cross: Encoded | None = None  # keys and values of cross-attention
    joint: Encoded | None = None  # a second stream with weights of its own (MM-DiT)
    ordered: bool = False  # what stands before the sequence is read in its order, each token at a turn of its own

    @property
    def before(self) -> Encoded | None:
        """What stands before the sequence."""
        return self.prefix or self.joint

    def prelude(self) -> Tensor:
        """(B, M): the turns of what stands before the sequence."""
        assert self.before is not None
        doc = self.before.doc
        return (torch.arange(-doc.shape[1], 0, device=doc.device) + PRELUDE).expand(doc.shape) if self.ordered else torch.full_like(doc, PRELUDE)

    def rows(self, index: Tensor) -> Context:
        """Some rows, repeated or reordered."""

        def pick(x: Any) -> Any:
            if isinstance(x, Encoded):
                return Encoded(x.tokens[index], x.pooled[index], x.coord[index], x.doc[index])
            return None if x is None else x[index]

        return Context(len(index), *(pick(getattr(self, n)) for n in _PLACES), ordered=self.ordered)

    def added(self, width: int, stage: str, stages: Sequence[str]) -> Tensor | None:
        """What a stage is told onto every token: its own of a vector each, or the one that is for all."""
        if self.add is None or self.add.shape[-1] == width:
            return self.add
        if self.add.shape[-1] != width * len(stages):
            found = f"{self.add.shape[-1]} numbers"
            raise BadArgument(f'a condition placed "add" is a vector of {width}, or as many as the network has stages ({len(stages)}), not {found}')
        return self.add.narrow(-1, stages.index(stage) * width, width)

    @staticmethod
    def stacked(contexts: Sequence[Context]) -> Context | None:
        """The rows of each, one context after another; None where they differ in shape or padding, so that one question cannot be of all."""

        def joined(parts: Sequence[Any]) -> Any:
            if isinstance(parts[0], Encoded):
                return Encoded(*(torch.cat([getattr(p, n) for p in parts]) for n in ("tokens", "pooled", "coord", "doc")))
            return None if parts[0] is None else torch.cat(list(parts))

        def alike(a: Any, b: Any) -> bool:
            if a is None or b is None:
                return a is b
            return torch.equal(a.doc, b.doc) and a.tokens.shape == b.tokens.shape if isinstance(a, Encoded) else a.shape == b.shape

        columns = [[getattr(c, n) for c in contexts] for n in _PLACES]
        if not all(alike(column[0], other) for column in columns for other in column[1:]):
            return None
        return Context(sum(c.batch for c in contexts), *(joined(column) for column in columns), ordered=contexts[0].ordered)


_PLACES = ("modulate", "add", "start", "prefix", "cross", "joint")


_ROOM = 64
"""Places that keys and values are given room for at the least (ours): a sequence grows by single tokens."""


class KV:
    """Keys and values of one attention, preallocated: (B, H, capacity, Dh). Scratch is written behind the record and overwritten by the next question."""

    def __init__(self, capacity: int):
        self.capacity = capacity
        self.key: Tensor | None = None
        self.value: Tensor | None = None

    def write(self, k: Tensor, v: Tensor, used: int) -> tuple[Tensor, Tensor]:
        """Put k, v (B, H, n, Dh) behind the first `used`; everything up to there comes back."""
        num = k.shape[2]
        end = used + num
        if self.key is None or self.key.shape[2] < end or self.key.dtype != k.dtype:
            size = max(self.capacity, _ROOM, end if self.key is None else 2 * end)
            grown = [x.new_empty(*x.shape[:2], size, x.shape[3]) for x in (k, v)]
            if self.key is not None:
                for new, old in zip(grown, (self.key, self.value), strict=True):
                    new[:, :, :used] = old[:, :, :used]
            self.key, self.value = grown
        self.key.narrow(2, used, num).copy_(k)
        self.value.narrow(2, used, num).copy_(v)
        return self.key.narrow(2, 0, end), self.value.narrow(2, 0, end)

    def before(self, k: Tensor, v: Tensor, used: int) -> tuple[Tensor, Tensor]:
        """The first `used` and then k, v, in tensors of their own: nothing is written, so derivatives go through k and v."""
        if not used:
            return k, v
        assert self.key is not None and self.value is not None
        return torch.cat([self.key[:, :, :used], k], 2), torch.cat([self.value[:, :, :used], v], 2)

    def rows(self, index: Tensor) -> KV:
        """A copy of some rows."""
        copy = KV(self.capacity)
        if self.key is not None:
            copy.key, copy.value = self.key[index].clone(), self.value[index].clone()
        return copy


@dataclass
class Record:
    """What one stage of a session has remembered: turn, lane, document of every place, and whatever each block keeps under its own name."""

    used: int = 0
    intact: bool = True  # nothing inside it has been forgotten or padded: a single later turn sees all of it
    prefixed: bool = False  # the prefix of conditions is in it
    blocks: dict[str, Any] = field(default_factory=dict)
    chunks: list[tuple[Tensor, Tensor, Tensor]] = field(default_factory=list)
    last: int = PRELUDE  # the highest turn in it, where somebody watches over the turns

    def extend(self, turn: Tensor, lane: Tensor, doc: Tensor) -> None:
        """These places are remembered now."""
        self.chunks.append((turn, lane, doc))
        self.used += turn.shape[1]
        self.intact = self.intact and (doc.stride(0) == 0 or bool((doc >= 0).all()))

    def rows(self, index: Tensor) -> Record:
        """A copy of some rows."""
        pick = lambda x: y if (y := one_row(x)).shape[0] == 1 else x[index]  # noqa: E731
        blocks = {name: kept.rows(index) for name, kept in self.blocks.items()}
        return Record(self.used, self.intact, self.prefixed, blocks, [tuple(pick(x) for x in chunk) for chunk in self.chunks], self.last)  # type: ignore[misc]

    def ledger(self) -> tuple[Tensor, Tensor, Tensor] | None:
        """Turn, lane, document of everything remembered, (B or 1, N) each; joined when somebody needs them."""
        if len(self.chunks) > 1:
            joined = []
            for column in zip(*self.chunks, strict=True):
                each = [one_row(x) for x in column]
                rows = max(x.shape[0] for x in each)
                joined.append(torch.cat([x.expand(rows, -1) for x in each], 1))
            self.chunks = [tuple(joined)]  # type: ignore[list-item]
        return tuple(one_row(x) for x in self.chunks[0]) if self.chunks else None  # type: ignore[return-value]


@dataclass
class Env:
    """All that a block may consult besides its stream."""

    coord: Tensor  # (B, L, A)
    kind: Tensor  # (B, L)
    turn: Tensor
    lane: Tensor
    doc: Tensor
    known: Tensor  # (B, L) bool
    modulation: Tensor | None  # (B, 1 or L, D) time and pooled conditions
    context: Context
    record: Record | None  # this session's memory of this stage; None when nothing is remembered
    remember: bool
    progress: Tensor  # (B,)
    pattern: Pattern
    mask: Tensor | None  # (B or 1, 1, Lq, Lk) bool where the pattern needs one
    prefix: int = 0  # how many of the L are the prefix of conditions
    time: Tensor | None = None  # (B, 1 or L, D) the time alone, without pooled conditions
    clock: Callable[[Tensor], Tensor] | None = None  # from noise levels (B, n) to such vectors (B, n, D)
    rotation: Tensor | None = None  # of a stack with rotary positions, for all its blocks
    relative: Any = None  # of a stack with a relative bias: coordinates of queries and of keys -> (B or 1, H, Lq, Lk)
    ids: Tensor | None = None  # (B, L, Q) what each place is fed; zeros at the prefix; None where nothing is discrete
    kept: dict[str, Any] | None = None  # by block, what it kept of the last answer of this conversation; None where nothing is kept
    taps: dict[str, Tensor] = field(default_factory=dict)
    wanted: frozenset[str] = frozenset()
    dues: dict[str, Tensor] = field(default_factory=dict)

    def due(self, name: str, value: Tensor) -> None:
        """Add to the loss that the backbone itself asks for."""
        self.dues[name] = self.dues[name] + value if name in self.dues else value


def alone(rows: int, length: int, device: Any = None, *, real: Tensor | None = None, causal: bool = False) -> Env:
    """What blocks consult outside of any session: each row is a document of places 0, 1, ..., one turn or (causal) a turn a place. real (B, L): padding is
    False, and seen by nobody else."""
    place = torch.arange(length, device=device)
    zero = torch.zeros_like(place).expand(rows, -1)
    turn = place.expand(rows, -1) if causal else zero
    doc = zero if real is None or bool(real.all()) else torch.where(real, 0, -1)
    pattern: Pattern = "any" if doc is not zero else "causal" if causal else "full"
    return Env(
        coord=place.float()[None, :, None].expand(rows, -1, -1),
        kind=zero,
        turn=turn,
        lane=zero,
        doc=doc,
        known=zero == 0,
        modulation=None,
        context=Context(rows),
        record=None,
        remember=False,
        progress=torch.ones(rows, device=device),
        pattern=pattern,
        mask=visible(turn, zero, doc)[:, None] if pattern == "any" else None,
    )


class Block(nn.Module, ABC):
    """Stream in, stream out. A backbone is a Block; so is a wrapped, cached, merged or routed one."""

    name: str = ""
    """Where it stands in its network, which says so; what it remembers is kept under this name."""
    plain: bool = False
    """Whether attention is done by elementary operations; set by the network for processes that take derivatives of derivatives."""
    uneven: ClassVar[bool] = False
    """Whether a remembered place costs more or less by where it lies: hierarchies, spans."""
    steady: ClassVar[bool] = False
    """Whether its memory, and the cost of one more token, do not grow."""
    undecayed: ClassVar[tuple[str, ...]] = ()
    """Names of its own matrices that weight decay leaves alone."""

    @abstractmethod
    def forward(self, x: Tensor, env: Env) -> Tensor:
        """(B, L, D) -> (B, L, D)."""


class Net(Protocol):
    """Anything that answers: a session of a network, a guided pair, a teacher, an oracle in a test."""

    def __call__(self, query: Query, *, remember: bool = False) -> Answer: ...

    def forget(self, turn: Tensor) -> None:
        """Drop what is remembered at this turn (B,) and above: rejected drafts."""

    def fork(self, rows: Tensor) -> Net:
        """Duplicate or reorder rows (B',): beams, best of n."""


MemoryPolicy = Literal["nothing", "recall", "kv", "last"]
"""nothing: every question stands alone. recall: remembered questions are asked again in full (the executable definition). kv: exact caches.
last: blocks keep what they will of the last remembered answer and read it in the next (Disentangled): no cache, it changes what is said."""


def parameters_of(modules: Mapping[str, nn.Module]) -> int:
    """How many numbers are learned in all of them, shared ones once."""
    return sum(p.numel() for p in {id(p): p for m in modules.values() for p in m.parameters()}.values())
