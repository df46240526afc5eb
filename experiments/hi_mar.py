"""What a picture of Hi-MAR costs beside one of MAR, both counted at the published sizes with what their heads do.

MAR asks 256 times and runs a small network 100 times a token; Hi-MAR asks 32 times of 64 pivots and a few times of 256 dense tokens, each of them drawn by
250 passes of a transformer over all.
"""

from __future__ import annotations

from collections.abc import Sequence

import claims
from claims import Claim, Numbers, Verdict

from omniform import recipes
from omniform.system.facts import counted

SIZES = ("B", "L", "H")

CLAIM = Claim(
    row="hi-mar",
    says="Hi-MAR costs less than MAR at every size, though each of its last questions is answered by 250 passes of a transformer",
    source="arXiv:2505.20288, abstract (outperforms typical MAR baselines while requiring fewer computational costs)",
    recipes=("hi-mar", "mar"),
    budget="exact; counted on the meta device, under a minute",
    seeds=(0,),
    exact=True,
)


def measure(seed: int) -> Numbers:
    found: Numbers = {}
    for size in SIZES:
        ours, theirs = (counted(recipes.get(name).sized(size)) for name in CLAIM.recipes)
        found[f"share_{size}"] = ours.multiply_adds_per_sample / theirs.multiply_adds_per_sample
        found[f"tera_{size}"], found[f"tera_mar_{size}"] = ours.multiply_adds_per_sample / 1e12, theirs.multiply_adds_per_sample / 1e12
    return found


def judge(runs: Sequence[Numbers]) -> tuple[Verdict, str]:
    (run,) = runs
    said = ", ".join(f"{size} {run[f'tera_{size}']:.1f} of {run[f'tera_mar_{size}']:.1f} T ({run[f'share_{size}']:.2f})" for size in SIZES)
    return (Verdict.HOLDS if all(run[f"share_{size}"] < 1 for size in SIZES) else Verdict.FAILS), f"multiply-adds of a picture: {said}"


if __name__ == "__main__":
    claims.main(CLAIM, measure, judge)
