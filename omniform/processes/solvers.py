"""Solvers: from one time of the grid to the next. ask(z, t) gives the data and the noise that the network sees (paths.Prediction)."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, Protocol

import torch
from torch import Tensor

from ..core.rng import Rng
from .paths import Path, Prediction


class Ask(Protocol):
    """The network as a solver sees it."""

    spread: Tensor | None
    """The raw variance that the last answer spoke of, where the head speaks one."""

    def __call__(self, z: Tensor, t: Tensor) -> Prediction: ...


class Solver(ABC):
    """One step. t and s are 0-dimensional tensors with t < s; `past` is whatever the solver wants to find again at its next step."""

    order: int
    """Of convergence, for the deterministic ones; 0 where the end point is random."""

    @abstractmethod
    def step(self, ask: Ask, path: Path, z: Tensor, t: Tensor, s: Tensor, past: Any, rng: Rng) -> tuple[Tensor, Any]: ...


def velocity(path: Path, p: Prediction, t: Tensor) -> Tensor:
    """dz/dt along the path."""
    return path.da(t) * p.x + path.db(t) * p.e if p.v is None else p.v


class Euler(Solver):
    """z + (s - t) v."""

    order = 1

    def step(self, ask: Ask, path: Path, z: Tensor, t: Tensor, s: Tensor, past: Any, rng: Rng) -> tuple[Tensor, Any]:
        return z + (s - t) * velocity(path, ask(z, t), t), None


class Heun(Solver):
    """The trapezoid of two velocities; an Euler step into t = 1, where noise cannot be asked for (EDM, arXiv:2206.00364, algorithm 1)."""

    order = 2

    def step(self, ask: Ask, path: Path, z: Tensor, t: Tensor, s: Tensor, past: Any, rng: Rng) -> tuple[Tensor, Any]:
        v = velocity(path, ask(z, t), t)
        end = z + (s - t) * v
        if float(s) >= 1:
            return end, None
        return z + (s - t) / 2 * (v + velocity(path, ask(end, s), s)), None


class Ddim(Solver):
    """a(s) x + b(s) e with data and noise as seen at t (arXiv:2010.02502, equation 12 with sigma 0)."""

    order = 1

    def step(self, ask: Ask, path: Path, z: Tensor, t: Tensor, s: Tensor, past: Any, rng: Rng) -> tuple[Tensor, Any]:
        p = ask(z, t)
        return path.a(s) * p.x + path.b(s) * p.e, None


class DpmPP2M(Solver):
    """DPM-Solver++(2M): the data prediction extrapolated from two steps, in the half log-SNR (arXiv:2211.01095, algorithm 2); first and last steps of order
    one."""

    order = 2

    def step(self, ask: Ask, path: Path, z: Tensor, t: Tensor, s: Tensor, past: Any, rng: Rng) -> tuple[Tensor, Any]:
        x = ask(z, t).x
        if float(s) >= 1:
            return path.a(s) * x, None
        here, there = path.log_snr(t), path.log_snr(s)
        h = there - here
        seen = x
        if past is not None:
            before, lam = past
            r = (here - lam) / h
            seen = x + (x - before) / (2 * r)
        return path.b(s) / path.b(t) * z - path.a(s) * torch.expm1(-h) * seen, (x, here)


class UniPC(Solver):
    """UniPC-2 (Zhao et al. 2023, arXiv:2302.04867, section 3, of data, with B(h) = e^h - 1): what the network says at t first corrects the step
    that led there, then the next one extrapolates from it and the answer before, in the half log-SNR. First and last steps are of order one."""

    order = 2

    def step(self, ask: Ask, path: Path, z: Tensor, t: Tensor, s: Tensor, past: Any, rng: Rng) -> tuple[Tensor, Any]:
        x, here = ask(z, t).x, path.log_snr(t)
        if past is not None:
            z = self._corrected(path, x, here, t, *past)
        if float(s) >= 1:
            return path.a(s) * x, None
        h = path.log_snr(s) - here
        seen, before = x, None
        if past is not None:
            _, _, last, lam, _ = past
            seen, before = x + (last - x) * h / (2 * (lam - here)), (last, lam)
        return path.b(s) / path.b(t) * z - path.a(s) * torch.expm1(-h) * seen, (z, t, x, here, before)

    def _corrected(self, path: Path, x: Tensor, here: Tensor, t: Tensor, z: Tensor, u: Tensor, last: Tensor, lam: Tensor, before: Any) -> Tensor:
        """The step from u to t again, knowing the data x seen at its end. before: what was seen a step before it, and where, if there was one."""
        h = here - lam
        grown = torch.expm1(-h)
        turn = (x - last) / 2
        if before is not None:
            older, far = before
            r, first = (far - lam) / h, -grown / h - 1
            even, skew = first / grown, 2 * (-first / h - 0.5) / grown
            share = (even - skew) / (1 - r)
            turn = share * (older - last) / r + (even - share) * (x - last)
        return path.b(t) / path.b(u) * z - path.a(t) * grown * (last + turn)


class Ancestral(Solver):
    """DDPM's reverse step (arXiv:2006.11239, equation 7) between any two times: the posterior of z_s given z_t and the data seen, its noise scaled by `churn`.

    With a learned spread v in [-1, 1] the variance is beta^((v+1)/2) * posterior^((1-v)/2) (arXiv:2102.09672, equation 15).
    """

    order = 0

    def __init__(self, churn: float = 1.0):
        self.churn = churn

    def step(self, ask: Ask, path: Path, z: Tensor, t: Tensor, s: Tensor, past: Any, rng: Rng) -> tuple[Tensor, Any]:
        p = ask(z, t)
        at, bt2, as_, bs2 = path.a(t), path.b(t) ** 2, path.a(s), path.b(s) ** 2
        beta = bt2 - (at / as_) ** 2 * bs2  # variance of z_t given z_s; 1 - (at / as)^2 where the path preserves variance
        mean = (as_ * beta * p.x + (at / as_) * bs2 * z) / bt2
        if float(s) >= 1:
            return mean, None
        low, high = (beta * bs2 / bt2).clamp(min=1e-20), beta
        spread = ask.spread
        if spread is None:
            log_var = low.log()
        else:
            share = (spread + 1) / 2
            log_var = share * high.log() + (1 - share) * low.log()
        return mean + self.churn * torch.exp(0.5 * log_var) * rng.normal(z.shape).to(z), None
