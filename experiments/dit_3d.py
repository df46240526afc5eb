"""What the windows of DiT-3D save, counted over its recipe, and that reading back from voxels loses nothing of a linear field.

The cost of a block is A D^2 + B D at width D; B, found from two widths, is what the products of attention cost.
"""

import torch
from claims import Claim, Numbers, Verdict, main

from omniform import recipes
from omniform.backbones.voxels import read_back, voxelised
from omniform.system.facts import counted

CLAIM = Claim(
    row="dit-3d",
    says="attention in windows costs R^3 times less than over all cubes, R windows a side; voxels read back at the points are exact for linear fields",
    source="arXiv:2307.01831, sections 3.1 and 3.2",
    recipes=("dit-3d",),
    budget="counting on the meta device, seconds",
    exact=True,
)


def products(window: int) -> float:
    """B of a block whose attention is in windows of so many cubes a side; the grid has 8."""
    block = recipes.get("dit-3d").network.args["backbone"].args["stack"].args["block"][0].but({"mixer.window": (window,) * 3})

    def cost(width: int, depth: int) -> int:
        stack = {"network.backbone.stack.block": (block,), "network.backbone.stack.depth": depth}
        return counted(recipes.get("dit-3d").but({"network.width": width, **stack})).multiply_adds

    one, two = (cost(width, 2) - cost(width, 1) for width in (48, 96))
    return (2 * one - two / 2) / 48


def measure(seed: int) -> Numbers:
    full = products(8)
    found = {f"saved_by_{8 // window}_a_side": full / products(window) for window in (4, 2)}
    g = torch.Generator().manual_seed(seed)
    cells = torch.cartesian_prod(*[torch.arange(8.0)] * 3)[None].double()
    slope = torch.randn(3, 3, generator=g, dtype=torch.float64)
    place = torch.rand(1, 500, 3, generator=g, dtype=torch.float64) * 7
    field = voxelised(cells @ slope, cells, 8)
    return {**found, "linear_field_off_by": float((read_back(field, place) - place @ slope).abs().max())}


def judge(runs: list[Numbers]) -> tuple[Verdict, str]:
    run, off = runs[0], max(r["linear_field_off_by"] for r in runs)
    fine = abs(run["saved_by_2_a_side"] - 8) < 1e-6 and abs(run["saved_by_4_a_side"] - 64) < 1e-6 and off < 1e-9
    return (Verdict.HOLDS if fine else Verdict.FAILS), (
        f"attention's products cost {run['saved_by_4_a_side']:g} times less with 4 windows a side and {run['saved_by_2_a_side']:g} times less with the 2 of "
        f"the official code (windows of 4 cubes in a grid of 8); a linear field is read back to {off:.0e}"
    )


if __name__ == "__main__":
    main(CLAIM, measure, judge)
