"""Self-representation alignment: an early block in more noise learns from a later block of the averaged network in less."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from omniform.core.batch import Batch
from omniform.core.errors import BadArgument
from omniform.core.process import Losses
from omniform.core.rng import Rng
from omniform.processes.flow import Flow
from omniform.system.system import System
from omniform.training.ema import decay_at
from omniform.training.objectives.objective import Objective, added, heard, of_a_system, tap_at


class SelfAlign(Objective):
    """weight * distance(head(stream of the student's block), stream of the teacher's block), beside a flow's own loss (SRA).

    The teacher is the running average of network and conditions, in evaluation mode; it is told what the student was told, and sees the same data and
    the same noise at t + u, u uniform up to `gap` (t = 1 is data here). kind "smooth": smooth L1 with `beta`; "cosine": 1 - cos. head: Linear(D, 2D), SiLU,
    Linear(2D, D). student, teacher: taps, else after 8 and after 20 of 28 blocks, in proportion.
    Source: arXiv:2505.02831 and the official code (loss, gap, head, weight).
    """

    def __init__(
        self,
        system: System,
        weight: float = 0.2,
        student: str | None = None,
        teacher: str | None = None,
        gap: float = 0.2,
        decay: float = 0.9999,
        kind: Literal["smooth", "cosine"] = "smooth",
        beta: float = 0.05,
    ):
        super().__init__()
        if not isinstance(of_a_system(system, "SelfAlign").process, Flow):
            raise BadArgument(f"SelfAlign compares two noise levels, and {type(system.process).__name__} has none; use it with a flow (dit, sit)")
        if kind not in ("smooth", "cosine"):
            raise BadArgument(f"a distance is 'smooth' or 'cosine', not {kind!r}")
        self.weight, self.gap, self.decay, self.kind, self.beta = weight, gap, decay, kind, beta
        self.student, self.teacher = tap_at(system, student, 8 / 28), tap_at(system, teacher, 20 / 28)
        width = system.network.width
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            self.head = nn.Sequential(nn.Linear(width, 2 * width), nn.SiLU(), nn.Linear(2 * width, width))
        self.average = nn.ModuleDict({"network": copy.deepcopy(system.network), "conditioning": copy.deepcopy(system.conditioning)})
        self.average.eval().requires_grad_(False)

    def train(self, mode: bool = True) -> SelfAlign:
        super().train(mode)
        self.average.eval()
        return self

    def distance(self, said: Tensor, wanted: Tensor) -> Tensor:
        """(B, L)."""
        said, wanted = said.float(), wanted.float()
        if self.kind == "cosine":
            return 1 - F.cosine_similarity(said, wanted, dim=-1)
        return F.smooth_l1_loss(said, wanted, beta=self.beta, reduction="none").mean(-1)

    def loss(self, system: System, batch: Batch, *, rng: Rng) -> tuple[Losses, ...]:
        if not self.weight:
            return system.loss(batch, rng=rng)
        losses, tokens, query, answer = heard(system, batch, frozenset({self.student}), rng)
        wanted = self._taught(system, batch, tokens, query, rng)
        each = self.distance(self.head(answer.taps[self.student].to(self.head[0].weight.dtype)), wanted)
        return added(losses, "align", self.weight * (each * tokens.real).sum() / tokens.real.sum())

    @torch.no_grad()
    def _taught(self, system: System, batch: Batch, tokens: Any, query: Any, rng: Rng) -> Tensor:
        """What the averaged network makes of the same example in less noise."""
        path, t = system.process.path, query.time
        later = (t + self.gap * rng.split("gap").uniform((tokens.batch, 1)).to(t)).clamp(max=1)
        old, new = t[..., None], later[..., None]
        share = torch.where(path.b(old) > 1e-6, path.b(new) / path.b(old).clamp(min=1e-6), torch.zeros_like(old))  # of the noise that was drawn
        vec = path.a(new) * tokens.vec + share * (query.tokens.vec - path.a(old) * tokens.vec)
        conditioning: Any = self.average["conditioning"]
        said = {k: v for k, v in batch.condition.items() if k in conditioning.parts}
        context = conditioning.context(said, tokens.batch, rng=rng.split("condition"))  # drops what the student was not told
        network: Any = self.average["network"]
        net = network.open(context, taps=frozenset({self.teacher}))
        return net(replace(query, tokens=replace(query.tokens, vec=vec.to(query.tokens.vec)), time=later)).taps[self.teacher]

    @torch.no_grad()
    def after(self, system: System, step: int) -> None:
        if not self.weight:
            return
        mine = [*self.average["network"].parameters(), *self.average["conditioning"].parameters()]
        theirs = [*system.network.parameters(), *system.conditioning.parameters()]
        torch._foreach_lerp_(mine, theirs, 1 - decay_at(self.decay, step - 1))
