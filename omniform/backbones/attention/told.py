"""Attention to the sequence and, through a gate, to what is told, with the same questions."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ...core.errors import BadArgument, PatternUnsupported
from ...core.net import Block, Env
from ..norms import norm
from ..positions import rotate
from .attention import _heads
from .kernels import attend


class ToldAttention(Block):
    """softmax(q k^T) v + tanh(gate) softmax(q l^T) w, and then one map out: k, v of the sequence, l, w of the condition placed "cross" (Lumina-T2X,
    arXiv:2405.05945, section 3.1 and lumina_t2i/models/model.py). gate: one a head, zero at the start, where this is self-attention.

    context: width of what is told, which goes through an RMSNorm of this block; its keys are not rotated. Queries and keys are normed over all heads. No
    biases.
    """

    def __init__(self, width: int, heads: int, context: int, eps: float = 1e-5):
        super().__init__()
        self.heads, self.head_width = heads, _heads(width, heads, None, None)[1]
        self.qkv, self.out = nn.Linear(width, 3 * width, bias=False), nn.Linear(width, width, bias=False)
        self.told = nn.Linear(context, 2 * width, bias=False)
        self.norm_told = norm("rms", context, eps=eps)
        self.norms = nn.ModuleList(norm("layer", width, eps=eps) for _ in range(3))
        self.gate = nn.Parameter(torch.zeros(heads, 1, 1))

    def forward(self, x: Tensor, env: Env) -> Tensor:
        told = env.context.cross
        if told is None:
            raise BadArgument('ToldAttention needs a condition placed "cross"; add one to the recipe\'s conditions')
        if env.record is not None or env.prefix:
            raise PatternUnsupported("ToldAttention remembers nothing and takes no prefix; use Attention and CrossAttention")
        split = lambda y: y.unflatten(-1, (self.heads, self.head_width)).transpose(1, 2)  # noqa: E731
        q, k, v = self.qkv(x).chunk(3, -1)
        q, k = split(self.norms[0](q)), split(self.norms[1](k))
        if env.rotation is not None:
            q, k = rotate(q, env.rotation), rotate(k, env.rotation)
        y = attend(q, k, split(v), mask=env.mask, causal=env.pattern == "causal", plain=self.plain)
        key, value = self.told(self.norm_told(told.tokens.to(x.dtype))).chunk(2, -1)
        mask = (told.doc >= 0)[:, None, None, :]
        empty = ~mask.any(-1, keepdim=True)
        z = attend(q, split(self.norms[2](key)), split(value), mask=mask | empty, causal=False, plain=self.plain)
        return self.out((y + self.gate.tanh() * torch.where(empty, 0.0, z)).transpose(1, 2).flatten(2))
