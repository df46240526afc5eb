"""What sharing the modulation saves, at both published sizes."""

from claims import Claim, Numbers, Verdict, main

from omniform import recipes
from omniform.system.facts import counted

CLAIM = Claim(
    row="wan",
    says="one MLP for the modulation of all blocks, and a table of biases in each, reduces the parameters by about 25 percent",
    source="arXiv:2503.20314, section 4.2",
    recipes=("wan",),
    budget="counting on the meta device, seconds",
    seeds=(0,),
    exact=True,
)
APART = {"network.backbone.block.modulate": "zero", "network.backbone.shared": False}


def measure(seed: int) -> Numbers:
    found: Numbers = {}
    for size in ("1.3B", "14B"):
        recipe = recipes.get("wan").sized(size)
        found |= {size: counted(recipe, costs=False).parameters, f"{size}_apart": counted(recipe.but(APART), costs=False).parameters}
    return found


def judge(runs: list[Numbers]) -> tuple[Verdict, str]:
    (run,) = runs
    saved = {size: 1 - run[size] / run[f"{size}_apart"] for size in ("1.3B", "14B")}
    said = ", ".join(f"{size}: {run[f'{size}_apart'] / 1e9:.2f} B to {run[size] / 1e9:.2f} B, {s:.1%} fewer" for size, s in saved.items())
    return Verdict.HOLDS if all(0.2 <= s <= 0.3 + 0.005 for s in saved.values()) else Verdict.FAILS, said


if __name__ == "__main__":
    main(CLAIM, measure, judge)
