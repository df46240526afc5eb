"""Maximal update parametrisation: starts and learning rates by a parameter's role, so that a rate tuned on a narrow network holds for a wide one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import torch
from torch import Tensor, nn

from omniform.core.errors import BadArgument
from omniform.system.build import assemble
from omniform.system.system import System
from omniform.training.objectives.objective import Objective, of_a_system

Role = Literal["input", "hidden", "output"]


class MaximalUpdate(Objective):
    """Rates and starts relative to the same recipe at a base size (muP).

    base: changes by path that make the base ({"network.width": 64, "network.backbone.block.mixer.heads": 1}): heads keep their width. With m = fan-in here over
    fan-in there, under Adam: hidden maps start with the base's spread / sqrt(m) and learn at rate / m; input maps and all vectors as in the base; the output
    map starts with the base's spread / m and learns at rate / m, which is the paper's forward multiplier 1 / m, folded into the map (Adam's steps do not
    know the gradient's size). scaled: whether starts are made so, for a system that has not learnt yet. At m = 1 nothing changes.
    Source: arXiv:2505.15270, theorem 3.1 and table 1; arXiv:2203.03466, table 8.
    """

    def __init__(self, system: System, base: Mapping[str, Any], scaled: bool = True):
        super().__init__()
        of_a_system(system, "MaximalUpdate")
        if any(tower.head.tied for tower in system.network.towers.values()):
            raise BadArgument("a table that is input and output at once has no one role under muP; use a head that is not tied")
        self.scaled = scaled
        narrow: Any = assemble(system.recipe.but(dict(base)), codec=system.codec)
        self.__dict__["narrow"] = learned(narrow)
        tables = {id(p) for module in system.modules() if isinstance(module, nn.Embedding) for p in module.parameters(recurse=False)}
        mine = learned(system)
        if set(mine) != set(self.narrow):
            raise BadArgument("the base has other parameters than this system; change widths and heads only")
        self.roles = {name: role(p, self.narrow[name], table=id(p) in tables) for name, p in mine.items()}

    def rate(self, name: str) -> float:
        kind, m = self.roles.get(name, ("input", 1.0))
        return 1.0 if kind == "input" else 1.0 / m

    @torch.no_grad()
    def begin(self, system: System, *, fresh: bool) -> None:
        if not (fresh and self.scaled):
            return
        for name, p in learned(system).items():
            kind, m = self.roles[name]
            if p.dim() < 2 or p.shape == self.narrow[name].shape:
                continue
            wanted = rms(self.narrow[name]) * {"input": 1.0, "hidden": m**-0.5, "output": 1.0 / m}[kind]
            if wanted and rms(p):
                p.mul_(wanted / rms(p))


def learned(system: System) -> dict[str, Tensor]:
    """Parameters of network and conditions by name."""
    return {name: p for name, p in system.named_parameters() if not name.startswith("codec.")}


def rms(x: Tensor) -> float:
    return float(x.detach().double().square().mean().sqrt())


def role(p: Tensor, base: Tensor, *, table: bool = False) -> tuple[Role, float]:
    """What a parameter is, by which of its sides grow with the width, and by how much its fan-in has grown."""
    if p.dim() != base.dim():
        raise BadArgument(f"a parameter of shape {tuple(p.shape)} has shape {tuple(base.shape)} in the base; change widths and heads only")
    if p.dim() < 2 or table:
        return "input", 1.0
    out, into = (p.shape[i] != base.shape[i] for i in (0, 1))
    m = p.shape[1] / base.shape[1]
    return ("hidden" if out else "output", m) if into else ("input", 1.0)
