"""What a slot of an autoregressive question is fed: something of strictly lower turn."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import replace
from functools import cached_property
from typing import Any, Literal

import torch
from torch import Tensor

from ..core.codec import Codec
from ..core.distribution import Content
from ..core.errors import BadArgument
from ..core.order import Order
from ..core.tokens import Space, Tokens, in_every_row


class Feed(ABC):
    """Gives each slot its input. A slot's feed must not depend on tokens of its own turn or a later one (a contract test perturbs them)."""

    skips = 0
    """How many first turns are never asked: what they say is given."""

    @abstractmethod
    def plan(self, tokens: Tokens, turn: Tensor, order: Order) -> Any:
        """Whatever depends on the order alone, made once a sample."""

    @abstractmethod
    def fed(self, tokens: Tokens, plan: Any, places: slice | Tensor) -> tuple[Tokens, Tensor]:
        """Fed tokens of the slots at these places, and which of them are known."""


def taken(x: Tensor, places: slice | Tensor) -> Tensor:
    """x (B, L, ...) at a slice, or at (B, n) row by row."""
    if isinstance(places, slice):
        return x[:, places]
    return x.gather(1, places.reshape(places.shape + (1,) * (x.dim() - 2)).expand(*places.shape, *x.shape[2:]))


class Shift(Feed):
    """The last token of strictly lower turn, on the same line of an axis where `along` names one (MusicGen: each slot its own codebook's past).

    own_place: the fed token keeps its own coordinate (random orders, with the answer's place as aim), else it is told the slot's.
    A first slot is fed the space's start token, or is hidden (the mask vector, plus whatever condition is placed "start"); or, first "given", it is not
    asked: a sequence in its order always has its first token (a text model's prompt), costs nothing for it, and feeds each token at its own place.
    """

    def __init__(self, space: Space, along: str | None = None, own_place: bool = False, first: Literal["fed", "given"] = "fed"):
        if first not in ("fed", "given"):
            raise BadArgument(f"the first token is 'fed' something or 'given', not {first!r}")
        self.start = space.start
        self.along = None if along is None else space.axis(along)
        self.own_place = own_place
        self.skips = int(first == "given")

    def plan(self, tokens: Tokens, turn: Tensor, order: Order) -> Tensor | _Line:
        """(B, L) the place each slot is fed from, -1 for a first; where each is fed from the place before it, the line that they are."""
        if self.skips and (order.pattern != "causal" or self.along is not None):
            raise BadArgument("a first token can be given where tokens are asked in the order of their places (Raster), along no axis")
        if order.pattern == "causal" and self.skips:
            coord = tokens.coord[:1] if tokens.coord.stride(0) == 0 else tokens.coord
            coord = torch.cat([coord[:, :1], coord[:, :-1]], 1).expand(turn.shape[0], -1, -1)
            return _Line(replace(tokens, coord=coord), in_every_row(torch.ones(turn.shape[1], dtype=torch.bool, device=turn.device), turn.shape[0]))
        if order.pattern == "causal" and not self.own_place:
            fed = torch.ones(turn.shape[1], dtype=torch.bool, device=turn.device)
            fed[0] = self.start is not None and tokens.ids is not None
            return _Line(tokens, in_every_row(fed, turn.shape[0]))
        if order.pattern == "causal":
            return torch.arange(-1, turn.shape[1] - 1, device=turn.device)[None].expand(turn.shape[0], -1)
        one = turn[:1] if turn.stride(0) == 0 else turn
        slot = torch.arange(turn.shape[1], device=turn.device)
        lower = one[:, None, :] < one[:, :, None]
        if self.along is not None:
            line = tokens.coord[: one.shape[0], :, self.along]
            lower = lower & (line[:, None, :] == line[:, :, None])
        rank = torch.where(lower, one[:, None, :] * turn.shape[1] + slot, -1)
        best, place = rank.max(-1)
        return torch.where(best >= 0, place, -1).expand(turn.shape[0], -1)

    def fed(self, tokens: Tokens, plan: Tensor | _Line, places: slice | Tensor) -> tuple[Tokens, Tensor]:
        if isinstance(plan, _Line):
            assert isinstance(places, slice)  # what lies in its order is asked in runs
            first, last, _ = places.indices(tokens.length)
            coord, kind, doc, known = plan.slots[first] if last == first + 1 else (x[:, first:last] for x in plan.columns)
            return Tokens(self._before(tokens.ids, first, last, self.start), self._before(tokens.vec, first, last), coord, kind, doc), known
        source = taken(plan, places)
        known = source >= 0
        said = tokens.gather(source.clamp(min=0))
        if not self.own_place:
            said = replace(said, coord=taken(tokens.coord, places), kind=taken(tokens.kind, places), doc=taken(tokens.doc, places))
        if self.start is not None and said.ids is not None:
            said = replace(said, ids=torch.where(known[..., None], said.ids, self.start))
            known = torch.ones_like(known)
        else:  # a first slot is fed nothing, not even where an embedding knows no hidden tokens
            said = said.where(known, Content(*(None if x is None else torch.zeros_like(x) for x in (said.ids, said.vec))))
        return said, known

    @staticmethod
    def _before(x: Tensor | None, first: int, last: int, begin: int | None = None) -> Tensor | None:
        """What the slots from first to last are fed, each from the place before it."""
        if x is None or first > 0:
            return x if x is None else x.narrow(1, first - 1, last - first)
        return torch.cat([x.new_full((x.shape[0], 1, x.shape[2]), begin or 0), x[:, : last - 1]], 1)


class _Line:
    """Slots in the order of their places. columns: coord, kind, doc, and which slots are fed something; slots: the same of each, cut at once when asked for
    one by one."""

    def __init__(self, tokens: Tokens, fed: Tensor):
        self.columns = (tokens.coord, tokens.kind, tokens.doc, fed)

    @cached_property
    def slots(self) -> tuple[tuple[Tensor, Tensor, Tensor, Tensor], ...]:
        return tuple(zip(*(x.split(1, 1) for x in self.columns), strict=True))


class PyramidFeed(Feed):
    """Each slot of a scale is fed the sum of all coarser scales, resized to it (VAR, arXiv:2404.02905, section 3.2). It is given the codec's `context`."""

    def __init__(self, codec: Codec):
        context = getattr(codec, "context", None)
        if context is None:
            raise BadArgument(f"PyramidFeed needs a codec with scales and a context, such as an Autoencoder with a Pyramid, not {type(codec).__name__}")
        self.context = context

    def plan(self, tokens: Tokens, turn: Tensor, order: Order) -> Tensor:
        return turn > 0

    def fed(self, tokens: Tokens, plan: Tensor, places: slice | Tensor) -> tuple[Tokens, Tensor]:
        vec = taken(self.context(tokens), places)
        here = tokens.at(places) if isinstance(places, slice) else tokens.gather(places)
        return replace(here, ids=None, vec=vec), taken(plan, places)
