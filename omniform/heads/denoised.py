"""Continuous content as whatever a small diffusion generates given the hidden state."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..core.distribution import Content, Distribution, Head, Sampling, Says
from ..core.errors import Intractable
from ..core.process import generate
from ..core.query import Answer, Query
from ..core.rng import Rng
from ..core.spec import Spec
from ..core.tokens import Axis, Space, Tokens
from .point import Point


class DenoisingMlp(nn.Module):
    """(noisy token, time, hidden state) -> prediction: residual MLP blocks modulated by adaLN (MAR's SimpleMLPAdaLN, arXiv:2406.11838, section 3.2).

    x (B, n, C), t (B, n), h (B, n, D) -> (B, n, out).
    """

    def __init__(self, width: int, hidden: int, channels: int, depth: int, out: int):
        super().__init__()
        self.enter = nn.Linear(channels, hidden)
        self.time = nn.Sequential(nn.Linear(256, hidden), nn.SiLU(), nn.Linear(hidden, hidden))
        self.told = nn.Linear(width, hidden)
        self.norms = nn.ModuleList(nn.LayerNorm(hidden, eps=1e-6) for _ in range(depth))
        self.mods = nn.ModuleList(nn.Linear(hidden, 3 * hidden) for _ in range(depth))
        self.blocks = nn.ModuleList(nn.Sequential(nn.Linear(hidden, hidden), nn.SiLU(), nn.Linear(hidden, hidden)) for _ in range(depth))
        self.last_mod = nn.Linear(hidden, 2 * hidden)
        self.out = nn.Linear(hidden, out)
        for zero in (*self.mods, self.last_mod, self.out):
            nn.init.zeros_(zero.weight)
            nn.init.zeros_(zero.bias)
        self.register_buffer("frequency", torch.exp(-torch.arange(128) * (torch.log(torch.tensor(10000.0)) / 128)), persistent=False)

    def forward(self, x: Tensor, t: Tensor, h: Tensor) -> Tensor:
        angle = (1000.0 * t).unsqueeze(-1) * self.frequency
        told = F.silu(self.time(torch.cat([angle.cos(), angle.sin()], -1).to(h.dtype)) + self.told(h))
        x = self.enter(x)
        for norm, mod, block in zip(self.norms, self.mods, self.blocks, strict=True):
            shift, scale, gate = mod(told).chunk(3, -1)
            x = x + gate * block(norm(x) * (1 + scale) + shift)
        shift, scale = self.last_mod(told).chunk(2, -1)
        return self.out(F.layer_norm(x, x.shape[-1:], eps=1e-6) * (1 + scale) + shift)


class _Inner:
    """The small network as a Net: guidance over the outer terms is mixed here, at every inner question."""

    def __init__(self, mlp: DenoisingMlp, hidden: Sequence[Tensor], weights: Sequence[Tensor], learned_variance: bool):
        self.mlp, self.hidden, self.weights, self.learned_variance = mlp, hidden, weights, learned_variance

    def __call__(self, query: Query, *, remember: bool = False) -> Answer:
        x, time = query.tokens.vec, query.time
        assert x is not None and time is not None
        points = []
        for h in self.hidden:
            y = self.mlp(x, time.expand(x.shape[:2]), h)
            points.append(Point(*y.chunk(2, -1)) if self.learned_variance else Point(y))
        return Answer(points[0] if len(points) == 1 else Point.mix(points, self.weights))

    def forget(self, turn: Tensor) -> None:
        """Nothing is remembered here."""

    def fork(self, rows: Tensor) -> Any:
        return _Inner(self.mlp, [h[rows] for h in self.hidden], [w[rows] for w in self.weights], self.learned_variance)


class Denoised(Distribution):
    """The distribution that an inner process generates given h (B, L, D). nll is the inner process's loss: a surrogate."""

    exact = False

    def __init__(self, hidden: Sequence[Tensor], weights: Sequence[Tensor], head: DenoisedHead):
        self.hidden, self.weights, self.head = list(hidden), list(weights), head

    def _tokens(self, vec: Tensor) -> Tokens:
        rows, length = vec.shape[:2]
        doc = torch.zeros((1, length), dtype=torch.long, device=vec.device).expand(rows, -1)
        return Tokens(ids=None, vec=vec, coord=torch.zeros((1, length, 1), device=vec.device).expand(rows, -1, -1), kind=doc, doc=doc)

    def nll(self, target: Says, *, rng: Rng) -> Tensor:
        assert target.vec is not None
        draws = self.head.draws
        hidden = [h.repeat(1, draws, 1) for h in self.hidden]
        tokens = self._tokens(target.vec.repeat(1, draws, 1))
        terms = self.head.inner.terms(_Inner(self.head.mlp, hidden, self.weights, self.head.learned_variance), tokens, rng=rng)
        return terms.reshape(terms.shape[0], draws, -1).mean(1)

    def sample(self, *, rng: Rng, how: Sampling) -> Content:
        h = self.hidden[0]
        blank = self._tokens(torch.zeros((*h.shape[:2], self.head.channels), device=h.device))
        inner = self.head.inner.but(temperature=how.temperature) if how.temperature != 1 else self.head.inner
        net = _Inner(self.head.mlp, self.hidden, self.weights, self.head.learned_variance)
        return Content(vec=generate(inner, net, blank, rng=rng).vec)

    def confidence(self, content: Says) -> Tensor:
        raise Intractable("a denoising head draws without saying how sure it is; let the masked process choose 'random' places")

    def mapped(self, change: Callable[[Tensor], Tensor]) -> Self:
        return type(self)([change(h) for h in self.hidden], self.weights, self.head)

    def rows(self, which: slice) -> Self:
        return type(self)([h[which] for h in self.hidden], [w[which] for w in self.weights], self.head)

    @classmethod
    def mix(cls, distributions: Sequence[Self], weights: Sequence[Tensor]) -> Self:
        hidden = [h for d in distributions for h in d.hidden]
        mixed = [w * v for d, w in zip(distributions, weights, strict=True) for v in d.weights]
        return cls(hidden, mixed, distributions[0].head)


class DenoisedHead(Head):
    """A small denoising network over single tokens and the process that trains and samples it.

    inner: Spec of a Flow (built here). draws: independent (time, noise) draws a hidden state in training (MAR's code: 4).
    """

    def __init__(self, width: int, space: Space, inner: Spec, hidden: int = 1024, depth: int = 3, draws: int = 4, learned_variance: bool = False):
        super().__init__()
        self.channels, self.draws, self.learned_variance = space.channels, draws, learned_variance
        self.mlp = DenoisingMlp(width, hidden, space.channels, depth, space.channels * (2 if learned_variance else 1))
        self.inner: Any = inner.build(space=Space(axes=(Axis("token", 1),), channels=space.channels))

    def passes(self) -> int:
        return self.inner.evaluations()

    def small(self, h: Tensor) -> None:
        self.mlp(h.new_zeros(*h.shape[:2], self.channels), h.new_zeros(h.shape[:2]), h)

    def forward(self, h: Tensor) -> Denoised:
        return Denoised([h], [h.new_ones(h.shape[0])], self)
