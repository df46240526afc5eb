"""SpecMaskGIT's zero-shot bandwidth extension: the low bands are given as codes, the high ones are asked for.

The tiny recipe with weights of each seed: a spectrogram's lower rows are given and the others hidden. Nothing given may change, everything hidden must be
answered, in no more questions than the recipe has steps; the published size is asked as often as the abstract allows, beside one code a question.
"""

from __future__ import annotations

from collections.abc import Sequence

import claims
import torch
from claims import Claim, Numbers, Verdict

from omniform import recipes
from omniform.system.build import assemble
from omniform.system.facts import counted
from omniform.system.system import Counted

CLAIM = Claim(
    row="specmaskgit",
    says="given low bands stay as they are to the bit while the high bands are filled in, in 16 questions at the most where one code a question takes 265",
    source="arXiv:2406.17672, abstract: a clip of ten seconds by less than 16 iterations; zero-shot bandwidth extension",
    recipes=("specmaskgit",),
    budget="exact; a second",
    seeds=(0, 1, 2),
    exact=True,
)


def measure(seed: int) -> Numbers:
    system = assemble(recipes.get("specmaskgit").sized("tiny"), seed=seed).eval()
    space, g = system.codec.space, torch.Generator().manual_seed(seed)
    tokens = system.codec.encode(torch.rand(2, *system.codec.shape, generator=g) * 2 - 1)
    low = space.places[:, space.axis("y")] >= space.axes[0].size // 2  # the picture's lower half
    meters: list[Counted] = []
    made = system.generate(2, {"label": [1, 2]}, seed=seed, given=(tokens, low), decode=False, wrap=lambda net: meters.append(Counted(net)) or meters[-1])
    other = system.generate(2, {"label": [1, 2]}, seed=seed + 10, given=(tokens, low), decode=False)
    published = counted(recipes.get("specmaskgit").sized("10s"), costs=False)
    return {
        "given_changed": float((made.ids != tokens.ids)[:, low].sum()),
        "hidden_places": float((~low).sum()),
        "hidden_that_vary": float((made.ids != other.ids)[:, ~low].any(0).sum()),
        "questions": float(meters[0].calls),
        "steps": float(system.process.steps),
        "published_questions": float(published.questions or 0),
        "published_tokens": float(published.tokens),
    }


def judge(runs: Sequence[Numbers]) -> tuple[Verdict, str]:
    kept = all(not run["given_changed"] and run["hidden_that_vary"] > 0.5 * run["hidden_places"] for run in runs)
    fine = kept and all(run["questions"] <= run["steps"] and run["published_questions"] <= 16 for run in runs)
    run = runs[0]
    said = f"no given code changed; {run['published_questions']:.0f} questions for {run['published_tokens']:.0f} codes"
    return (Verdict.HOLDS if fine else Verdict.FAILS), said


if __name__ == "__main__":
    claims.main(CLAIM, measure, judge)
