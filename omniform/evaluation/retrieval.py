"""Whether vectors find their partners, and how near they are: retrieval by cosine, and CLIP score."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from omniform.core.errors import ShapeError

DEPICTS = "A photo depicts "
"""What stands before a caption whose nearness is measured (arXiv:2104.08718, section 3, and official code)."""


def retrieval(asking: Tensor, found: Tensor, *, within: tuple[int, ...] = (1, 5)) -> dict[str, float]:
    """asking, found: (N, D) each, row i of one belongs to row i of the other.

    Each asking vector ranks all of the others by cosine, the nearest first; what is equally near shares a rank (so that N equal answers find nothing: their
    rank is (N + 1) / 2). "recall_at_K": the share whose own partner is among the first K. "median_rank": 1 is perfect. Chance is K / N and (N + 1) / 2. Source:
    arXiv:1411.2539, section 3.1 (recall at K and median rank, between captions and pictures).
    """
    if asking.dim() != 2 or asking.shape != found.shape or len(asking) < 2:
        raise ShapeError(f"expected two sets of as many vectors, (N, D) with N of 2 or more, found {tuple(asking.shape)} and {tuple(found.shape)}")
    a, b = (F.normalize(x.double(), dim=1) for x in (asking, found))
    alike = (a @ b.T * 1e9).round()  # equal vectors are equally near, whatever order their sums were taken in
    own = alike.diagonal()[:, None]
    rank = 1 + (alike > own).sum(1) + ((alike == own).sum(1) - 1) / 2
    return {**{f"recall_at_{k}": float((rank <= k).double().mean()) for k in within}, "median_rank": float(rank.quantile(0.5))}


def chance(num: int, within: tuple[int, ...] = (1, 5)) -> dict[str, float]:
    """What vectors that say nothing find among `num`."""
    return {**{f"recall_at_{k}": min(k / num, 1.0) for k in within}, "median_rank": (num + 1) / 2}


def clip_score(seen: Tensor, said: Tensor) -> float:
    """seen, said: (N, D) vectors of pictures and of their captions, each after DEPICTS, from both halves of one CLIP -> the mean of 2.5 max(cosine, 0).

    Source: arXiv:2104.08718, section 3.
    """
    if seen.dim() != 2 or seen.shape != said.shape or not len(seen):
        raise ShapeError(f"expected as many vectors of pictures as of captions, (N, D), found {tuple(seen.shape)} and {tuple(said.shape)}")
    return 2.5 * float(F.cosine_similarity(seen.double(), said.double()).clamp(min=0).mean())
