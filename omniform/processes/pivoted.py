"""A small picture under masks first, then the large one, told what the network thought about the small one: Hi-MAR."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from ..core.distribution import Sampling
from ..core.errors import BadArgument
from ..core.net import Net
from ..core.process import Losses, Process, State, begun, dues_of
from ..core.query import Answer, Query
from ..core.rng import Rng
from ..core.spec import Spec
from ..core.tokens import Space, Tokens
from .masked import Masked, Unmasking, asked

PIVOT, DENSE, STATE, BLANK = 0, 1, 2, 3
"""Kinds of places in a question: content in the first phase and in the second, what was thought about a pivot, a pivot that nothing is told about."""


@dataclass(frozen=True)
class Pivoting(State):
    """coarse, fine: the two masked samples, the second None while the first grows. states: (B, n, D) of each pivot when it was drawn, and whether it has one
    (B, n)."""

    coarse: Unmasking
    fine: Unmasking | None
    states: Tensor | None
    stated: Tensor
    given: Tensor | None

    def spoken(self) -> Tensor:
        """What is shown in either phase."""
        dense = torch.zeros_like(self.tokens.doc[:, self.coarse.known.shape[1] :], dtype=torch.bool) if self.fine is None else self.fine.known
        return torch.cat([self.coarse.known, dense], 1)


class _Coarse:
    """The net as the first phase sees it: pivots alone. The dense places are asked about too, hidden. Remembered: what it thought of each pivot."""

    def __init__(self, process: Pivoted, net: Any, tokens: Tokens):
        self.process, self.net, self.tokens = process, net, tokens
        self.states: Tensor | None = None

    def whole(self, query: Query) -> Query:
        """The question that is asked."""
        hidden = torch.cat([query.known, torch.zeros_like(self.tokens.doc[:, self.process.count :], dtype=torch.bool)], 1)
        vec = self.tokens.vec
        assert vec is not None and query.tokens.vec is not None
        whole = replace(self.tokens, vec=torch.cat([query.tokens.vec, vec[:, self.process.count :]], 1))
        return asked(whole, hidden, query.progress)

    def __call__(self, query: Query, *, remember: bool = False) -> Answer:
        answer = self.net(self.whole(query))
        places: Any = answer.distribution.at(slice(0, self.process.count))
        self.states = places.hidden[0].detach()
        return Answer(places, {}, answer.dues)

    def forget(self, turn: Tensor) -> None:
        """Nothing is remembered."""

    def fork(self, rows: Tensor) -> Net:
        return _Coarse(self.process, self.net.fork(rows), self.tokens.rows(rows))


class _Fine:
    """The net as the second phase sees it: dense places alone, after pivots that are all known."""

    def __init__(self, process: Pivoted, net: Any, pivots: Tokens, states: Tensor | None, stated: Tensor):
        self.process, self.net, self.pivots, self.states, self.stated = process, net, pivots, states, stated

    def whole(self, query: Query) -> Query:
        """The question that is asked."""
        dense, n = query.tokens, self.process.count
        assert dense.vec is not None
        if self.states is None:
            front = dense.vec.new_zeros(dense.batch, n, dense.vec.shape[2])
        else:
            front = self.states.to(dense.vec)
        wide = max(front.shape[2], dense.vec.shape[2])
        fill = lambda x: torch.nn.functional.pad(x, (0, wide - x.shape[2]))  # noqa: E731
        kind = torch.cat([torch.where(self.stated, STATE, BLANK), torch.full_like(query.known, DENSE, dtype=torch.long)], 1)
        whole = Tokens.join([self.pivots, dense])
        whole = replace(whole, vec=torch.cat([fill(front), fill(dense.vec)], 1), kind=kind)
        known = torch.cat([torch.ones_like(self.stated), query.known], 1)
        return replace(asked(whole, known, query.progress), stage="dense")

    def __call__(self, query: Query, *, remember: bool = False) -> Answer:
        answer = self.net(self.whole(query))
        return Answer(answer.distribution.at(slice(self.process.count, None)), {}, answer.dues)

    def forget(self, turn: Tensor) -> None:
        """Nothing is remembered."""

    def fork(self, rows: Tensor) -> Net:
        states = None if self.states is None else self.states[rows]
        return _Fine(self.process, self.net.fork(rows), self.pivots.rows(rows), states, self.stated[rows])


class Pivoted(Process[Pivoting]):
    """Masked generation of the coarsest scale ("pivots"), then of the finest, whose questions hold the hidden state of each pivot in place of its token.

    Hi-MAR, arXiv:2505.20288, section 3.2, and official code. coarse, fine: Specs of Masked. The space has two scales; the network answers the first phase
    in stage "main" with a head that holds its hidden states (heads.denoised), the second in stage "dense", and is fed vectors that say by their kind what
    they are (embed.EmbedPivots). In training the hidden pivots of the first question give the second their states, without gradients; a pivot that was
    known gives nothing, and neither does any in the rows that are not among the share `told`. The dense places are all learned, known ones too (code). weights:
    of both losses, means over their places. What is given of the pivots is never thought about and so tells the second phase nothing.
    """

    def __init__(self, space: Space, coarse: Spec, fine: Spec, codec: Any = None, told: float = 0.25, weights: tuple[float, float] = (0.4, 0.6)):
        super().__init__()
        counts = torch.unique_consecutive(space.places[:, space.axis("scale")], return_counts=True)[1].tolist()
        if len(counts) != 2:
            raise BadArgument(f"pivots and dense tokens are two scales, not {len(counts)}; give the codec two")
        if not 0 <= told <= 1:
            raise BadArgument(f"the share of rows that are told pivots is from 0 to 1, not {told}")
        self.count = int(counts[0])
        self.coarse, self.fine = coarse.build(space=space, codec=codec), fine.build(space=space, codec=codec)
        if not (isinstance(self.coarse, Masked) and isinstance(self.fine, Masked)):
            raise BadArgument("both phases are masked; give Specs of Masked")
        self.told, self.weights = told, weights
        self.sampling = Sampling()

    @property
    def steps(self) -> int:
        """Questions of both phases."""
        return self.coarse.steps + self.fine.steps

    def _cut(self, tokens: Tokens) -> tuple[Tokens, Tokens]:
        return tokens.at(slice(0, self.count)), tokens.at(slice(self.count, None))

    def loss(self, net: Net, tokens: Tokens, *, rng: Rng) -> Losses:
        low, high = self._cut(tokens)
        none = torch.zeros(tokens.batch, device=tokens.doc.device)
        hide, _ = self.coarse._hidden(low, rng.split("coarse"))
        first = _Coarse(self, net, tokens)
        answer = first(asked(low, ~hide, none))
        terms = answer.distribution.nll(low, rng=rng.split("nll")) * hide
        told = rng.split("told").uniform((tokens.batch, 1)).to(none) < self.told
        hide2, _ = self.fine._hidden(high, rng.split("fine"))
        second = _Fine(self, net, low, first.states, hide & told)(asked(high, ~hide2, none))
        dense = second.distribution.nll(high, rng=rng.split("dense")) * high.real
        count = high.real.sum()
        parts = {"main": self.weights[1] * dense.sum(), "pivots": self.weights[0] * terms.sum() * count / hide.sum().clamp(min=1)}
        return Losses({**parts, **dues_of({**answer.dues, **second.dues}, count)}, count)

    asked = 2
    """How many of `questions`, from the first, stand for those that training asks."""

    def questions(self, blank: Tokens) -> list[tuple[Query, float]]:
        """What one example is generated by: the first question of each phase, then others. Cost is a polynomial of degree two in how many places are known, as
        hidden ones are dropped; so three questions a phase stand for all, as often as Lagrange's form says. Pivots are blank: the map of states is not counted.
        """
        low, high = self._cut(blank)
        none = torch.zeros(blank.batch)
        nets: tuple[Any, Any] = _Coarse(self, None, blank), _Fine(self, None, low, None, torch.zeros_like(low.doc, dtype=torch.bool))
        each = []
        for net, phase, tokens in zip(nets, (self.coarse, self.fine), (low, high), strict=True):
            at = (0, tokens.length // 2, tokens.length)
            for p, q, r in ((at[0], at[1], at[2]), (at[1], at[2], at[0]), (at[2], at[0], at[1])):
                times = sum((k - q) * (k - r) / ((p - q) * (p - r)) for k in phase.knowns(tokens.length))
                known = (torch.arange(tokens.length) < p).expand(blank.batch, -1)
                each.append((net.whole(asked(tokens, known, none)), times))
        return [each[0], each[3], *each[1:3], *each[4:]]

    def draws(self, blank: Tokens) -> dict[str, tuple[int, int]]:
        """On the way to one example each pivot is drawn once, and the dense places at every question."""
        return {"main": (self.count, 1), "dense": (blank.length - self.count, self.fine.steps)}

    def init(self, blank: Tokens, *, rng: Rng, given: Tensor | None = None) -> Pivoting:
        low, _ = self._cut(blank)
        coarse = self.coarse.init(low, rng=rng.split("coarse"), given=None if given is None else given[:, : self.count])
        return Pivoting(tokens=blank, coarse=coarse, fine=None, states=None, stated=torch.zeros_like(coarse.known), given=given, **begun(blank))

    def step(self, net: Net, state: Pivoting, *, rng: Rng) -> Pivoting:
        """One question of the phase that it is in."""
        if not bool(state.coarse.done.all()):
            seen = _Coarse(self, net, state.tokens)
            coarse = self.coarse.but(sampling=self.sampling).step(seen, state.coarse, rng=rng)
            assert seen.states is not None
            now = coarse.known & ~state.coarse.known
            states = torch.where(now[..., None], seen.states, torch.zeros_like(seen.states) if state.states is None else state.states)
            tokens = state.tokens.put(slice(0, self.count), coarse.tokens)
            share = coarse.progress * self.coarse.steps / self.steps
            return replace(state, tokens=tokens, coarse=coarse, states=states, stated=state.stated | now, at=state.at + 1, progress=share)
        low, high = self._cut(state.tokens)
        fine = state.fine or self.fine.init(high, rng=rng.split("fine"), given=None if state.given is None else state.given[:, self.count :])
        if not bool(fine.done.all()):
            fine = self.fine.but(sampling=self.sampling).step(_Fine(self, net, low, state.states, state.stated), fine, rng=rng)
        tokens = state.tokens.put(slice(self.count, None), fine.tokens)
        share = (self.coarse.steps + fine.progress * self.fine.steps) / self.steps
        return replace(state, tokens=tokens, fine=fine, at=state.at + 1, progress=share, done=fine.done)
