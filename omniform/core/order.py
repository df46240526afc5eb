"""Orders: who speaks when. Equal turn = generated together."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Literal

import torch
from torch import Tensor

from .errors import BadArgument
from .rng import Rng
from .tokens import Space, in_every_row

Pattern = Literal["full", "causal", "blocks", "any"]


class Order(ABC):
    """Gives each place a turn, counted from 0 without gaps; every row has as many places at a turn as every other row.

    pattern is a promise to the kernel, never a change of result: "causal" says that turns rise by one from place to place, "blocks" that they do not fall.
    Where the same for every row, the result is an expanded view.
    """

    pattern: Pattern = "any"

    @abstractmethod
    def turns(self, coord: Tensor, *, rng: Rng) -> Tensor:
        """(B, L, A) -> (B, L) long."""

    def sizes(self, coord: Tensor) -> list[int]:
        """How many places each turn has."""
        return torch.bincount(self.turns(coord, rng=Rng.seeded(0, 1))[0]).tolist()


def _shared(coord: Tensor, row: Tensor) -> Tensor:
    return in_every_row(row, coord.shape[0])


def _dense(key: Tensor) -> Tensor:
    """Equal keys -> equal turns, counted without gaps."""
    return torch.unique(key, return_inverse=True)[1]


class Raster(Order):
    """One place after another, as they lie; reverse: from the last to the first."""

    def __init__(self, reverse: bool = False):
        self.reverse = reverse
        self.pattern: Pattern = "any" if reverse else "causal"

    def turns(self, coord: Tensor, *, rng: Rng) -> Tensor:
        turn = torch.arange(coord.shape[1], device=coord.device)
        return _shared(coord, turn.flip(0) if self.reverse else turn)


class Shuffle(Order):
    """A fresh random order a row (RAR, arXiv:2411.00776; sigma-GPT, arXiv:2404.09562)."""

    def turns(self, coord: Tensor, *, rng: Rng) -> Tensor:
        return rng.permutation(coord.shape[0], coord.shape[1]).argsort(-1).to(coord.device)


class Along(Order):
    """All places with the same coordinate on an axis at once: scale by scale (VAR, arXiv:2404.02905), frame by frame."""

    pattern: Pattern = "blocks"

    def __init__(self, axis: str, space: Space):
        self.axis = space.axis(axis)
        if (space.places[:, self.axis].diff() < 0).any():
            self.pattern = "any"

    def turns(self, coord: Tensor, *, rng: Rng) -> Tensor:
        return _shared(coord, _dense(coord[0, :, self.axis]))


class BlocksOf(Order):
    """Runs of `size` places as they lie (block diffusion, arXiv:2503.09573)."""

    pattern: Pattern = "blocks"

    def __init__(self, size: int):
        if size < 1:
            raise BadArgument(f"a block holds at least one place, not {size}")
        self.size = size

    def turns(self, coord: Tensor, *, rng: Rng) -> Tensor:
        return _shared(coord, torch.arange(coord.shape[1], device=coord.device) // self.size)


class Delay(Order):
    """Codebook q of time t at turn t + q (MusicGen, arXiv:2306.05284, figure 1)."""

    def __init__(self, time: str, book: str, space: Space):
        self.time, self.book = space.axis(time), space.axis(book)

    def turns(self, coord: Tensor, *, rng: Rng) -> Tensor:
        return _shared(coord, _dense(coord[0, :, self.time] + coord[0, :, self.book]))


class Coarse(Order):
    """Codebook by codebook, each along the whole time (AudioLM's coarse to fine, arXiv:2209.03143)."""

    def __init__(self, time: str, book: str, space: Space):
        self.time, self.book = space.axis(time), space.axis(book)

    def turns(self, coord: Tensor, *, rng: Rng) -> Tensor:
        time, book = coord[0, :, self.time], coord[0, :, self.book]
        return _shared(coord, _dense(book * (time.max() + 1) + time))
