"""How well a codec uses what it has."""

from __future__ import annotations

import torch
from torch import Tensor

from omniform.core.errors import ShapeError


def codebook_use(ids: Tensor, vocab: int) -> dict[str, float]:
    """The share of codes that occur at all, and the perplexity of their frequencies (vocab at the best)."""
    if ids.numel() == 0 or ids.is_floating_point() or int(ids.min()) < 0 or int(ids.max()) >= vocab:
        raise ShapeError(f"expected whole numbers in 0..{vocab - 1}, found {ids.dtype} of shape {tuple(ids.shape)}; give the ids of one codebook")
    share = torch.bincount(ids.reshape(-1), minlength=vocab).double() / ids.numel()
    return {"used": float((share > 0).double().mean()), "perplexity": float(torch.special.entr(share).sum().exp())}
