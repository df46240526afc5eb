"""Attention without a softmax, for histories in which it matters how often something happened."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ...core.errors import BadArgument
from ...core.net import KV, Block, Env
from ...core.query import one_row


class Pointwise(Block):
    """HSTU's layer (arXiv:2402.17152, section 3.1, equations 1 to 3, and the official code): u, v, q, k = silu(W norm(x)); A = silu(q k^T + bias) / length
    over what is visible; x + out(drop(norm(A v) * u)). Norms have no weights; there is no MLP and no 1 / sqrt(d).

    length: a constant, the longest history, so that padding changes nothing. The bias, shared by the heads, is a number for each difference of places and one
    for each bucket floor(ln(difference of time) / 0.301) of 129; time is the last axis of the coordinates, which is the place too where there is one axis.
    Twice the same history gives twice the answer (a softmax gives the same). dropout: on the branch.
    """

    def __init__(self, width: int, heads: int, length: int, head_width: int | None = None, value_width: int | None = None, dropout: float = 0.0):
        super().__init__()
        if length < 1:
            raise BadArgument(f"length is the longest history, one or more, not {length}")
        self.heads, self.length, self.dropout = heads, length, dropout
        self.head_width = head_width or width // heads
        self.value_width = value_width or self.head_width
        self.sizes = [heads * n for n in (self.value_width, self.value_width, self.head_width, self.head_width)]
        self.uvqk = nn.Linear(width, sum(self.sizes), bias=False)
        self.out = nn.Linear(heads * self.value_width, width)
        self.place_bias = nn.Parameter(torch.randn(2 * length - 1) * 0.02)
        self.time_bias = nn.Parameter(torch.randn(129) * 0.02)

    def forward(self, x: Tensor, env: Env) -> Tensor:
        u, v, q, k = F.silu(self.uvqk(F.layer_norm(x, x.shape[-1:], eps=1e-6))).split_with_sizes(self.sizes, -1)
        split = lambda y: y.unflatten(-1, (self.heads, -1)).transpose(1, 2)  # noqa: E731
        q, k, v = split(q), split(k), split(v)
        here = there = env.coord
        if env.record is not None and (env.remember or env.record.used):
            past, used = env.record.blocks, env.record.used
            k, v = past.setdefault(self.name, KV(0)).write(k, v, used)
            there = past.setdefault(self.name + ".coord", KV(0)).write(here[:, None], here[:, None], used)[0][:, 0]
        weight = F.silu(q @ k.transpose(-1, -2) + self._bias(here, there)) / self.length
        mask = env.mask
        if env.pattern == "causal":
            mask = torch.ones(q.shape[2], k.shape[2], dtype=torch.bool, device=q.device).tril(k.shape[2] - q.shape[2])
        y = (weight if mask is None else weight.masked_fill(~mask, 0.0)) @ v
        y = y.transpose(1, 2).flatten(2)
        y = F.layer_norm(y, y.shape[-1:], eps=1e-6) * u
        return x + self.out(F.dropout(y, self.dropout, self.training) if self.dropout else y)

    def _bias(self, here: Tensor, there: Tensor) -> Tensor:
        """(B or 1, 1, Lq, Lk)."""
        here, there = one_row(here), one_row(there)
        far = (there[:, None, :, 0] - here[:, :, None, 0]).round().long().clamp(1 - self.length, self.length - 1)
        late = (here[:, :, None, -1] - there[:, None, :, -1]).abs().clamp(min=1).log() / 0.301
        return (self.place_bias[far + self.length - 1] + self.time_bias[late.long().clamp(0, 128)])[:, None]
