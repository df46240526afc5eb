"""Frames that are denoised at the same time and not at the same level: each no cleaner than the one before it (AR-Diffusion)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
from torch import Tensor

from ..core.distribution import Content, Sampling
from ..core.errors import BadArgument
from ..core.net import Net
from ..core.order import Along
from ..core.process import Ask, Losses, Process, State, begun, dues_of
from ..core.query import Query
from ..core.rng import Rng
from ..core.spec import Spec
from ..core.tokens import Space, Tokens
from .paths import Path, Predict


@dataclass(frozen=True)
class Staggering(State):
    """levels: how many of its steps each frame has done. wanted, noise, given: what some places must become, and the noise that they keep on the way."""

    levels: tuple[int, ...]
    noise: Tensor
    wanted: Tensor | None
    given: Tensor | None


def rising(frames: int, levels: int, shape: tuple[int, ...], rng: Rng) -> Tensor:
    """(*shape, frames) long, non-decreasing in 0..levels-1: a frame and its level uniform, the others uniform among the rows that are left (FoPP,
    AR-Diffusion, arXiv:2503.07418, section 3.3).

    From a frame at level m the one before it, with n more before, is at t <= m with weight C(n + t, n), the number of ways to go on; sums of these are
    C(n + 1 + m, n + 1), so each level is one look-up. Later frames are the same seen from the other end.
    """
    ways = torch.ones(frames + 1, levels, dtype=torch.float64, device="cpu")  # ways[n, m] = C(n + m, n), by sums
    for n in range(1, frames + 1):
        ways[n] = ways[n - 1].cumsum(0)
    draw = lambda name: rng.split(name).uniform(shape).cpu().double()  # noqa: E731
    start, level = (draw("frame") * frames).long(), (draw("level") * levels).long()

    def below(m: Tensor, n: int, name: str) -> Tensor:
        total = ways[n + 1]
        return torch.searchsorted(total, draw(name) * total[m], right=True).clamp(max=levels - 1).minimum(m)

    found = [torch.zeros_like(level)] * frames
    now = level
    for f in reversed(range(frames)):
        now = torch.where(start <= f, level, below(now, f, f"before {f}"))
        found[f] = now
    now = level
    for f in range(frames):
        above = levels - 1 - below(levels - 1 - now, frames - 1 - f, f"after {f}")
        now = torch.where(start >= f, level, above)
        found[f] = torch.where(start < f, now, found[f])
    return torch.stack(found, -1)


class Staggered(Process[Staggering]):
    """Every frame has a time of its own, no later frame a later one, and sees those before it as they are (AR-Diffusion, arXiv:2503.07418, section 3).

    Training: times by `rising` ("monotone"), or each by itself ("independent": diffusion forcing), of `levels` noise levels. Generation: each question moves
    every frame whose turn it is by one of `steps` steps of DDIM; a frame begins `stride` steps after the one before it (AD scheduler, section 3.4). stride 0:
    all together; stride = steps: frame by frame. A sample of F frames takes steps + (F - 1) stride questions.
    Frames that are given whole are clean from the beginning, as the network has learned to see them; of others, given places are put back with noise.
    """

    timed = True

    def __init__(
        self,
        path: Spec,
        space: Space,
        axis: str = "frame",
        predict: Predict = "data",
        steps: int = 50,
        stride: int = 5,
        times: Literal["monotone", "independent"] = "monotone",
        levels: int = 1000,
    ):
        super().__init__()
        if predict not in ("data", "noise", "velocity"):
            raise BadArgument(f"a flow predicts 'data', 'noise' or 'velocity', not {predict!r}")
        if times not in ("monotone", "independent"):
            raise BadArgument(f"times of frames are 'monotone' or 'independent', not {times!r}")
        if steps < 1 or not 0 <= stride:
            raise BadArgument(f"expected at least one step and a stride of 0 or more, found {steps} and {stride}")
        self.path: Path = path.build()
        self.along = Along(axis, space)
        self.predict, self.steps, self.stride, self.times, self.levels = predict, steps, stride, times, levels
        self.sampling = Sampling()

    def asks(self, blank: Tokens) -> list[Ask]:
        return [Ask(blank.length, times=self.takes(len(self.along.sizes(blank.coord))))]

    def takes(self, frames: int) -> int:
        """How many questions a sample of so many frames takes."""
        return self.steps + (frames - 1) * min(self.stride, self.steps)

    def _query(self, tokens: Tokens, turn: Tensor, time: Tensor, progress: Tensor) -> Query:
        known = torch.ones_like(tokens.doc, dtype=torch.bool)
        return Query(tokens, known, turn, torch.zeros_like(turn[:1]).expand(tokens.batch, -1), progress, time.float(), pattern="any")

    def loss(self, net: Net, tokens: Tokens, *, rng: Rng) -> Losses:
        x = tokens.vec
        assert x is not None
        turn = self.along.turns(tokens.coord, rng=rng)
        frames = int(turn[0].max()) + 1
        level = rising(frames, self.levels, (tokens.batch,), rng.split("times")).to(x.device)
        if self.times == "independent":
            level = rng.split("times").integers(self.levels, (tokens.batch, frames)).to(x.device)
        t = (1 - (level.double() + 1) / self.levels).gather(1, turn)
        e = rng.split("noise").normal(x.shape).to(x)
        z = self.path.mixed(x, e, t[..., None]).to(x)
        answer = net(self._query(replace(tokens, vec=z), turn, t, torch.zeros(tokens.batch, device=x.device)))
        target = self.path.target(self.predict, x, e, t[..., None]).to(x)
        count = tokens.real.sum()
        nats = answer.distribution.nll(Content(vec=target), rng=rng) * tokens.real
        return Losses({"main": nats.sum(), **dues_of(answer.dues, count)}, count)

    def init(self, blank: Tokens, *, rng: Rng, given: Tensor | None = None) -> Staggering:
        assert blank.vec is not None
        noise = rng.split("noise").normal(blank.vec.shape).to(blank.vec)
        turn = self.along.turns(blank.coord, rng=rng)[0]
        frames = int(turn.max()) + 1
        whole = [given is not None and bool(given[:, turn == f].all()) for f in range(frames)]
        levels = tuple(self.steps if w else 0 for w in whole)
        state = Staggering(tokens=replace(blank, vec=noise), levels=levels, noise=noise, wanted=blank.vec, given=given, **begun(blank))
        state = replace(state, tokens=self._held(state, turn), progress=torch.full_like(state.progress, sum(whole) / frames))
        return replace(state, done=torch.full_like(state.done, all(whole)))

    def _held(self, state: Staggering, turn: Tensor) -> Tokens:
        """Given places at the level of their frame."""
        if state.given is None:
            return state.tokens
        t = self._times(state.levels, turn)
        assert state.wanted is not None and state.tokens.vec is not None
        said = torch.where(t >= 1, state.wanted, self.path.mixed(state.wanted, state.noise, t).to(state.wanted))
        return replace(state.tokens, vec=torch.where(state.given[..., None], said, state.tokens.vec))

    def _times(self, levels: tuple[int, ...], turn: Tensor) -> Tensor:
        """(1, L, 1)."""
        return (torch.tensor(levels, dtype=torch.float64, device=turn.device) / self.steps)[turn][None, :, None]

    def moved(self, levels: tuple[int, ...]) -> tuple[int, ...]:
        """The next levels, from the first frame to the last: one on behind a frame that was finished, else `stride` behind the frame before."""
        found: list[int] = []
        for f, level in enumerate(levels):
            free = f == 0 or levels[f - 1] == self.steps
            new = level + 1 if free else found[-1] - self.stride
            found.append(max(level, min(max(new, 0), self.steps)))
        return tuple(found)

    def step(self, net: Net, state: Staggering, *, rng: Rng) -> Staggering:
        turn = self.along.turns(state.tokens.coord, rng=rng)
        levels = self.moved(state.levels)
        t, s = (self._times(v, turn[0]) for v in (state.levels, levels))
        z = state.tokens.vec
        assert z is not None
        point: Any = net(self._query(state.tokens, turn, t[..., 0].expand(state.tokens.batch, -1), state.progress)).distribution
        seen = self.path.read(self.predict, point.value.double(), z.double(), t)
        new = torch.where(s > t, self.path.a(s) * seen.x + self.path.b(s) * seen.e, z.double()).to(z)
        state = replace(state, tokens=replace(state.tokens, vec=new), levels=levels, at=state.at + 1)
        share = sum(levels) / (self.steps * len(levels))
        over = all(level == self.steps for level in levels)
        done, progress = torch.full_like(state.done, over), torch.full_like(state.progress, share)
        return replace(state, tokens=self._held(state, turn[0]), progress=progress, done=done)
