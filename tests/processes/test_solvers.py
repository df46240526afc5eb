"""Solvers and paths on problems with closed-form answers: a Gaussian's ODE, a point's noise."""

from __future__ import annotations

import math

import pytest
import torch

from omniform.core.rng import Rng
from omniform.processes.grids import drawn, grid
from omniform.processes.paths import Betas, Cosine, Linear, Prediction, VariancePreserving
from omniform.processes.solvers import Ancestral, Ddim, DpmPP2M, Euler, Heun, UniPC

PATHS = {
    "linear": Linear(),
    "cosine": Cosine(),
    "preserving": VariancePreserving(),
    "betas": Betas(levels=65536, low=1e-4 * 1000 / 65536, high=0.02 * 1000 / 65536),
}
MEAN, SD = 0.7, 0.5


def number(x):
    return torch.tensor(x, dtype=torch.float64)


class Gaussian:
    """A perfect network for data ~ N(mean, sd^2): the posterior means of data and noise given z. sd 0: a point."""

    spread = None

    def __init__(self, path, mean=MEAN, sd=SD):
        self.path, self.mean, self.sd = path, mean, sd

    def __call__(self, z, t):
        a, b = self.path.a(t), self.path.b(t)
        var = a**2 * self.sd**2 + b**2
        x = self.mean + a * self.sd**2 / var * (z - a * self.mean)
        return Prediction((x, b / var * (z - a * self.mean)))

    def flow(self, z, t, s):
        """Where the probability flow takes z from t to s: it keeps the standard score."""
        sd = lambda u: torch.sqrt(self.path.a(u) ** 2 * self.sd**2 + self.path.b(u) ** 2)  # noqa: E731
        return self.path.a(s) * self.mean + sd(s) / sd(t) * (z - self.path.a(t) * self.mean)


def solved(solver, path, steps, z, ask, rng=None, first=0.0, last=1.0):
    past = None
    times = [first + (last - first) * t for t in grid("uniform", steps)]
    for t, s in zip(times[:-1], times[1:], strict=True):
        z, past = solver.step(ask, path, z, number(t), number(s), past, rng.fold(int(t * 1e6)) if rng else None)
    return z


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("solver", [Euler(), Heun(), Ddim(), DpmPP2M(), UniPC()], ids=lambda s: type(s).__name__)
def test_solvers_converge_at_their_stated_order(solver, path):
    path = PATHS[path]
    z, ask = torch.linspace(-2, 2, 9, dtype=torch.float64), Gaussian(path)
    # Inside, where the log-SNR is finite; and from end to end, where DPM-Solver++ pays a logarithm for its infinite first step, and an order for its last
    # on paths whose b^2 is linear in time there: that step is of order one, and as long as any.
    ends = solver.order - 0.5 if not isinstance(solver, DpmPP2M | UniPC) else 1.2 if isinstance(path, Linear | Cosine) else 0.8
    for first, last, least, counts in ((0.1, 0.9, solver.order - 0.2, (30, 90)), (0.0, 1.0, ends, (40, 120))):
        exact = ask.flow(z, number(first), number(last))
        errors = [float((solved(solver, path, n, z, ask, first=first, last=last) - exact).abs().max()) for n in counts]
        order = math.log(errors[0] / errors[1], 3)
        assert least < order < solver.order + 1.2, f"order {order:.2f}, stated {solver.order}: {errors}"
        assert errors[1] < 0.03


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("solver", [Ddim(), DpmPP2M(), UniPC(), Ancestral()], ids=lambda s: type(s).__name__)
def test_a_point_is_reached_in_any_number_of_steps(solver, path):
    path = PATHS[path]
    z = torch.linspace(-2, 2, 9, dtype=torch.float64)
    for steps in (1, 2, 7):
        end = solved(solver, path, steps, z, Gaussian(path, sd=0.0), Rng.seeded(0, 9))
        assert torch.allclose(end, torch.full_like(z, MEAN), atol=1e-6)


@pytest.mark.parametrize("path", PATHS)
def test_ancestral_keeps_the_noise_of_its_path(path):
    """Where the data is one point, every state has exactly the mean and variance that the path says."""
    path, n = PATHS[path], 40000
    start = number(0.0)
    z = path.a(start) * MEAN + path.b(start) * Rng.seeded(1).normal((1, n)).double()
    for steps, last in ((3, 0.6), (10, 0.9)):
        end = solved(Ancestral(), path, steps, z, Gaussian(path, sd=0.0), Rng.seeded(2), last=last)
        at = number(last)
        assert abs(float(end.mean() - path.a(at) * MEAN)) < 5 * float(path.b(at)) / math.sqrt(n)
        assert abs(float(end.std() / path.b(at)) - 1) < 5 / math.sqrt(2 * n)


