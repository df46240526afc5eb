"""Codebook after codebook, each shown in a few questions with runs of places hidden together: MAGNeT."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from ..core.distribution import Content, Sampling
from ..core.errors import BadArgument
from ..core.net import Net
from ..core.process import Losses, Process, State, begun, dues_of
from ..core.query import Query
from ..core.rng import Rng
from ..core.tokens import Space, Tokens
from .masked import SCHEDULES, asked


@dataclass(frozen=True)
class Spanning(State):
    """known: what of the present book is shown. given: what stays, in all books. book, asked: how far it is."""

    known: Tensor
    given: Tensor
    book: int = 0
    asked: int = 0


def starts_for(share: Tensor, length: int, span: int) -> Tensor:
    """How many starts of spans hide a share (...): the least k with 1 - C(T - s, k) / C(T, k) at or above it, one at the least (MAGNeT, arXiv:2401.04577,
    section 3.1, equation 3); spans may overlap."""
    k = torch.arange(length, dtype=torch.float64)
    missed = torch.cumprod((length - span - k).clamp(min=0) / (length - k), 0)  # of a place, by k + 1 starts
    return torch.searchsorted(1 - missed, share.double().cpu().clamp(max=1.0)).clamp(max=length - 1) + 1


class Spans(Process[Spanning]):
    """Masked modelling of residual codes, a book at a time, in spans (MAGNeT, arXiv:2401.04577, section 3).

    The present book's hidden places and all of the later books are fed one further id (Embed's extra_ids=1), and only the present book is priced. counts:
    questions a book. span: places hidden together. later: the stage of the network asked about all books but the first ("near": restricted context,
    section 3.2), "main" if all are alike. Generation: whole spans, side by side, are drawn and hidden again, the least sure first (a span is as sure as its
    surest place); what is once shown stays. The temperature falls linearly to a hundredth over a book's questions, and a query's progress is the share
    of the book that is shown, for guidance that falls with it (section 3.4). With one book, a span of one and "main" it is a masked model.
    """

    likelihood = "bound"

    def __init__(
        self,
        space: Space,
        counts: tuple[int, ...] = (20, 10, 10, 10),
        span: int = 3,
        later: str = "near",
        schedule: str = "cosine",
        temperature: float = 1.0,
        top_p: float = 1.0,
    ):
        super().__init__()
        if len(counts) != len(space.vocab) or min(counts) < 1:
            raise BadArgument(f"each of the {len(space.vocab)} books is asked about once or more, not {counts} times; give a number a book")
        if len(set(space.vocab)) != 1 or span < 1 or schedule not in SCHEDULES:
            raise BadArgument(f"expected books of one size, a span of one or more and a known schedule; found {space.vocab}, {span}, {schedule!r}")
        self.counts, self.span, self.later, self.schedule, self.vocab = tuple(counts), span, later, schedule, space.vocab[0]
        self.steps = sum(counts)
        self.sampling = Sampling(temperature=temperature, top_p=top_p)

    def by_book(self) -> list[int]:
        """Questions a book, `steps` in all: where the number is changed, each book keeps its share, and one at the least."""
        return [max(1, round(self.steps * n / sum(self.counts))) for n in self.counts]

    def _query(self, tokens: Tokens, book: int, hidden: Tensor, progress: Tensor) -> Query:
        """The present book with its hidden places, the ones before it whole, and nothing of those after."""
        assert tokens.ids is not None
        number = torch.arange(tokens.ids.shape[2], device=hidden.device)
        unsaid = (number > book) | ((number == book) & hidden[..., None])
        query = asked(replace(tokens, ids=torch.where(unsaid, self.vocab, tokens.ids)), ~hidden, progress)
        return replace(query, stage=self.later if book else "main")

    @staticmethod
    def _of(distribution: Any, tokens: Tokens, book: int) -> tuple[Any, Content]:
        """The present book's distribution, and what it says."""
        assert tokens.ids is not None
        return distribution.book(book), Content(ids=tokens.ids[..., book : book + 1])

    def hidden(self, tokens: Tokens, rng: Rng) -> Tensor:
        """(B, L) in training."""
        rows, length = tokens.batch, tokens.length
        share = SCHEDULES[self.schedule](rng.split("share").uniform((rows,)))
        rank = rng.split("starts").uniform((rows, length)).argsort(-1).argsort(-1)
        start = rank < starts_for(share, length, self.span).to(rank.device)[:, None]
        hide = start.clone()
        for shift in range(1, min(self.span, length)):
            hide[:, shift:] |= start[:, :-shift]
        return hide.to(tokens.doc.device) & tokens.real

    def loss(self, net: Net, tokens: Tokens, *, rng: Rng) -> Losses:
        book = int(rng.split("book").uniform((1,)) * len(self.counts))  # one a batch, as in the code
        hide = self.hidden(tokens, rng.split("hide"))
        answer = net(self._query(tokens, book, hide, torch.zeros(tokens.batch, device=hide.device)))
        distribution, said = self._of(answer.distribution, tokens, book)
        nats, count = distribution.nll(said, rng=rng.split("nll")) * hide, hide.sum()
        return Losses({"main": nats.sum(), **dues_of(answer.dues, count)}, count)

    def bound(self, net: Net, tokens: Tokens, *, rng: Rng, draws: int = 8) -> Tensor:
        """(B,) nats: the sum over books of the bound of a masked model (Uria et al. 2014, arXiv:1310.1757, equation 7), each given those before it."""
        real, total = tokens.real, torch.zeros(tokens.batch, device=tokens.doc.device)
        length = real.sum(1)
        for book in range(len(self.counts)):
            for draw in range(draws):
                sub = rng.split("bound").split(f"{book} {draw}")
                u = (sub.split("size").uniform((tokens.batch,)).to(real.device) + draw) / draws
                size = torch.minimum((u * length).floor() + 1, length.clamp(min=1))
                key = sub.split("which").uniform(tuple(real.shape)).to(real.device).masked_fill(~real, torch.inf)
                hide = (key.argsort(-1).argsort(-1) < size[:, None]) & real
                answer = net(self._query(tokens, book, hide, torch.zeros(tokens.batch, device=real.device)))
                distribution, said = self._of(answer.distribution, tokens, book)
                total = total + (distribution.nll(said, rng=sub) * hide).sum(1) * length / size / draws
        return total

    def questions(self, blank: Tokens) -> list[tuple[Query, int]]:
        """The questions of generation and how often each is asked."""
        zero, hidden = torch.zeros(blank.batch), torch.ones_like(blank.doc, dtype=torch.bool)
        return [(self._query(blank, book, hidden, zero), times) for book, times in enumerate(self.by_book())]

    def init(self, blank: Tokens, *, rng: Rng, given: Tensor | None = None) -> Spanning:
        fixed = ~blank.real if given is None else given | ~blank.real
        return Spanning(tokens=blank, known=fixed, given=fixed, **{**begun(blank), "done": fixed.all(1)})

    def step(self, net: Net, state: Spanning, *, rng: Rng) -> Spanning:
        book, i, asks = state.book, state.asked, self.by_book()
        times, hidden = asks[book], ~state.known
        shown = 1 - self._share(i, times)
        answer = net(self._query(state.tokens, book, hidden, torch.full_like(state.progress, shown)))
        how = self.sampling if self.sampling.temperature == 0 else replace(self.sampling, temperature=self.sampling.temperature * max(1 - i / times, 0.01))
        distribution, _ = self._of(answer.distribution, state.tokens, book)
        drawn = distribution.sample(rng=rng.split("draw"), how=how)
        reveal = hidden & ~self._again(distribution.confidence(drawn), hidden, ~state.given, i + 1, times)
        assert state.tokens.ids is not None
        ids = state.tokens.ids.clone()
        ids[..., book] = torch.where(reveal, drawn.ids[..., 0], ids[..., book])
        over = i + 1 == times
        count = sum(asks[:book]) + i + 1
        done = state.done | (count == sum(asks))
        return replace(
            state,
            tokens=replace(state.tokens, ids=ids),
            known=state.given if over else state.known | reveal,
            book=book + over,
            asked=0 if over else i + 1,
            at=state.at + 1,
            progress=torch.where(done, 1.0, torch.full_like(state.progress, count / sum(asks))),
            done=done,
        )

    def _share(self, i: int, times: int) -> float:
        """The share of spans that question i of a book finds hidden: all at the first, none by rights at the last, which asks about one."""
        return float(SCHEDULES[self.schedule](torch.tensor(i / max(times - 1, 1), dtype=torch.float64))) if i else 1.0

    def _again(self, belief: Tensor, hidden: Tensor, open_: Tensor, i: int, times: int) -> Tensor:
        """(B, L): the places that question i finds hidden, whole spans of those that are hidden now."""
        if i == times:
            return torch.zeros_like(hidden)
        length = hidden.shape[1]
        number = torch.arange(length, device=hidden.device).div(self.span, rounding_mode="floor").expand_as(hidden)
        spans = -(-length // self.span)
        sure = belief.new_full((len(belief), spans), -torch.inf).scatter_reduce(1, number, belief.masked_fill(~hidden, -torch.inf), "amax")
        some = lambda x: torch.zeros_like(sure).scatter_reduce(1, number, x.to(sure.dtype), "amax") > 0  # noqa: E731
        left, total = some(hidden), some(open_).sum(1)
        num = (total * self._share(i, times) + 1e-6).floor().clamp(min=1)
        rank = sure.masked_fill(~left, torch.inf).argsort(-1).argsort(-1)
        return ((rank < num[:, None]) & left).gather(1, number) & hidden
