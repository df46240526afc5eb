"""From noise to data along a path: diffusion, rectified flow, stochastic interpolants; and the same over discrete states."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from ..core.distribution import Content, Distribution, Sampling
from ..core.errors import BadArgument
from ..core.net import Net
from ..core.process import Ask, Losses, Posed, Process, State, begun, dues_of
from ..core.query import Answer, Query
from ..core.rng import Rng
from ..core.spec import Spec
from ..core.tokens import Space, Tokens
from .grids import Curve, GridKind, Levels, Sigmas, TimesKind, clock, drawn, grid
from .masked import asked
from .paths import Path, Predict, Prediction
from .shown import Shown
from .solvers import Solver


@dataclass(frozen=True)
class Denoising(State):
    """step: of the grid. past: the solver's own. wanted, noise, given: what some places must become, and the noise that they keep on the way."""

    step: int
    past: Any
    wanted: Tensor | None
    noise: Tensor | None
    given: Tensor | None


@lru_cache(maxsize=64)
def _times(kind: GridKind | Levels | Sigmas | Curve, steps: int, shift: float, first: float) -> tuple[float, ...]:
    """A grid's times, looked up at every step."""
    return tuple(grid(kind, steps, shift=shift, first=first))


class _Asker:
    """The net as a solver sees it: z and a time to data and noise."""

    def __init__(
        self,
        net: Net,
        tokens: Tokens,
        path: Path,
        predict: Predict,
        progress: Tensor,
        known: Tensor | None = None,
        told: bool = False,
        clock: Callable[[Tensor], Tensor] | None = None,
    ):
        self.net, self.tokens, self.path, self.predict, self.progress, self.told, self.clock = net, tokens, path, predict, progress, told, clock
        self.known = torch.ones_like(tokens.doc, dtype=torch.bool) if known is None else known
        self.spread: Tensor | None = None

    def __call__(self, z: Tensor, t: Tensor) -> Prediction:
        time = (t if self.clock is None else self.clock(t)).to(z).expand(z.shape[0], 1)
        time = torch.where(self.known, 1.0, time) if self.told else time
        point: Any = self.net(asked(replace(self.tokens, vec=z), self.known, self.progress, time)).distribution
        self.spread = point.spread
        return self.path.read(self.predict, point.value.to(z.dtype), z, t)


