"""Random numbers that are a function of who asks, not of when.

A counter-based generator (the mixing function of SplitMix64; Steele, Lea and Flood 2014, figure 15) in tensor arithmetic: one key a row, so a row's draws
do not depend on its batch, on the device or on the number of threads, and a training step's draws are a function of its number: nothing to save, nothing to restore.
"""
from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence

import torch
from torch import Tensor

from .errors import ShapeError

_GOLDEN = -7046029254386353131          # 0x9E3779B97F4A7C15 as a signed 64-bit number
_MIX_A = -4658895280553007687           # 0xBF58476D1CE4E5B9
_MIX_B = -7723592293110705685           # 0x94D049BB133111EB


def _mixed(x: Tensor) -> Tensor:
    """SplitMix64's finaliser on int64 tensors (logical shifts by masking the sign-extended bits)."""
    x = (x ^ ((x >> 30) & 0x3FFFFFFFF)) * _MIX_A
    x = (x ^ ((x >> 27) & 0x1FFFFFFFFF)) * _MIX_B
    return x ^ ((x >> 31) & 0x1FFFFFFFF)


_WORD = (1 << 64) - 1


def _mixed_number(x: int) -> int:
    """The same on one Python integer, a signed 64-bit number: a stream of training is split a thousand times a second."""
    x &= _WORD
    x = ((x ^ (x >> 30)) * (_MIX_A & _WORD)) & _WORD
    x = ((x ^ (x >> 27)) * (_MIX_B & _WORD)) & _WORD
    x ^= x >> 31
    return x - (1 << 64) if x >> 63 else x


def _number(name: str | int) -> int:
    if isinstance(name, int):
        return name
    return int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest(), "little", signed=True)


class Rng:
    """A stream of random numbers a row.

    keys: (B,) int64, one a row; or one Python integer: a single stream that numbers its rows itself (training).
    Every draw has shape (B, ...). Drawing moves an inner counter on; `split` and `fold` give independent streams that do not depend on it.
    """

    def __init__(self, keys: Tensor | int, device: torch.device | str | None = None):
        self.keys = keys
        self.device = keys.device if isinstance(keys, Tensor) else device
        self._drawn = 0

    @staticmethod
    def seeded(seed: int, rows: int | Sequence[int] | None = None, *, device: torch.device | str | None = None) -> Rng:
        """One stream (rows None), or one a row: row i of seed s is the same in every batch."""
        key = _mixed_number(seed * _GOLDEN)
        if rows is None:
            return Rng(key, device)
        index = torch.arange(rows, device=device) if isinstance(rows, int) else torch.as_tensor(rows, device=device)
        return Rng(_mixed(key + (index + 1) * _GOLDEN))

    def split(self, name: str | int) -> Rng:
        """An independent stream for a purpose."""
        number = _number(name)
        return Rng(_mixed(self.keys ^ number)) if isinstance(self.keys, Tensor) else Rng(_mixed_number(self.keys ^ number), self.device)

    def fold(self, number: Tensor | int) -> Rng:
        """An independent stream a number; a (B,) tensor gives each row its own."""
        if isinstance(number, int) and isinstance(self.keys, int):
            return Rng(_mixed_number(self.keys + (number + 1) * _GOLDEN), self.device)
        number = torch.as_tensor(number, dtype=torch.int64, device=self.device)
        return Rng(_mixed(self.keys + (number + 1) * _GOLDEN))

    def take(self, rows: Tensor) -> Rng:
        """The streams of some rows."""
        return Rng(self.keys[rows]) if isinstance(self.keys, Tensor) else self

    def integers64(self, shape: Sequence[int]) -> Tensor:
        """64 random bits each."""
        rows, rest = shape[0], math.prod(shape[1:])
        if not isinstance(self.keys, Tensor):
            keys = _mixed(self.keys + torch.arange(rows, device=self.device) * _GOLDEN)
        elif len(self.keys) == rows:
            keys = self.keys
        else:
            raise ShapeError(f"this generator has {len(self.keys)} rows and was asked for {rows}; ask for as many, or use Rng.take")
        count = torch.arange(self._drawn, self._drawn + rest, device=keys.device)
        self._drawn += rest
        return _mixed(keys[:, None] + (count + 1) * _GOLDEN).reshape(tuple(shape))

    def uniform(self, shape: Sequence[int]) -> Tensor:
        """float32 in (0, 1): 23 bits, centred, so that neither end is reached (with 24, the last centre would round to 1)."""
        return (((self.integers64(shape) >> 41) & 0x7FFFFF).to(torch.float32) + 0.5) * (1 / (1 << 23))

    def normal(self, shape: Sequence[int]) -> Tensor:
        """float32 standard normal, by the inverse of its distribution function in float64 (32 bits, so tails reach 6.3)."""
        u = (((self.integers64(shape) >> 32) & 0xFFFFFFFF).to(torch.float64) + 0.5) * (1 / (1 << 32))
        return torch.special.ndtri(u).to(torch.float32)

    def gumbel(self, shape: Sequence[int]) -> Tensor:
        """float32 standard Gumbel, from 52 bits: float32 uniforms would cut its tail and cool the sampler (Zheng et al. 2024, arXiv:2409.02908)."""
        u = (((self.integers64(shape) >> 12) & 0xFFFFFFFFFFFFF).to(torch.float64) + 0.5) * (1 / (1 << 52))
        return (-torch.log(-torch.log(u))).to(torch.float32)

    def integers(self, high: int, shape: Sequence[int]) -> Tensor:
        """int64 in [0, high)."""
        return ((self.integers64(shape) >> 11) & 0x1FFFFFFFFFFFFF) % high

    def permutation(self, rows: int, length: int) -> Tensor:
        """(rows, length) int64, a random order a row."""
        return self.integers64((rows, length)).argsort(-1)
