"""The convolutional networks of latent diffusion's autoencoders, as published."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import final

import torch.nn.functional as F
from torch import Tensor, nn

from omniform.core.errors import BadArgument


@final
class Widening(nn.Module):
    """conv(silu(norm(conv(silu(norm(x)))))) + x, mapped where the width changes. norm: of a width. conv: of two widths and the kernel's side, 1 for that map.

    moved: for each norm a shift and one less than a scale of what it says, where there is something to tell. twice: where the width changes, the first summand
    is added to a map of itself, and x is left out.
    """

    def __init__(self, into: int, out: int, norm: Callable[[int], nn.Module], conv: Callable[[int, int, int], nn.Module], twice: bool = False):
        super().__init__()
        self.twice = twice
        self.norms = nn.ModuleList(norm(n) for n in (into, out))
        self.convs = nn.ModuleList(conv(n, out, 3) for n in (into, out))
        self.past = conv(out if twice else into, out, 1) if into != out else None

    def forward(self, x: Tensor, moved: Sequence[tuple[Tensor, Tensor] | None] = (None, None)) -> Tensor:
        h = x
        for norm, conv, by in zip(self.norms, self.convs, moved, strict=True):
            h = norm(h)
            h = conv(F.silu(h if by is None else h * (1 + by[1]) + by[0]))
        return h + (x if self.past is None else self.past(h if self.twice else x))


class Looking(nn.Module):
    """x + attention of one head over all places. x (B, C, h, w)."""

    def __init__(self, width: int, norm: nn.Module):
        super().__init__()
        self.norm = norm
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm(x).flatten(2).mT
        q, k, v = (z[:, None] for z in self.qkv(y).chunk(3, -1))
        return x + self.out(F.scaled_dot_product_attention(q, k, v)[:, 0]).mT.unflatten(2, x.shape[2:])


@final
class Halved(nn.Module):
    """A convolution of stride 2 that looks at one row and one column more below and to the right, and none above."""

    def __init__(self, width: int):
        super().__init__()
        self.conv = nn.Conv2d(width, width, 3, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(F.pad(x, (0, 1, 0, 1)))


@final
class Doubled(nn.Module):
    """Each place four times, then a convolution."""

    def __init__(self, width: int):
        super().__init__()
        self.conv = nn.Conv2d(width, width, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(F.interpolate(x, scale_factor=2.0))


@final
class FromUnit(nn.Conv2d):
    """A convolution of pictures in [-1, 1] that was made for pictures in [0, 1], past whose edge is 0."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward((x + 1) / 2)


@final
class ToUnit(nn.Conv2d):
    """One that makes pictures in [0, 1], which leave in [-1, 1]."""

    def forward(self, x: Tensor) -> Tensor:
        return 2 * super().forward(x) - 1


