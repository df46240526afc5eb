"""Random numbers that are a function of who asks, not of when.

A counter-based generator (the mixing function of SplitMix64; Steele, Lea and Flood 2014, figure 15) in tensor arithmetic: one key a row, so a row's draws
do not depend on its batch, on the device or on the number of threads, and a training step's draws are a function of its number: nothing to save, nothing to
restore.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Sequence
from functools import lru_cache

import torch
from torch import Tensor

from .errors import ShapeError

_GOLDEN = -7046029254386353131  # 0x9E3779B97F4A7C15 as a signed 64-bit number
_MIX_A = -4658895280553007687  # 0xBF58476D1CE4E5B9
_MIX_B = -7723592293110705685  # 0x94D049BB133111EB


def _mixed(x: Tensor) -> Tensor:
    """SplitMix64's finaliser on int64 tensors (logical shifts by masking the sign-extended bits). x is written over: it must be the caller's own."""
    x.bitwise_xor_((x >> 30).bitwise_and_(0x3FFFFFFFF)).mul_(_MIX_A)
    x.bitwise_xor_((x >> 27).bitwise_and_(0x1FFFFFFFFF)).mul_(_MIX_B)
    return x.bitwise_xor_((x >> 31).bitwise_and_(0x1FFFFFFFF))


_WORD = (1 << 64) - 1


def _mixed_number(x: int) -> int:
    """The same on one Python integer, a signed 64-bit number: a stream of training is split a thousand times a second."""
    x &= _WORD
    x = ((x ^ (x >> 30)) * (_MIX_A & _WORD)) & _WORD
    x = ((x ^ (x >> 27)) * (_MIX_B & _WORD)) & _WORD
    x ^= x >> 31
    return x - (1 << 64) if x >> 63 else x


@lru_cache(maxsize=1024)
def _number(name: str | int) -> int:
    if isinstance(name, int):
        return name
    return int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest(), "little", signed=True)


def _share(bits: Tensor, drop: int, keep: int, dtype: torch.dtype) -> Tensor:
    """The `keep` bits above the lowest `drop` as a number in (0, 1), centred. bits is written over."""
    return bits.bitwise_right_shift_(drop).bitwise_and_((1 << keep) - 1).to(dtype).add_(0.5).mul_(1 / (1 << keep))


def _gumbel(bits: Tensor) -> Tensor:
    return _share(bits, 12, 52, torch.float64).log_().neg_().log_().neg_().to(torch.float32)


_AHEAD, _TURNS = 1 << 16, 8
"""How many numbers, and turns, are drawn ahead at the most (ours): what a core's nearer caches hold, and few enough that little is drawn in vain."""


