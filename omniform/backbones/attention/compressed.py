"""Attention to fewer places than there are: keys and values compressed in space."""

from __future__ import annotations

from torch import Tensor, nn

from ...core.errors import BadArgument, PatternUnsupported
from ...core.net import Block, Env
from ...core.query import one_row
from .attention import _heads
from .kernels import attend


class CompressedAttention(Block):
    """Every place asks, and `stride` x `stride` neighbours answer as one: keys and values go through the same depthwise convolution of that kernel and stride,
    which starts as their mean, and through one LayerNorm (PixArt-Sigma, arXiv:2403.04692, section 3.2 and code). Costs 1 / stride^2 of full attention's pairs.

    x (B, H W, D), places of a whole grid in raster order. Stride 1 is refused: that is `Attention`.
    """

    def __init__(self, width: int, heads: int, stride: int = 2):
        super().__init__()
        if stride < 2:
            raise BadArgument(f"keys and values are compressed by a stride of 2 or more, not {stride}; without compression write Attention")
        self.heads, self.stride = heads, stride
        self.head_width = _heads(width, heads, None, None)[1]
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.compress = nn.Conv2d(width, width, stride, stride, groups=width)
        nn.init.constant_(self.compress.weight, 1 / stride**2)
        nn.init.zeros_(self.compress.bias)
        self.norm = nn.LayerNorm(width)

    def compressed(self, y: Tensor, rows: int) -> Tensor:
        """(B, H W, D) -> (B, H W / stride^2, D), before the norm."""
        return self.compress(y.mT.unflatten(2, (rows, -1))).flatten(2).mT

    def forward(self, x: Tensor, env: Env) -> Tensor:
        if env.pattern != "full" or env.record is not None or env.prefix:
            raise PatternUnsupported("CompressedAttention sees everything at once and remembers nothing; use Attention, or a process that asks so (Flow)")
        rows, columns = _grid(env.coord)
        if rows % self.stride or columns % self.stride:
            raise BadArgument(f"a grid of {rows} x {columns} does not divide by a stride of {self.stride}; choose another stride or shape")
        split = lambda y: y.unflatten(-1, (self.heads, self.head_width)).transpose(1, 2)  # noqa: E731
        q, k, v = self.qkv(x).chunk(3, -1)
        k, v = (split(self.norm(self.compressed(y, rows))) for y in (k, v))
        return self.out(attend(split(q), k, v, mask=None, causal=False, scale=None, plain=self.plain).transpose(1, 2).flatten(2))


def _grid(coord: Tensor) -> tuple[int, int]:
    """Rows and columns of a whole grid in raster order, from where its last place sits."""
    last = one_row(coord)[0, -1]
    if len(last) != 2 or int(last[0] + 1) * int(last[1] + 1) != coord.shape[1]:
        raise BadArgument(f"expected a whole grid of y and x, found {coord.shape[1]} places on {len(last)} axes; code pictures by patches")
    return int(last[0]) + 1, int(last[1]) + 1
