"""Where a token sits, told to the network: tables added to the stream, or rotations of queries and keys."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..core.errors import BadArgument, ShapeError
from ..core.net import Env
from ..core.query import one_row
from ..core.tokens import Space


class LearnedPositions(nn.Module):
    """A learned vector a place of the space. coord (B, L, A) -> (B or 1, L, D)."""

    def __init__(self, width: int, space: Space, std: float = 0.02):
        super().__init__()
        self.space = space
        self.table = nn.Parameter(torch.randn(space.length, width) * std)
        self.register_buffer("index", space.index(), persistent=False)

    def forward(self, coord: Tensor) -> Tensor:
        place = self.space.ravel(one_row(coord))
        return F.embedding(place if self.space.coord is None else self.index[place], self.table)


class LevelPositions(nn.Module):
    """A learned vector a coordinate of one axis (VAR's level embedding)."""

    def __init__(self, width: int, space: Space, axis: str, std: float = 0.02):
        super().__init__()
        self.axis = space.axis(axis)
        self.table = nn.Parameter(torch.randn(space.axes[self.axis].size, width) * std)

    def forward(self, coord: Tensor) -> Tensor:
        return F.embedding(one_row(coord)[..., self.axis].long(), self.table)


class AxialPositions(nn.Module):
    """The sum of a learned vector an axis (arXiv:1912.12180, section 3)."""

    def __init__(self, width: int, space: Space, std: float = 0.02):
        super().__init__()
        self.axes = nn.ModuleList(LevelPositions(width, space, a.name, std) for a in space.axes)

    def forward(self, coord: Tensor) -> Tensor:
        return sum((p(coord) for p in self.axes[1:]), self.axes[0](coord))


class SinCosPositions(nn.Module):
    """Fixed sines and cosines, the width shared out evenly over the axes, the last axis first (DiT's and MAE's code); cosines after sines.

    Axes that do not fill the width evenly leave zeros at its end. scale: what places are multiplied with (positions of a small grid stretched over a large one:
    PixArt, SD3), after `first` is added (a grid in the middle of a larger one: SD3's code). axes: the numbers of those that are told, all if not said (VDT has
    a table of frames beside one of places).
    """

    def __init__(self, width: int, space: Space, base: float = 10000.0, scale: float = 1.0, axes: tuple[int, ...] | None = None, first: float = 0.0):
        super().__init__()
        self.width, self.scale, self.first, self.told = width, scale, first, tuple(range(len(space.axes))) if axes is None else tuple(axes)
        self.axes = len(self.told)
        half = width // self.axes // 2
        self.register_buffer("frequency", base ** (-torch.arange(half, dtype=torch.float64) / half).to(torch.float64), persistent=False)

    def forward(self, coord: Tensor) -> Tensor:
        coord = (one_row(coord).double() + self.first) * self.scale
        parts = []
        for axis in reversed(self.told):
            angle = coord[..., axis, None] * self.frequency
            parts += [angle.sin(), angle.cos()]
        table = torch.cat(parts, -1).float()
        return table if table.shape[-1] == self.width else F.pad(table, (0, self.width - table.shape[-1]))


class Rotary(nn.Module):
    """Rotary positions in any number of axes (arXiv:2104.09864; in two axes arXiv:2403.13298): coord (B, L, A) -> one question's rotations.

    The pairs are shared out over the axes in order; interleaved: pairs are neighbours (GPT-J) and not halves (GPT-NeoX). share: pairs an axis, None evenly,
    over all axes or those that `axes` names. mute: a hidden place has no rotation and no score: its query and key are zero (LlamaGen's code for the class
    that a sequence starts from). frequencies: of each pair, in place of powers of base (a context that was stretched); amplitude: of queries and keys
    (YaRN, arXiv:2309.00071, equation 22). told: so many pairs more, the last, turn by where the tokens before the sequence lie along an axis of their own
    (`Encoded.coord`), at whose zero the sequence lies (STARFlow's code: 8, and 12 for each axis of the picture).
    """

    def __init__(
        self,
        head_width: int,
        space: Space,
        base: float = 10000.0,
        interleaved: bool = False,
        share: tuple[int, ...] | None = None,
        axes: tuple[str, ...] | None = None,
        mute: bool = False,
        frequencies: tuple[float, ...] | None = None,
        amplitude: float = 1.0,
        told: int = 0,
    ):
        super().__init__()
        if frequencies is not None and len(frequencies) > head_width // 2:
            raise BadArgument(f"a head of {head_width} has {head_width // 2} pairs and {len(frequencies)} frequencies were given; give one a pair")
        turned = [space.axis(name) for name in axes] if axes else list(range(len(space.axes)))
        each, more = divmod(head_width // 2 - told, len(turned))
        share = share or tuple(each + (turned.index(i) < more) if i in turned else 0 for i in range(len(space.axes)))
        share = (*share, told) if told else share
        self.interleaved, self.mute, self.amplitude, self.told = interleaved, mute, amplitude, told
        powers = [base ** (-i / n) for n in share for i in range(n)]  # no arange: on the meta device it imports half of PyTorch
        frequency = torch.tensor(powers if frequencies is None else frequencies, dtype=torch.float64)
        self.register_buffer("frequency", frequency.float(), persistent=False)
        self.register_buffer("axis", torch.cat([torch.full((n,), i) for i, n in enumerate(share)]), persistent=False)

    def of(self, env: Env) -> Rotation:
        """Of all that a block is asked about."""
        return self(self._beside(env) if self.told else env.coord, env.known if self.mute else None)

    @staticmethod
    def _beside(env: Env) -> Tensor:
        """(B or 1, L, A + 1): coordinates, and behind them where it lies along the axis of what is told."""
        coord = one_row(env.coord)
        if not env.prefix:
            return F.pad(coord, (0, 1))
        said = one_row(env.context.before.coord[..., :1])  # type: ignore[union-attr]
        rows = max(len(coord), len(said))
        place = F.pad(said.to(coord), (0, 0, 0, coord.shape[1] - env.prefix))
        return torch.cat([coord.expand(rows, -1, -1), place.expand(rows, -1, -1)], -1)

    def forward(self, coord: Tensor, known: Tensor | None = None) -> Rotation:
        angle = one_row(coord)[..., self.axis] * self.frequency
        cos, sin = angle.cos()[:, None], angle.sin()[:, None]
        if self.mute and known is not None:
            said = one_row(known)[:, None, :, None].to(cos.dtype)
            cos, sin = cos * said, sin * said
        if self.amplitude != 1:
            cos, sin = cos * self.amplitude, sin * self.amplitude
        if self.interleaved:
            return Rotation(cos.repeat_interleave(2, -1), torch.stack([-sin, sin], -1).flatten(-2), True)
        return Rotation(torch.cat([cos, cos], -1), torch.cat([-sin, sin], -1), False)


class SpanRotary(nn.Module):
    """Rotations by fractions of a span, over the whole width at once: pairs of neighbours turn by (pi / 2) base^(k / (n - 1)) (2 p - 1), frequencies rising
    with k, n = D // 6 for three axes; each frequency for all axes in turn; what is left over is not turned and comes first (LTX-Video, arXiv:2501.00103,
    section 2.2 and code).

    scale: what a place is multiplied with to be a fraction p of the span, an axis each.
    """

    def __init__(self, width: int, heads: int, space: Space, scale: tuple[float, ...], base: float = 10000.0):
        super().__init__()
        if len(scale) != len(space.axes):
            raise BadArgument(f"expected a scale for each of the {len(space.axes)} axes, found {len(scale)}; write how much of the span a step is")
        num = width // (2 * len(scale))
        self.heads, self.rest = heads, width - 2 * num * len(scale)
        frequency = base ** torch.linspace(0, 1, num, device="cpu") * math.pi / 2  # in single precision, as the code has it: it shows in the highest
        self.register_buffer("frequency", frequency, persistent=False)
        self.register_buffer("scale", torch.tensor(scale), persistent=False)

    def of(self, env: Env) -> Rotation:
        """Of all that a block is asked about."""
        return self(env.coord)

    def forward(self, coord: Tensor) -> Rotation:
        share = one_row(coord) * self.scale * 2 - 1
        angle = (share[..., None, :] * self.frequency[:, None]).flatten(2)
        angle = F.pad(angle.repeat_interleave(2, -1), (self.rest, 0))
        sign = torch.tensor([-1.0, 1.0], device=angle.device).repeat(angle.shape[-1] // 2)
        by_head = lambda x: x.unflatten(-1, (self.heads, -1)).transpose(1, 2)  # noqa: E731
        return Rotation(by_head(angle.cos()), by_head(angle.sin() * sign), True)


class SlidingWindow(nn.Module):
    """A place sees itself and the size - 1 before it, as a score of minus infinity for all earlier ones (Mistral, arXiv:2310.06825, section 2); with as many
    blocks as that it is reached by places further back. For sequences along one axis; what lies behind the query is left to visibility. coord (B, L, A) of
    queries and keys -> (B or 1, 1, Lq, Lk).
    """

    def __init__(self, size: int):
        super().__init__()
        if size < 1:
            raise BadArgument(f"a window has at least the place itself, not {size}")
        self.size = size

    def forward(self, q: Tensor, k: Tensor) -> Tensor:
        behind = one_row(q)[:, :, None, 0] - one_row(k)[:, None, :, 0]
        return torch.zeros_like(behind).masked_fill(behind >= self.size, -torch.inf)[:, None]


class Buckets(nn.Module):
    """A learned number a head and distance of a key behind its query, added to the score: T5's buckets (arXiv:1910.10683, section 2.1 and its code).

    Half of the buckets are one distance each, the others grow by a constant factor up to `reach`, from where on all share the last. For sequences along one
    axis. both: the second half of the buckets is, in the same way, for keys after their query (an encoder's); else those count as at distance 0, unseen.
    coord (B, L, A) of queries and keys -> (B or 1, H, Lq, Lk).
    """

    def __init__(self, heads: int, buckets: int = 32, reach: int = 128, both: bool = False):
        super().__init__()
        exact = buckets // (4 if both else 2)
        if buckets % (4 if both else 2) or not 0 < exact < reach:
            raise BadArgument(f"{buckets} buckets reaching {reach} do not halve into single distances and growing ones; choose others")
        self.reach, self.both, self.exact = reach, both, exact
        self.table = nn.Parameter(torch.randn(heads, buckets) * 0.02)

    def forward(self, q: Tensor, k: Tensor) -> Tensor:
        behind, exact = one_row(q)[:, :, None, 0] - one_row(k)[:, None, :, 0], self.exact
        far = behind.abs() if self.both else behind.clamp(min=0)
        grown = exact + (torch.log(far.clamp(min=1) / exact) / math.log(self.reach / exact) * exact).long().clamp(0, exact - 1)
        bucket = torch.where(far < exact, far.long(), grown)
        return self.table[:, bucket + 2 * exact * (behind < 0) if self.both else bucket].transpose(0, 1)


def alibi(heads: int, groups: int = 1) -> list[float]:
    """How steeply each head's score falls with distance: 2^(-8 i / n) for n heads (ALiBi, arXiv:2108.12409, section 3); where n is no power of two, those of
    the power below and then every second one of the power above (its official code). groups: as many times the slopes of heads / groups heads, so that each
    group sees near and far (Tranception, arXiv:2205.13760, section 3.1)."""
    if groups < 1 or heads % groups:
        raise BadArgument(f"{heads} heads do not divide into {groups} groups of equal slopes; choose another number of groups")
    num = heads // groups
    power = 2 ** (num.bit_length() - 1)
    row = lambda n: [2 ** (-8 * (i + 1) / n) for i in range(n)]  # noqa: E731
    return (row(power) + row(2 * power)[::2][: num - power]) * groups


class Rotation(NamedTuple):
    """One question's rotations, made once for all blocks: (B or 1, 1 or H, L, 2 P)."""

    cos: Tensor
    sin: Tensor  # signed: minus for the first of a pair
    interleaved: bool


def rotate(x: Tensor, by: Rotation) -> Tensor:
    """x (B, H, L, Dh) with the first 2 P of each head turned."""
    num = by.cos.shape[-1]
    if num > x.shape[-1]:
        raise ShapeError(f"rotary positions are for heads of {num} and these have {x.shape[-1]}; set the rotary part's head_width to it")
    head, rest = (x, None) if num == x.shape[-1] else (x[..., :num], x[..., num:])
    other = head.unflatten(-1, (-1, 2)).flip(-1).flatten(-2) if by.interleaved else torch.cat([head[..., num // 2 :], head[..., : num // 2]], -1)
    turned = head * by.cos.to(x.dtype) + other * by.sin.to(x.dtype)
    return turned if rest is None else torch.cat([turned, rest], -1)
