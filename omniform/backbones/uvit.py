"""A picture's codes through convolutions, a transformer, and convolutions again (aMUSEd)."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..core.errors import BadArgument, PatternUnsupported
from ..core.net import Block, Env
from ..core.spec import Spec
from ..core.tokens import Space
from .attention import CrossAttention
from .compressed import apart, together, within
from .norms import AdaLN, Modulated, modulated
from .norms import norm as make_norm


def _mapped(width: int, into: int, eps: float) -> nn.Sequential:
    return nn.Sequential(make_norm("rms", width, eps=eps), nn.Linear(width, into, bias=False))


class Restyled(Block):
    """x += mixer(norm(x)), x += cross(norm(x)), x += mlp(norm(x)), each norm stretched and moved by a map of its own of what modulates; no gates.

    The block of aMUSEd (arXiv:2401.01808, section 3, and the official code): root mean squares before what looks elsewhere, means and deviations before the
    MLP, norms with weights, nothing with a bias. norms: of the three. The maps start at zero, where it is a plain PreNorm. modulation (B, 1, D).
    """

    def __init__(
        self, width: int, mixer: Spec, cross: Spec, mlp: Spec, norms: tuple[Literal["layer", "rms"], ...] = ("rms", "rms", "layer"), eps: float = 1e-6
    ):
        super().__init__()
        if len(norms) != 3:
            raise BadArgument(f"three norms are expected, before mixer, cross-attention and MLP, not {len(norms)}")
        self.mixer, self.cross, self.mlp = (part.build(width=width) for part in (mixer, cross, mlp))
        self.norms = nn.ModuleList(Modulated(width, kind, affine=True, eps=eps, bias=False) for kind in norms)

    def forward(self, x: Tensor, env: Env) -> Tensor:
        if env.modulation is None:
            raise BadArgument("the norms of this block are modulated and nothing modulates: place a condition modulate, or give the network a time")
        for norm, part in zip(self.norms, (self.mixer, self.cross, self.mlp), strict=True):
            x = x + part(norm(x, env.modulation), env)
        return x


class GlobalResponse(nn.Module):
    """x + gamma (x n) + beta, n: a channel's norm over all places divided by the channels' mean norm (ConvNeXt V2, arXiv:2301.00808, section 3.3, equations 1
    to 3). x (B, L, D). gamma and beta start at zero, where x stays as it is."""

    def __init__(self, width: int):
        super().__init__()
        self.gamma, self.beta = nn.Parameter(torch.zeros(width)), nn.Parameter(torch.zeros(width))

    def forward(self, x: Tensor) -> Tensor:
        size = torch.linalg.vector_norm(x, dim=1, keepdim=True)
        return x + self.gamma * (x * (size / (size.mean(-1, keepdim=True) + 1e-6))) + self.beta


class ConvNeXt(Block):
    """A 3 x 3 convolution a channel, norm, Linear to ratio D, GELU, GlobalResponse, Linear back, onto the stream; which is then stretched and moved by what
    modulates (aMUSEd's code; ConvNeXt V2's block with a smaller kernel, and modulated). grid: rows and columns of x (B, L, D). told: width of the modulation.
    """

    def __init__(self, width: int, grid: tuple[int, int], told: int | None = None, ratio: int = 4, eps: float = 1e-6):
        super().__init__()
        self.grid = grid
        self.depthwise = nn.Conv2d(width, width, 3, padding=1, groups=width, bias=False)
        self.norm = make_norm("rms", width, eps=eps)
        self.up, self.down = nn.Linear(width, ratio * width, bias=False), nn.Linear(ratio * width, width, bias=False)
        self.response = GlobalResponse(ratio * width)
        self.modulation = AdaLN(width, 2, told=told, bias=False)

    def forward(self, x: Tensor, env: Env) -> Tensor:
        assert env.modulation is not None
        y = self.depthwise(x.mT.unflatten(2, self.grid)).flatten(2).mT
        y = self.down(self.response(F.gelu(self.up(self.norm(y)))))
        return modulated(x + y, *self.modulation(env.modulation))


class ReadTwice(Block):
    """Two cross-attentions one after the other, each to the same map of SiLU of what is told (aMUSEd's code): it is `told` wide, the stream `width`. Of one
    width, what is told is read as it is."""

    def __init__(self, width: int, heads: int, told: int):
        super().__init__()
        self.map = nn.Linear(told, width, bias=False) if told != width else None
        self.norms = nn.ModuleList(make_norm("rms", width, eps=1e-6) for _ in range(2))
        self.reads = nn.ModuleList(CrossAttention(width, heads, biases="") for _ in range(2))

    def forward(self, x: Tensor, env: Env) -> Tensor:
        said = env.context.cross
        if self.map is not None and said is not None:
            env = replace(env, context=replace(env.context, cross=replace(said, tokens=self.map(F.silu(said.tokens)))))
        for norm, read in zip(self.norms, self.reads, strict=True):
            x = x + read(norm(x), env)
        return x


class UVit(Block):
    """Convolutional ends around a transformer that has no places: x (B, L, D) of a grid -> (B, L, D).

    The stream is mapped to `channels` (None: D), passes `depth` pairs of ConvNeXt and ReadTwice, enters `inner`, `wide` across, comes back and passes as many
    again; factor 2: squares of that size become one place before the first pair, and are taken apart behind the last (convolutions of their size and stride),
    each with a norm before it. What modulates passes SiLU and a last map first: its first is the conditions', which add up before it. Source: aMUSEd
    (arXiv:2401.01808, section 3, and the official code) after simple diffusion (arXiv:2301.11093, section 3.4: convolutions where resolution is high, the
    transformer where it is low). Maps have no bias. A norm stands behind; the head follows it. heads: of the pairs.
    """

    def __init__(
        self, width: int, space: Space, inner: Spec, wide: int, channels: int | None = None, depth: int = 3, heads: int = 12, factor: int = 1, eps: float = 1e-6
    ):
        super().__init__()
        sizes = [a.size for a in space.axes]
        if space.coord is not None or len(sizes) != 2 or factor < 1 or any(n % factor for n in sizes):
            raise BadArgument(f"a grid of two axes that squares of {factor} divide is expected, not {sizes}; choose another factor or shape")
        self.factor, self.grid, c = factor, (sizes[0] // factor, sizes[1] // factor), channels or width
        self.small = Space(axes=tuple(replace(a, size=n) for a, n in zip(space.axes, self.grid, strict=True)), channels=wide)
        self.tell = nn.Linear(wide, wide, bias=False)
        self.enter = _mapped(width, c, eps)
        squares = factor**2
        self.down = nn.ModuleList([make_norm("rms", c, eps=eps), nn.Linear(squares * c, c, bias=False)]) if factor > 1 else None
        pair = lambda: nn.ModuleList([ConvNeXt(c, self.grid, wide, eps=eps), ReadTwice(c, heads, wide)])  # noqa: E731
        self.first = nn.ModuleList(pair() for _ in range(depth))
        self.into, self.back = _mapped(c, wide, eps), _mapped(wide, c, eps)
        self.inner = inner.build(width=wide, space=self.small)
        self.last = nn.ModuleList(pair() for _ in range(depth))
        self.up = _mapped(c, squares * c, eps) if factor > 1 else None
        self.out, self.norm = nn.Linear(c, width, bias=False), make_norm("rms", width, eps=eps)

    def forward(self, x: Tensor, env: Env) -> Tensor:
        if env.pattern != "full" or env.record is not None or env.prefix:
            raise PatternUnsupported("UVit answers all codes of a picture at once, with no prefix, and remembers nothing; use a process that asks so (Masked)")
        if env.modulation is None:
            raise BadArgument("UVit is modulated and nothing modulates: place a condition modulate")
        env = replace(within(env, self.small, len(x)), modulation=self.tell(F.silu(env.modulation)))
        x = self.enter(x)
        if self.down is not None:
            x = self.down[1](together(self.down[0](x), self.grid, self.factor))
        x = self._passed(self.first, x, env)
        x = self.back(self.inner(self.into(x), env))
        x = self._passed(self.last, x, env)
        if self.up is not None:
            x = apart(self.up(x), self.grid, self.factor)
        return self.norm(self.out(x))

    @staticmethod
    def _passed(pairs: nn.ModuleList, x: Tensor, env: Env) -> Tensor:
        for convolved, read in pairs:  # type: ignore[misc]
            x = read(convolved(x, env), env)
        return x
