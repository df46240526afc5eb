"""Layers on a line: every block is a base and a share of a slope, learnt together, from which a network of any depth is started."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from omniform.core.batch import Batch
from omniform.core.errors import BadArgument
from omniform.core.process import Losses
from omniform.core.rng import Rng
from omniform.system.build import assemble
from omniform.system.system import System
from omniform.training.objectives.objective import Objective, depth_of, of_a_system


class Line(Objective):
    """Block l of L is base + (l / L) slope, l from 0: matrices, biases and norms; the first block is the base, and all gradients go to base and slope.

    Slopes start as a matrix starts in the paper (normal, 0.02, cut at two deviations), at nought for vectors and for what starts at nought. lines: the blocks
    in so many runs of equal length, each on a line of its own (ours); with as many as there are blocks nothing is tied. The blocks of the system are kept on
    the line, so that what comes out is an ordinary network; `expanded` makes one of another depth. The paper learns from a teacher's outputs alone; here it is
    the process's own loss. Source: TLEG, arXiv:2312.05614, section 3, and the official code.
    """

    def __init__(self, system: System, lines: int = 1):
        super().__init__()
        self.depth, blocks = depth_of(of_a_system(system, "Line")), blocks_of(system)
        if not 1 <= lines <= self.depth or self.depth % lines:
            raise BadArgument(f"{self.depth} blocks fall into runs of equal length for lines that divide {self.depth}, not for {lines}")
        if any([p.shape for p in block.parameters()] != [p.shape for p in blocks[0].parameters()] for block in blocks):
            raise BadArgument("the blocks of this network are not of one shape, so they cannot lie on a line")
        self.run = self.depth // lines
        self.slopes = nn.ModuleList(nn.ParameterList() for _ in range(lines))
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            for number, slopes in enumerate(self.slopes if self.run > 1 else ()):
                for p in blocks[number * self.run].parameters():
                    start = nn.init.trunc_normal_(torch.empty_like(p), std=0.02, a=-0.04, b=0.04) if p.dim() > 1 and bool(p.any()) else torch.zeros_like(p)
                    slopes.append(nn.Parameter(start.detach()))  # type: ignore[union-attr]

    def line(self, system: System) -> dict[str, Tensor]:
        """Name in the network -> weight, of every block but the bases."""
        path, blocks, made = path_of(system), blocks_of(system), {}
        for number in range(self.depth):
            run, step = divmod(number, self.run)
            if step:
                for (name, base), slope in zip(blocks[number - step].named_parameters(), self.slopes[run], strict=True):  # type: ignore[call-overload]
                    made[f"{path}.{number}.{name}"] = base + step / self.run * slope
        return made

    @torch.no_grad()
    def _laid(self, system: System) -> None:
        for name, weight in self.line(system).items():
            system.get_parameter(name).copy_(weight)

    def begin(self, system: System, *, fresh: bool) -> None:
        self._laid(system)

    def loss(self, system: System, batch: Batch, *, rng: Rng) -> tuple[Losses, ...]:
        weights = {f"system.{name}": weight for name, weight in self.line(system).items()}
        return functional_call(_Loss(system), weights, (batch, rng))

    def after(self, system: System, step: int) -> None:
        self._laid(system)


class _Loss(nn.Module):
    """A system's loss as a module's answer, so that it can be asked with other weights."""

    def __init__(self, system: System):
        super().__init__()
        self.system = system

    def forward(self, batch: Batch, rng: Rng) -> tuple[Losses, ...]:
        return self.system.loss(batch, rng=rng)


def path_of(system: System) -> str:
    """Where the blocks stand that lie on the line: those of the first tower."""
    return f"network.towers.{next(iter(system.network.towers))}.backbone.blocks"


def blocks_of(system: System) -> Any:
    """From the first to the last."""
    return system.get_submodule(path_of(system))


@torch.no_grad()
def expanded(system: System, depth: int) -> System:
    """A system of another depth, its blocks at their own shares of the line that this one's lie on, everything else as it is: a start, to be trained freely."""
    old, path = blocks_of(system), path_of(system)
    num = len(old)
    if depth < 1 or num < 2:
        raise BadArgument(f"a line is of two blocks or more and is read at one depth or more; found {num} blocks and depth {depth}")
    made: Any = assemble(system.recipe.but({"network.backbone.depth": depth}), codec=system.codec)
    weights = {name: w for name, w in system.state_dict().items() if not name.startswith(path + ".")}
    for name, base in old[0].named_parameters():
        slope = (old[num - 1].get_parameter(name) - base) * (num / (num - 1))
        for number in range(num):
            there = old[number].get_parameter(name)
            if not torch.allclose(base + number / num * slope, there, rtol=1e-3, atol=1e-4 * (float(there.abs().max()) + 1e-3)):
                raise BadArgument(f"block {number} does not lie on the line of the first and the last ({name}); train the system with the objective line")
        weights |= {f"{path}.{number}.{name}": base + number / depth * slope for number in range(depth)}
    weights |= {f"{path}.{number}.{name}": value for number in range(depth) for name, value in old[0].named_buffers() if name in old[0].state_dict()}
    made.load_state_dict(weights)
    return made.train(system.training)
