"""Attention to a random subset of the keys, for a training that costs less (Subsampled)."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def subset(k: Tensor, v: Tensor, mask: Tensor | None, causal: bool, keep: float) -> tuple[Tensor, Tensor, Tensor | None]:
    """ceil(keep N) of the keys and values (B, H, N, Dh), one draw for all rows and heads, and the mask that goes with them.

    Without a mask only those are computed with. A causal question keeps the first place besides, which every query may see; under a dense rule each query
    keeps itself, and what is not drawn is only masked. Source: arXiv:2306.01705, the unbiased variant.
    """
    length = k.shape[2]
    num = max(1, math.ceil(keep * length))
    if num >= length:
        return k, v, _lower(length, torch.arange(length, device=k.device)) if causal else mask
    drawn = torch.randperm(length, device=k.device)[:num]
    if mask is not None:
        seen = torch.zeros(length, dtype=torch.bool, device=k.device)
        seen[drawn] = True
        shown = seen[None] | torch.eye(mask.shape[-2], length, dtype=torch.bool, device=k.device)
        return k, v, mask & shown if mask.dtype == torch.bool else mask.masked_fill(~shown, -torch.inf)
    if causal and not bool((drawn == 0).any()):
        drawn[0] = 0
    drawn = drawn.sort().values
    return k[:, :, drawn], v[:, :, drawn], _lower(length, drawn) if causal else None


def _lower(length: int, keys: Tensor) -> Tensor:
    """(length, keys): which of these keys are not later than each query."""
    return keys[None] <= torch.arange(length, device=keys.device)[:, None]
