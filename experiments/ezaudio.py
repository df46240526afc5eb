"""What AdaLN-SOLA saves against a map in each block, and what it begins as."""

import torch
from claims import Claim, Numbers, Verdict, main

from omniform import recipes
from omniform.system.build import assemble
from omniform.system.facts import counted

CLAIM = Claim(
    row="ezaudio",
    says="AdaLN-SOLA, one map for all blocks and a part of low rank in each, takes fewer parameters than a map in each block (16 percent of the whole, "
        "by arithmetic), and at the "
    "start every block shifts and scales alike: not at all",
    source="arXiv:2409.10819v2, section 2.1 (AdaLN-SOLA) and figure 2",
    recipes=("ezaudio",),
    budget="counting, and one small network, seconds",
    seeds=(0,),
    exact=True,
)
APART = {"network.backbone.block.modulate": "zero", "network.backbone.shared": False}


@torch.no_grad()
def measure(seed: int) -> Numbers:
    recipe, found = recipes.get("ezaudio"), {}
    for size in ("L", "XL"):
        mine, apart = (counted(recipe.sized(size).but(change), costs=False).parameters for change in ({}, APART))
        found |= {f"{size}": mine, f"{size}_apart": apart}
    system = assemble(recipe.sized("tiny"))
    backbone = system.network.towers["main"].backbone
    e = torch.randn(4, 1, system.network.width)
    told = torch.cat([backbone.shared.out(torch.nn.functional.silu(e)), e], -1)
    chunks = [block.modulation[0](told) for block in backbone.blocks]
    found["shift_and_scale"] = max(float(c[i].abs().max()) for c in chunks for i in (0, 1, 3, 4))
    found["gate"] = max(float((c[i] - 1).abs().max()) for c in chunks for i in (2, 5))
    return found


def judge(runs: list[Numbers]) -> tuple[Verdict, str]:
    (run,) = runs
    saved = {size: 1 - run[size] / run[f"{size}_apart"] for size in ("L", "XL")}
    holds = all(abs(s - 0.16) < 0.01 for s in saved.values()) and run["shift_and_scale"] == run["gate"] == 0
    said = ", ".join(f"{size}: {run[f'{size}_apart'] / 1e6:.0f} M to {run[size] / 1e6:.0f} M ({s:.1%})" for size, s in saved.items())
    return Verdict.HOLDS if holds else Verdict.FAILS, f"{said}; at the start shifts and scales are {run['shift_and_scale']:g} and gates 1"


if __name__ == "__main__":
    main(CLAIM, measure, judge)
