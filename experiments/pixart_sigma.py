"""What compressing keys and values costs and saves, counted over the recipe: pairs by the square of the stride, weights hardly any."""

from claims import Claim, Numbers, Verdict, main

from omniform import recipes
from omniform.backbones.attention import Attention
from omniform.core.spec import Spec
from omniform.system.facts import counted

SIDES, STRIDES, WIDTH = (512, 1024), (2, 4), 1152
CLAIM = Claim(
    row="pixart-sigma",
    says="with keys and values compressed by R x R attention costs N^2 / R^2 in place of N^2, for 0.018 percent more parameters",
    source="arXiv:2403.04692, section 3.2",
    recipes=("pixart-sigma",),
    budget="counting on the meta device, seconds",
    seeds=(0,),
    exact=True,
)
LATE = "network.backbone.late.mixer"


def pairs(side: int, mixer: Spec | None = None, stride: int = 2) -> float:
    """Multiply-adds between tokens of one more block of the deep half: what is left of a block's cost after what grows with the tokens alone."""
    recipe = recipes.get("pixart-sigma").but({"shape": (3, side, side)})
    recipe = recipe.but({LATE: mixer} if mixer else {f"{LATE}.stride": stride})
    cost = counted(recipe.but({"network.backbone.depth": 2})).multiply_adds - counted(recipe.but({"network.backbone.depth": 1})).multiply_adds
    tokens = (side // 16) ** 2
    linear = tokens * 14 * WIDTH**2 + 2 * 300 * WIDTH**2  # attention's maps, cross-attention's two, the MLP's; the caption's keys and values
    convolution = 0 if mixer else 2 * tokens * WIDTH  # each place once in each of the two
    return cost - linear - convolution - 2 * tokens * 300 * WIDTH


def measure(seed: int) -> Numbers:
    sized = recipes.get("pixart-sigma").sized
    plain, more = (counted(sized(name), costs=False).parameters for name in ("1024", "1024-KV"))
    found: Numbers = {"more_parameters": more / plain - 1}
    for side in SIDES:
        full = pairs(side, Spec(Attention, {"heads": 16}))
        found |= {f"share_{side}_{stride}": pairs(side, stride=stride) / full for stride in STRIDES}
    return found


def judge(runs: list[Numbers]) -> tuple[Verdict, str]:
    (run,) = runs
    wrong = max(abs(run[f"share_{side}_{r}"] * r * r - 1) for side in SIDES for r in STRIDES)
    said = ", ".join(f"{run[f'share_{side}_{r}']:.4f} of the pairs at {side} by {r}" for side in SIDES for r in STRIDES)
    holds = wrong < 1e-3 and abs(run["more_parameters"] - 0.00018) < 1e-5
    return Verdict.HOLDS if holds else Verdict.FAILS, f"{said}; {run['more_parameters']:.3%} more parameters"


if __name__ == "__main__":
    main(CLAIM, measure, judge)
