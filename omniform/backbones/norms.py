"""Norms, and what modulates them."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..core.errors import BadArgument
from ..core.net import Env

QkNorm = Literal["none", "rms", "layer", "cosine"]


def norm(kind: Literal["layer", "rms"], width: int, *, affine: bool = True, eps: float = 1e-6, bias: bool = True) -> nn.Module:
    """LayerNorm (arXiv:1607.06450) or RMSNorm (arXiv:1910.07467) over the last dimension."""
    if kind == "layer":
        return nn.LayerNorm(width, eps=eps, elementwise_affine=affine, bias=bias and affine)
    if kind == "rms":
        return nn.RMSNorm(width, eps=eps, elementwise_affine=affine)
    raise BadArgument(f"a norm is 'layer' or 'rms', not {kind!r}")


class _QkNorm(nn.Module):
    """Norms of queries and keys, a stream its own."""

    def __init__(self, kind: QkNorm, width: int, heads: int, streams: int):
        super().__init__()
        self.kind = kind
        if kind == "cosine":  # VAR's code: a learned log-scale a head, at most ln 100, started at ln 4
            self.log_scale = nn.Parameter(torch.full((heads, 1, 1), 4.0).log())
        else:
            make = lambda: norm(kind, width)  # type: ignore[arg-type]  # noqa: E731
            self.q = nn.ModuleList(make() for _ in range(streams))
            self.k = nn.ModuleList(make() for _ in range(streams))

    def _each(self, norms: nn.ModuleList, x: Tensor, prefix: int) -> Tensor:
        if len(norms) == 1 or prefix == 0:
            return norms[0](x)
        return torch.cat([norms[1](x[:, :, :prefix]), norms[0](x[:, :, prefix:])], 2)

    def forward(self, q: Tensor, k: Tensor, env: Env) -> tuple[Tensor, Tensor]:
        if self.kind == "cosine":
            scale = self.log_scale.clamp(max=4.605170185988092).exp()
            return F.normalize(q.float(), dim=-1).to(q.dtype) * scale.to(q.dtype), F.normalize(k.float(), dim=-1).to(k.dtype)
        return self._each(self.q, q, env.prefix), self._each(self.k, k, env.prefix)


def normalised(kind: QkNorm, width: int, heads: int, kv_heads: int, streams: int) -> _QkNorm | None:
    """The norm of queries and keys, or nothing."""
    if kind == "none":
        return None
    if kind not in ("rms", "layer", "cosine"):
        raise BadArgument(f"qk_norm is 'none', 'rms', 'layer' or 'cosine', not {kind!r}")
    return _QkNorm(kind, width, heads, streams)


class AdaLN(nn.Module):
    """Linear(SiLU(modulation)) cut into chunks, zero at the start (DiT's adaLN-Zero, arXiv:2212.09748, section 3.2).

    told: how wide the modulation is, if not as wide as the stream (MDLM's code: 128). In adaLN-single (PixArt-alpha, arXiv:2310.00426,
    section 2.3) the map is the stack's and each block adds a learned offset (SharedAdaLN).
    """

    def __init__(self, width: int, chunks: int, zero: bool = True, told: int | None = None):
        super().__init__()
        self.chunks = chunks
        self.out = nn.Linear(told or width, chunks * width)
        if zero:
            nn.init.zeros_(self.out.weight)
            nn.init.zeros_(self.out.bias)

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


def modulated(x: Tensor, shift: Tensor, scale: Tensor) -> Tensor:
    """x (1 + scale) + shift."""
    return torch.addcmul(shift, x, 1 + scale)
