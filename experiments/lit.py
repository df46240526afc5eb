"""What LiT's attention costs as pictures grow, counted over its recipe and over DiT's, and that its short route is the long one.

The cost of a block is A D^2 + B D at width D; B, found from two widths, holds whatever compares tokens with tokens and the convolution. With heads of one
width, D / heads, the sums k^T v belong to B too.
"""

import math

import torch
from claims import Claim, Numbers, Verdict, main

from omniform import recipes
from omniform.system.facts import counted

SIDES = (256, 512, 1024, 2048)
CLAIM = Claim(
    row="lit",
    says="attention's own cost grows with the tokens in LiT and with their square in DiT; with few heads LiT-S/2 is the cheaper one already at 256 pixels",
    source="arXiv:2501.12976, section 3 (guidelines 1 and 2) and abstract",
    recipes=("lit", "dit"),
    budget="counting on the meta device, seconds",
    seeds=(0,),
    exact=True,
)


def block(name: str, width: int, side: int) -> int:
    """Multiply-adds of one block."""
    of = lambda depth: counted(  # noqa: E731
        recipes.get(name).but(
            {"shape": (3, side, side), "network.width": width, "network.backbone.depth": depth, "network.backbone.block.mixer.heads": width // 64}
        )
    ).multiply_adds
    return of(2) - of(1)


def own(name: str, side: int) -> float:
    """What attention costs beside the linear maps, at width 384 with heads of 64."""
    one, two = block(name, 384, side), block(name, 768, side)
    return 2 * one - two / 2  # of A D^2 + B D: B D


def routes(seed: int) -> float:
    """The largest difference between q (k^T v) / q sum k, as the part has it, and (q k^T / its sums) v."""
    from omniform.system.build import assemble

    torch.manual_seed(seed)
    system = assemble(recipes.get("lit").sized("tiny"))
    part = system.network.towers["main"].backbone.blocks[0].mixer
    heard, said = [], []
    part.qkv.register_forward_hook(lambda module, given, y: heard.append(y))
    part.out.register_forward_pre_hook(lambda module, given: said.append(given[0]))
    system.generate(2, seed=seed, steps=1, decode=False)
    q, k, v = (y.double().unflatten(-1, (part.heads, -1)).transpose(1, 2) for y in heard[0].chunk(3, -1))
    weight = q.relu() @ k.relu().transpose(-1, -2)
    long = (weight / (weight.sum(-1, keepdim=True) + part.floor) @ v).transpose(1, 2).flatten(2)
    rows = math.isqrt(v.shape[2])
    near = part.near(v.float().transpose(1, 2).flatten(2).transpose(1, 2).unflatten(2, (rows, rows))).flatten(2).transpose(1, 2)
    return float((said[0] - near - long).detach().abs().max())


def measure(seed: int) -> Numbers:
    slope = lambda costs: math.log(costs[-1] / costs[0]) / math.log((SIDES[-1] / SIDES[0]) ** 2)  # noqa: E731
    lit, dit = ([own(name, side) for side in SIDES] for name in ("lit", "dit"))
    small = {name: counted(recipes.get(name).sized("S/2")).multiply_adds for name in ("lit", "dit")}
    found = {"slope_lit": slope(lit), "slope_dit": slope(dit), "lit_s2_over_dit_s2": small["lit"] / small["dit"], "routes_differ_by": routes(seed)}
    return {**found, **{f"lit_over_dit_{side}": a / b for side, a, b in zip(SIDES, lit, dit, strict=True)}}


def judge(runs: list[Numbers]) -> tuple[Verdict, str]:
    (run,) = runs
    linear = abs(run["slope_lit"] - 1) < 0.01 and abs(run["slope_dit"] - 2) < 0.01
    fine = linear and run["lit_s2_over_dit_s2"] < 1 and run["routes_differ_by"] < 1e-4
    return (Verdict.HOLDS if fine else Verdict.FAILS), (
        f"attention's own cost goes with tokens^{run['slope_lit']:.3f} in LiT and tokens^{run['slope_dit']:.3f} in DiT; at 2048 pixels it is "
        f"{run['lit_over_dit_2048']:.2%} of DiT's; LiT-S/2 costs {run['lit_s2_over_dit_s2']:.3f} of DiT-S/2 at 256 pixels; "
        f"both routes agree to {run['routes_differ_by']:.1e}"
    )


if __name__ == "__main__":
    main(CLAIM, measure, judge)
