"""Which of their tensors is which of ours: a table that is one-to-one and complete, and is read in both directions.

A tie says how one of our tensors is made of theirs, and how theirs are made of ours. Because the way back is part of it, their shapes follow from ours, so that
a file can be refused by its header, before a byte of it is read; and the same table exports.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ..core.errors import CheckpointError


@dataclass(frozen=True)
class Tie:
    """ours: a name. theirs: the names that it is made of. there: their tensors -> ours. back: ours -> theirs, in that order."""

    ours: str
    theirs: tuple[str, ...]
    there: Callable[[Sequence[Tensor]], Tensor]
    back: Callable[[Tensor], Sequence[Tensor]]

    def then(self, there: Callable[[Tensor], Tensor], back: Callable[[Tensor], Tensor]) -> Tie:
        """The same with a change after it (and undone before the way back)."""
        return Tie(self.ours, self.theirs, lambda xs: there(self.there(xs)), lambda x: self.back(back(x)))

    def ordered(self, order: Tensor) -> Tie:
        """The same with rows in another order: ours[i] is what ours[order[i]] was."""
        inverse = order.argsort()
        return self.then(lambda x: x.index_select(0, order.to(x.device)), lambda x: x.index_select(0, inverse.to(x.device)))


def same(ours: str, theirs: str) -> Tie:
    """The very tensor."""
    return Tie(ours, (theirs,), lambda xs: xs[0], lambda x: (x,))


def transposed(ours: str, theirs: str) -> Tie:
    """A matrix that they write with inputs first (GPT-2's Conv1D)."""
    return Tie(ours, (theirs,), lambda xs: xs[0].T, lambda x: (x.T,))


def shaped(ours: str, theirs: str, mine: Sequence[int], their: Sequence[int]) -> Tie:
    """The same numbers in the same order under another shape (a convolution whose stride is its size is a linear map)."""
    return Tie(ours, (theirs,), lambda xs: xs[0].reshape(tuple(mine)), lambda x: (x.reshape(tuple(their)),))


def joined(ours: str, theirs: Sequence[str], sizes: Sequence[int] | None = None, dim: int = 0) -> Tie:
    """Several of theirs, one after the other along dim: queries, keys and values. sizes: of each; equal ones where None."""

    def back(x: Tensor) -> Sequence[Tensor]:
        return x.chunk(len(theirs), dim) if sizes is None else x.split(list(sizes), dim)

    return Tie(ours, tuple(theirs), lambda xs: torch.cat(list(xs), dim), back)


def permuted(ours: str, theirs: str, view: Sequence[int], order: Sequence[int], mine: Sequence[int], their: Sequence[int]) -> Tie:
    """Theirs seen as `view`, its axes in another order, in our shape."""
    inverse = [list(order).index(i) for i in range(len(order))]
    turned = [view[i] for i in order]
    return Tie(
        ours,
        (theirs,),
        lambda xs: xs[0].reshape(tuple(view)).permute(*order).reshape(tuple(mine)),
        lambda x: (x.reshape(turned).permute(*inverse).reshape(tuple(their)),),
    )


def copied(ours: str, theirs: Sequence[str]) -> Tie:
    """One tensor that they write down several times; copies that differ are refused."""

    def there(xs: Sequence[Tensor]) -> Tensor:
        for name, x in zip(theirs, xs, strict=True):
            if not torch.equal(x, xs[0]):
                raise CheckpointError(f"{name!r} differs from {theirs[0]!r}, and they are one here; this checkpoint was trained with each its own")
        return xs[0]

    return Tie(ours, tuple(theirs), there, lambda x: (x,) * len(theirs))


def reordered(ours: str, theirs: str, order: Tensor, dim: int = 0) -> Tie:
    """ours[i] = theirs[order[i]] along dim."""
    inverse = order.argsort()
    return Tie(ours, (theirs,), lambda xs: xs[0].index_select(dim, order.to(xs[0].device)), lambda x: (x.index_select(dim, inverse.to(x.device)),))


def linear(ours: str, theirs: str, bias: bool = True) -> list[Tie]:
    """A linear map, or a norm with weights."""
    return [same(f"{ours}.{x}", f"{theirs}.{x}") for x in ("weight", *(["bias"] if bias else []))]


def fused(ours: str, theirs: Sequence[str], bias: bool = True) -> list[Tie]:
    """Linear maps of the same width in one."""
    return [joined(f"{ours}.{x}", [f"{name}.{x}" for name in theirs]) for x in ("weight", *(["bias"] if bias else []))]


def negated(ties: Iterable[Tie]) -> list[Tie]:
    """The last map of a flow: their velocity is from the data to the noise, ours from the noise to the data."""
    return [tie.then(torch.neg, torch.neg) for tie in ties]


def turned(ours: str, theirs: str, width: int) -> list[Tie]:
    """A map to scale and shift, which is to shift and scale here."""
    swap = lambda x: torch.cat([x[width:], x[:width]])  # noqa: E731
    return [same(f"{ours}.{x}", f"{theirs}.{x}").then(swap, swap) for x in ("weight", "bias")]


def layers(num: int, ties: Callable[[int], Iterable[Tie]]) -> list[Tie]:
    """The ties of each of `num` blocks."""
    return [tie for number in range(num) for tie in ties(number)]


@dataclass(frozen=True)
class Cut:
    """One of their tensors that holds several things, in order along dim: ties speak of its pieces, by names that no checkpoint has."""

    theirs: str
    pieces: tuple[str, ...]
    sizes: tuple[int, ...]
    dim: int = 0

    def taken(self, whole: Tensor, piece: str) -> Tensor:
        """One piece of it."""
        return whole.split(list(self.sizes), self.dim)[self.pieces.index(piece)]


@dataclass(frozen=True)
class Table:
    """All ties of a checkpoint. of: whose table it is, for messages.

    ignored: what they keep and we do not need, as (regular expression, why). fixed: what we have and they do not, as name -> the number that fills it, or its
    row of numbers. cuts: those of theirs that are taken apart before any tie reads them.
    """

    of: str
    ties: tuple[Tie, ...]
    ignored: tuple[tuple[str, str], ...] = ()
    fixed: Mapping[str, float | Sequence[float]] | None = None
    cuts: tuple[Cut, ...] = ()

    def __post_init__(self) -> None:
        for side, names in (("ours", [t.ours for t in self.ties]), ("theirs", [n for t in self.ties for n in t.theirs])):
            twice = next((n for n in names if names.count(n) > 1), None) if len(set(names)) < len(names) else None
            if twice is not None:
                raise ValueError(f"the table of {self.of} names {side} {twice!r} twice")

    def their_shapes(self, own: Mapping[str, Sequence[int]]) -> dict[str, tuple[int, ...]]:
        """What they must look like, from what ours do."""
        shapes: dict[str, tuple[int, ...]] = {}
        for tie in self.ties:
            made = tie.back(torch.empty(tuple(own[tie.ours]), device="meta"))
            shapes.update({name: tuple(x.shape) for name, x in zip(tie.theirs, made, strict=True)})
        for cut in self.cuts:
            first = shapes[cut.pieces[0]]
            if tuple(shapes.pop(piece)[cut.dim] for piece in cut.pieces) != cut.sizes:
                raise ValueError(f"the table of {self.of} cuts {cut.theirs!r} into {cut.sizes}, which its pieces are not")
            shapes[cut.theirs] = (*first[: cut.dim], sum(cut.sizes), *first[cut.dim + 1 :])
        return shapes

    def check(self, own: Mapping[str, Sequence[int]], theirs: Mapping[str, Sequence[int]]) -> None:
        """Refuses, by names and shapes alone, what does not fit: CheckpointError with the first that is missing, unknown or of another shape."""
        told = {t.ours for t in self.ties} | set(self.fixed or {})
        if told != set(own):
            name = sorted(told ^ set(own))[0]
            raise CheckpointError(f"{self.of}: {name!r} is {'in the table and not in our system' if name in told else 'not in the table'}; please report it")
        wanted = self.their_shapes(own)
        missing = sorted(set(wanted) - set(theirs))
        extra = sorted(n for n in set(theirs) - set(wanted) if not any(re.fullmatch(pattern, n) for pattern, _ in self.ignored))
        if missing:
            raise CheckpointError(f"{self.of}: the checkpoint has no {missing[0]!r} ({len(missing)} missing); is it complete, and its config the right one?")
        if extra:
            raise CheckpointError(f"{self.of}: {extra[0]!r} has no place here ({len(extra)} unknown); its architecture is another than its config says")
        for name, shape in wanted.items():
            if tuple(theirs[name]) != shape:
                raise CheckpointError(f"{self.of}: {name!r} has shape {tuple(theirs[name])} and its config asks for {shape}; they do not belong together")

    def ours(self, own: Mapping[str, Sequence[int]], theirs: Callable[[str], Tensor]) -> dict[str, Tensor]:
        """Our tensors (their shapes in own), from a reader of theirs, which is asked for one tie at a time."""
        cut = {piece: cut for cut in self.cuts for piece in cut.pieces}
        read = lambda name: cut[name].taken(theirs(cut[name].theirs), name) if name in cut else theirs(name)  # noqa: E731
        made = {tie.ours: tie.there([read(name) for name in tie.theirs]).contiguous() for tie in self.ties}
        filled = {name: torch.tensor(said, dtype=torch.float32).expand(tuple(own[name])).clone() for name, said in (self.fixed or {}).items()}
        return {**made, **filled}

    def theirs(self, own: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Their tensors, from ours: export."""
        made: dict[str, Tensor] = {}
        for tie in self.ties:
            made.update({name: x.contiguous() for name, x in zip(tie.theirs, tie.back(own[tie.ours]), strict=True)})
        for cut in self.cuts:
            made[cut.theirs] = torch.cat([made.pop(piece) for piece in cut.pieces], cut.dim)
        return made


@dataclass(frozen=True)
class Reading:
    """What somebody's configuration becomes here: a recipe by name, its changes by path, and the table of weights."""

    of: str
    recipe: str
    changes: Mapping[str, object]
    table: Table
