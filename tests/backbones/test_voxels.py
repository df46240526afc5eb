"""Points to voxels and back: exact where it can be, beside slow references, and blind to the order of points."""

from __future__ import annotations

import pytest
import torch

from omniform.backbones.attention import Attention
from omniform.backbones.blocks import PreNorm
from omniform.backbones.embed import Bare
from omniform.backbones.mlp import Mlp
from omniform.backbones.stack import Stack
from omniform.backbones.voxels import Voxelised, placed, read_back, voxelised
from omniform.core.errors import BadArgument, PatternUnsupported
from omniform.core.net import Context, Env
from omniform.core.spec import Spec
from omniform.core.tokens import Axis, Space

V, N, D = 4, 20, 12
CLOUD = Space(axes=(Axis("point", N),), channels=3)
STACK = Spec(Stack, {"depth": 1, "block": Spec(PreNorm, {"mixer": Spec(Attention, {"heads": 2}), "mlp": Spec(Mlp)})})


def drawn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def env(pattern="full"):
    blank = CLOUD.blank(2)
    zero, known = blank.doc, torch.ones(2, N, dtype=torch.bool)
    return Env(blank.coord, zero, zero, zero, zero, known, None, Context(2), None, False, torch.zeros(2), pattern, None)


def test_a_cloud_fills_its_grid_about_its_mean():
    points = drawn(2, N, 3)
    place = placed(points, V)
    assert place.min() >= 0 and place.max() <= V - 1
    assert torch.allclose(placed(points * 3 + 5, V), place, atol=1e-5)
    far = (points[0] - points[0].mean(0)).norm(dim=-1).max()
    assert torch.allclose(place[0], (((points[0] - points[0].mean(0)) / (2 * far) + 0.5) * V).clamp(0, V - 1), atol=1e-5)


def test_voxels_hold_means():
    values, place = drawn(2, N, 3), torch.rand(2, N, 3, generator=torch.Generator().manual_seed(1)) * (V - 1)
    grid = voxelised(values, place, V)
    for row in range(2):
        for cell in torch.cartesian_prod(*[torch.arange(V)] * 3):
            inside = (place[row].round() == cell).all(-1)
            want = values[row][inside].mean(0) if inside.any() else torch.zeros(3)
            assert torch.allclose(grid[row, :, cell[0], cell[1], cell[2]], want, atol=1e-6)


def test_a_linear_field_is_read_back_exactly():
    slope, cells = drawn(3, 2), torch.cartesian_prod(*[torch.arange(V)] * 3).float()
    field = (cells @ slope + 1).T.reshape(1, 2, V, V, V)
    place = torch.rand(1, N, 3, generator=torch.Generator().manual_seed(1)) * (V - 1)
    assert torch.allclose(read_back(field, place), place @ slope + 1, atol=1e-5)
    assert torch.allclose(read_back(field, cells[None]), cells[None] @ slope + 1, atol=1e-5), "at the centres, the borders among them"


def test_one_point_a_voxel_comes_back():
    cells = torch.cartesian_prod(*[torch.arange(V)] * 3)[torch.randperm(V**3, generator=torch.Generator().manual_seed(0))[:N]].float()[None]
    values = drawn(1, N, 5)
    assert torch.allclose(read_back(voxelised(values, cells, V), cells), values, atol=1e-6)


def made():
    part = Voxelised(D, CLOUD, STACK, voxels=V, patch=2)
    torch.nn.init.normal_(part.leave.weight)
    return part


@torch.no_grad()
def test_the_order_of_points_does_not_matter():
    part, points = made(), drawn(2, N, 3)
    x = torch.nn.functional.pad(points, (0, D - 3))
    y = part(x, env())
    turn = torch.randperm(N, generator=torch.Generator().manual_seed(3))
    assert torch.allclose(part(x[:, turn], env()), y[:, turn], atol=1e-5)
    assert y.shape == (2, N, D) and not y[..., 3:].any() and y[..., :3].std() > 0.01


@torch.no_grad()
def test_cubes_are_cut_and_pasted_in_their_places():
    """With maps that pass a cube on, what is read back is what the voxels hold."""
    part = Voxelised(24, CLOUD, Spec(Stack, {"depth": 0, "final": None, "block": STACK.args["block"]}), voxels=V, patch=2)
    part.enter.weight.copy_(torch.eye(24))
    part.leave.weight.copy_(torch.eye(24))
    part.enter.bias.zero_()
    part.positions.forward = lambda coord: torch.zeros(())
    points = drawn(2, N, 3)
    y = part(torch.nn.functional.pad(points, (0, 21)), env())
    place = placed(points, V)
    assert torch.allclose(y[..., :3], read_back(voxelised(points, place, V), place), atol=1e-5)


def test_what_does_not_fit_is_refused():
    with pytest.raises(BadArgument, match="three coordinates"):
        Voxelised(D, Space(axes=CLOUD.axes, channels=2), STACK)
    with pytest.raises(BadArgument, match="cubes of 3"):
        Voxelised(D, CLOUD, STACK, voxels=4, patch=3)
    with pytest.raises(PatternUnsupported):
        made()(torch.zeros(2, N, D), env("causal"))
    with pytest.raises(BadArgument, match="as it is"):
        Bare(2, CLOUD)
