"""A linear map as attention to learned tokens."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ...core.errors import BadArgument
from ...core.net import Block, Env


class Pattention(Block):
    """GELU(scale * s / |s|) V with s = x K^T over `pairs` learned keys and values: parameters as tokens (TokenFormer, arXiv:2410.23168, equations 4 to 7).

    x (B, L, width) -> (B, L, out). scale None: sqrt(pairs), as in the official code. A pair whose key is zero adds nothing while the scale stays as it is, so
    that a trained map can be given more (`system.growth:grown`). std: of keys and values at the start.
    """

    def __init__(self, width: int, pairs: int, out: int | None = None, scale: float | None = None, std: float = 0.02):
        super().__init__()
        if pairs < 1:
            raise BadArgument(f"Pattention needs one pair of key and value at least, not {pairs}")
        self.scale = math.sqrt(pairs) if scale is None else scale
        self.keys = nn.Parameter(torch.randn(pairs, width) * std)
        self.values = nn.Parameter(torch.randn(pairs, out or width) * std)

    def forward(self, x: Tensor, env: Env) -> Tensor:
        score = F.normalize(F.linear(x, self.keys).float(), dim=-1) * self.scale
        return F.linear(F.gelu(score).to(x.dtype), self.values.t())
