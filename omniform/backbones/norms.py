"""Norms, and what modulates them."""

from __future__ import annotations

from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..core.errors import BadArgument
from ..core.net import Block, Env
from ..core.spec import Spec
from ..core.tokens import Space
from .lean import LayerNorm, Linear, RMSNorm
from .streams import Streams

QkNorm = Literal["none", "rms", "layer", "cosine", "rms_wide", "layer_wide"]


def norm(kind: Literal["layer", "rms"], width: int, *, affine: bool = True, eps: float = 1e-6, bias: bool = True) -> nn.Module:
    """LayerNorm (arXiv:1607.06450) or RMSNorm (arXiv:1910.07467) over the last dimension."""
    if kind == "layer":
        return LayerNorm(width, eps=eps, elementwise_affine=affine, bias=bias and affine)
    if kind == "rms":
        return RMSNorm(width, eps=eps, elementwise_affine=affine)
    raise BadArgument(f"a norm is 'layer' or 'rms', not {kind!r}")


class _QkNorm(nn.Module):
    """Norms of queries and keys, a stream or a kind of token its own. wide: over all heads at once (Wan, LTX-Video, Lumina-T2X, LaVin-DiT)."""

    def __init__(self, kind: QkNorm, width: int, heads: int, kv_heads: int, streams: int, eps: float, kinds: int = 0):
        super().__init__()
        self.kind = kind
        self.wide = kind.endswith("_wide")
        if kind == "cosine":  # VAR's code: a learned log-scale a head, at most ln 100, started at ln 4
            self.log_scale = nn.Parameter(torch.full((heads, 1, 1), 4.0).log())
        else:
            make = lambda num: norm(kind.removesuffix("_wide"), width * (num if self.wide else 1), eps=eps)  # type: ignore[arg-type]  # noqa: E731
            self.q = Streams(1, lambda: make(heads), kinds) if kinds else nn.ModuleList(make(heads) for _ in range(streams))
            self.k = Streams(1, lambda: make(kv_heads), kinds) if kinds else nn.ModuleList(make(kv_heads) for _ in range(streams))

    def _each(self, norms: Any, x: Tensor, env: Env) -> Tensor:
        prefix = env.prefix
        if self.wide:
            flat = x.transpose(1, 2).flatten(2)
            made = norms.through(flat, env) if isinstance(norms, Streams) else norms[0](flat)
            return made.unflatten(2, (x.shape[1], -1)).transpose(1, 2)
        if isinstance(norms, Streams):
            return norms.through(x, env)
        if len(norms) == 1 or prefix == 0:
            return norms[0](x)
        return torch.cat([norms[1](x[:, :, :prefix]), norms[0](x[:, :, prefix:])], 2)

    def forward(self, q: Tensor, k: Tensor, env: Env) -> tuple[Tensor, Tensor]:
        if self.kind == "cosine":
            scale = self.log_scale.clamp(max=4.605170185988092).exp()
            return F.normalize(q.float(), dim=-1).to(q.dtype) * scale.to(q.dtype), F.normalize(k.float(), dim=-1).to(k.dtype)
        return self._each(self.q, q, env), self._each(self.k, k, env)


def normalised(kind: QkNorm, width: int, heads: int, kv_heads: int, streams: int, eps: float = 1e-6, kinds: int = 0) -> _QkNorm | None:
    """The norm of queries and keys, or nothing."""
    if kind == "none":
        return None
    if kind not in get_args(QkNorm):
        raise BadArgument(f"qk_norm is one of {', '.join(get_args(QkNorm))}, not {kind!r}")
    if kind.endswith("_wide") and streams > 1:
        raise BadArgument("a norm over all heads is of one stream; give two streams qk_norm 'rms' or 'layer'")
    return _QkNorm(kind, width, heads, kv_heads, streams, eps, kinds)


class AdaLN(nn.Module):
    """Linear(SiLU(modulation)) cut into chunks, zero at the start (DiT's adaLN-Zero, arXiv:2212.09748, section 3.2).

    told: how wide the modulation is, if not as wide as the stream (MDLM's code: 128). In adaLN-single (PixArt-alpha, arXiv:2310.00426,
    section 2.3) the map is the stack's and each block adds a learned offset (SharedAdaLN).
    """

    def __init__(self, width: int, chunks: int, zero: bool = True, told: int | None = None, bias: bool = True):
        super().__init__()
        self.chunks = chunks
        self.out = Linear(told or width, chunks * width, bias=bias)
        if zero:
            for part in self.out.parameters():
                nn.init.zeros_(part)

    def forward(self, modulation: Tensor) -> tuple[Tensor, ...]:
        """(B, 1 or L, D) -> chunks of the same shape."""
        return self.out(F.silu(modulation)).chunk(self.chunks, -1)


