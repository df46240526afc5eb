"""The metrics against slow references, closed forms and limits."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.linalg
import torch

from omniform.core.errors import BadArgument, ShapeError
from omniform.evaluation import metrics
from omniform.evaluation.metrics import frechet, kernel_distance, precision_recall


def draws(n: int, width: int, seed: int, shift: float = 0.0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    mix = torch.randn(width, width, generator=generator, dtype=torch.float64)
    return torch.randn(n, width, generator=generator, dtype=torch.float64) @ mix + shift


def exactly(mean: float, scales: list[float]) -> torch.Tensor:
    """2D + 2 rows whose sample mean and sample covariance are `mean` and diag(scales^2), without sampling error."""
    width = len(scales)
    steps = torch.eye(width, dtype=torch.float64) * torch.tensor(scales, dtype=torch.float64)
    rows = torch.cat([steps, -steps, torch.zeros(2, width, dtype=torch.float64)])
    return mean + rows * ((len(rows) - 1) / 2) ** 0.5


def test_frechet_equals_the_matrix_square_root_of_scipy():
    real, fake = draws(300, 12, 0), draws(200, 12, 1, 0.3)
    a, b = np.cov(real.numpy().T), np.cov(fake.numpy().T)
    root = scipy.linalg.sqrtm(a @ b).real
    expected = ((real.mean(0) - fake.mean(0)) ** 2).sum().item() + np.trace(a + b - 2 * root)
    assert frechet(real, fake) == pytest.approx(expected, rel=1e-9)


def test_frechet_of_two_known_gaussians():
    # Diagonal covariances: |mu|^2 + sum (s - t)^2.
    s, t = [1.0, 2.0, 0.5], [3.0, 2.0, 0.25]
    expected = 3 * 0.7**2 + sum((x - y) ** 2 for x, y in zip(s, t, strict=True))
    assert frechet(exactly(0.0, s), exactly(0.7, t)) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("rows", [5, 400])  # 5 rows of 12 features: a singular covariance
def test_frechet_of_a_set_with_itself_is_zero_and_it_is_symmetric(rows):
    real, fake = draws(rows, 12, 0), draws(rows, 12, 1)
    assert frechet(real, real) == pytest.approx(0.0, abs=1e-5 * float(real.var()))
    assert frechet(real, fake) == pytest.approx(frechet(fake, real), rel=1e-6)


def test_frechet_ignores_a_rotation_and_works_on_one_feature():
    real, fake = draws(50, 6, 0), draws(60, 6, 1)
    turn = torch.linalg.qr(draws(6, 6, 2)).Q
    assert frechet(real @ turn, fake @ turn) == pytest.approx(frechet(real, fake), rel=1e-9)
    assert frechet(exactly(0.0, [1.0]), exactly(2.0, [3.0])) == pytest.approx(4 + 4)


def slow_mmd(x: np.ndarray, y: np.ndarray) -> float:
    def k(a, b):
        return (float(a @ b) / len(a) + 1) ** 3

    n, m = len(x), len(y)
    within_x = sum(k(x[i], x[j]) for i in range(n) for j in range(n) if i != j) / (n * (n - 1))
    within_y = sum(k(y[i], y[j]) for i in range(m) for j in range(m) if i != j) / (m * (m - 1))
    return within_x + within_y - 2 * sum(k(a, b) for a in x for b in y) / (n * m)


def test_kernel_distance_equals_the_double_sum(monkeypatch):
    real, fake = draws(17, 5, 0), draws(23, 5, 1, 0.2)
    monkeypatch.setattr(metrics, "ROWS", 4)
    assert kernel_distance(real, fake) == pytest.approx(slow_mmd(real.numpy(), fake.numpy()), rel=1e-10)


def test_kernel_distance_has_mean_zero_when_the_sources_are_equal():
    generator = torch.Generator().manual_seed(0)
    values = torch.tensor([kernel_distance(*torch.randn(2, 8, 4, generator=generator)) for _ in range(3000)])
    error = values.std() / len(values) ** 0.5
    assert abs(values.mean()) < 3 * error  # a biased estimate (pairs with itself kept) is 100 errors off
    assert (values < 0).any()


def test_kernel_distance_by_subsets_agrees_with_all_pairs_and_repeats():
    real, fake = draws(300, 4, 0) / 2, draws(300, 4, 0, 1.0) / 2
    by_subsets = kernel_distance(real, fake, subsets=60, size=100, seed=1)
    assert by_subsets == pytest.approx(kernel_distance(real, fake), rel=0.1)
    assert by_subsets == kernel_distance(real, fake, subsets=60, size=100, seed=1)
    assert kernel_distance(real, fake, subsets=1, size=300) == pytest.approx(kernel_distance(real, fake), rel=1e-9)


def slow_precision_recall(real: np.ndarray, fake: np.ndarray, k: int) -> dict[str, float]:
    def reach(x):
        return [sorted(np.linalg.norm(x - row, axis=1))[k] for row in x]

    def inside(points, centres, radii):
        return np.array([[np.linalg.norm(p - c) <= r for c, r in zip(centres, radii, strict=True)] for p in points])

    among_real, among_fake = inside(fake, real, reach(real)), inside(real, fake, reach(fake))
    return {
        "precision": among_real.any(1).mean(),
        "recall": among_fake.any(1).mean(),
        "density": among_real.sum() / (k * len(fake)),
        "coverage": among_real.any(0).mean(),
    }


@pytest.mark.parametrize("k", [1, 3])
def test_precision_and_recall_equal_the_slow_balls(monkeypatch, k):
    real, fake = torch.randn(40, 3, generator=torch.Generator().manual_seed(0)).double(), draws(31, 3, 1, 0.5)
    monkeypatch.setattr(metrics, "ROWS", 7)
    found = precision_recall(real, fake, k=k)
    expected = slow_precision_recall(real.numpy(), fake.numpy(), k)
    assert found == pytest.approx(expected, abs=1e-12)
    assert 0 < found["precision"] < 1 and 0 < found["recall"] < 1


def test_precision_and_recall_at_the_limits():
    real = draws(50, 4, 0)
    same = precision_recall(real, real.clone())
    assert same["precision"] == same["recall"] == same["coverage"] == 1.0
    assert set(precision_recall(real, real + 1e4).values()) == {0.0}
    # Fakes that are copies of few reals are precise and recall little.
    mode = precision_recall(real, real[:4].repeat(12, 1) + 1e-3 * draws(48, 4, 3))
    assert mode["precision"] > 0.9 and mode["recall"] < 0.2 and mode["coverage"] < 0.5


@pytest.mark.parametrize(
    "bad",
    [
        torch.zeros(5),
        torch.zeros(5, 2, 2),
        torch.zeros(1, 4),
        torch.zeros(5, 0),
        torch.full((5, 4), torch.nan),
        np.zeros((5, 4)),
        torch.zeros(5, 3),
    ],
)
@pytest.mark.parametrize("measure", [frechet, kernel_distance, precision_recall])
def test_features_of_another_shape_are_refused(measure, bad):
    with pytest.raises(ShapeError):
        measure(draws(9, 4, 0), bad)


def test_impossible_counts_are_refused():
    real = draws(6, 4, 0)
    with pytest.raises(BadArgument, match="k=6"):
        precision_recall(real, real, k=6)
    with pytest.raises(BadArgument):
        kernel_distance(real, real, subsets=-1)