@pytest.mark.parametrize("path", PATHS)
def test_ancestral_reaches_the_variance_of_the_data(path):
    """In many small steps; the remaining lack falls as one over their number."""
    path, n = PATHS[path], 20000
    ask, start = Gaussian(path), number(0.0)
    sd = torch.sqrt(path.a(start) ** 2 * SD**2 + path.b(start) ** 2)
    z = path.a(start) * MEAN + sd * Rng.seeded(3).normal((1, n)).double()
    end = solved(Ancestral(), path, 300, z, ask, Rng.seeded(4))
    assert abs(float(end.mean()) - MEAN) < 0.02
    assert abs(float(end.std()) / SD - 1) < 0.03


def test_ancestral_reads_a_learned_spread_between_its_two_bounds():
    path, z = Linear(), torch.zeros(1, 50000, dtype=torch.float64)
    t, s = number(0.4), number(0.5)
    beta = path.b(t) ** 2 - (path.a(t) / path.a(s)) ** 2 * path.b(s) ** 2
    for spread, var in ((-1.0, beta * path.b(s) ** 2 / path.b(t) ** 2), (1.0, beta)):
        ask = Gaussian(path)
        ask.spread = torch.full_like(z, spread)
        end, _ = Ancestral().step(ask, path, z, t, s, None, Rng.seeded(5))
        assert abs(float(end.var() / var) - 1) < 5 * math.sqrt(2 / 50000)
    still, _ = Ancestral(churn=0.0).step(Gaussian(path), path, z, t, s, None, Rng.seeded(5))
    assert float(still.std()) < 1e-12


@pytest.mark.parametrize("path", PATHS)
def test_paths_go_from_noise_to_data(path):
    path = PATHS[path]
    t = torch.linspace(0.01, 0.99, 99, dtype=torch.float64)
    assert float(path.a(number(1.0))) == pytest.approx(1, abs=1e-12) and float(path.b(number(1.0))) == pytest.approx(0, abs=1e-12)
    assert float(path.a(number(0.0))) < 0.01 and float(path.b(number(0.0))) == pytest.approx(1, abs=1e-4)
    assert bool((path.log_snr(t).diff() > 0).all())
    if not isinstance(path, Linear):
        assert torch.allclose(path.a(t) ** 2 + path.b(t) ** 2, torch.ones_like(t))
    h = 1e-4 if isinstance(path, Betas) else 1e-6
    for value, slope in ((path.a, path.da), (path.b, path.db)):
        numeric = (value(t + h) - value(t - h)) / (2 * h)
        assert torch.allclose(numeric, slope(t), rtol=5e-3 if isinstance(path, Betas) else 1e-5, atol=1e-3 if isinstance(path, Betas) else 1e-6)


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("predict", ["data", "noise", "velocity"])
def test_what_is_said_is_read_back(path, predict):
    path = PATHS[path]
    g = torch.Generator().manual_seed(0)
    x, e = torch.randn(2, 50, dtype=torch.float64, generator=g)
    t = torch.linspace(0.05, 0.95, 50, dtype=torch.float64)
    z = path.mixed(x, e, t)
    seen = path.read(predict, path.target(predict, x, e, t), z, t)
    assert torch.allclose(seen.x, x, atol=1e-8) and torch.allclose(seen.e, e, atol=1e-8)


def test_ddpm_levels_are_the_published_ones():
    beta = torch.linspace(1e-4, 0.02, 1000, dtype=torch.float64)
    kept = torch.cumprod(1 - beta, 0)
    t = 1 - (torch.arange(1000, dtype=torch.float64) + 1) / 1000
    assert torch.allclose(Betas().a(t) ** 2, kept) and torch.allclose(Betas().b(t) ** 2, 1 - kept)


def test_grids_and_times():
    assert grid("uniform", 4) == pytest.approx([0, 0.25, 0.5, 0.75, 1])
    assert grid("cosine", 2) == pytest.approx([0, 1 - math.cos(math.pi / 4), 1])
    assert grid("shifted", 2, shift=3.0) == pytest.approx([0, 0.25, 1])
    assert grid("uniform", 2, first=0.5) == pytest.approx([0.5, 0.75, 1])
    t = drawn("uniform", (64, 1), Rng.seeded(0))
    assert bool(((t.flatten().sort().values * 64).floor().diff() <= 2).all()) and 0 <= float(t.min()) and float(t.max()) < 1
    normal = drawn("logit_normal", (20000, 1), Rng.seeded(0), mean=0.5, sd=1.5)
    assert float(torch.logit(normal.double()).mean()) == pytest.approx(0.5, abs=0.05) and float(torch.logit(normal.double()).std()) == pytest.approx(
        1.5, abs=0.05
    )
    levels = drawn("levels", (20000, 1), Rng.seeded(0), levels=10)
    assert levels.unique().tolist() == pytest.approx([i / 10 for i in range(10)], abs=1e-6)
    shifted = drawn("uniform", (20000, 1), Rng.seeded(1), shift=3.0)
    assert float((shifted < 0.25).float().mean()) == pytest.approx(0.5, abs=0.02)
