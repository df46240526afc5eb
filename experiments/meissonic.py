"""What Meissonic's compression layers save, counted over its recipe with and without them, and what a question costs as pictures grow."""

from __future__ import annotations

from collections.abc import Sequence

import claims
from claims import Claim, Numbers, Verdict

from omniform import recipes
from omniform.system.facts import Counts, counted

CLAIM = Claim(
    row="meissonic",
    says="with feature compression a picture of 1024 pixels costs at most 1.1 times a question at 512 without it, and less than a quarter of itself without it",
    source="arXiv:2410.08261, section 3.1: compression layers make the 4,096 codes of 1024 pixels computationally manageable; the code has none at 512",
    recipes=("meissonic",),
    budget="counting on the meta device, seconds",
    seeds=(0,),
    exact=True,
)


def at(side: int, factor: int) -> Counts:
    return counted(recipes.get("meissonic").but({"shape": (3, side, side), "network.backbone.factor": factor}))


def measure(seed: int) -> Numbers:
    pressed, plain, half = at(1024, 2), at(1024, 1), at(512, 1)
    found = {"tokens": pressed.tokens, "tokens_512": half.tokens}
    found |= {f"gmacs_{name}": c.multiply_adds / 1e9 for name, c in (("1024", pressed), ("1024_plain", plain), ("512", half))}
    more = pressed.parameters / plain.parameters - 1
    return {**found, "saved": found["gmacs_1024_plain"] / found["gmacs_1024"], "over_512": found["gmacs_1024"] / found["gmacs_512"], "more_parameters": more}


def judge(runs: Sequence[Numbers]) -> tuple[Verdict, str]:
    (run,) = runs
    fine = run["saved"] > 4 and run["over_512"] < 1.1
    return (Verdict.HOLDS if fine else Verdict.FAILS), (
        f"{run['gmacs_1024']:.0f} G multiply-adds a question at 1024 pixels in place of {run['gmacs_1024_plain']:.0f} G, {run['saved']:.2f} times fewer for "
        f"{run['more_parameters']:.2%} more parameters; {run['over_512']:.3f} of what 512 pixels cost without compression"
    )


if __name__ == "__main__":
    claims.main(CLAIM, measure, judge)
