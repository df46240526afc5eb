"""Scale by scale, each told of the coarser ones by its feed alone, and drafts that are asked about again: HMAR."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from ..core.distribution import Sampling
from ..core.errors import BadArgument
from ..core.net import Net
from ..core.process import Ask, Losses, Process, dues_of
from ..core.query import Query
from ..core.rng import Rng
from ..core.spec import Spec
from ..core.tokens import Space, Tokens
from .autoregress import Autoregress, Course, Growing
from .feeds import taken


class Markov(Autoregress):
    """A turn sees itself only: what came before reaches it through its feed, so nothing is remembered (HMAR, arXiv:2506.04421, section 3).

    shares: for each turn how its places are shared out over questions, such as (0.25, 0.75); turns beyond, and turns with one share, are drawn at
    once. The first question is the draft's, of which the surest places stay; each further one is asked of the stage "refine", which is fed what the known
    places of the turn say themselves besides, and answers the others. Such a model learns both questions at once (the paper learns the second after the
    first), and has no likelihood: what is drawn is no longer what the draft's probabilities say. Without shares it is next-scale prediction with each
    scale in a lane of its own.
    """

    memory = "nothing"
    likelihood = None
    bound = Process.bound

    def __init__(
        self, space: Space, order: Spec, feed: Spec, codec: Any = None, shares: tuple[tuple[float, ...], ...] = (), sampling: Sampling | None = None
    ):
        super().__init__(space, order, feed, codec, False, sampling)
        if any(not s or min(s) <= 0 or abs(sum(s) - 1) > 1e-6 for s in shares):
            raise BadArgument(f"the shares of a turn are above 0 and add up to 1, not {shares}")
        self.shares = shares
        self.alone = None if codec is None else codec.alone

    def asks(self, blank: Tokens) -> list[Ask]:
        return [Ask(size, times=len(self.rounds(turn, size))) for turn, size in enumerate(self.order.sizes(blank.coord))]

    def rounds(self, turn: int, size: int) -> list[int]:
        """How many of a turn's places are known after each of its questions; a share of less than a place is no question."""
        ends = torch.tensor(self.shares[turn] if turn < len(self.shares) else (1.0,), dtype=torch.float64).cumsum(0)
        counts = (ends * size).round().long().clamp(1, size).tolist()
        return sorted(set(counts[:-1]) - {size}) + [size]

    def _course(self, tokens: Tokens, rng: Rng) -> Course:
        course = super()._course(tokens, rng)
        return replace(course, lane=course.turn + 1)

    def _again(self, tokens: Tokens, course: Course, places: slice | Tensor, known: Tensor, pattern: Any) -> Query:
        """The second question: the feed, and what is known of the turns themselves. Guidance has no say in it (the official code), so progress is 0."""
        none = torch.zeros(tokens.batch, device=tokens.doc.device)
        query = self._query(tokens, course, places, none, pattern)
        vec = query.tokens.vec
        assert vec is not None and self.alone is not None
        said = taken(self.alone(tokens), places)
        return replace(query, tokens=replace(query.tokens, vec=vec + said * known[..., None]), known=known, stage="refine")

    def loss(self, net: Net, tokens: Tokens, *, rng: Rng) -> Losses:
        nll, answer = self._nll(net, tokens, rng)
        count = tokens.real.sum()
        parts = {"main": nll.sum(), **dues_of(answer.dues, count)}
        if self.shares:
            course = self._course(tokens, rng)
            share = rng.split("share").uniform((tokens.batch, 1)).to(nll.device)
            hide = (rng.split("hide").uniform(tokens.doc.shape).to(nll.device) < share) & (course.turn > 0)
            again = net(self._again(tokens, course, slice(None), ~hide, self.order.pattern)).distribution
            wrong = again.nll(tokens, rng=rng.split("again")) * hide * tokens.real
            parts["refine"] = wrong.sum() * count / hide.sum().clamp(min=1)
        return Losses(parts, count)

    def step(self, net: Net, state: Growing, *, rng: Rng) -> Growing:
        turn, course = state.next, state.course
        places = course.spans[turn]
        part = lambda tokens: tokens.at(places) if isinstance(places, slice) else tokens.gather(places)  # noqa: E731
        given = None if state.given is None else taken(state.given, places)
        answer = net(self._query(state.tokens, course, places, state.progress, "full")).distribution
        drawn: Any = answer.sample(rng=rng, how=self.sampling)
        fixed = torch.zeros_like(part(state.tokens).doc, dtype=torch.bool) if given is None else given
        drawn = part(state.tokens).where(fixed, drawn)
        tokens, belief = state.tokens.put(places, drawn), answer.confidence(drawn)
        ends = self.rounds(turn, fixed.shape[1])
        for number, end in enumerate(ends[:-1]):
            fixed = self._surest(belief, fixed, end)
            answer = net(self._again(tokens, course, places, fixed, "full")).distribution
            drawn = part(tokens).where(fixed, answer.sample(rng=rng.split(f"again{number}"), how=self.sampling))
            tokens, belief = tokens.put(places, drawn), answer.confidence(drawn)
        last = turn + 1
        done = torch.full_like(state.done, last == len(course.spans))
        return replace(state, tokens=tokens, at=state.at + 1, progress=course.progress[last], done=done, next=last)

    @staticmethod
    def _surest(belief: Tensor, fixed: Tensor, num: int) -> Tensor:
        """fixed, and as many of the surest others as make `num` of a row."""
        rank = belief.masked_fill(fixed, torch.inf).argsort(-1, descending=True).argsort(-1)
        return fixed | (rank < num)
