"""A flow that is told what it saw in the noise one question before."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from ..core.net import Net
from ..core.process import Posed
from ..core.query import Answer, Query
from ..core.rng import Rng
from ..core.tokens import Tokens
from .flow import Denoising, Flow
from .paths import Path, Predict

_TOLD = 0.5
"""How often training is told (section 3.2 of the paper below)."""


@dataclass(frozen=True)
class Echoing(Denoising):
    """seen: the data that the last answer saw, (B, L, C)."""

    seen: Tensor


class _Beside:
    """The net under it, fed content with what was seen before behind it, 2 C channels; it keeps what is seen now."""

    def __init__(self, net: Net, seen: Tensor, path: Path, predict: Predict):
        self.net, self.seen, self.path, self.predict = net, seen, path, predict

    def __call__(self, query: Query, *, remember: bool = False) -> Answer:
        z, t = query.tokens.vec, query.time
        assert z is not None and t is not None
        answer = self.net(replace(query, tokens=replace(query.tokens, vec=torch.cat([z, self.seen.to(z)], -1))), remember=remember)
        point: Any = answer.distribution
        self.seen = self.path.read(self.predict, point.value.detach().to(z.dtype), z, t[..., None]).x
        return answer

    def forget(self, turn: Tensor) -> None:
        self.net.forget(turn)

    def fork(self, rows: Tensor) -> _Beside:
        return _Beside(self.net.fork(rows), self.seen[rows], self.path, self.predict)


class SelfConditioned(Flow):
    """A Flow whose network reads, beside its content, the data that it saw in its last answer (Analog Bits, arXiv:2208.04202, section 3.2): 2 C channels.

    In generation that is the last step's, guided; at the first step zeros. In training half of the rows are told what the same network sees in the same noise
    with zeros beside it, and nothing is learned through that; the other half are told zeros. The embedding is given channels=2 C.
    """

    def pose(self, tokens: Tokens, *, rng: Rng, floor: Tensor | None = None) -> Posed:
        posed = super().pose(tokens, rng=rng, floor=floor)
        z = posed.query.tokens.vec
        assert z is not None
        return Posed(replace(posed.query, tokens=replace(posed.query.tokens, vec=torch.cat([z, torch.zeros_like(z)], -1))), posed.price)

    def _terms(self, net: Net, tokens: Tokens, rng: Rng) -> tuple[Tensor, Tensor, Any]:
        posed = super().pose(tokens, rng=rng)
        assert tokens.vec is not None
        beside = _Beside(net, torch.zeros_like(tokens.vec), self.path, self.predict)
        with torch.no_grad():
            beside(posed.query)
        told = rng.split("told").uniform((tokens.batch, 1, 1)).to(beside.seen) < _TOLD
        beside.seen = beside.seen * told
        answer = beside(posed.query)
        return *posed.price(answer), answer

    def init(self, blank: Tokens, *, rng: Rng, given: Tensor | None = None) -> Echoing:
        state = super().init(blank, rng=rng, given=given)
        assert state.tokens.vec is not None
        return Echoing(**{name: getattr(state, name) for name in Denoising.__dataclass_fields__}, seen=torch.zeros_like(state.tokens.vec))

    def step(self, net: Net, state: Denoising, *, rng: Rng) -> Denoising:
        assert isinstance(state, Echoing)
        beside = _Beside(net, state.seen, self.path, self.predict)
        return replace(super().step(beside, state, rng=rng), seen=beside.seen)
