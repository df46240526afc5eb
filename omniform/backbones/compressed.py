"""A picture's codes through a backbone at a fraction of their number, and back (Meissonic)."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor, nn

from ..core.errors import BadArgument, PatternUnsupported
from ..core.net import Block, Env
from ..core.spec import Spec
from ..core.tokens import Space, in_every_row


def _mapped(width: int, into: int) -> nn.Sequential:
    return nn.Sequential(nn.RMSNorm(width, eps=1e-6), nn.Linear(width, into, bias=False))


def together(x: Tensor, grid: tuple[int, int], factor: int) -> Tensor:
    """(B, L, D) -> (B, L / factor^2, factor^2 D), a square's places in raster order. grid: of the squares."""
    rows, columns = grid
    return x.unflatten(1, (rows, factor, columns, factor)).transpose(2, 3).reshape(len(x), rows * columns, -1)


def apart(x: Tensor, grid: tuple[int, int], factor: int) -> Tensor:
    """The inverse."""
    rows, columns = grid
    return x.unflatten(2, (factor, factor, -1)).unflatten(1, (rows, columns)).transpose(2, 3).reshape(len(x), rows * columns * factor**2, -1)


def within(env: Env, small: Space, rows: int, front: int = 0) -> Env:
    """What parts over a smaller grid consult: its places behind a prefix, all of one kind and seen by all."""
    places = small.places.to(env.coord)
    coord = in_every_row(torch.cat([places.new_zeros(front, 2), places]), rows)  # in every row the same: positions are made once
    zero = in_every_row(torch.zeros_like(coord[0, :, 0], dtype=torch.long), rows)
    return replace(env, coord=coord, kind=zero, turn=zero, lane=zero, doc=zero, known=zero == 0, rotation=None, ids=None)


class Compressed(Block):
    """factor x factor codes of a grid as one place of `inner`, and back: x (B, prefix + L, D), inner sees prefix + L / factor^2.

    Feature compression layers (Meissonic, arXiv:2410.08261, section 3.1; official code): normed linear maps before and behind the squares, which are put
    together by one map (a convolution of their size and stride) and taken apart by another. The prefix goes past them; places are those of the small grid.
    factor 1: the maps alone, as the code has it up to 512 pixels. The last norm stands behind; the head follows it.
    """

    def __init__(self, width: int, space: Space, inner: Spec, factor: int = 2):
        super().__init__()
        sizes = [a.size for a in space.axes]
        if space.coord is not None or len(sizes) != 2 or factor < 1 or any(n % factor for n in sizes):
            raise BadArgument(f"a grid of two axes that squares of {factor} divide is expected, not {sizes}; choose another factor or shape")
        self.factor, self.grid = factor, (sizes[0] // factor, sizes[1] // factor)
        self.small = Space(axes=tuple(replace(a, size=n) for a, n in zip(space.axes, self.grid, strict=True)), channels=width)
        self.enter, self.into = _mapped(width, width), _mapped(width, width)
        self.leave, self.out = _mapped(width, width), nn.Linear(width, width, bias=False)
        self.down = _mapped(width, width) if factor > 1 else None
        if self.down is not None:
            self.down[1] = nn.Linear(factor**2 * width, width, bias=False)
        self.up = _mapped(width, factor**2 * width) if factor > 1 else None
        self.inner = inner.build(width=width, space=self.small)
        self.norm = nn.RMSNorm(width, eps=1e-6)

    def together(self, x: Tensor) -> Tensor:
        """(B, L, D) -> (B, L / factor^2, factor^2 D), a square's places in raster order."""
        return together(x, self.grid, self.factor)

    def apart(self, x: Tensor) -> Tensor:
        """The inverse."""
        return apart(x, self.grid, self.factor)

    def forward(self, x: Tensor, env: Env) -> Tensor:
        if env.pattern != "full" or env.record is not None:
            raise PatternUnsupported("Compressed answers all codes of a picture at once and remembers nothing; use a process that asks so (Masked)")
        front, x = x[:, : env.prefix], self.enter(x[:, env.prefix :])
        if self.down is not None:
            x = self.down[1](self.together(self.down[0](x)))
        y = self.inner(torch.cat([front.to(x.dtype), self.into(x)], 1), within(env, self.small, len(x), env.prefix))
        y = self.leave(y[:, env.prefix :])
        if self.up is not None:
            y = self.apart(self.up(y))
        y = self.norm(self.out(y))
        return torch.cat([y.new_zeros(len(y), env.prefix, y.shape[2]), y], 1)
