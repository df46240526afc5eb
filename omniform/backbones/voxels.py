"""Points to a grid of voxels and back, and a backbone between."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..core.errors import BadArgument, PatternUnsupported
from ..core.net import Block, Env
from ..core.query import one_row
from ..core.spec import Spec
from ..core.tokens import Axis, Space
from .positions import SinCosPositions

CORNERS = [(a, b, c) for a in (0, 1) for b in (0, 1) for c in (0, 1)]


def placed(points: Tensor, voxels: int) -> Tensor:
    """(B, N, 3) -> where they lie in a grid of voxels, 0 to voxels - 1: each cloud about its mean, within its farthest point (DiT-3D's code)."""
    centred = points - points.mean(1, keepdim=True)
    far = centred.square().sum(-1).amax(1).sqrt().clamp(min=1e-8)[:, None, None]
    return ((centred / (2 * far) + 0.5) * voxels).clamp(0, voxels - 1)


def voxelised(values: Tensor, place: Tensor, voxels: int) -> Tensor:
    """(B, N, C) at (B, N, 3) -> (B, C, V, V, V): the mean of what lies in each voxel, nothing where nothing lies."""
    cell = place.detach().round().long()
    index = ((cell[..., 0] * voxels + cell[..., 1]) * voxels + cell[..., 2])[..., None]
    rows, _, channels = values.shape
    ones = torch.cat([values, torch.ones_like(values[..., :1])], -1)
    summed = torch.zeros(rows, voxels**3, channels + 1, dtype=values.dtype, device=values.device).scatter_add(1, index.expand(-1, -1, channels + 1), ones)
    return (summed[..., :-1] / summed[..., -1:].clamp(min=1)).transpose(1, 2).unflatten(2, (voxels, voxels, voxels))


def read_back(grid: Tensor, place: Tensor) -> Tensor:
    """(B, C, V, V, V) at (B, N, 3) -> (B, N, C), trilinear between the centres of voxels."""
    voxels, flat = grid.shape[-1], grid.flatten(2).transpose(1, 2)
    low = place.floor().clamp(0, voxels - 2)
    share, low = place - low, low.long()
    out = torch.zeros((), dtype=grid.dtype, device=grid.device)
    for corner in CORNERS:
        at = low + torch.tensor(corner, device=low.device)
        index = ((at[..., 0] * voxels + at[..., 1]) * voxels + at[..., 2])[..., None]
        weight = torch.where(torch.tensor(corner, device=low.device, dtype=torch.bool), share, 1 - share).prod(-1, keepdim=True)
        out = out + weight * flat.gather(1, index.expand(-1, -1, flat.shape[-1]))
    return out


class Voxelised(Block):
    """Points as voxels, cut into cubes of `patch` voxels a side, through a stack over the grid of cubes, and read back where the points lie.

    x (B, N, D): points in the first three channels (embed.Bare), and so the answer (point.BareHead). DiT-3D (arXiv:2307.01831, section 3.1 and official
    code): voxels hold the mean of their points' coordinates, cubes get sines and cosines of their place in three axes, the last map starts at zero.
    """

    def __init__(self, width: int, space: Space, stack: Spec, voxels: int = 32, patch: int = 4):
        super().__init__()
        if space.channels != 3:
            raise BadArgument(f"voxels are made of points of three coordinates, not of {space.channels}")
        if voxels % patch or voxels < 2:
            raise BadArgument(f"a grid of {voxels} voxels a side does not divide into cubes of {patch}; choose another patch")
        self.voxels, self.patch = voxels, patch
        self.grid = Space(axes=tuple(Axis(n, voxels // patch) for n in "zyx"), channels=3 * patch**3)
        self.enter = nn.Linear(3 * patch**3, width)
        self.stack = stack.build(width=width, space=self.grid)
        self.leave = nn.Linear(width, 3 * patch**3)
        nn.init.zeros_(self.leave.weight)
        nn.init.zeros_(self.leave.bias)
        self.positions = SinCosPositions(width, self.grid)

    def forward(self, x: Tensor, env: Env) -> Tensor:
        if env.pattern != "full" or env.record is not None or env.prefix:
            raise PatternUnsupported("Voxelised sees all points at once and remembers nothing; use a process that asks so (Flow)")
        points, side, p = x[..., :3].float(), self.voxels // self.patch, self.patch
        place = placed(points, self.voxels)
        voxel = voxelised(points, place, self.voxels)
        cubes = voxel.reshape(-1, 3, side, p, side, p, side, p).permute(0, 2, 4, 6, 1, 3, 5, 7).reshape(len(x), side**3, -1)
        blank = self.grid.blank(len(x), device=env.coord.device)
        zero = blank.doc
        inside = replace(env, coord=blank.coord, kind=zero, turn=zero, lane=zero, doc=zero, known=one_row(zero) == 0, mask=None, rotation=None)
        y = self.leave(self.stack(self.enter(cubes.to(x.dtype)) + self.positions(blank.coord).to(x.dtype), inside)).float()
        back = y.reshape(-1, side, side, side, 3, p, p, p).permute(0, 4, 1, 5, 2, 6, 3, 7).reshape(-1, 3, *[self.voxels] * 3)
        return F.pad(read_back(back, place), (0, x.shape[-1] - 3)).to(x.dtype)
