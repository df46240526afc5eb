"""What is said: tokens, and the space they come from."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from .errors import ShapeError


def _picked(x: Tensor, index: Tensor) -> Tensor:
    """x (B, L, ...) at index (B, n) along L."""
    return x.gather(1, index.reshape(index.shape + (1,) * (x.dim() - 2)).expand(*index.shape, *x.shape[2:]))


def in_every_row(row: Tensor, rows: int) -> Tensor:
    """(...) -> (rows, ...), known to be shared: stride 0 along the rows, even of one."""
    return row.as_strided((rows, *row.shape), (0, *row.stride()))


@dataclass(frozen=True, slots=True)
class Tokens:
    """What each token says, where it sits, which kind and which document it belongs to.

    A tensor that is the same for every row may be an expanded view (stride 0 along B): parts that make masks and tables look at one row then.
    """

    ids: Tensor | None  # (B, L, Q) long   codebook indices; None when nothing is discrete
    vec: Tensor | None  # (B, L, C) float  continuous content, unit variance; None when nothing is continuous
    coord: Tensor  # (B, L, A) float  place along each axis of the space
    kind: Tensor  # (B, L) long      segment type; 0 in a system of one kind
    doc: Tensor  # (B, L) long      document within a packed row; -1 is padding

    @property
    def batch(self) -> int:
        return self.doc.shape[0]

    @property
    def length(self) -> int:
        return self.doc.shape[1]

    @property
    def real(self) -> Tensor:
        """(B, L) bool: not padding."""
        return self.doc >= 0

    def _mapped(self, change: Any) -> Tokens:
        return Tokens(*(None if x is None else change(x) for x in (self.ids, self.vec, self.coord, self.kind, self.doc)))

    def at(self, places: slice) -> Tokens:
        """Some places, the same in every row."""
        return self._mapped(lambda x: x[:, places])

    def gather(self, index: Tensor) -> Tokens:
        """Places index (B, n), chosen row by row."""
        return self._mapped(lambda x: _picked(x, index))

    def rows(self, index: Tensor) -> Tokens:
        """Some rows, repeated or reordered."""
        return self._mapped(lambda x: x[index])

    def plain(self) -> Tokens:
        """The same in tensors that gradients may go through, wherever they were made in torch's inference mode."""
        return self._mapped(lambda x: x.clone() if x.is_inference() else x)

    def to(self, device: Any) -> Tokens:
        return self._mapped(lambda x: x.to(device))

    def put(self, places: slice | Tensor, content: Any) -> Tokens:
        """The same tokens with other content at a slice, or at (B, n) row by row."""

        def written(mine: Tensor | None, new: Tensor | None) -> Tensor | None:
            if mine is None or new is None:
                return mine
            if isinstance(places, slice):
                return mine.slice_scatter(new if new.dtype == mine.dtype else new.to(mine.dtype), 1, places.start, places.stop)
            return mine.scatter(1, places.unsqueeze(-1).expand(-1, -1, mine.shape[-1]), new.to(mine.dtype))

        return Tokens(written(self.ids, content.ids), written(self.vec, content.vec), self.coord, self.kind, self.doc)

    def where(self, keep: Tensor, other: Any) -> Tokens:
        """My content where keep (B, L), else the other's."""

        def chosen(mine: Tensor | None, new: Tensor | None) -> Tensor | None:
            return mine if mine is None or new is None else torch.where(keep.unsqueeze(-1), mine, new.to(mine.dtype))

        return replace(self, ids=chosen(self.ids, other.ids), vec=chosen(self.vec, other.vec))

    @staticmethod
    def join(parts: Sequence[Tokens]) -> Tokens:
        """One after another along L."""

        def joined(name: str) -> Tensor | None:
            values = [getattr(p, name) for p in parts]
            return None if any(v is None for v in values) else torch.cat(values, 1)

        return Tokens(*(joined(n) for n in ("ids", "vec", "coord", "kind", "doc")))  # type: ignore[arg-type]


@dataclass(frozen=True)
class Axis:
    """A direction along which tokens lie. size is the largest extent."""

    name: str  # "time", "y", "x", "scale", "book", "frame", "atom"
    size: int
    unit: str = "token"  # "s", "px", "angstrom"


