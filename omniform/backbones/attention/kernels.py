"""The one place where an attention kernel is chosen."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

BF16_MATMUL_KEYS = 512
"""On a CPU without AMX, bf16 attention by two matmuls is 1.6 times faster than the fused kernel at 256 keys and slower from 1,024 on; with one query it is
5.6 times faster (measured on a Zen 4 core, torch 2.13; benchmarks/attention.py prints it anew)."""


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
    score = q @ k.transpose(-1, -2)
    score = (score if score.dtype == torch.float64 else score.float()) * (scale if scale is not None else q.shape[-1] ** -0.5)
    if causal and q.shape[2] > 1:
        later = torch.ones(q.shape[2], k.shape[2], dtype=torch.bool, device=q.device).triu(1)
        score = score.masked_fill(later, -torch.inf)
    if mask is not None:
        score = score.masked_fill(~mask, -torch.inf) if mask.dtype == torch.bool else score + mask
    return score.softmax(-1).to(v.dtype) @ v
