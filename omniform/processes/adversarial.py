"""Adversarial training: noise to data in one question, against a critic."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from ..core.distribution import Sampling
from ..core.net import Net
from ..core.process import Losses, Process, State, begun, dues_of
from ..core.rng import Rng
from ..core.tokens import Tokens
from .masked import asked


@dataclass(frozen=True)
class OneShot(State):
    """given: places that keep what they say."""

    given: Tensor | None


class Adversarial(Process[OneShot]):
    """The tower "main" answers a point for noise; the tower "critic" (player "critic") scores tokens: the mean over places of one channel.

    Non-saturating logistic losses (arXiv:1406.2661, section 3), with the zero-centred gradient penalty on real data of weight `penalty` (R1,
    arXiv:1801.04406, equation 9).
    """

    second_order = True

    def __init__(self, penalty: float = 1.0):
        super().__init__()
        self.penalty = penalty
        self.sampling = Sampling()

    def _question(self, tokens: Tokens, vec: Tensor, stage: str) -> Any:
        known = torch.ones_like(tokens.doc, dtype=torch.bool)
        return replace(asked(replace(tokens, vec=vec), known, torch.zeros(tokens.batch, device=vec.device)), stage=stage)

    def _score(self, net: Net, tokens: Tokens, vec: Tensor) -> Tensor:
        point: Any = net(self._question(tokens, vec, "critic")).distribution
        return point.value[..., 0].float().mean(-1)

    def loss(self, net: Net, tokens: Tokens, *, rng: Rng) -> tuple[Losses, ...]:
        real = tokens.vec
        assert real is not None
        noise = rng.split("noise").normal(real.shape).to(real)
        answer: Any = net(self._question(tokens, noise, "main"))
        fake = answer.distribution.value
        count = torch.tensor(tokens.batch, device=real.device)
        generator = F.softplus(-self._score(net, tokens, fake)).sum()
        real = real.detach().requires_grad_(bool(self.penalty))
        said = self._score(net, tokens, real)
        critic = {"main": (F.softplus(-said) + F.softplus(self._score(net, tokens, fake.detach()))).sum()}
        if self.penalty:
            (slope,) = torch.autograd.grad(said.sum(), real, create_graph=True)
            critic["penalty"] = self.penalty / 2 * slope.square().sum()
        return Losses({"main": generator, **dues_of(answer.dues, count)}, count), Losses(critic, count, player="critic")

    def init(self, blank: Tokens, *, rng: Rng, given: Tensor | None = None) -> OneShot:
        assert blank.vec is not None
        noise = rng.split("noise").normal(blank.vec.shape).to(blank.vec)
        vec = noise if given is None else torch.where(given[..., None], blank.vec, noise)
        return OneShot(tokens=replace(blank, vec=vec), given=given, **begun(blank))

    def step(self, net: Net, state: OneShot, *, rng: Rng) -> OneShot:
        point: Any = net(self._question(state.tokens, state.tokens.vec, "main")).distribution
        vec = point.value if state.given is None else torch.where(state.given[..., None], state.tokens.vec, point.value)
        return replace(
            state, tokens=replace(state.tokens, vec=vec), at=state.at + 1, progress=torch.ones_like(state.progress), done=torch.ones_like(state.done)
        )