class _Ahead:
    """Gumbel noise of the streams that are folded from one stream by n, n + 1, n + 2...: many turns' at once, for a token's thousand numbers cost
    forty operations, and so do those of the next few tokens. What each stream draws is the same."""

    def __init__(self, stream: Rng, shape: tuple[int, ...]):
        self.stream, self.shape, self.rest = stream, shape, math.prod(shape[1:])
        self.most = min(max(_AHEAD // math.prod(shape), 1), _TURNS)
        self.size = 0
        self.next: Tensor | None = None  # the number that is expected, and the noise that waits for it and those after it, last first
        self.waiting: list[tuple[Tensor, Tensor]] = []

    def at(self, number: Tensor) -> Tensor:
        """The first draw of the stream folded by number (B,)."""
        expected = self.next is not None and torch.equal(number, self.next)
        if not (expected and self.waiting):
            self.size = min(2 * self.size, self.most) if expected else 1
            numbers = number[:, None] + torch.arange(self.size + 1, device=number.device)
            keys = self.stream.fold_keys(numbers[:, :-1])
            count = torch.arange(1, self.rest + 1, device=keys.device).mul_(_GOLDEN)
            noise = _gumbel(_mixed(keys[..., None] + count)).view(len(number), self.size, *self.shape[1:])
            self.waiting = list(zip(numbers[:, 1:].unbind(1), noise.unbind(1), strict=True))[::-1]
        self.next, drawn = self.waiting.pop()
        return drawn


class Rng:
    """A stream of random numbers a row.

    keys: (B,) int64, one a row; or one Python integer: a single stream that numbers its rows itself (training).
    Every draw has shape (B, ...). Drawing moves an inner counter on; `split` and `fold` give independent streams that do not depend on it.
    A stream that nobody draws from costs nothing: keys may be a function, called at the first draw.
    """

    def __init__(self, keys: Tensor | int | Callable[[], Tensor], device: torch.device | str | None = None):
        self._keys = keys
        self.device = keys.device if isinstance(keys, Tensor) else device
        self._drawn = 0
        self._folded: tuple[Rng, Tensor] | None = None
        self._ahead: dict[tuple[int, ...], _Ahead] = {}

    @property
    def keys(self) -> Tensor | int:
        """(B,) int64, or one number."""
        if callable(self._keys):
            self._keys = self._keys()
        return self._keys

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
        if isinstance(self._keys, int):
            return Rng(_mixed_number(self._keys ^ number), self.device)
        return Rng(lambda: _mixed(self.keys ^ number), self.device)

    def fold(self, number: Tensor | int) -> Rng:
        """An independent stream a number; a (B,) tensor gives each row its own."""
        if isinstance(number, int) and isinstance(self._keys, int):
            return Rng(_mixed_number(self._keys + (number + 1) * _GOLDEN), self.device)
        folded = Rng(lambda: self.fold_keys(torch.as_tensor(number, dtype=torch.int64, device=self.device)), self.device)
        if isinstance(number, Tensor) and number.dim() == 1 and not isinstance(self._keys, int):
            folded._folded = self, number
        return folded

    def fold_keys(self, numbers: Tensor) -> Tensor:
        """The keys of the streams folded by numbers: (B,), or several a row, (B, n)."""
        keys = self.keys
        return _mixed((keys[:, None] if isinstance(keys, Tensor) and numbers.dim() == 2 else keys) + (numbers + 1) * _GOLDEN)

    def take(self, rows: Tensor) -> Rng:
        """The streams of some rows."""
        return self if isinstance(self._keys, int) else Rng(lambda: self.keys[rows], self.device)  # type: ignore[index]

    def integers64(self, shape: Sequence[int]) -> Tensor:
        """64 random bits each."""
        rows, rest = shape[0], math.prod(shape[1:])
        keys = self.keys
        if isinstance(keys, int):
            keys = _mixed(torch.arange(rows, device=self.device).mul_(_GOLDEN).add_(keys))
        elif len(keys) != rows:
            raise ShapeError(f"this generator has {len(keys)} rows and was asked for {rows}; ask for as many, or use Rng.take")
        count = torch.arange(self._drawn + 1, self._drawn + rest + 1, device=keys.device).mul_(_GOLDEN)
        self._drawn += rest
        return _mixed(keys[:, None] + count).reshape(tuple(shape))

    def uniform(self, shape: Sequence[int]) -> Tensor:
        """float32 in (0, 1): 23 bits, centred, so that neither end is reached (with 24, the last centre would round to 1)."""
        return _share(self.integers64(shape), 41, 23, torch.float32)

    def normal(self, shape: Sequence[int]) -> Tensor:
        """float32 standard normal, by the inverse of its distribution function in float64 (32 bits, so tails reach 6.3)."""
        return torch.special.ndtri(_share(self.integers64(shape), 32, 32, torch.float64)).to(torch.float32)

    def gumbel(self, shape: Sequence[int]) -> Tensor:
        """float32 standard Gumbel, from 52 bits: float32 uniforms would cut its tail and cool the sampler (Zheng et al. 2024, arXiv:2409.02908)."""
        if self._folded is None or self._drawn or not 0 < (num := math.prod(shape)) <= _AHEAD // 2 or len(self._folded[1]) != shape[0]:
            return _gumbel(self.integers64(shape))
        stream, number = self._folded
        if (ahead := stream._ahead.get(tuple(shape))) is None:
            ahead = stream._ahead[tuple(shape)] = _Ahead(stream, tuple(shape))
        self._drawn = num // shape[0]
        return ahead.at(number)

    def integers(self, high: int, shape: Sequence[int]) -> Tensor:
        """int64 in [0, high)."""
        return ((self.integers64(shape) >> 11) & 0x1FFFFFFFFFFFFF) % high

    def permutation(self, rows: int, length: int) -> Tensor:
        """(rows, length) int64, a random order a row."""
        return self.integers64((rows, length)).argsort(-1)