class Flow(Process[Denoising]):
    """z = a(t) x + b(t) e; the network is asked at z and t and names the data, the noise or the velocity.

    path, solver: Specs. times, in training: "uniform", "logit_normal", "levels" (of DDPM); per "row", "token", or the name of an axis (a time a frame:
    diffusion
    forcing, arXiv:2407.01392). grid (or a Spec of grids.Levels, Sigmas, Curve), steps: of the solver; shift moves both toward noise. temperature scales the
    noise that the solver adds.
    `given` places are put back, with noise of the right level, after every step: an approximation of conditioning, not the exact one. shown: Spec of
    shown.Shown; dropped: the share of a row's places that training leaves out: not known and not counted (for a backbone that skips them,
    stack.DeferredMask; arXiv:2407.15811). centred: noise less its mean over places. capped: an error of the data counts 1 / b(t)^2, as that of the velocity
    that it means on the straight path, with t at most this (ADiT, arXiv:2503.03965).
    A flow that has learned with clean places among the noisy ones is given them clean: conditioning as it was trained.
    """

    timed = True

    def __init__(
        self,
        path: Spec,
        solver: Spec,
        space: Space | None = None,
        predict: Predict = "velocity",
        steps: int = 50,
        times: TimesKind = "uniform",
        per: str = "row",
        grid: GridKind | Spec = "uniform",
        shift: float = 1.0,
        logit: tuple[float, float] = (0.0, 1.0),
        temperature: float = 1.0,
        first: float = 0.0,
        shown: Spec | None = None,
        direction: float = 0.0,
        dropped: float = 0.0,
        centred: bool = False,
        capped: float | None = None,
    ):
        super().__init__()
        if capped is not None and (predict != "data" or not 0 <= capped < 1):
            raise BadArgument(f"a cap is a time from 0 to less than 1 of a flow that predicts 'data', not {capped!r} of one that predicts {predict!r}")
        if predict not in ("data", "noise", "velocity"):
            raise BadArgument(f"a flow predicts 'data', 'noise' or 'velocity', not {predict!r}")
        if steps < 1:
            raise BadArgument(f"a sample takes at least one step, not {steps}")
        self.path: Path = path.build()
        self.solver: Solver = solver.build()
        self.predict: Predict = predict
        self.grid: GridKind | Levels | Sigmas | Curve = grid.build() if isinstance(grid, Spec) else grid
        self.steps, self.times, self.shift, self.logit, self.temperature, self.first = steps, times, shift, logit, temperature, first
        if not 0 <= dropped < 1 or (dropped and shown):
            raise BadArgument(f"a share of places from 0 to less than 1 is dropped, and none where some are shown clean, not {dropped!r}")
        self.per, self.direction, self.dropped = per, direction, dropped
        self.centred, self.capped = centred, capped
        self.shown: Shown | None = None if shown is None else shown.build(space=space)
        self._axis = None if per in ("row", "token") or space is None else space.axis(per)
        self.sampling = Sampling()

    def _times(self, tokens: Tokens, rng: Rng) -> Tensor:
        """(B, 1) or (B, L)."""
        shape = (tokens.batch, 1 if self.per == "row" else tokens.length)
        t = drawn(self.times, shape, rng, mean=self.logit[0], sd=self.logit[1], shift=self.shift, levels=self.path.levels).to(
            tokens.doc.device
        )
        if self._axis is not None:
            group = torch.unique(tokens.coord[0, :, self._axis], return_inverse=True)[1]
            t = t[:, group]
        return t

    def _noise(self, like: Tensor, rng: Rng) -> Tensor:
        """(B, L, C)."""
        e = rng.split("noise").normal(like.shape).to(like)
        return e - e.mean(1, keepdim=True) if self.centred else e

    def terms(self, net: Net, tokens: Tokens, *, rng: Rng) -> Tensor:
        """(B, L): the loss of each token."""
        return self._terms(net, tokens, rng)[0]

    def pose(self, tokens: Tokens, *, rng: Rng, floor: Tensor | None = None) -> Posed:
        x = tokens.vec
        assert x is not None
        t = self._times(tokens, rng.split("time"))
        t = t if floor is None else floor[:, None] + (1 - floor[:, None]) * t
        e = self._noise(x, rng)
        z = self.path.mixed(x, e, t[..., None])
        known, time, counted = torch.ones_like(tokens.doc, dtype=torch.bool), t, tokens.real
        if self.shown is not None:
            known = self.shown.drawn(tokens.coord, rng.split("shown"))
            z = torch.where(known[..., None], x, z)
            time, counted = torch.where(known, 1.0, t) if self.shown.told else t, counted & ~known
        if self.dropped:
            known = rng.split("dropped").permutation(tokens.batch, tokens.length).to(tokens.doc.device) < max(1, int(tokens.length * (1 - self.dropped)))
            counted = counted & known
        query: Query = asked(replace(tokens, vec=z), known, torch.zeros(tokens.batch, device=x.device), time)

        def price(answer: Answer) -> tuple[Tensor, Tensor]:
            point: Any = answer.distribution
            target = self.path.target(self.predict, x, e, t[..., None])
            loss = point.nll(Content(vec=target), rng=rng)
            if self.direction:
                loss = loss + 0.5 * self.direction * x.shape[-1] * (1 - torch.cosine_similarity(point.value.float(), target.float(), -1))
            if point.spread is not None:
                loss = loss + self._variational(point, x, z, t)
            if self.capped is not None:
                loss = loss / self.path.b(t.clamp(max=self.capped)).square()
            return loss * counted, counted

        return Posed(query, price)

    def _terms(self, net: Net, tokens: Tokens, rng: Rng) -> tuple[Tensor, Tensor, Any]:
        """The loss of each token, whether it counts, and the answer."""
        posed = self.pose(tokens, rng=rng)
        answer = net(posed.query)
        return *posed.price(answer), answer

    def _variational(self, point: Any, x: Tensor, z: Tensor, t: Tensor) -> Tensor:
        """The variational bound's term for the learned variance, its mean held fixed, in bits and halved beside the halved squared error (DiT's code;
        arXiv:2102.09672)."""
        levels = self.path.levels
        s = (t + 1 / levels).clamp(max=1)[..., None].double()
        t = t[..., None].double()
        at, bt2, as_, bs2 = self.path.a(t), self.path.b(t) ** 2, self.path.a(s), self.path.b(s) ** 2
        beta = (bt2 - (at / as_) ** 2 * bs2).clamp(min=1e-20)
        posterior = (beta * bs2 / bt2).clamp(min=1e-20)
        low = torch.where(bs2 > 0, posterior, beta * 1e-3).log()
        share = (point.spread.double() + 1) / 2
        log_var = share * beta.log() + (1 - share) * low
        seen = self.path.read(self.predict, point.value.detach().double(), z.double(), t).x.clamp(-20, 20)
        gap2 = (as_ * beta / bt2 * (x.double() - seen)) ** 2
        kl = 0.5 * (log_var - low + (low.exp() + gap2) / log_var.exp() - 1)
        return 0.5 * (kl / math.log(2)).float().sum(-1)

    def loss(self, net: Net, tokens: Tokens, *, rng: Rng) -> Losses:
        terms, counted, answer = self._terms(net, tokens, rng)
        count = counted.sum().clamp(min=1)
        return Losses({"main": terms.sum(), **dues_of(answer.dues, count)}, count)

    def asks(self, blank: Tokens) -> list[Ask]:
        return [Ask(blank.length, times=self.evaluations())]

    def evaluations(self) -> int:
        """How often the solver asks on its way along the grid."""
        calls = 0

        class Asking:
            spread = None

            def __call__(self, z: Tensor, t: Tensor) -> Prediction:
                nonlocal calls
                calls += 1
                return Prediction((z, z))

        z, past, rng = torch.ones(1, 1), None, Rng.seeded(0, 1)
        times = torch.tensor(_times(self.grid, self.steps, self.shift, self.first), dtype=torch.float64)
        for t, s in pairwise(times):
            z, past = self.solver.step(Asking(), self.path, z, t, s, past, rng)
        return calls

    def init(self, blank: Tokens, *, rng: Rng, given: Tensor | None = None) -> Denoising:
        assert blank.vec is not None
        noise = self._noise(blank.vec, rng)
        start = torch.tensor(self.first, dtype=torch.float64)
        z = noise if self.first == 0 else self.path.b(start).to(noise) * noise
        state = Denoising(tokens=replace(blank, vec=z), step=0, past=None, wanted=None, noise=None, given=None, **begun(blank))
        if given is not None and bool(given.any()):
            state = replace(state, wanted=blank.vec, noise=noise, given=given)
            state = replace(state, tokens=self._held(state, self.first))
        return state

    def _held(self, state: Denoising, t: float) -> Tokens:
        """Given places at the noise level of t."""
        if state.given is None:
            return state.tokens
        now = torch.tensor(t, dtype=torch.float64, device=state.tokens.doc.device)
        assert state.wanted is not None and state.noise is not None
        said = state.wanted if t >= 1 or self.shown is not None else self.path.mixed(state.wanted, state.noise, now)  # a path may end at b(1) = 6e-17
        return replace(state.tokens, vec=torch.where(state.given[..., None], said, state.tokens.vec))

    def step(self, net: Net, state: Denoising, *, rng: Rng) -> Denoising:
        times = _times(self.grid, self.steps, self.shift, self.first)
        device = state.tokens.doc.device
        t, s = (torch.tensor(times[state.step + i], dtype=torch.float64, device=device) for i in (0, 1))
        known = None if self.shown is None else torch.zeros_like(state.tokens.doc, dtype=torch.bool) if state.given is None else state.given
        told = self.shown is not None and self.shown.told
        ask = _Asker(net, state.tokens, self.path, self.predict, state.progress, known, told, clock(self.grid, self.steps))
        noise = _Scaled(rng, self.temperature) if self.temperature != 1 else rng
        z, past = self.solver.step(ask, self.path, state.tokens.vec, t, s, state.past, noise)
        step, tokens = state.step + 1, replace(state.tokens, vec=z)
        return replace(
            state,
            tokens=self._held(replace(state, tokens=tokens), times[step]) if state.given is not None else tokens,
            past=past,
            step=step,
            at=state.at + 1,
            progress=torch.full_like(state.progress, step / self.steps),
            done=torch.full_like(state.done, step == self.steps),
        )


