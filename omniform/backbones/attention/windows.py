"""Attention inside windows of a grid, and among one proxy a window."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Literal

import torch
from torch import Tensor, nn

from ...core.errors import BadArgument, PatternUnsupported
from ...core.net import Block, Env
from ...core.tokens import Space
from .attention import Attention
from .kernels import attend


def whole_grid(part: nn.Module, env: Env, space: Space) -> None:
    """Refuses a question that is not all places of the space at once."""
    if env.record is not None or env.prefix or env.mask is not None or env.pattern != "full" or env.coord.shape[1] != space.length:
        raise PatternUnsupported(f"{type(part).__name__} answers all places of its grid at once and nothing else; this process asks for more. Use Attention")


def _tiles(space: Space, window: tuple[int, ...]) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Extent and window along each axis; a window is at most the extent and divides it, and 0 is all of the axis."""
    extent = tuple(a.size for a in space.axes)
    if len(window) != len(extent):
        raise BadArgument(f"a window has a size for each of {len(extent)} axes, not {window}")
    window = tuple(min(w or e, e) for w, e in zip(window, extent, strict=True))
    if any(e % w for w, e in zip(window, extent, strict=True)):
        raise BadArgument(f"a grid of {extent} does not divide into windows of {window}; choose another window or shape")
    return extent, window


def tiled(space: Space, window: tuple[int, ...], shift: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    """Places by window (W, P), the grid rolled by shift, and which part of the torn grid each lies in (W, P): places of two parts are no neighbours."""
    extent, window = _tiles(space, window)
    place = torch.arange(space.length, device="cpu").reshape(extent)
    part = torch.zeros(extent, dtype=torch.long, device="cpu")
    for axis, (s, e) in enumerate(zip(shift, extent, strict=True)):
        torn = (torch.arange(e, device="cpu") < s).long().reshape([-1 if i == axis else 1 for i in range(len(extent))])
        part = part * 2 + torn
    rolled = [torch.roll(y, [-s for s in shift], list(range(len(extent)))) for y in (place, part)]
    split = [n for w, e in zip(window, extent, strict=True) for n in (e // w, w)]
    order = [*range(0, len(split), 2), *range(1, len(split), 2)]
    count = math.prod(window)
    return tuple(y.reshape(split).permute(order).reshape(-1, count) for y in rolled)  # type: ignore[return-value]


class Windowed(Block):
    """Attention among the places of a window (Swin, arXiv:2103.14030, section 3.2). Equals Attention when the window is the whole grid.

    window: places along each axis, 0 for all. shifted: windows start half a window further; the grid is rolled, and what the roll brought together stays apart.
    behind: a linear map more (VDT's temporal attention, whose window is a place in all frames; arXiv:2305.13311 and code).
    """

    def __init__(
        self, width: int, space: Space, window: tuple[int, ...], heads: int, shifted: bool = False, biases: str = "qkvo", behind: bool = False
    ):
        super().__init__()
        self.space = space
        extent, window = _tiles(space, tuple(window))
        shift = tuple(w // 2 if shifted and w < e else 0 for w, e in zip(window, extent, strict=True))
        order, part = tiled(space, window, shift)
        self.attention = Attention(width, heads, biases=biases)
        self.behind = nn.Linear(width, width) if behind else None
        self.register_buffer("order", order.flatten(), persistent=False)
        self.register_buffer("back", order.flatten().argsort(), persistent=False)
        self.register_buffer("mask", (part[:, :, None] == part[:, None, :])[:, None] if any(shift) else None, persistent=False)
        self.windows = len(order)

    def forward(self, x: Tensor, env: Env) -> Tensor:
        whole_grid(self, env, self.space)
        rows, num = x.shape[0], self.windows
        cut = lambda y: y.expand(rows, *y.shape[1:])[:, self.order].reshape(rows * num, -1, *y.shape[2:])  # noqa: E731
        turned = env.rotation
        if turned is not None:
            turn = lambda y: cut(y.transpose(1, 2)).transpose(1, 2)  # noqa: E731
            turned = turned._replace(cos=turn(turned.cos), sin=turn(turned.sin))
        mask = None if self.mask is None else self.mask.repeat(rows, 1, 1, 1)
        inside = replace(env, rotation=turned, mask=mask, pattern="full" if mask is None else "any")
        y = self.attention(cut(x), inside).reshape(x.shape)[:, self.back]
        return y if self.behind is None else self.behind(y)


class ProxyAttention(Block):
    """Attention among one proxy a window, handed back to every token by cross-attention; then attention inside windows and shifted windows.

    PT-DiT, arXiv:2409.04005, section 3.2, equations 1 and 2. proxy: the "mean" of its window (v2) or its "first" place. The branch that hands back starts
    at zero. textured False: without the windows. Costs (1/P^2 + 1/P + 2 P / L) of full attention's products for windows of P places (equation 4). Where
    norms and gates stand is ours: one gate about all (figure 4 draws it, the text does not say).
    """

    def __init__(
        self,
        width: int,
        space: Space,
        window: tuple[int, ...],
        heads: int,
        proxy: Literal["mean", "first"] = "mean",
        textured: bool = True,
    ):
        super().__init__()
        if proxy not in ("mean", "first"):
            raise BadArgument(f"a proxy is the 'mean' or the 'first' of its window, not {proxy!r}")
        self.space, self.heads, self.proxy = space, heads, proxy
        order, _ = tiled(space, tuple(window), (0,) * len(space.axes))
        self.register_buffer("order", order, persistent=False)
        self.among = Attention(width, heads)
        self.q, self.kv, self.back = nn.Linear(width, width), nn.Linear(width, 2 * width), nn.Linear(width, width)
        nn.init.zeros_(self.back.weight)
        nn.init.zeros_(self.back.bias)
        self.textures = nn.ModuleList(Windowed(width, space, window, heads, shifted=s) for s in (False, True)) if textured else None

    def forward(self, x: Tensor, env: Env) -> Tensor:
        whole_grid(self, env, self.space)
        y = self.given_back(x, env)
        for texture in self.textures or ():
            y = y + texture(x + y, env)
        return y

    def given_back(self, x: Tensor, env: Env) -> Tensor:
        """What the proxies say to every token."""
        inside = x[:, self.order]
        proxies = self.among(inside.mean(2) if self.proxy == "mean" else inside[:, :, 0], replace(env, rotation=None))
        split = lambda y: y.unflatten(-1, (self.heads, -1)).transpose(1, 2)  # noqa: E731
        k, v = self.kv(proxies).chunk(2, -1)
        return self.back(attend(split(self.q(x)), split(k), split(v), mask=None, causal=False).transpose(1, 2).flatten(2))
