"""Energy-based generation: the network names an energy, and its gradient moves the tokens."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from ..core.distribution import Sampling
from ..core.errors import BadArgument
from ..core.net import Net
from ..core.process import Ask, Losses, Process, State, begun, dues_of
from ..core.rng import Rng
from ..core.tokens import Tokens
from .masked import asked


@dataclass(frozen=True)
class Descending(State):
    """step: of the descent. energy (B,): after the last step. wanted, given: what some places must be."""

    step: int
    energy: Tensor
    wanted: Tensor | None
    given: Tensor | None


class Energy(Process[Descending]):
    """Tokens start as noise and take `steps` gradient steps down the energy; training is the squared error of where they end (EBT, arXiv:2507.02092, section
    3).

    rate: of a step, learned where learn_rate (its logarithm is the parameter). every: the error of each step counts, each starting afresh from the last (S1
    of the
    paper); else only the end's, through all steps (S2). langevin: noise before each step. More steps at generation = more thinking.
    """

    second_order = True
    differentiates = True

    def __init__(self, steps: int = 2, rate: float = 30.0, learn_rate: bool = True, every: bool = True, langevin: float = 0.0):
        super().__init__()
        if steps < 1:
            raise BadArgument(f"a descent takes at least one step, not {steps}")
        self.steps, self.every, self.langevin = steps, every, langevin
        self.log_rate = nn.Parameter(torch.tensor(float(rate)).log(), requires_grad=learn_rate)
        self.sampling = Sampling()

    def _down(self, net: Net, tokens: Tokens, y: Tensor, progress: Tensor, *, keep: bool) -> tuple[Tensor, Tensor, Any]:
        """One step: the new content, the energies (B, L) before it, and the answer. keep: whether derivatives of the step will be wanted."""
        with torch.enable_grad():
            y = y if y.requires_grad else y.detach().requires_grad_()
            answer: Any = net(asked(replace(tokens, vec=y), torch.ones_like(tokens.doc, dtype=torch.bool), progress))
            energy = answer.distribution.value[..., 0].float()
            (slope,) = torch.autograd.grad((energy * tokens.real).sum(), y, create_graph=keep)
        return y - self.log_rate.exp() * slope, energy, answer

    def loss(self, net: Net, tokens: Tokens, *, rng: Rng) -> Losses:
        x = tokens.vec
        assert x is not None
        y = rng.split("start").normal(x.shape).to(x)
        total, dues, count = torch.zeros((), device=x.device), {}, tokens.real.sum()
        for step in range(self.steps):
            if self.langevin:
                y = y + self.langevin * rng.split("langevin").split(step).normal(x.shape).to(x)
            y, _, answer = self._down(net, tokens, y.detach() if self.every else y, torch.full((tokens.batch,), step / self.steps, device=x.device), keep=True)
            for name, due in answer.dues.items():
                dues[name] = dues.get(name, 0) + due
            if self.every or step + 1 == self.steps:
                total = total + (0.5 * (y - x).square().sum(-1) * tokens.real).sum()
        return Losses({"main": total / (self.steps if self.every else 1), **dues_of(dues, count)}, count)

    def asks(self, blank: Tokens) -> list[Ask]:
        return [Ask(blank.length, times=self.steps, slope=True)]

    def init(self, blank: Tokens, *, rng: Rng, given: Tensor | None = None) -> Descending:
        assert blank.vec is not None
        y = rng.split("start").normal(blank.vec.shape).to(blank.vec)
        state = begun(blank)
        if given is not None:
            y = torch.where(given[..., None], blank.vec, y)
        return Descending(
            tokens=replace(blank, vec=y),
            step=0,
            energy=torch.full_like(state["progress"], torch.nan),
            wanted=None if given is None else blank.vec,
            given=given,
            **state,
        )

    def step(self, net: Net, state: Descending, *, rng: Rng) -> Descending:
        y = state.tokens.vec
        if self.langevin:
            y = y + self.langevin * rng.normal(y.shape).to(y)
        y, energy, _ = self._down(net, state.tokens, y.detach(), state.progress, keep=False)
        y = y.detach()
        if state.given is not None:
            y = torch.where(state.given[..., None], state.wanted, y)
        step = state.step + 1
        return replace(
            state,
            tokens=replace(state.tokens, vec=y),
            step=step,
            at=state.at + 1,
            energy=energy.detach().sum(-1),
            progress=torch.full_like(state.progress, step / self.steps),
            done=torch.full_like(state.done, step == self.steps),
        )
