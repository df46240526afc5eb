"""Paths: how data becomes noise. z_t = a(t) x + b(t) e, with t = 0 noise and t = 1 data."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from functools import cached_property
from typing import Literal

import torch
from torch import Tensor

Predict = Literal["data", "noise", "velocity"]


class Path(ABC):
    """a and b over time, and their derivatives."""

    levels: int = 1000
    """Of how many noise levels a time is one, where it is one of several."""

    @abstractmethod
    def a(self, t: Tensor) -> Tensor:
        """Signal."""

    @abstractmethod
    def b(self, t: Tensor) -> Tensor:
        """Noise."""

    @abstractmethod
    def da(self, t: Tensor) -> Tensor: ...
    @abstractmethod
    def db(self, t: Tensor) -> Tensor: ...

    def log_snr(self, t: Tensor) -> Tensor:
        """lambda = log(a / b) (DPM-Solver's half log-SNR, arXiv:2206.00927)."""
        return torch.log(self.a(t).clamp(min=1e-12)) - torch.log(self.b(t).clamp(min=1e-12))

    def mixed(self, x: Tensor, e: Tensor, t: Tensor) -> Tensor:
        """z at t; t broadcasts against x."""
        return self.a(t) * x + self.b(t) * e

    def target(self, predict: Predict, x: Tensor, e: Tensor, t: Tensor) -> Tensor:
        """What a network that predicts this should say."""
        if predict == "data":
            return x
        return e if predict == "noise" else self.da(t) * x + self.db(t) * e

    def read(self, predict: Predict, said: Tensor, z: Tensor, t: Tensor) -> Prediction:
        """What the network said at z, t, as data and noise."""
        if predict == "velocity":
            return Prediction(lambda: self._of_velocity(said, z, t), said)
        a, b = self.a(t), self.b(t)
        if predict == "data":
            return Prediction((said, (z - a * said) / b.clamp(min=1e-5)))
        return Prediction(((z - b * said) / a.clamp(min=1e-5), said))

    def _of_velocity(self, said: Tensor, z: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        a, b, da, db = self.a(t), self.b(t), self.da(t), self.db(t)
        det = a * db - b * da  # of the linear map (x, e) -> (z, v)
        return (db * z - b * said) / det, (a * said - da * z) / det


class Prediction:
    """The data x and the noise e that a network sees in z, and dz/dt where that is what it said: v, which is all that some solvers ask for."""

    def __init__(self, both: tuple[Tensor, Tensor] | Callable[[], tuple[Tensor, Tensor]], v: Tensor | None = None):
        self._both, self.v = both, v

    @cached_property
    def both(self) -> tuple[Tensor, Tensor]:
        """x and e."""
        return self._both() if callable(self._both) else self._both

    @property
    def x(self) -> Tensor:
        return self.both[0]

    @property
    def e(self) -> Tensor:
        return self.both[1]


class Linear(Path):
    """z = t x + (1 - t) e: rectified flow (arXiv:2209.03003), flow matching's optimal transport path (arXiv:2210.02747)."""

    def a(self, t: Tensor) -> Tensor:
        return t

    def b(self, t: Tensor) -> Tensor:
        return 1 - t

    def da(self, t: Tensor) -> Tensor:
        return torch.ones_like(t)

    def db(self, t: Tensor) -> Tensor:
        return -torch.ones_like(t)


class Cosine(Path):
    """a = sin(pi t / 2), b = cos(pi t / 2): the trigonometric, variance-preserving path (arXiv:2102.09672; SiT's GVP, arXiv:2401.08740)."""

    def a(self, t: Tensor) -> Tensor:
        return torch.sin(t * math.pi / 2)

    def b(self, t: Tensor) -> Tensor:
        return torch.cos(t * math.pi / 2)

    def da(self, t: Tensor) -> Tensor:
        return torch.cos(t * math.pi / 2) * math.pi / 2

    def db(self, t: Tensor) -> Tensor:
        return -torch.sin(t * math.pi / 2) * math.pi / 2


class VariancePreserving(Path):
    """a^2 = exp(-integral of beta) with beta linear from low to high over the noising time s = 1 - t (arXiv:2011.13456, equation 33). DDPM's limit: 0.1, 20."""

    def __init__(self, low: float = 0.1, high: float = 20.0):
        self.low, self.high = low, high

    def _log_a(self, t: Tensor) -> Tensor:
        s = 1 - t
        return -0.25 * s * s * (self.high - self.low) - 0.5 * s * self.low

    def a(self, t: Tensor) -> Tensor:
        return torch.exp(self._log_a(t))

    def b(self, t: Tensor) -> Tensor:
        return torch.sqrt(-torch.expm1(2 * self._log_a(t)))

    def da(self, t: Tensor) -> Tensor:
        return self.a(t) * (0.5 * (1 - t) * (self.high - self.low) + 0.5 * self.low)

    def db(self, t: Tensor) -> Tensor:
        return -self.a(t) * self.da(t) / self.b(t).clamp(min=1e-5)


class Betas(Path):
    """DDPM's discrete noise levels (arXiv:2006.11239): level i of n at time t = 1 - (i + 1) / n, and no noise at t = 1; a and b are interpolated in a^2
    between levels.

    kind "linear": beta from low to high (scaled to 1000 levels); "scaled": its square root so (latent diffusion's code,
    arXiv:2112.10752); "cosine": squared cosine with betas at most 0.999 (arXiv:2102.09672).
    """

    def __init__(self, levels: int = 1000, kind: Literal["linear", "scaled", "cosine"] = "linear", low: float = 1e-4, high: float = 0.02):
        self.levels, self.kind, self.low, self.high = levels, kind, low, high
        if kind == "linear":
            beta = torch.linspace(low, high, levels, dtype=torch.float64, device="cpu")
        elif kind == "scaled":
            beta = torch.linspace(low**0.5, high**0.5, levels, dtype=torch.float64, device="cpu") ** 2
        else:
            f = lambda s: torch.cos((s + 0.008) / 1.008 * math.pi / 2) ** 2  # noqa: E731
            step = torch.arange(levels, dtype=torch.float64, device="cpu")
            beta = (1 - f((step + 1) / levels) / f(step / levels)).clamp(max=0.999)
        self.kept = torch.cat([torch.ones(1, dtype=torch.float64, device="cpu"), torch.cumprod(1 - beta, 0)])  # a^2 at noising time i / n

    def _kept(self, t: Tensor) -> Tensor:
        kept = self.kept.to(t.device)
        s = ((1 - t.double()) * self.levels).clamp(0, self.levels)
        low = s.floor().long().clamp(max=self.levels - 1)
        return kept[low] + (s - low) * (kept[low + 1] - kept[low])

    def a(self, t: Tensor) -> Tensor:
        return self._kept(t).sqrt().to(t.dtype)

    def b(self, t: Tensor) -> Tensor:
        return (1 - self._kept(t)).sqrt().to(t.dtype)

    def _slope(self, t: Tensor) -> Tensor:
        """d a^2 / dt."""
        kept = self.kept.to(t.device)
        low = ((1 - t.double()) * self.levels).floor().long().clamp(0, self.levels - 1)
        return ((kept[low] - kept[low + 1]) * self.levels).to(t.dtype)

    def da(self, t: Tensor) -> Tensor:
        return self._slope(t) / (2 * self.a(t).clamp(min=1e-5))

    def db(self, t: Tensor) -> Tensor:
        return -self._slope(t) / (2 * self.b(t).clamp(min=1e-5))
