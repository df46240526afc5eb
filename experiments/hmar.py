"""What a scale looks at: HMAR's training question beside VAR's, at the published scales.

Counted are the pairs of tokens that the rule of visibility lets attention look at, from the questions that both processes ask of 680 tokens.
"""

from __future__ import annotations

from collections.abc import Sequence

import claims
from claims import Claim, Numbers, Verdict

from omniform import recipes
from omniform.core.query import visible
from omniform.core.rng import Rng
from omniform.system.facts import built

CLAIM = Claim(
    row="hmar",
    says="attention looks at over 2.5 times fewer pairs than VAR's in training, and generation remembers nothing",
    source="arXiv:2506.04421, abstract (over 2.5 times faster training, 3 times less memory in inference) and section 3",
    recipes=("hmar", "var"),
    budget="exact; a second",
    seeds=(0,),
    exact=True,
)


def measure(seed: int) -> Numbers:
    found: Numbers = {}
    for name in ("hmar", "var"):
        system = built(recipes.get(name).sized("d16"))
        blank = system.codec.space.blank(1)
        course = system.process._course(blank, Rng.seeded(seed, 1))
        found[f"{name}_pairs"] = float(visible(course.turn, course.lane, blank.doc).sum())
        found[f"{name}_remembers"] = float(system.process.memory != "nothing")
    return found


def judge(runs: Sequence[Numbers]) -> tuple[Verdict, str]:
    (run,) = runs
    fewer = run["var_pairs"] / run["hmar_pairs"]
    fine = fewer > 2.5 and not run["hmar_remembers"] and run["var_remembers"]
    said = f"{run['hmar_pairs']:.0f} pairs beside {run['var_pairs']:.0f}: {fewer:.3f} times fewer; no keys and values kept"
    return (Verdict.HOLDS if fine else Verdict.FAILS), said


if __name__ == "__main__":
    claims.main(CLAIM, measure, judge)
