"""Distances between two sets of feature vectors.

N real rows, M fake rows, D features. All are computed in float64, whatever comes in.
"""

from __future__ import annotations

import torch
from torch import Tensor

from omniform.core.errors import BadArgument, ShapeError

ROWS = 1024  # rows of a distance matrix held at once; ours


def frechet(real: Tensor, fake: Tensor) -> float:
    """The Frechet distance between Gaussians fitted to two sets: |mu_r - mu_f|^2 + tr(S_r + S_f - 2 (S_r S_f)^(1/2)).

    The trace of the root is the sum of square roots of the eigenvalues of S_r^(1/2) S_f S_r^(1/2), which is symmetric,
    so singular covariances (fewer rows than features) need no jitter. It is biased upwards in small samples:
    compare only values with equal numbers of rows. Source: FID, arXiv:1706.08500, section 2.
    """
    real, fake = _pair(real, fake, rows=2)
    cov_real, cov_fake = torch.cov(real.T).reshape(_square(real)), torch.cov(fake.T).reshape(_square(fake))
    values, vectors = torch.linalg.eigh(cov_real)
    root = (vectors * values.clamp(min=0).sqrt()) @ vectors.T
    inner = root @ cov_fake @ root
    overlap = torch.linalg.eigvalsh((inner + inner.T) / 2).clamp(min=0).sqrt().sum()
    shift = (real.mean(0) - fake.mean(0)).square().sum()
    return max(0.0, float(shift + cov_real.trace() + cov_fake.trace() - 2 * overlap))


def kernel_distance(real: Tensor, fake: Tensor, *, subsets: int = 0, size: int = 1000, seed: int = 0) -> float:
    """The kernel inception distance: an unbiased estimate of MMD^2 under the kernel (x . y / D + 1)^3.

    subsets=0 uses every pair once, which has the least variance and needs no randomness. subsets=n is the mean over
    n random subsets of `size` rows, as published values are computed (there: 100 of 1000). May be negative, being
    unbiased around zero. Source: arXiv:1801.01401, section 4.
    """
    real, fake = _pair(real, fake, rows=2)
    if not subsets:
        return _mmd(real, fake)
    size = min(size, len(real), len(fake))
    if subsets < 0 or size < 2:
        raise BadArgument(f"expected subsets >= 0 of size >= 2, found {subsets} of {size}; write subsets=0 for all pairs")
    generator = torch.Generator().manual_seed(seed)
    total = 0.0
    for _ in range(subsets):
        rows_real = torch.randperm(len(real), generator=generator)[:size]
        rows_fake = torch.randperm(len(fake), generator=generator)[:size]
        total += _mmd(real[rows_real], fake[rows_fake])
    return total / subsets


def precision_recall(real: Tensor, fake: Tensor, *, k: int = 3) -> dict[str, float]:
    """How much of the fake set lies among the real one (precision) and the reverse (recall), by balls of neighbours.

    A set's manifold is the union of balls around its rows, each reaching to the row's k-th neighbour in the set.
    Source: arXiv:1904.06991, section 3 (k = 3). Also density and coverage, which one outlier cannot inflate:
    arXiv:2002.09797, equations 3 and 5 (with the same k; there k = 5).
    """
    real, fake = _pair(real, fake, rows=2)
    if not 1 <= k < min(len(real), len(fake)):
        raise BadArgument(f"expected 1 <= k < {min(len(real), len(fake))} (the rows of the smaller set), found k={k}")
    reach_real, reach_fake = _reach(real, k), _reach(fake, k)
    covered = torch.zeros(len(real), dtype=torch.bool, device=real.device)
    recalled = torch.zeros(len(real), dtype=torch.bool, device=real.device)
    balls = torch.zeros(len(fake), dtype=torch.long, device=real.device)
    for start in range(0, len(real), ROWS):
        rows = slice(start, start + ROWS)
        distance = _distances(real[rows], fake)
        inside = distance <= reach_real[rows, None]
        covered[rows] = inside.any(1)
        recalled[rows] = (distance <= reach_fake).any(1)
        balls += inside.sum(0)
    return {
        "precision": float((balls > 0).double().mean()),
        "recall": float(recalled.double().mean()),
        "density": float(balls.double().mean() / k),
        "coverage": float(covered.double().mean()),
    }


def _mmd(real: Tensor, fake: Tensor) -> float:
    """The U-statistic: pairs of a row with itself are left out, so its mean over samples is the true MMD^2."""
    n, m = len(real), len(fake)
    within_real = (_kernel_sum(real, real) - _kernel(real.square().sum(1), real.shape[1]).sum()) / (n * (n - 1))
    within_fake = (_kernel_sum(fake, fake) - _kernel(fake.square().sum(1), fake.shape[1]).sum()) / (m * (m - 1))
    return float(within_real + within_fake - 2 * _kernel_sum(real, fake) / (n * m))


def _kernel(product: Tensor, width: int) -> Tensor:
    return (product / width + 1) ** 3


def _kernel_sum(x: Tensor, y: Tensor) -> Tensor:
    return torch.stack([_kernel(rows @ y.T, x.shape[1]).sum() for rows in x.split(ROWS)]).sum()


def _reach(x: Tensor, k: int) -> Tensor:
    """The distance of each row to its k-th nearest other row."""
    return torch.cat([_distances(rows, x).kthvalue(k + 1, dim=1).values for rows in x.split(ROWS)])


def _distances(x: Tensor, y: Tensor) -> Tensor:
    # Not by matrix products: a row must be at distance exactly 0 from its copy.
    return torch.cdist(x, y, compute_mode="donot_use_mm_for_euclid_dist")


def _square(x: Tensor) -> tuple[int, int]:
    return x.shape[1], x.shape[1]  # torch.cov makes a scalar of one feature


def _pair(real: Tensor, fake: Tensor, *, rows: int) -> tuple[Tensor, Tensor]:
    for name, x in (("real", real), ("fake", fake)):
        if not isinstance(x, Tensor) or x.ndim != 2:
            found = tuple(x.shape) if isinstance(x, Tensor) else type(x).__name__
            raise ShapeError(f"expected {name} features of shape (N, D), found {found}; flatten all but the first axis")
        if len(x) < rows or x.shape[1] < 1:
            raise ShapeError(f"expected {name} features of at least {rows} rows and 1 column, found {tuple(x.shape)}")
        if not x.isfinite().all():
            raise ShapeError(f"expected finite {name} features, found NaN or infinity; leave out the broken samples")
    if real.shape[1] != fake.shape[1]:
        raise ShapeError(f"expected as many fake features as real ones ({real.shape[1]}), found {fake.shape[1]}; use one feature extractor for both")
    return real.detach().double(), fake.detach().double()
