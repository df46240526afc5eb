"""How the cost of FIT's attention grows with the tokens, counted over its recipe, when groups are of L^(1/3) places with one latent each.

The cost of a layer is A D^2 + B D at width D; B, found from two widths, is what the products of its attention cost. A local layer and a global one are
counted each, as the difference of two depths.
"""

import math

from claims import Claim, Numbers, Verdict, main

from omniform import recipes
from omniform.codecs.patch import Patches
from omniform.core.spec import Spec
from omniform.system.facts import counted

SIDES = (8, 64, 512)  # L = 64, 4096, 262144: cubes of 4, 16, 64, which are squares
CLAIM = Claim(
    row="fit",
    says="attention is quadratic locally in each group of n tokens and can reach O(L^(4/3)) globally",
    source="arXiv:2305.12689, abstract",
    recipes=("fit",),
    budget="counting on the meta device, seconds",
    seeds=(0,),
    exact=True,
)


def cost(side: int, width: int, layers: tuple[tuple[int, int], ...]) -> int:
    """Multiply-adds of a question."""
    inside = math.isqrt(round(side ** (2 / 3)))
    small = {"codec": Spec(Patches, {"patch": 1}), "shape": (1, side, side), "network.width": width, "network.backbone.latent_width": width}
    heads = {f"network.backbone.{n}.mixer.heads": 4 for n in ("block", "latent_block")}
    group = {"network.backbone.group": (inside, inside), "network.backbone.latents": 1, "network.backbone.layers": layers}
    return counted(recipes.get("fit").but({**small, **heads, **group})).multiply_adds


def products(side: int, more: tuple[tuple[int, int], ...]) -> float:
    """B of what `more` has beyond one layer of each kind."""
    one, two = (cost(side, width, more) - cost(side, width, ((1, 1), (1, 0))) for width in (16, 32))
    return (2 * one - two / 2) / 16


def measure(seed: int) -> Numbers:
    found: Numbers = {}
    for side in SIDES:
        tokens = side * side
        pair = products(side, ((2, 1), (1, 0))) + products(side, ((1, 2), (1, 0)))
        found |= {f"pair_{tokens}": pair / 2, f"over_power_{tokens}": pair / 2 / tokens ** (4 / 3)}
    first, last = SIDES[0] ** 2, SIDES[-1] ** 2
    return {**found, "slope": math.log(found[f"pair_{last}"] / found[f"pair_{first}"]) / math.log(last / first)}


def judge(runs: list[Numbers]) -> tuple[Verdict, str]:
    (run,) = runs
    ratios = [v for n, v in run.items() if n.startswith("over_power")]
    fine = abs(run["slope"] - 4 / 3) < 1e-6 and max(ratios) - min(ratios) < 1e-6
    return (Verdict.HOLDS if fine else Verdict.FAILS), (
        f"a local and a global layer compare {ratios[0]:g} L^(4/3) pairs at 64, 4,096 and 262,144 tokens; slope {run['slope']:.6f}, where full attention has 2"
    )


if __name__ == "__main__":
    main(CLAIM, measure, judge)
