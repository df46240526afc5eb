"""How a network is told the time, here and in `diffusers`: the first layer of its clock, for the cosines and sines that theirs makes."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from omniform.backbones.embed import TimeEmbedding
from omniform.core.errors import RecipeError
from omniform.interop.leaving.comparing import OTHER
from omniform.processes.flow import Flow
from omniform.processes.grids import grid
from omniform.processes.paths import Betas
from omniform.system.system import System

_LAYER = "network.time.net.0."
_OFF = 1e-6
"""How far the clock's first layer may be from ours at the noise levels of the grid (ours)."""


def clocked(own: Mapping[str, Tensor], system: System, process: Flow, waves: int, closed: bool, has: str) -> tuple[dict[str, Tensor], float]:
    """Our tensors with the layer that is told theirs: a level's number (DDPM's), or 1000 times the share of noise; and how far it is off between the noise
    levels of the grid. waves: how many cosines and sines theirs makes. closed: whether it counts one step less to its last frequency. has: what there is.

    Ours is told a number that is first + slope times theirs. Where the frequencies are theirs as well, the cosines and sines of one are a rotation of those of
    the other. Where they are not (DiT of diffusers counts 127 steps to the last frequency where its paper's code counts 128), no map is the same for all
    times: the one is taken that is right at the times of the grid, and nearest to ours at all others.
    """
    clock = system.network.time
    if type(clock) is not TimeEmbedding or clock.net[0].in_features != waves:
        raise RecipeError(f"{system.recipe.name} is told the time by another embedding than {waves} cosines and sines; {has}, and {OTHER}")
    levels = isinstance(process.path, Betas)
    if clock.levels and (not levels or clock.levels != 1000):
        raise RecipeError(f"{system.recipe.name} rounds its time to {clock.levels} noise levels, which its path does not have; {OTHER}")
    each = clock.scale / 1000
    after = each if levels else 0.0  # level 0 is the first that has noise
    first, slope = (0.0, 1.0) if clock.levels else (after, each) if clock.flip else (clock.scale - after, -each)
    num = waves // 2
    there = torch.exp(-math.log(10000.0) * torch.arange(num, dtype=torch.float64) / (num - closed))
    here, weight = clock.frequency.double().cpu(), own[_LAYER + "weight"].double()
    if float((here * abs(slope) / there - 1).abs().max()) < 1e-6:
        cos, sin = (first * here).cos(), (first * here).sin()
        c, s = weight.chunk(2, 1)
        turned = torch.cat([c * cos + s * sin, (s * cos - c * sin) * math.copysign(1.0, slope)], 1)
        return {**own, _LAYER + "weight": turned.to(torch.float32)}, 0.0
    times = torch.tensor(grid(process.grid, process.steps, shift=process.shift)[:-1], dtype=torch.float64)
    asked = ((1 - times) * 1000 - (1 if levels else 0), torch.arange(0, 1000, dtype=torch.float64))
    solved, off = _solved(weight, [first + slope * u for u in asked], asked, here, there)
    if off[0] > _OFF:
        raise RecipeError(
            f"{system.recipe.name} counts {num} steps to its last frequency of time and diffusers {num - closed}, and no map makes them one at the "
            f"{process.steps} noise levels of its grid; take about 50 (system.process.but(steps=50)), or train it with network.time.closed=true"
        )
    bias = own[_LAYER + "bias"] + solved[-1].float()
    return {**own, _LAYER + "weight": solved[:-1].T.float().contiguous(), _LAYER + "bias": bias}, off[1]


def _solved(weight: Tensor, ours: list[Tensor], theirs: tuple[Tensor, Tensor], here: Tensor, there: Tensor) -> tuple[Tensor, list[float]]:
    """A map of their cosines and sines and a bias (waves + 1, out) that says what ours says, at the times of the grid and everywhere, and how far it is off at
    both. ours, theirs: what each is told then; here, there: their frequencies."""
    waves = lambda at, f: torch.cat([(at[:, None] * f).cos(), (at[:, None] * f).sin()], 1)  # noqa: E731
    wanted = [waves(u, here) @ weight.T for u in ours]
    made = [torch.cat([waves(u, there), torch.ones(len(u), 1)], 1) for u in theirs]
    heavy, start = 1e4, torch.cat([weight.T, weight.new_zeros(1, len(weight))])  # errors on the grid count as much more; and it stays near what it was
    free = torch.eye(len(start)), torch.zeros(len(start), len(weight))
    rows = [*((k * m, k * (w - m @ start)) for k, m, w in zip((heavy, 1.0), made, wanted, strict=True)), free]
    solved = start + torch.linalg.lstsq(*(torch.cat([row[i].double() for row in rows]) for i in (0, 1)), driver="gelsd").solution
    solved = solved.float().double()
    return solved, [float((m @ solved - w).abs().max() / w.abs().max()) for m, w in zip(made, wanted, strict=True)]
