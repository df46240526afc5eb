"""A flow of what comes last, told by examples what to make of a query."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Self

import torch
from torch import Tensor
from torch.nn import functional as F

from ..core.errors import BadArgument
from ..core.net import Net
from ..core.process import Ask, Losses, Process, dues_of
from ..core.query import Answer, Query
from ..core.rng import Rng
from ..core.spec import Spec
from ..core.tokens import Space, Tokens
from .flow import Denoising, Flow
from .masked import asked


class _Guided:
    """The net as the flow sees it: asked about the frames in use, and at scale other than 1 about the last of them a second time, without pairs."""

    def __init__(self, process: InContext, net: Net):
        self.process, self.net = process, net

    def __call__(self, query: Query, *, remember: bool = False) -> Answer:
        process, tokens = self.process, query.tokens
        first, last = process.places(tokens)
        answer = self.net(query.at(slice(first, None)))
        point: Any = answer.distribution
        if process.scale != 1 and (without := process.without(query)) is not None:
            untold: Any = self.net(without).distribution
            rows = torch.full((tokens.batch,), float(process.scale), device=point.value.device)
            mixed = type(point).mix([point.at(slice(last - first, None)), untold.at(slice(last - tokens.length, None))], [rows, 1 - rows])
            point = type(point)(torch.cat([point.value[:, : last - first], mixed.value], 1))
        return Answer(point.mapped(lambda x: F.pad(x, (0, 0, first, 0))), answer.taps, answer.dues)

    def forget(self, turn: Tensor) -> None:
        """Nothing is remembered."""

    def fork(self, rows: Tensor) -> _Guided:
        return _Guided(self.process, self.net.fork(rows))


class InContext(Process[Denoising]):
    """Frames come as pairs of an example and its answer, then a query and what is asked for: a flow of that last frame, clean ones before it (LaVin-DiT,
    arXiv:2411.11505, section 3.3, and inference.py of its code).

    inner: Spec of a Flow that is shown "all_but_last". In training as many pairs as are drawn once a batch, from one to all, those next to the query; for a
    share `alone` of the batches none, the query standing behind a frame of zeros. In generation what is not given is asked for, and the last frame is guided,
    v0 + scale (v - v0), v0 being the answer to the query behind zeros. pairs: how many are told in generation, None for all. Frames that are not used are not
    asked about: positions are relative, so that fewer pairs are a shorter sequence. With all pairs, alone 0 and scale 1 it is the Flow inside.
    """

    def __init__(self, inner: Spec, space: Space, codec: Any = None, scale: float = 1.0, alone: float = 0.1, pairs: int | None = None, axis: str = "frame"):
        super().__init__()
        self.inner: Flow = inner.build(space=space, codec=codec)
        self.axis = space.axis(axis)
        if not isinstance(self.inner, Flow) or self.inner.shown is None or self.inner.shown.kinds != ("all_but_last",) or self.inner.shown.told:
            raise BadArgument('examples stand clean before what is asked for: give a Flow that is shown ("all_but_last",) and tells them no time of their own')
        if space.axes[self.axis].size < 2 or not 0 <= alone < 1 or (pairs is not None and pairs < 1):
            raise BadArgument(f"expected a query and an answer at the least, a share alone in [0, 1) and a pair or more, found {space.axes[self.axis].size} "
                              f"frames, {alone}, {pairs}")
        self.scale, self.alone, self.pairs = scale, alone, pairs

    @property
    def steps(self) -> int:
        """The solver's."""
        return self.inner.steps

    def stepped(self, steps: int) -> Self:
        return self.but(inner=self.inner.stepped(steps))

    def places(self, tokens: Tokens, pairs: int | None = None) -> tuple[int, int]:
        """The first place of the frames in use, and of the last frame."""
        frame = tokens.coord[0, :, self.axis]
        frames = int(frame[-1] - frame[0]) + 1
        each, pairs = tokens.length // frames, pairs or self.pairs
        return max(frames - 2 * pairs - 2, 0) * each if pairs else 0, (frames - 1) * each

    def without(self, query: Query) -> Query | None:
        """The question without pairs: a frame of zeros in their place; None where there are none."""
        tokens = query.tokens
        each = tokens.length - self.places(tokens)[1]
        if tokens.length < 3 * each:
            return None
        short = query.at(slice(tokens.length - 3 * each, None))
        vec = short.tokens.vec
        assert vec is not None
        zeros = torch.cat([torch.zeros_like(vec[:, :each]), vec[:, each:]], 1)
        known = torch.cat([torch.ones_like(short.known[:, :each]), short.known[:, each:]], 1)
        return replace(short, tokens=replace(short.tokens, vec=zeros), known=known)

    def loss(self, net: Net, tokens: Tokens, *, rng: Rng) -> Losses:
        u = rng.split("pairs").uniform((2,))
        each = tokens.length - self.places(tokens)[1]
        most = max(tokens.length // each // 2 - 1, 1)
        first, _ = self.places(tokens, 1 + int(u[0] * most))
        first = 0 if first < 2 * each else first  # all pairs, and a frame more where there is one
        posed = self.inner.pose(tokens.at(slice(first, None)), rng=rng)
        query = posed.query
        if float(u[1]) < self.alone and tokens.length >= 3 * each:
            posed = self.inner.pose(tokens.at(slice(tokens.length - 3 * each, None)), rng=rng)
            query = self.without(posed.query) or posed.query
        answer = net(query)
        nats, counted = posed.price(answer)
        count = counted.sum().clamp(min=1)
        return Losses({"main": nats.sum(), **dues_of(answer.dues, count)}, count)

    asked = 1
    """How many of `questions`, from the first, stand for those that training asks."""

    def questions(self, blank: Tokens) -> list[tuple[Query, float]]:
        """With every pair, and without, as often as the solver asks."""
        known = torch.arange(blank.length)[None] < self.places(blank)[1]
        query = asked(blank, known.expand(blank.batch, -1), torch.zeros(blank.batch), torch.zeros(blank.batch, 1))
        without = self.without(query) if self.scale != 1 else None
        times = self.inner.evaluations()
        return [(query.at(slice(self.places(blank)[0], None)), times), *([] if without is None else [(without, times)])]

    def asks(self, blank: Tokens) -> list[Ask]:
        return [Ask(query.tokens.length, times=times) for query, times in self.questions(blank)]

    def init(self, blank: Tokens, *, rng: Rng, given: Tensor | None = None) -> Denoising:
        return self.inner.init(blank, rng=rng, given=given)

    def step(self, net: Net, state: Denoising, *, rng: Rng) -> Denoising:
        return self.inner.step(_Guided(self, net), state, rng=rng)
