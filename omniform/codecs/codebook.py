"""A list of vectors, the nearest of them, and how it learns."""

from __future__ import annotations

from typing import final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from omniform.core.errors import BadArgument
from omniform.core.rng import Rng

_MEMORY = 0.99
"""How slowly the measured usage forgets (ours)."""


@final
class Codebook(nn.Module):
    """num_codes vectors of some channels; nearest by L2.

    ema: decay of the running mean that each code follows (van den Oord et al. 2017, arXiv:1711.00937, appendix A.1); 0:
    the codes are parameters, for a codebook loss. normalise: codes and what is looked up live on the unit sphere
    (ViT-VQGAN, arXiv:2110.04627). restart: a code whose share of use falls below this part of an even share is put
    where a vector of the batch is (Jukebox, arXiv:2005.00341, section 3); 0: never. The first batch of training puts
    all codes on its vectors.
    """

    def __init__(self, num_codes: int, channels: int, ema: float = 0.0, normalise: bool = False, restart: float = 0.1):
        super().__init__()
        if num_codes < 2 or channels < 1 or not 0 <= ema < 1 or not 0 <= restart < 1:
            raise BadArgument(f"expected 2 codes or more, 1 channel or more, ema and restart in [0, 1); found {num_codes}, {channels}, {ema}, {restart}")
        self.num_codes, self.channels = num_codes, channels
        self.ema, self.normalise, self.restart = ema, normalise, restart
        vectors = torch.randn(num_codes, channels)
        vectors = F.normalize(vectors, dim=-1) if normalise else vectors
        if ema:
            self.register_buffer("vectors", vectors)
        else:
            self.vectors = nn.Parameter(vectors)
        self.register_buffer("usage", torch.full((num_codes,), 1 / num_codes))  # running share of use
        self.register_buffer("begun", torch.zeros((), dtype=torch.bool))

    def posed(self, z: Tensor) -> Tensor:
        """z (..., C) as it is compared: on the sphere if the codes are."""
        return F.normalize(z, dim=-1) if self.normalise else z

    @torch.no_grad()
    def nearest(self, z: Tensor) -> Tensor:
        """(..., C) -> (...) long: the code with the least L2 distance."""
        codes = self.posed(self.vectors).float()
        flat = self.posed(z.float()).reshape(-1, self.channels)
        distance = codes.square().sum(-1) - 2 * (flat @ codes.t())  # without |z|^2, which is the same for all
        return distance.argmin(-1).reshape(z.shape[:-1])

    def lookup(self, ids: Tensor) -> Tensor:
        """(...) long -> (..., C)."""
        return self.posed(F.embedding(ids, self.vectors))

    @property
    def idle(self) -> Tensor:
        """(num_codes,) bool: codes to be put elsewhere, all of them before training."""
        return (self.usage < self.restart / self.num_codes) | ~self.begun

    @torch.no_grad()
    def prepare(self, z: Tensor, rng: Rng) -> None:
        """Before a training step: put idle codes on vectors of the batch z (N, C), each vector once while they last."""
        idle = self.idle.nonzero().squeeze(-1)
        if len(idle):
            rng = rng.split("codebook").take(torch.zeros(1, dtype=torch.long))
            chosen = rng.permutation(1, len(z))[0].to(z.device)
            chosen = chosen.repeat(-(-len(idle) // len(z)))[: len(idle)]
            self.vectors[idle] = self.posed(z[chosen]).to(self.vectors.dtype)
            self.usage[idle] = 1 / self.num_codes
            self.begun.fill_(True)

    @torch.no_grad()
    def observe(self, z: Tensor, ids: Tensor) -> None:
        """After a training step: note the usage; with ema, move codes to the mean of the z (N, C) that chose them."""
        share = torch.bincount(ids, minlength=self.num_codes).to(self.usage.dtype) / len(ids)
        memory = self.ema or _MEMORY
        past = memory * self.usage
        self.usage.copy_(past + (1 - memory) * share)
        if self.ema:
            total = torch.zeros_like(self.vectors).index_add_(0, ids, self.posed(z).to(self.vectors.dtype)) / len(ids)
            moved = (past[:, None] * self.vectors + (1 - memory) * total) / self.usage.clamp_min(1e-30)[:, None]
            self.vectors.copy_(self.posed(torch.where(share[:, None] > 0, moved, self.vectors)))


@torch.no_grad()
def clustered(vectors: Tensor, num: int, rounds: int = 30) -> tuple[Tensor, Tensor]:
    """k-means (Lloyd 1982): (V,) the cluster of each vector (V, C), and (num,) the vector nearest to each centre among the cluster's own.

    It starts from `num` of the vectors, the same ones each time. No cluster is empty: one that would be takes the vector that is farthest from its centre.
    """
    if not 1 <= num <= len(vectors):
        raise BadArgument(f"{len(vectors)} codes are sorted into 1 to {len(vectors)} clusters, not {num}")
    if vectors.is_meta:
        return torch.zeros(len(vectors), dtype=torch.long, device="meta"), torch.zeros(num, dtype=torch.long, device="meta")
    vectors = vectors.float()
    centres, label = vectors[Rng.seeded(0).permutation(1, len(vectors))[0, :num].to(vectors.device)], None
    for _ in range(rounds):
        before, (near, label) = label, torch.cdist(vectors, centres).min(1)
        for empty in (torch.bincount(label, minlength=num) == 0).nonzero()[:, 0].tolist():
            shared = torch.bincount(label, minlength=num)[label] > 1
            farthest = torch.where(shared, near, -1).argmax()
            label[farthest], near[farthest] = empty, 0
        if before is not None and torch.equal(before, label):
            break
        centres = torch.zeros_like(centres).index_add_(0, label, vectors) / torch.bincount(label, minlength=num)[:, None]
    assert label is not None
    own = label[:, None] == torch.arange(num, device=label.device)
    return label, torch.cdist(vectors, centres).masked_fill(~own, torch.inf).argmin(0)