@final
class Convolutions:
    """Encoder and decoder of VQGAN (Esser et al. 2021, arXiv:2012.09841, table 7) and latent diffusion (arXiv:2112.10752, appendix G and official code).

    widths: of each resolution, fine to coarse, halved between them. depth: residual blocks a resolution, one more in the decoder. groups: of the norms.
    looks: attention between the two blocks in the middle. coarse: and behind each block of the coarsest resolution (VQGAN's official code), or so in encoder
    and decoder (MAR's). inner: channels of the latents where the networks meet them, if others than the bottleneck's (before its map of 1 x 1). maps:
    whether there is such a map behind the encoder and before the decoder. side: of its kernel, if another than 1 (VAR's). unit: pictures are from 0 to 1 inside
    (aMUSEd's), outside from -1 to 1 as everywhere. lean: as MaskGIT's code has it (arXiv:2202.04200; with looks and maps false): no biases in blocks and in the
    first layer; a block that changes the width adds a map of what it says itself, not of what it was told; halved by means; no block more in the decoder; the
    encoder's last layer is 1 x 1.
    """

    def __init__(
        self,
        widths: tuple[int, ...] = (128, 256, 512, 512),
        depth: int = 2,
        groups: int = 32,
        looks: bool = True,
        inner: int = 0,
        maps: tuple[bool, bool] = (True, True),
        coarse: bool | tuple[bool, bool] = False,
        unit: bool = False,
        lean: bool = False,
        side: int = 1,
    ):
        if not widths or depth < 1 or any(w < 1 or w % groups for w in widths):
            raise BadArgument(f"expected widths that {groups} groups divide and a depth of 1 or more, found {tuple(widths)} and {depth}")
        if inner and not all(maps):
            raise BadArgument("latents of another width than the bottleneck's need a map on both sides; give maps (True, True)")
        if side < 1 or not side % 2:
            raise BadArgument(f"expected an odd side of the maps' kernel, found {side}")
        self.widths, self.depth, self.groups, self.looks, self.inner, self.maps = tuple(widths), depth, groups, looks, inner, tuple(maps)
        self.coarse = (coarse, coarse) if isinstance(coarse, bool) else tuple(coarse)
        self.unit, self.lean, self.side = unit, lean, side
        self.stride, self.span = 1 << (len(widths) - 1), 0  # no frames

    def _middle(self) -> list[nn.Module]:
        width = self.widths[-1]
        return [self._widening(width, width), *([self._looking(width)] if self.looks else []), self._widening(width, width)]

    def _norm(self, width: int) -> nn.Module:
        return nn.GroupNorm(self.groups, width, eps=1e-6)

    def _widening(self, into: int, out: int) -> nn.Module:
        return Widening(into, out, self._norm, lambda into, out, side: nn.Conv2d(into, out, side, padding=side // 2, bias=not self.lean), self.lean)

    def _map(self, into: int, out: int) -> nn.Module:
        return nn.Conv2d(into, out, self.side, padding=self.side // 2)

    def _looking(self, width: int) -> nn.Module:
        return Looking(width, self._norm(width))

    def _level(self, level: int, into: int, blocks: int, coarse: bool) -> list[nn.Module]:
        """Residual blocks of one resolution, the first of them from another width. coarse: attention behind each at the coarsest."""
        width, made = self.widths[level], []
        for number in range(blocks):
            made += [self._widening(width if number else into, width)]
            made += [self._looking(width)] if coarse and level + 1 == len(self.widths) else []
        return made

    def encoder(self, colours: int, out: int) -> nn.Sequential:
        """Pixels (B, colours, H, W) to latents (B, out, H / stride, W / stride)."""
        layers: list[nn.Module] = [(FromUnit if self.unit else nn.Conv2d)(colours, self.widths[0], 3, padding=1, bias=not self.lean)]
        for level in range(len(self.widths)):
            before = self.widths[max(level - 1, 0)]
            layers += [nn.AvgPool2d(2) if self.lean else Halved(before)] if level else []
            layers += self._level(level, before, self.depth, self.coarse[0])
        side = 1 if self.lean else 3
        end = [nn.GroupNorm(self.groups, self.widths[-1], eps=1e-6), nn.SiLU(), nn.Conv2d(self.widths[-1], self.inner or out, side, padding=side // 2)]
        return nn.Sequential(*layers, *self._middle(), *end, *([self._map(self.inner or out, out)] if self.maps[0] else []))

    def decoder(self, into: int, colours: int) -> nn.Sequential:
        """The way back."""
        layers: list[nn.Module] = [self._map(into, self.inner or into)] if self.maps[1] else []
        layers += [nn.Conv2d(self.inner or into, self.widths[-1], 3, padding=1), *self._middle()]
        before = self.widths[-1]
        for level, width in reversed(list(enumerate(self.widths))):
            layers += self._level(level, before, self.depth + (not self.lean), self.coarse[1])
            layers += [Doubled(width)] if level else []
            before = width
        last = (ToUnit if self.unit else nn.Conv2d)(before, colours, 3, padding=1)
        return nn.Sequential(*layers, nn.GroupNorm(self.groups, before, eps=1e-6), nn.SiLU(), last)
