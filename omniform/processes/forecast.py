"""Forecasting: a series goes on by what comes after each place, a few tokens or many at a time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from ..core.distribution import Content
from ..core.errors import BadArgument
from ..core.net import Net
from ..core.process import Ask, Losses, Process, State, begun, dues_of
from ..core.query import Query
from ..core.rng import Rng
from ..core.tokens import Tokens, in_every_row


@dataclass(frozen=True)
class Rolled(State):
    """known: how many tokens are known or forecast; asked: how many of them a session remembers."""

    given: Tensor | None
    known: int
    asked: int = 0

    def spoken(self) -> Tensor:
        return (torch.arange(self.tokens.length, device=self.tokens.doc.device) < self.known).expand(self.tokens.batch, -1)


class Forecast(Process[Rolled]):
    """Each place is fed itself and answers for what comes after it, over several horizons at once (Time-MoE, arXiv:2409.16040, sections 3.2.2 and 3.3).

    A sample grows by the longest of `horizons` that the open rest has room for: 96 = 64 + 32 are two questions. The context is what is given; where not even
    the first token is, the series begins with 0, its mean. Deterministic. horizons (1,) is one-step rollout. The head must be a heads.forecast:ForecastHead.
    """

    memory = "kv"
    chance = False

    def __init__(self, horizons: tuple[int, ...] = (1, 8, 32, 64)):
        super().__init__()
        if 1 not in horizons:
            raise BadArgument(f"a rest of any length needs a horizon of 1 among {tuple(horizons)}")
        self.horizons = tuple(sorted(horizons))

    def loss(self, net: Net, tokens: Tokens, *, rng: Rng) -> Losses:
        asked = tokens.at(slice(0, tokens.length - 1))
        answer = net(_question(asked, 0, torch.zeros(tokens.batch, device=tokens.doc.device)))
        count = asked.real.sum()
        said: Any = answer.distribution
        return Losses({"main": said.error(tokens.vec, tokens.real) * count, **dues_of(answer.dues, count)}, count)

    def init(self, blank: Tokens, *, rng: Rng, given: Tensor | None = None) -> Rolled:
        return _begun(blank, given)

    def step(self, net: Net, state: Rolled, *, rng: Rng) -> Rolled:
        room = state.tokens.length - state.known
        if not room:
            return _grown(state, state.tokens, 0, 0)
        answer = net(_question(state.tokens.at(slice(state.asked, state.known)), state.asked, state.progress), remember=True)
        said: Any = answer.distribution
        horizon = self.longest(room)
        return _grown(state, _continued(state, said.ahead(horizon)[:, -1]), horizon, state.known)

    def longest(self, room: int) -> int:
        """The horizon that is asked for where so many tokens are wanted."""
        return max(h for h in self.horizons if h <= room)

    def asks(self, blank: Tokens) -> list[Ask]:
        asked, known, found = 0, 1, []
        while known < blank.length:
            found.append(Ask(known - asked, asked))
            asked, known = known, known + self.longest(blank.length - known)
        return found


class Rolling(Process[Rolled]):
    """One token after another from the last `context` of them, read anew each time (GPHT, arXiv:2402.16516, sections 3.3 and 3.4; instance norm and chain as in
    its code).

    The window is shifted and scaled to mean 0 and variance 1 and its forecast back. chain: towers of the network that are asked in turn, each for what those
    before it left over: it reads the window less their forecasts, each of which was made one token before; the forecast is the sum. One tower is a plain causal
    transformer. scaled: whether the window is normed. Since mean and variance are the whole window's, an early token of a training window hears of later ones;
    a forecast does not, because it is read at the end of what is known. The head must be a heads.point:PointHead.
    """

    chance = False

    def __init__(self, context: int, chain: tuple[str, ...] = ("main",), scaled: bool = True):
        super().__init__()
        if context < 1 or not chain:
            raise BadArgument(f"a window has 1 token or more and a chain 1 tower or more, not {context} and {len(chain)}")
        self.context, self.chain, self.scaled = context, tuple(chain), scaled

    def _forecast(self, net: Net, tokens: Tokens, progress: Tensor) -> Any:
        """The distribution of what comes after each of these tokens."""
        assert tokens.vec is not None
        rest, mean, deviation = tokens.vec, 0.0, 1.0
        if self.scaled:
            mean = rest.mean((1, 2), keepdim=True)
            deviation = (rest.var((1, 2), correction=0, keepdim=True) + 1e-5).sqrt()
            rest = (rest - mean) / deviation
        total: Tensor | None = None
        for stage in self.chain:
            answer = net(_question(tokens.put(slice(0, tokens.length), Content(vec=rest)), 0, progress, stage))
            said: Any = answer.distribution
            total = said.value if total is None else total + said.value
            rest = rest - F.pad(said.value[:, :-1], (0, 0, 1, 0))
        assert total is not None
        forecast = total * deviation + mean
        return said.mapped(lambda _: forecast)

    def loss(self, net: Net, tokens: Tokens, *, rng: Rng) -> Losses:
        asked, wanted = tokens.at(slice(0, tokens.length - 1)), tokens.at(slice(1, tokens.length))
        said = self._forecast(net, asked, torch.zeros(tokens.batch, device=tokens.doc.device))
        return Losses({"main": (said.nll(wanted, rng=rng.split("nll")) * wanted.real).sum()}, wanted.real.sum())

    def init(self, blank: Tokens, *, rng: Rng, given: Tensor | None = None) -> Rolled:
        return _begun(blank, given)

    def step(self, net: Net, state: Rolled, *, rng: Rng) -> Rolled:
        if state.known == state.tokens.length:
            return _grown(state, state.tokens, 0, 0)
        said = self._forecast(net, state.tokens.at(slice(max(state.known - self.context, 0), state.known)), state.progress)
        return _grown(state, _continued(state, said.value[:, -1:]), 1, 0)

    def asks(self, blank: Tokens) -> list[Ask]:
        return [Ask(min(known, self.context)) for known in range(1, blank.length) for _ in self.chain]


def _question(tokens: Tokens, first: int, progress: Tensor, stage: str = "main") -> Query:
    """Tokens that lie one after another from place `first`, each shown."""
    device = tokens.doc.device
    shared = lambda row: in_every_row(row, tokens.batch)  # noqa: E731
    turn = torch.arange(first, first + tokens.length, device=device)
    return Query(tokens, shared(torch.ones_like(turn, dtype=torch.bool)), shared(turn), shared(torch.zeros_like(turn)), progress, stage=stage, pattern="causal")


def _begun(blank: Tokens, given: Tensor | None) -> Rolled:
    """What is given in every row from the first token on is the context."""
    known = 1 if given is None else max(int(given.all(0).cumprod(0).sum()), 1)
    assert blank.vec is not None
    first = blank.vec[:, :1]
    tokens = blank.put(slice(0, 1), Content(vec=torch.zeros_like(first) if given is None else torch.where(given[:, :1, None], first, 0.0)))
    fresh = begun(blank)
    return Rolled(tokens=tokens, **{**fresh, "progress": torch.full_like(fresh["progress"], known / blank.length)}, given=given, known=known)


def _continued(state: Rolled, forecast: Tensor) -> Tokens:
    """The tokens with a forecast (B, h, C) behind what is known; what is given stays."""
    places = slice(state.known, state.known + forecast.shape[1])
    tokens = state.tokens
    assert tokens.vec is not None
    if state.given is not None:
        forecast = torch.where(state.given[:, places, None], tokens.vec[:, places], forecast.to(tokens.vec.dtype))
    return tokens.put(places, Content(vec=forecast))


def _grown(state: Rolled, tokens: Tokens, new: int, asked: int) -> Rolled:
    known = state.known + new
    over = known == tokens.length
    return Rolled(tokens, state.at + 1, torch.full_like(state.progress, known / tokens.length), torch.full_like(state.done, over), state.given, known, asked)
