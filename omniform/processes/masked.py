"""Hidden places are answered, and shown a few at a time: MaskGIT, MAGNeT, MAR, MDLM."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from ..core.distribution import Sampling
from ..core.errors import BadArgument, Intractable
from ..core.net import Net
from ..core.process import Ask, Losses, Posed, Process, State, begun, dues_of
from ..core.query import PRELUDE, Answer, Query
from ..core.rng import Rng
from ..core.tokens import Space, Tokens, in_every_row

SCHEDULES: dict[str, Callable[[Tensor], Tensor]] = {
    "cosine": lambda u: torch.cos(u * math.pi / 2),  # MaskGIT, arXiv:2202.04200, section 3.3
    "linear": lambda u: 1 - u,
    "arccos": lambda u: torch.acos(u.clamp(0, 1)) * 2 / math.pi,  # TiTok's code
}
"""Share of places still hidden at a progress u in [0, 1]: 1 at 0, 0 at 1."""

Choose = Literal["confidence", "logit", "random", "independent"]


@dataclass(frozen=True)
class Unmasking(State):
    """known: what is shown. order: each row's random order (choose "random"). total: how many were hidden at the start. answer: the last, while it is still
    true."""

    known: Tensor
    order: Tensor
    total: Tensor
    step: int
    answer: Answer | None = None

    def spoken(self) -> Tensor:
        """What is shown."""
        return self.known


def asked(tokens: Tokens, known: Tensor, progress: Tensor, time: Tensor | None = None) -> Query:
    """The full question: every place at once, one with the prefix."""
    turn = torch.full((tokens.length,), PRELUDE, dtype=torch.long, device=known.device)
    rows = tokens.batch
    whole = tokens.doc.stride(0) == 0 or bool(tokens.real.all())
    return Query(
        tokens=tokens,
        known=known,
        turn=in_every_row(turn, rows),
        lane=in_every_row(torch.zeros_like(turn), rows),
        progress=progress,
        time=time,
        pattern="full" if whole else "any",
    )


class Masked(Process[Unmasking]):
    """In training a share of the places is hidden and answered; in generation everything is hidden, and shown over `steps` questions.

    schedule: the hidden share over progress. choose, which places are shown: "confidence" (MaskGIT; noise: Gumbel noise on it, falling to zero), "logit" (the
    same by the logit in place of the log-probability: TiTok's code), "random" (MAR: an order a row), "independent" (MDLM, arXiv:2406.07524: each place by
    itself, the reverse of the noising). ratio, the share hidden in training: that of the "schedule" at a uniform progress; a number (BERT); (low, mean, sd): a
    normal cut to [low, 1], one a batch (MAR's code); ("beta", a, b): whole a and b, one a batch and nothing known or hidden altogether (AutoNAT's and ENAT's
    code); ("uniform", low, high): one a row (MMM's code). spoil: of the places to be answered, the share that shows a random code in place of the mask, and the
    share that shows its own (BERT, arXiv:1810.04805, section 3.1). temperature: of what is drawn, falling linearly to a thousandth (ENAT's code); None:
    sampling's own. weight "bound": by the rate of unmasking, so that the loss is an upper bound of the nll; "even": hidden places count alike. smoothing: of
    labels. run: a time for each run of so many places, with weight "bound" (block diffusion). timed: the network is told the share that is shown, as time
    (Meissonic's). whole: the noise is all there at the first question and none at the last (aMUSEd's code), not a step further as in MaskGIT. cool (a, b):
    noise and temperature fall by a + b f besides, f being what is left of them (TiTok's code divides its logits by 0.5 + 0.8 f).
    """

    likelihood = "bound"

    def __init__(
        self,
        steps: int = 12,
        schedule: str = "cosine",
        choose: Choose = "confidence",
        noise: float = 4.5,
        ratio: str | float | tuple[float, float, float] | tuple[str, float, float] = "schedule",
        weight: Literal["even", "bound"] = "even",
        smoothing: float = 0.0,
        run: int | None = None,
        sampling: Sampling | None = None,
        timed: bool = False,
        temperature: float | None = None,
        spoil: tuple[float, float] = (0.0, 0.0),
        space: Space | None = None,
        whole: bool = False,
        cool: tuple[float, float] = (1.0, 0.0),
    ):
        super().__init__()
        if schedule not in SCHEDULES:
            raise BadArgument(f"a masking schedule is one of {', '.join(SCHEDULES)}, not {schedule!r}")
        if choose not in get_args(Choose):
            raise BadArgument(f"places are chosen by 'confidence', 'logit', 'random' or 'independent', not {choose!r}")
        if steps < 1:
            raise BadArgument(f"a sample takes at least one step, not {steps}")
        self.steps, self.schedule, self.choose, self.noise, self.ratio, self.weight, self.smoothing = steps, schedule, choose, noise, ratio, weight, smoothing
        if any(spoil) and (space is None or not space.vocab):
            raise BadArgument("places are spoiled by codes of the space, and this one has none; leave spoil out")
        self.whole, self.cool = whole, cool
        self.run, self.timed, self.temperature, self.spoil, self.vocab = run, timed, temperature, spoil, space.vocab if space is not None else ()
        self.sampling = sampling or Sampling()
        if isinstance(ratio, tuple) and isinstance(ratio[0], str):
            _law(ratio)

    def _hidden(self, tokens: Tokens, rng: Rng) -> tuple[Tensor, Tensor]:
        """Which places are hidden, and the weight (B, 1) of each hidden one."""
        rows, length, real = tokens.batch, tokens.length, tokens.real
        if self.weight == "bound":
            runs = self._runs(length).to(real.device)
            num = int(runs[-1]) + 1
            t = _even(rng.split("time"), rows * num).reshape(rows, num).to(real.device)[:, runs]  # our time: share known
            hide = rng.split("hide").uniform((rows, length)).to(real.device) >= t
            return hide & real, 1 / (1 - t)
        if isinstance(self.ratio, tuple) and isinstance(self.ratio[0], str):
            share = _law(self.ratio)(rng.split("ratio"), rows)
            if self.ratio[0] == "beta":
                share = ((share * length).round().clamp(1, max(length - 1, 1)) - 0.5) / length  # rounded up below
        elif isinstance(self.ratio, tuple):
            low, mean, sd = self.ratio
            u = rng.split("ratio").uniform((1,)).double()
            cdf = lambda x: torch.special.ndtr(torch.tensor((x - mean) / sd, dtype=torch.float64))  # noqa: E731
            share = (mean + sd * torch.special.ndtri(cdf(low) + u * (cdf(1.0) - cdf(low)))).clamp(low, 1.0).float().expand(rows)
        elif isinstance(self.ratio, float):
            share = torch.full((rows,), self.ratio - 1e-6)  # 15 % of 100 is 15, not 15.000001
        else:
            share = SCHEDULES[self.schedule](_even(rng.split("ratio"), rows))
        share = share.to(real.device)
        count = (share * real.sum(1)).ceil().clamp(min=1)
        rank = rng.split("hide").uniform((rows, length)).to(real.device).masked_fill(~real, 2.0).argsort(-1).argsort(-1)
        return (rank < count[:, None]) & real, torch.ones_like(share)[:, None]

    def asks(self, blank: Tokens) -> list[Ask]:
        return [Ask(blank.length, known=known) for known in self.knowns(blank.length)]

    def knowns(self, length: int) -> list[int]:
        """How many places are known at each question; where each place is shown by itself, the most questions that there can be."""
        if self.choose == "independent":
            return [0] * min(self.steps, length)
        known, counts = 0, []
        for step in range(self.steps):
            counts.append(known)
            left = int((SCHEDULES[self.schedule](torch.tensor((step + 1) / self.steps)) * length).floor())
            known = length - (0 if step + 1 == self.steps else min(max(left, 1), max(length - known - 1, 0)))
            if known == length:
                break
        return counts

    def _runs(self, length: int) -> Tensor:
        """(L,) which run each place is in."""
        return torch.arange(length) // (self.run or length)

    def _asked(self, tokens: Tokens, known: Tensor, progress: Tensor) -> Query:
        """The full question, told how much is shown where the network wants to know."""
        shown = ((known & tokens.real).sum(1) / tokens.real.sum(1).clamp(min=1))[:, None] if self.timed else None
        return asked(tokens, known, progress, shown)

    def pose(self, tokens: Tokens, *, rng: Rng, floor: Tensor | None = None) -> Posed:
        hide, weight = self._hidden(tokens, rng)

        def price(answer: Answer) -> tuple[Tensor, Tensor]:
            nll = answer.distribution.nll(tokens, rng=rng.split("nll"))
            if self.smoothing:
                nll = (1 - self.smoothing) * nll + self.smoothing * answer.distribution.even()
            return nll * weight * hide, tokens.real if self.weight == "bound" else hide

        shown, known = self._spoiled(tokens, hide, rng.split("spoil")) if any(self.spoil) else (tokens, ~hide)
        return Posed(self._asked(shown, known, torch.zeros(tokens.batch, device=hide.device)), price)

    def _spoiled(self, tokens: Tokens, hide: Tensor, rng: Rng) -> tuple[Tokens, Tensor]:
        """What is shown, and where: of the places to be answered some show a random code, some their own."""
        assert tokens.ids is not None
        shape = tuple(tokens.ids.shape)
        u = rng.split("which").uniform(shape[:2]).to(hide.device)
        random = (rng.split("code").uniform(shape).to(hide.device) * torch.tensor(self.vocab, device=hide.device)).long()
        ids = torch.where((hide & (u < self.spoil[0]))[..., None], random, tokens.ids)
        return replace(tokens, ids=ids), ~hide | (u < sum(self.spoil))

    def loss(self, net: Net, tokens: Tokens, *, rng: Rng) -> Losses:
        posed = self.pose(tokens, rng=rng)
        return self._priced(posed, net(posed.query))

    @staticmethod
    def _priced(posed: Posed, answer: Answer) -> Losses:
        nats, counted = posed.price(answer)
        count = counted.sum()
        return Losses({"main": nats.sum(), **dues_of(answer.dues, count)}, count)

    def bound(self, net: Net, tokens: Tokens, *, rng: Rng, draws: int = 16) -> Tensor:
        """(B,) nats: the mean over random orders of the nll, place by place; MDLM's integral in its discrete form, with `draws` stratified numbers of hidden
        places.

        n hidden of L, uniform over sizes and sets: E[(L / n) * sum of hidden nll] bounds -log p from above (Uria et al. 2014, arXiv:1310.1757, equation 7).
        """
        real = tokens.real
        runs = self._runs(tokens.length).to(real.device)
        num = int(runs[-1]) + 1
        member = torch.nn.functional.one_hot(runs, num).float()  # (L, runs)
        length = real.float() @ member  # (B, runs)
        before = length.cumsum(1) - length
        total = torch.zeros(tokens.batch, device=real.device)
        for draw in range(draws):
            sub = rng.split("bound").split(draw)
            u = (sub.split("size").uniform(tuple(length.shape)).to(real.device) + draw) / draws
            size = torch.minimum((u * length).floor() + 1, length.clamp(min=1))
            key = sub.split("which").uniform(real.shape).to(real.device).double() + runs  # float32 would round some keys into the next run
            rank = key.masked_fill(~real, torch.inf).argsort(-1).argsort(-1) - before[:, runs]
            hide = (rank < size[:, runs]) & real
            distribution = net(self._asked(tokens, ~hide, torch.zeros(tokens.batch, device=real.device))).distribution
            if not distribution.exact:
                raise Intractable(f"{type(distribution).__name__} has no likelihood, so a masked model of it has no bound; compare it by samples")
            total = total + (distribution.nll(tokens, rng=sub) * hide * (length / size)[:, runs]).sum(-1)
        return total / draws

    def init(self, blank: Tokens, *, rng: Rng, given: Tensor | None = None) -> Unmasking:
        known = ~blank.real if given is None else given | ~blank.real
        order = rng.split("order").uniform(known.shape).to(known.device).argsort(-1).argsort(-1)
        state = begun(blank)
        total = (~known).sum(1)
        return Unmasking(tokens=blank, known=known, order=order, total=total, step=0, **{**state, "done": total == 0})

    def step(self, net: Net, state: Unmasking, *, rng: Rng) -> Unmasking:
        last = state.step + 1 == self.steps
        u = torch.full_like(state.progress, (state.step + 1) / self.steps)
        hidden = ~state.known
        share = SCHEDULES[self.schedule](torch.tensor((state.step + 1) / self.steps, dtype=torch.float64, device=hidden.device))
        left = torch.zeros_like(state.total) if last else (share * state.total + 1e-6).floor().long()  # 1 - 8 / 12 of 12 is 4, not 3.9999998
        now = hidden.sum(1)
        left = left if last else torch.minimum(left.clamp(min=1), (now - 1).clamp(min=0))
        if self.choose == "independent":
            return self._independent(net, state, rng, last)
        if self.choose == "random":
            progress = 1 - left / state.total.clamp(min=1)  # guidance as MAR has it: the share done after this step
        else:
            progress = state.progress
        answer = self._answered(net, self._asked(state.tokens, state.known, progress))
        if self.choose == "random":
            rank = torch.where(hidden, state.order, -1).argsort(dim=-1, descending=True, stable=True)  # hidden places first, by their order
            reveal = torch.zeros_like(hidden).scatter(1, rank, torch.arange(hidden.shape[1], device=hidden.device) < (now - left)[:, None])
            tokens = self._drawn_at(answer, state.tokens, reveal, rng)
        else:
            drawn = answer.distribution.sample(rng=rng.split("draw"), how=self._drawing(state.step))
            belief = answer.distribution.logit(drawn) if self.choose == "logit" else answer.distribution.confidence(drawn)
            left_over = 1 - (state.step / max(self.steps - 1, 1) if self.whole else u[:, None])
            belief = belief + self.noise * self._cooled(left_over) * rng.split("noise").gumbel(belief.shape).to(belief.device)
            rank = torch.where(hidden, belief, torch.inf).argsort(-1).argsort(-1)  # the least sure first
            reveal = hidden & (rank >= left[:, None])
            tokens = state.tokens.where(~reveal, drawn)
        known = state.known | reveal
        done = known.all(-1)
        return replace(state, tokens=tokens, known=known, step=state.step + 1, at=state.at + 1, progress=torch.where(done, 1.0, u), done=done)

    def _answered(self, net: Net, query: Query) -> Answer:
        """What generation's questions are answered."""
        return net(query)

    def _drawing(self, step: int) -> Sampling:
        """How this step draws."""
        if self.temperature is None:
            return self.sampling
        return replace(self.sampling, temperature=max(self.sampling.temperature * self.temperature * self._cooled(1 - (step + 1) / self.steps), 1e-3))

    def _cooled(self, share: Any) -> Any:
        """Of noise and temperature, where a linear fall leaves such a share."""
        return share * (self.cool[0] + self.cool[1] * share)

    def _drawn_at(self, answer: Answer, tokens: Tokens, reveal: Tensor, rng: Rng) -> Tokens:
        """Draws only where something is to be shown: a denoising head is dear. What is drawn together is drawn everywhere, and shown there only."""
        if answer.distribution.together:
            return tokens.where(~reveal, answer.distribution.sample(rng=rng.split("draw"), how=self.sampling))
        most = int(reveal.sum(1).max())
        index = reveal.to(torch.int8).argsort(dim=1, descending=True, stable=True)[:, :most]
        drawn = answer.distribution.gather(index).sample(rng=rng.split("draw"), how=self.sampling)
        wanted = reveal.gather(1, index)
        return tokens.put(index, tokens.gather(index).where(~wanted, drawn))

    def _independent(self, net: Net, state: Unmasking, rng: Rng, last: bool) -> Unmasking:
        """Each hidden place is shown with probability (s - t) / (1 - t); where no row has changed since the last question, its answer still holds (MDLM's
        cache)."""
        t, s = state.step / self.steps, (state.step + 1) / self.steps
        hidden = ~state.known
        share = 1.0 if last else (s - t) / (1 - t)
        reveal = hidden & (rng.split("show").uniform(hidden.shape).to(hidden.device) < share)
        answer, tokens = state.answer, state.tokens
        if bool(reveal.any()):
            answer = self._answered(net, self._asked(tokens, state.known, state.progress)) if answer is None else answer
            tokens = tokens.where(~reveal, answer.distribution.sample(rng=rng.split("draw"), how=self.sampling))
            answer = None
        known = state.known | reveal
        done = known.all(-1)
        return replace(
            state,
            tokens=tokens,
            known=known,
            step=state.step + 1,
            at=state.at + 1,
            done=done,
            answer=answer,
            progress=torch.where(done, 1.0, torch.full_like(state.progress, s)),
        )


def _law(ratio: tuple[str, float, float]) -> Callable[[Rng, int], Tensor]:
    """What draws the hidden share of each row, (rows,)."""
    name, a, b = ratio
    if name == "uniform" and 0 <= a < b <= 1:
        return lambda rng, rows: a + (b - a) * _even(rng, rows)
    if name == "beta" and min(a, b) >= 1 and (a, b) == (int(a), int(b)):  # the a-th of a + b - 1 uniforms in order
        return lambda rng, rows: rng.uniform((1, int(a + b) - 1)).sort(-1).values[:, int(a) - 1].expand(rows)
    raise BadArgument(f'a law of the hidden share is ("uniform", low, high) within [0, 1] or ("beta", a, b) with whole numbers, not {ratio}')


def _even(rng: Rng, rows: int) -> Tensor:
    """(rows,) uniforms in (0, 1), stratified over the batch (MDLM's antithetic times: less noise in the loss)."""
    return (torch.arange(rows) + rng.uniform((1,)) + 0.0) / rows % 1.0 if rows > 1 else rng.uniform((1,))
