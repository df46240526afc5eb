"""What TinyFusion's masks leave: they always keep N of M, the masked network is the shortened one, and speed goes with what is left.

Which mask fine-tunes best is not measured: it takes a trained DiT.
"""

import copy

import torch
from claims import Claim, Numbers, Verdict, main

from omniform import recipes
from omniform.backbones.depth import LearnedDepth
from omniform.system.build import assemble
from omniform.system.facts import counted

SPEED = {"XL/2-1:2": 6.91, "D19": 10.07, "D14": 13.54, "D7": 26.81}  # table 1: iterations a second (the first is DiT-XL/2's)
CLAIM = Claim(
    row="tinyfusion",
    says="half of the layers is twice the speed: throughput grows as depth falls (19, 14, 7 of 28 layers), and a learned mask is a shallow network",
    source="arXiv:2412.01199, abstract and table 1",
    recipes=("tinyfusion", "dit"),
    budget="counting on the meta device and a few small questions, seconds",
    seeds=(0, 1, 2),
    exact=True,
)


def shortened(system: torch.nn.Module) -> torch.nn.Module:
    """The same system with the blocks that stay in a plain stack."""
    short = copy.deepcopy(system)
    stack = short.network.towers["main"].backbone
    stack.blocks = torch.nn.ModuleList(b for group in stack.blocks for b in group.survivors())
    return short


def measure(seed: int) -> Numbers:
    cost = {size: counted(recipes.get("tinyfusion").sized(size)).multiply_adds for size in SPEED if size != "XL/2-1:2"}
    whole = counted(recipes.get("dit").sized("XL/2")).multiply_adds
    found = {f"speed_{s}": SPEED[s] / SPEED["XL/2-1:2"] for s in cost} | {f"cost_{s}": whole / c for s, c in cost.items()}
    torch.manual_seed(seed)
    recipe = recipes.get("tinyfusion").sized("tiny").but({"network.backbone.block.num": 4, "network.backbone.block.keep": 2, "network.backbone.depth": 2})
    system = assemble(recipe, seed=seed).eval()
    for p in system.network.parameters():
        torch.nn.init.normal_(p, std=0.05)
    differ = float((system.generate(4, seed=seed, decode=False).vec - shortened(system).generate(4, seed=seed, decode=False).vec).abs().max())
    groups = [m for m in system.modules() if isinstance(m, LearnedDepth)]
    kept = {int(n) for g in groups for n in g.subsets.sum(1)}
    return {**found, "masked_and_shortened_differ_by": differ, "kept_of_4": kept.pop() if len(kept) == 1 else -1}


def judge(runs: list[Numbers]) -> tuple[Verdict, str]:
    run = runs[0]
    sizes = [n.removeprefix("cost_") for n in run if n.startswith("cost_")]
    gap = max(abs(run[f"speed_{s}"] / run[f"cost_{s}"] - 1) for s in sizes)
    same = max(r["masked_and_shortened_differ_by"] for r in runs)
    fine = gap < 0.05 and same == 0 and all(r["kept_of_4"] == 2 for r in runs)
    said = ", ".join(f"{s} {run[f'speed_{s}']:.2f} times as fast at 1/{run[f'cost_{s}']:.2f} of the cost" for s in sizes)
    return (Verdict.HOLDS if fine else Verdict.FAILS), f"{said} (within {gap:.1%}); masked and shortened networks differ by {same:g}; every mask keeps 2 of 4"


if __name__ == "__main__":
    main(CLAIM, measure, judge)
