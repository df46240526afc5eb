"""The one place where an attention kernel is chosen."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

BF16_MATMUL_KEYS = 1024
"""On a CPU without AMX, bf16 attention by two products trains 3.4 to 4.9 times as fast as with the fused kernel at 49 and 88 keys, and 1.3 to 1.7 times as
fast at 256 to 1,024; forward alone they are alike, but with one query it is 3 times as fast (measured on a Zen 4 core, torch 2.13; benchmarks/attention.py
prints it anew)."""


def attend(q: Tensor, k: Tensor, v: Tensor, *, mask: Tensor | None, causal: bool, scale: float | None = None, plain: bool = False) -> Tensor:
    """softmax(q k^T scale) v. q (B, H, Lq, Dh), k and v (B, Hk, Lk, Dh) with Hk dividing H; mask bool or additive, broadcast to (B, H, Lq, Lk).

    plain: by elementary operations, for derivatives of derivatives.
    """
    grouped = k.shape[1] != q.shape[1]
    slow_bf16 = q.dtype == torch.bfloat16 and q.device.type == "cpu" and (q.shape[2] == 1 or k.shape[2] <= BF16_MATMUL_KEYS)
    if not plain and not slow_bf16:
        return F.scaled_dot_product_attention(q, k, v, attn_mask=mask, is_causal=causal and q.shape[2] > 1, scale=scale, enable_gqa=grouped)
    if grouped:
        k, v = (x.repeat_interleave(q.shape[1] // k.shape[1], 1) for x in (k, v))
    scale = q.shape[-1] ** -0.5 if scale is None else scale
    if causal and q.shape[2] > 1:
        before = torch.ones(q.shape[2], k.shape[2], dtype=torch.bool, device=q.device).tril()
        mask = before if mask is None else before & mask if mask.dtype == torch.bool else mask.masked_fill(~before, -torch.inf)
    if not plain and (mask is None or mask.dtype == torch.bool):
        return products(q, k, v, mask, scale)
    score = q @ k.transpose(-1, -2)
    score = (score if score.dtype == torch.float64 else score.float()) * scale
    if mask is not None:
        score = score.masked_fill(~mask, -torch.inf) if mask.dtype == torch.bool else score + mask
    return score.softmax(-1).to(v.dtype) @ v


def products(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, scale: float) -> Tensor:
    """The same by two products around a softmax that reads and writes q's type and computes in fp32; a boolean mask is what the first product adds to."""
    rows, heads, queries, width = q.shape
    q, k, v = (x.reshape(rows * heads, -1, x.shape[-1]) for x in (q, k, v))
    bias = q.new_zeros(())
    if mask is not None:
        bias = torch.zeros(mask.shape, dtype=q.dtype, device=q.device).masked_fill_(~mask, -torch.inf)
        bias = bias.expand(rows, heads, queries, k.shape[1]).flatten(0, 1) if max(mask.shape[:-2], default=1) > 1 else bias.view(mask.shape[-2:])
    with torch.autocast(q.device.type, enabled=False):  # it would make the softmax write fp32
        score = torch.baddbmm(bias, q, k.transpose(-1, -2), beta=float(mask is not None), alpha=scale)
        return torch.bmm(score.softmax(-1), v).view(rows, heads, queries, -1)
