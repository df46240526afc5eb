"""Causal attention by random features: a state of fixed size in place of all keys and values."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ...core.errors import BadArgument, PatternUnsupported, TurnError
from ...core.net import Block, Env
from ...core.query import one_row
from ..positions import rotate


@dataclass
class Sums:
    """What a sequence has said so far: (B, H, F, Dh + 1), sums of phi(k) v and, in the last column, of phi(k); and how many places that were."""

    sums: Tensor
    used: int

    def rows(self, index: Tensor) -> Sums:
        """A copy of some rows."""
        return Sums(self.sums[index].clone(), self.used)


class FeatureAttention(Block):
    """o_t = phi(q_t) S_t / phi(q_t) z_t with S_t the sum of phi(k_j) v_j over j <= t, z_t that of phi(k_j), and phi(x) = relu(x Omega).

    arXiv:2006.16236, equations 9 to 12, with the generalised random features of arXiv:2009.14794 as MoLFormer's code uses them (arXiv:2106.09553): rotary
    positions before phi, no scale, Omega (Dh, features) of orthogonal columns as long as those of a Gaussian matrix, the same for all heads. redraw: in
    training Omega is drawn anew at each question, by torch's own generator as dropout is; else, and in generation, it stays, since what is remembered was said
    in it. Places are read in runs of `chunk`, so that the cost grows with their number; chunk changes nothing but the time. floor: the least denominator.
    """

    steady = True

    def __init__(self, width: int, heads: int, features: int = 32, biases: str = "qkvo", redraw: bool = True, chunk: int = 64, floor: float = 1e-6):
        super().__init__()
        if width % heads or features < 1:
            raise BadArgument(f"width {width} does not divide into {heads} heads, or there are no features ({features})")
        self.heads, self.features, self.redraw, self.chunk, self.floor = heads, features, redraw, chunk, floor
        self.qkv, self.out = nn.Linear(width, 3 * width, bias="q" in biases), nn.Linear(width, width, bias="o" in biases)
        self.register_buffer("omega", orthogonal(width // heads, features))

    def forward(self, x: Tensor, env: Env) -> Tensor:
        turn = one_row(env.turn)
        if (env.pattern != "causal" and bool((turn.diff() != 1).any() | one_row(env.lane).any())) or (env.doc.stride(0) and bool((env.doc > 0).any())):
            raise PatternUnsupported("FeatureAttention reads one document a row, each token a turn later than the one before; this process asks otherwise")
        if self.redraw and self.training:
            self.omega.copy_(orthogonal(*self.omega.shape).to(self.omega))
        q, k, v = (y.unflatten(-1, (self.heads, -1)).transpose(1, 2) for y in self.qkv(x).chunk(3, -1))
        if env.rotation is not None:
            q, k = rotate(q, env.rotation), rotate(k, env.rotation)
        q, k = F.relu(q @ self.omega.to(q.dtype)), F.relu(k @ self.omega.to(k.dtype))
        if env.doc.stride(0):
            k = k * (env.doc >= 0)[:, None, :, None].to(k.dtype)
        record = env.record
        before: Tensor | None = None
        if record is not None and record.used:
            kept: Sums | None = record.blocks.get(self.name)
            if kept is None or kept.used != record.used:
                raise TurnError("FeatureAttention remembers sums and cannot forget a part of them; open another session")
            before = kept.sums
        y, sums = running(q, k, torch.cat([v, torch.ones_like(v[..., :1])], -1), before, self.chunk)
        if record is not None and env.remember:
            record.blocks[self.name] = Sums(sums.detach(), record.used + x.shape[1])
        y = y[..., :-1] / y[..., -1:].clamp(min=self.floor)
        return self.out(y.transpose(1, 2).flatten(2).to(x.dtype))


def running(q: Tensor, k: Tensor, v: Tensor, before: Tensor | None, chunk: int) -> tuple[Tensor, Tensor]:
    """sum over j <= t of (q_t . k_j) v_j for each t, and the last state. q, k (B, H, L, F), v (B, H, L, E), before (B, H, F, E)."""
    length = q.shape[2]
    size = min(chunk, length)
    cut = lambda x: F.pad(x, (0, 0, 0, -length % size)).unflatten(2, (-1, size))  # noqa: E731
    q, k, v = cut(q), cut(k), cut(v)
    each = k.transpose(-1, -2) @ v
    start = torch.zeros_like(each[:, :, :1]) if before is None else before[:, :, None].to(each.dtype)
    states = torch.cat([start, each], 2).cumsum(2)
    here = torch.ones(size, size, dtype=torch.bool, device=q.device).tril()
    y = q @ states[:, :, :-1] + (q @ k.transpose(-1, -2)).masked_fill(~here, 0.0) @ v
    return y.flatten(2, 3)[:, :, :length], states[:, :, -1]


def orthogonal(width: int, features: int) -> Tensor:
    """(width, features): columns orthogonal in runs of `width`, each as long as a Gaussian vector of that width."""
    columns = [torch.linalg.qr(torch.randn(width, width))[0] for _ in range(-(-features // width))]
    return torch.cat(columns, 1)[:, :features] * torch.randn(width, features).norm(dim=0)
