"""How the cost of generating n x n tokens grows with n: scale by scale against token by token.

The paper's appendix counts without caches: every question reads all that was generated. Pairs of tokens that attention looks at are read off
the multiply-adds of the tiny recipes' own networks, and summed over the questions that their processes ask; beside it, what remains of the
difference when keys and values are remembered.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import claims
from claims import Claim, Numbers, Verdict

from omniform import recipes
from omniform.codecs.pyramid import Pyramid
from omniform.core.spec import Spec
from omniform.system.facts import built, counted

SIDES = (8, 16, 32)

CLAIM = Claim(
    row="var",
    says="attention costs n^4 scale by scale and n^6 token by token for n x n tokens: the exponents are 4 and 6 to within 0.2",
    source="arXiv:2404.02905, section 3.2 and lemmas D.1 and D.2",
    recipes=("var", "image-gpt"),
    budget="exact; two seconds",
    seeds=(0,),
    exact=True,
)


def sized(name: str, side: int):
    """The tiny recipe over side x side tokens."""
    recipe = recipes.get(name).sized("tiny").but({"shape": (1, 4 * side, 4 * side)})
    if name != "var":
        return recipe
    scales = tuple(2**i for i in range(int(math.log2(side)) + 1))
    return recipe.but({"codec.bottleneck": Spec(Pyramid, {"scales": scales, "codes": 512, "channels": 8})})


def pairs(name: str, side: int, remembered: bool) -> float:
    """Pairs that attention looks at for one sample."""
    recipe = sized(name, side)
    system = built(recipe)
    asks = system.process.asks(system.codec.space.blank(1))
    return float(sum(a.times * (a.new if remembered else a.new + a.seen) * (a.new + a.seen) for a in asks))


def slope(values: Sequence[float]) -> float:
    """The exponent between the two largest sides."""
    return math.log(values[-1] / values[-2]) / math.log(SIDES[-1] / SIDES[-2])


def measure(seed: int) -> Numbers:
    found: Numbers = {}
    for name in ("var", "image-gpt"):
        key = name.replace("-", "_")
        found[f"{key}_exponent"] = slope([pairs(name, side, False) for side in SIDES])
        found[f"{key}_exponent_remembered"] = slope([pairs(name, side, True) for side in SIDES])
        found[f"{key}_questions_16"] = counted(sized(name, 16), costs=False).questions or 0
    published = counted(recipes.get("var").sized("d16"), costs=False)
    return {**found, "questions_published": published.questions or 0, "raster_questions_published": 256}


def judge(runs: Sequence[Numbers]) -> tuple[Verdict, str]:
    (run,) = runs
    fits = abs(run["var_exponent"] - 4) < 0.2 and abs(run["image_gpt_exponent"] - 6) < 0.2
    said = (
        f"exponents {run['var_exponent']:.2f} and {run['image_gpt_exponent']:.2f}; with keys and values remembered, which the paper leaves out, "
        f"{run['var_exponent_remembered']:.2f} and {run['image_gpt_exponent_remembered']:.2f}: left is {run['questions_published']:.0f} questions for 256"
    )
    return (Verdict.HOLDS if fits else Verdict.FAILS), said


if __name__ == "__main__":
    claims.main(CLAIM, measure, judge)