class SharedAdaLN(nn.Module):
    """The offset of one block onto the stack's shared map; shared (B, 1 or L, chunks * D)."""

    def __init__(self, width: int, chunks: int):
        super().__init__()
        self.chunks = chunks
        self.offset = nn.Parameter(torch.randn(chunks * width) / width**0.5)

    def forward(self, shared: Tensor) -> tuple[Tensor, ...]:
        return (shared + self.offset).chunk(self.chunks, -1)


class LowRankAdaLN(nn.Module):
    """The stack's shared map, a learned offset, and a map of low rank from the modulation itself: shared + (B A e) + offset (AdaLN-SOLA, EzAudio,
    arXiv:2409.10819, section 2.2 and code; alpha / r is 1). B and offset start at zero. The gates come out as 1 - g, so that zero modulation is a plain block.

    It is given (B, 1 or L, chunks * D + D): the shared map beside the modulation (Stack's shared="beside"). Rank 0 maps equal a SharedAdaLN.
    """

    def __init__(self, width: int, chunks: int, rank: int):
        super().__init__()
        self.chunks, self.width = chunks, width
        self.down, self.up = nn.Linear(width, chunks * rank, bias=False), nn.Linear(chunks * rank, chunks * width, bias=False)
        nn.init.kaiming_uniform_(self.down.weight, a=5**0.5)
        nn.init.zeros_(self.up.weight)
        self.offset = nn.Parameter(torch.zeros(chunks * width))

    def forward(self, shared: Tensor) -> tuple[Tensor, ...]:
        every, told = shared.split((self.chunks * self.width, self.width), -1)
        cut = (every + self.up(self.down(told)) + self.offset).chunk(self.chunks, -1)
        return tuple(1 - c if i % 3 == 2 else c for i, c in enumerate(cut))


class Modulated(nn.Module):
    """A norm and then shift and scale: what stands at the end of a stack.

    by "map": adaLN's map of the modulation; "table": the modulation itself beside a learned (2, D) table, neither activated nor mapped (PixArt-alpha's code,
    Wan's, LTX-Video's). kind, affine: of the norm (LightningDiT's is RMS with weights). told: how wide the modulation is. bias: of norm and map.
    """

    def __init__(
        self,
        width: int,
        kind: Literal["layer", "rms"] = "layer",
        affine: bool = False,
        by: Literal["map", "table"] = "map",
        told: int | None = None,
        eps: float = 1e-6,
        bias: bool = True,
    ):
        super().__init__()
        if by not in ("map", "table"):
            raise BadArgument(f"the last norm is modulated by a 'map' or by a 'table', not {by!r}")
        self.norm = norm(kind, width, affine=affine, eps=eps, bias=bias)
        self.map = AdaLN(width, 2, told=told, bias=bias) if by == "map" else None
        self.table = nn.Parameter(torch.randn(2, width) / width**0.5) if by == "table" else None

    def forward(self, x: Tensor, modulation: Tensor) -> Tensor:
        shift, scale = (modulation + self.table[0], modulation + self.table[1]) if self.map is None else self.map(modulation)
        return modulated(self.norm(x), shift, scale)


def modulated(x: Tensor, shift: Tensor, scale: Tensor) -> Tensor:
    """x (1 + scale) + shift."""
    return torch.addcmul(shift, x, 1 + scale)


class ScaleAware(nn.Module):
    """A block's own stretch of what its stack says about the phase: b + a c, one a and b a phase; scale and gate of mixer and MLP, no shift (Hi-MAR's code).

    It is given (B, 1, phases + 4 D): which phase, as a 1 among zeros, and c. At the start a is 0 and b leaves a plain block.
    """

    def __init__(self, width: int, chunks: int, phases: int = 2):
        super().__init__()
        if chunks != 6:
            raise BadArgument(f"ScaleAware modulates a block of mixer and MLP: 6 chunks, not {chunks}")
        self.phases = phases
        self.slope = nn.Parameter(torch.zeros(phases, 4 * width))
        self.offset = nn.Parameter(torch.tensor([0.0, 1.0, 0.0, 1.0]).repeat_interleave(width).repeat(phases, 1))

    def forward(self, told: Tensor) -> tuple[Tensor, ...]:
        which, c = told[..., : self.phases], told[..., self.phases :]
        scale, gate, scale2, gate2 = (which @ self.offset + which @ self.slope * c).chunk(4, -1)
        none = torch.zeros_like(scale)
        return none, scale, gate, none, scale2, gate2


class LayerScale(Block):
    """A branch, each of its channels times a learned number before it is added (CaiT, arXiv:2103.17239, section 2, equation 2): `start` at the start. All
    ones: the branch itself."""

    def __init__(self, width: int, inner: Spec, start: float = 1e-5, space: Space | None = None):
        super().__init__()
        self.inner = inner.build(width=width, space=space)
        self.scale = nn.Parameter(torch.full((width,), start))

    def forward(self, x: Tensor, env: Env) -> Tensor:
        return self.inner(x, env) * self.scale