@dataclass(frozen=True)
class Space:
    """What a codec promises: what a token may say and along which axes tokens lie. Embedding and head are chosen from it."""

    axes: tuple[Axis, ...]
    vocab: tuple[int, ...] = ()  # one size a codebook
    bits: int = 0  # binary codes: each id is that many bits
    channels: int = 0  # continuous; vocab and channels together make a joint token
    stop: int | None = None  # the id that ends an open-ended sequence
    start: int | None = None  # the id that a sequence is said to begin after; None: nothing precedes the first
    open: bool = False  # the first axis may be shorter than its size
    parts: tuple[Space, ...] = ()  # spaces of several kinds, one after another along a single axis: a token of kind i says what parts[i] says
    coord: Tensor | None = field(default=None, compare=False, repr=False)  # (L, A) where the places are not the full grid (a pyramid)

    @property
    def places(self) -> Tensor:
        """(L, A) float: every place, in raster order."""
        if self.coord is not None:
            return self.coord
        grid = torch.meshgrid(*(torch.arange(a.size, device="cpu") for a in self.axes), indexing="ij")
        return torch.stack(grid, -1).reshape(-1, len(self.axes)).to(torch.float32)

    @property
    def length(self) -> int:
        """How many tokens an example has at the most."""
        return len(self.coord) if self.coord is not None else math.prod(a.size for a in self.axes)

    @property
    def segments(self) -> tuple[slice, ...]:
        """The places of each part."""
        ends = [0]
        for part in self.parts:
            ends.append(ends[-1] + part.length)
        return tuple(slice(a, b) for a, b in zip(ends[:-1], ends[1:], strict=True))

    def axis(self, name: str) -> int:
        """The number of an axis."""
        names = [a.name for a in self.axes]
        if name not in names:
            raise ShapeError(f"there is no axis {name!r} here; the axes are {', '.join(names)}")
        return names.index(name)

    def index(self) -> Tensor:
        """(product of axis sizes,) long: which token, in raster order, sits at a ravelled whole-numbered place; -1 where none does."""
        table = torch.full((math.prod(a.size for a in self.axes),), -1, dtype=torch.long, device="cpu")
        table[self.ravel(self.places)] = torch.arange(self.length, device="cpu")
        return table

    def ravel(self, coord: Tensor) -> Tensor:
        """(..., A) -> (...) long: the number of a place in the full grid."""
        number: Tensor | None = None
        for i, a in enumerate(self.axes):
            here = coord[..., i].long().clamp(0, a.size - 1)
            number = here if number is None else number * a.size + here
        assert number is not None
        return number

    def blank(self, batch: int, extent: Mapping[str, int] | None = None, *, device: Any = None) -> Tokens:
        """Tokens that say nothing yet; extent shortens an open axis."""
        space = self
        if extent:
            if not self.open or set(extent) != {self.axes[0].name}:
                raise ShapeError(f"only an open first axis can be given an extent; the axes are {', '.join(a.name for a in self.axes)}")
            first = self.axes[0]
            if not 0 < extent[first.name] <= first.size:
                raise ShapeError(f"axis {first.name} holds 1 to {first.size} places, not {extent[first.name]}")
            space = replace(self, axes=(replace(first, size=extent[first.name]), *self.axes[1:]))
        coord = space.places.to(device)
        shape = (batch, len(coord))
        books = 1 if self.bits else len(self.vocab)
        zero = in_every_row(torch.zeros(len(coord), dtype=torch.long, device=device), batch)
        kind = zero
        if self.parts:
            row = torch.cat([torch.full((part.length,), i, dtype=torch.long, device="cpu") for i, part in enumerate(self.parts)])
            kind = in_every_row(row.to(device), batch)
        return Tokens(
            ids=torch.zeros((*shape, books), dtype=torch.long, device=device) if books else None,
            vec=torch.zeros((*shape, self.channels), device=device) if self.channels else None,
            coord=in_every_row(coord, batch),
            kind=kind,
            doc=zero,
        )
