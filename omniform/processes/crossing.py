"""From one kind of data to another: a flow whose source is not noise."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from ..core.errors import BadArgument
from ..core.net import Net
from ..core.process import Losses, Process, begun, dues_of
from ..core.query import Query
from ..core.rng import Rng
from ..core.spec import Spec
from ..core.tokens import Tokens
from .flow import Denoising
from .grids import TimesKind, drawn, grid
from .masked import asked
from .paths import Path


class Crossing(Process[Denoising]):
    """z = a(t) x + b(t) s, where s is drawn from what the stage "source" of the network says of the condition, and the network itself is told nothing but time
    and whether source and target belong together (CrossFlow, arXiv:2412.15213, sections 4.1 to 4.3; its time runs as ours). The contrast with an image encoder
    is not here.

    apart: share of the training rows whose target is another row's, by a cyclic shift; their tokens are of kind 1. Guidance by that kind: v1 + scale (v0 -
    v1), from the same state. kl: weight of the source's nats from a standard Gaussian, a token (ours: the paper's 1e-4 times 4,096 numbers, halved beside the
    halved squared error). With a source that says mean 0 and variance 1, apart 0 and scale 1, a Flow of velocity by Euler.
    """

    timed = True

    def __init__(
        self, path: Spec, steps: int = 50, times: TimesKind = "logit_normal", scale: float = 7.0, apart: float = 0.1, kl: float = 0.2, source: str = "source"
    ):
        super().__init__()
        if not 0 <= apart < 1 or steps < 1:
            raise BadArgument(f"expected a share of rows apart in [0, 1) and a step or more, found {apart} and {steps}")
        self.path: Path = path.build()
        self.steps, self.times, self.scale, self.apart, self.kl, self.source = steps, times, scale, apart, kl, source

    def _query(self, tokens: Tokens, t: Tensor | None, progress: Tensor, kind: Tensor | int = 0) -> Query:
        kinds = torch.zeros_like(tokens.doc) + (kind if isinstance(kind, int) else kind[:, None].long())
        known = torch.ones_like(tokens.doc, dtype=torch.bool)
        return replace(asked(replace(tokens, kind=kinds), known, progress, t), stage="main" if t is not None else self.source)

    def _source(self, net: Net, tokens: Tokens, progress: Tensor) -> Any:
        assert tokens.vec is not None
        return net(self._query(replace(tokens, vec=torch.zeros_like(tokens.vec)), None, progress)).distribution

    def loss(self, net: Net, tokens: Tokens, *, rng: Rng) -> Losses:
        x = tokens.vec
        assert x is not None
        start = torch.zeros(tokens.batch, device=x.device)
        source = self._source(net, tokens, start)
        s = source.reached(rng.split("noise").normal(x.shape).to(x))
        x, apart = self._moved(x, rng.split("apart"))
        t = drawn(self.times, (tokens.batch, 1), rng.split("time")).to(x.device)
        answer = net(self._query(replace(tokens, vec=self.path.mixed(x, s, t[..., None])), t, start, apart))
        target = self.path.target("velocity", x, s, t[..., None])
        point: Any = answer.distribution
        count = tokens.real.sum()
        main = 0.5 * (point.value.float() - target.float()).square().sum(-1)
        return Losses({"main": (main * tokens.real).sum(), "source": self.kl * (source.kl() * tokens.real).sum(), **dues_of(answer.dues, count)}, count)

    def _moved(self, x: Tensor, rng: Rng) -> tuple[Tensor, Tensor]:
        """Targets, and which rows (B,) have another's; a single chosen row has nobody to change with."""
        apart = rng.uniform((len(x),)).to(x.device) < self.apart
        chosen = apart.nonzero()[:, 0]
        if len(chosen) < 2:
            return x, torch.zeros_like(apart)
        return x.index_copy(0, chosen, x[chosen.roll(1)]), apart

    def init(self, blank: Tokens, *, rng: Rng, given: Tensor | None = None) -> Denoising:
        assert blank.vec is not None
        noise = rng.split("noise").normal(blank.vec.shape).to(blank.vec)
        given = None if given is None or not bool(given.any()) else given
        return Denoising(tokens=replace(blank, vec=noise), step=0, past=None, wanted=blank.vec, noise=noise, given=given, **begun(blank))

    def step(self, net: Net, state: Denoising, *, rng: Rng) -> Denoising:
        times = grid("uniform", self.steps)
        t, s = (torch.tensor(times[state.step + i], dtype=torch.float64, device=state.tokens.doc.device) for i in (0, 1))
        if state.step == 0:
            start = self._source(net, state.tokens, state.progress).reached(state.tokens.vec)
            state = replace(state, tokens=replace(state.tokens, vec=start), noise=start)
        z = state.tokens.vec
        time = t.to(z).expand(len(z), 1)
        ask = lambda kind: net(self._query(state.tokens, time, state.progress, kind)).distribution.value.to(z)  # noqa: E731
        v = ask(0)
        if self.scale != 1:
            other = ask(1)
            v = other + self.scale * (v - other)
        z = z + (s - t).to(z) * v
        if state.given is not None:
            held = state.wanted if float(s) >= 1 else self.path.mixed(state.wanted, state.noise, s.to(z))
            z = torch.where(state.given[..., None], held, z)
        step = state.step + 1
        return replace(
            state,
            tokens=replace(state.tokens, vec=z),
            step=step,
            at=state.at + 1,
            progress=torch.full_like(state.progress, step / self.steps),
            done=torch.full_like(state.done, step == self.steps),
        )

    def questions(self, blank: Tokens) -> list[tuple[Query, int]]:
        """All that one example is generated by: a question and how often it is asked."""
        start, time = torch.zeros(blank.batch), torch.zeros(blank.batch, 1)
        return [(self._query(blank, None, start), 1), (self._query(blank, time, start), self.steps * (1 if self.scale == 1 else 2))]