class _Scaled:
    """A generator whose normal draws are scaled: a colder sampler (MAR's temperature)."""

    def __init__(self, rng: Rng, by: float):
        self._rng, self._by = rng, by

    def normal(self, shape: Any) -> Tensor:
        return self._rng.normal(shape) * self._by


class DiscreteFlow(Process[Denoising]):
    """The same from random codes to codes: each token jumps, at rate 1 / (1 - t), to what the network believes (arXiv:2407.15595, equations 9 and 24).

    At time t a token is the data's with probability t, else a uniform draw. The loss is the nll of the data at every place, at the time of the row.
    """

    timed = True

    def __init__(self, space: Space, steps: int = 50, sampling: Sampling | None = None):
        super().__init__()
        if not space.vocab:
            raise BadArgument("a discrete flow needs codes; for continuous tokens use Flow")
        self.steps, self.vocab, self.times = steps, space.vocab[0], "uniform"
        self.sampling = sampling or Sampling()

    def _ask(self, net: Net, tokens: Tokens, t: Tensor, progress: Tensor) -> Any:
        return net(asked(tokens, torch.ones_like(tokens.doc, dtype=torch.bool), progress, t))

    def loss(self, net: Net, tokens: Tokens, *, rng: Rng) -> Losses:
        ids = tokens.ids
        assert ids is not None
        t = drawn("uniform", (tokens.batch, 1), rng.split("time")).to(ids.device)
        noise = rng.split("noise").integers(self.vocab, ids.shape).to(ids.device)
        keep = rng.split("keep").uniform(ids.shape).to(ids.device) < t[..., None]
        answer = self._ask(net, replace(tokens, ids=torch.where(keep, ids, noise)), t, torch.zeros(tokens.batch, device=ids.device))
        count = tokens.real.sum()
        nll = answer.distribution.nll(tokens, rng=rng) * tokens.real
        return Losses({"main": nll.sum(), **dues_of(answer.dues, count)}, count)

    def asks(self, blank: Tokens) -> list[Ask]:
        return [Ask(blank.length, times=self.steps)]

    def init(self, blank: Tokens, *, rng: Rng, given: Tensor | None = None) -> Denoising:
        assert blank.ids is not None
        noise = rng.split("noise").integers(self.vocab, blank.ids.shape).to(blank.ids.device)
        ids = noise if given is None else torch.where(given[..., None], blank.ids, noise)
        return Denoising(tokens=replace(blank, ids=ids), step=0, past=None, wanted=None, noise=None, given=given, **begun(blank))

    def step(self, net: Net, state: Denoising, *, rng: Rng) -> Denoising:
        t, last = state.step / self.steps, state.step + 1 == self.steps
        ids = state.tokens.ids
        assert ids is not None
        time = torch.full((state.tokens.batch, 1), t, device=ids.device)
        distribution: Distribution = self._ask(net, state.tokens, time, state.progress).distribution
        drawn_ids = distribution.sample(rng=rng.split("draw"), how=self.sampling).ids
        share = 1.0 if last else (1 / self.steps) / (1 - t)
        jump = rng.split("jump").uniform(ids.shape).to(ids.device) < share
        if state.given is not None:
            jump = jump & ~state.given[..., None]
        step = state.step + 1
        return replace(
            state,
            tokens=replace(state.tokens, ids=torch.where(jump, drawn_ids, ids)),
            step=step,
            at=state.at + 1,
            progress=torch.full_like(state.progress, step / self.steps),
            done=torch.full_like(state.done, last),
        )
