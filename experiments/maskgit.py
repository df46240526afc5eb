"""MaskGIT against the autoregressive model over the same kind of codes: how often each asks, and how good the pictures are.

Both systems ship with the library: MaskGIT and a GPT over codes of a 7x7 grid, trained on the glyphs with one budget of steps. A seed draws
other pictures, not other weights. Quality is the Frechet distance in the features of the shipped judge of glyphs.
"""

from __future__ import annotations

from collections.abc import Sequence

import claims
from claims import Claim, Numbers, Verdict

from omniform import verbs
from omniform.data import open_data

NUM = 192
NEAR = 1.5  # ours: "near" quality

CLAIM = Claim(
    row="maskgit",
    says=f"MaskGIT's distance to the data is at most {NEAR} times the autoregressive model's with fewer than a third of its questions",
    source="arXiv:2202.04200, abstract and table 1: better than the autoregressive baseline, decoding up to 64 times faster",
    recipes=("maskgit", "image-gpt"),
    budget=f"{NUM} pictures of each of two shipped systems, about 20 s of an idle core",
    data=("glyphs",),
)


def measure(seed: int) -> Numbers:
    data, found = open_data("glyphs"), {}
    for name in ("maskgit", "image-gpt"):
        system = verbs.load(f"shipped:{name}")
        result = verbs.evaluate(system, data, NUM, seed=seed, progress=False)
        terms = 1 if system.guidance is None else len(system.guidance.terms())
        key = name.replace("-", "_")
        found |= {f"{key}_frechet": result["frechet"], f"{key}_questions": result["calls"] / terms}
        found["floor"] = result["floor"]["frechet"]
    return found


def judge(runs: Sequence[Numbers]) -> tuple[Verdict, str]:
    ratio = [r["maskgit_frechet"] / r["image_gpt_frechet"] for r in runs]
    asked = runs[0]["maskgit_questions"] / runs[0]["image_gpt_questions"]
    said = f"distance over the autoregressive one's {min(ratio):.2f} to {max(ratio):.2f} with {asked:.2f} of the questions"
    if max(ratio) <= NEAR and asked < 1 / 3:
        return Verdict.HOLDS, said
    return (Verdict.FAILS if min(ratio) > NEAR or asked >= 1 / 3 else Verdict.UNDECIDED), said


if __name__ == "__main__":
    claims.main(CLAIM, measure, judge)
