"""Attention whose cost grows with the tokens and not with their square."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from ...core.errors import BadArgument
from ...core.net import Block, Env
from ...core.tokens import Space
from .windows import whole_grid


class LinearAttention(Block):
    """q (k^T v) / q . sum k with q and k through ReLU, a head each, and a depthwise convolution of v on the grid beside it.

    LiT, arXiv:2501.12976, guidelines 1 and 2; the form of arXiv:2006.16236, equations 4 to 6. Costs 2 L D^2 / heads where softmax attention costs 2 L^2 D, so
    that few heads are the dear ones. kernel 0: without the convolution. Where the convolution is added (to the heads' output, before the last map) and the
    floor of the denominator are ours: the paper does not print them.
    """

    def __init__(self, width: int, heads: int, space: Space, kernel: int = 5, biases: str = "qkvo", floor: float = 1e-6):
        super().__init__()
        if width % heads:
            raise BadArgument(f"width {width} does not divide into {heads} heads; choose another number of heads")
        if kernel and (len(space.axes) != 2 or kernel % 2 == 0):
            raise BadArgument(f"the depthwise convolution needs a grid of y and x and an odd kernel, not {len(space.axes)} axes and {kernel}; or kernel=0")
        self.heads, self.floor, self.space = heads, floor, space
        self.qkv = nn.Linear(width, 3 * width, bias="q" in biases)
        self.out = nn.Linear(width, width, bias="o" in biases)
        self.near = nn.Conv2d(width, width, kernel, padding=kernel // 2, groups=width) if kernel else None

    def forward(self, x: Tensor, env: Env) -> Tensor:
        whole_grid(self, env, self.space)
        q, k, v = (y.unflatten(-1, (self.heads, -1)).transpose(1, 2) for y in self.qkv(x).chunk(3, -1))
        q, k = F.relu(q), F.relu(k)
        y = (q @ (k.transpose(-1, -2) @ v)) / (q @ k.sum(2)[..., None] + self.floor)
        y = y.transpose(1, 2).flatten(2)
        if self.near is not None:
            rows, columns = (a.size for a in self.space.axes)
            y = y + self.near(v.transpose(1, 2).flatten(2).transpose(1, 2).unflatten(2, (rows, columns))).flatten(2).transpose(1, 2)
        return self.out(y)
