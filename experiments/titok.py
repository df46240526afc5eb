"""What a short row of codes saves the generator: multiply-adds of a sample of TiTok's masked model beside MaskGIT's.

Both networks are the same transformer (24 blocks of 768) asked eight times; counted are the recipes at their published sizes, under one term of
guidance each, the tokenizers left out. At 512 pixels the paper's 64 codes stand beside MaskGIT's 1,024 and its twelve questions.

What is not decided here is quality. Tiny tokenizers of 120 steps of 32 glyphs (three seeds, 4 and 16 codes in a row beside a grid of 16) lost 0.277, 0.277 and
0.104 in mean square: a transformer has not learned anything by then, and what it takes is beyond an experiment's minutes.
"""

from __future__ import annotations

from collections.abc import Sequence

import claims
from claims import Claim, Numbers, Verdict

from omniform import recipes
from omniform.system.facts import counted

PAIRS = {"256px": ("L-32", "256px", 32, 256), "512px": ("B-64", "512px", 64, 1024)}
OVERHEAD = 0.95  # ours: the class token and the embedding of places are not saved

CLAIM = Claim(
    row="titok",
    says=f"a sample costs at least {OVERHEAD} times as many times fewer multiply-adds as there are fewer tokens: 8 times at 256 pixels, 16 at 512",
    source="arXiv:2406.07550, abstract and section 4.3: 8 to 64 times fewer tokens, which is where the speed of generation comes from",
    recipes=("titok-maskgit", "maskgit"),
    budget="exact; a few seconds",
    seeds=(0,),
    exact=True,
)


def measure(seed: int) -> Numbers:
    found: Numbers = {}
    for pixels, (short, grid, few, many) in PAIRS.items():
        row, whole = counted(recipes.get("titok-maskgit").sized(short)), counted(recipes.get("maskgit").sized(grid))
        assert (row.tokens, whole.tokens) == (few, many)
        found[f"tokens_{pixels}"] = whole.tokens / row.tokens
        found[f"cost_{pixels}"] = (whole.multiply_adds_per_sample or 0) / (row.multiply_adds_per_sample or 1)
        found[f"question_{pixels}"] = (whole.multiply_adds or 0) / (row.multiply_adds or 1)
    return found


def judge(runs: Sequence[Numbers]) -> tuple[Verdict, str]:
    (run,) = runs
    enough = [run[f"cost_{pixels}"] >= OVERHEAD * run[f"tokens_{pixels}"] for pixels in PAIRS]
    said = ", ".join(f"{run[f'cost_{p}']:.1f} times fewer for {run[f'tokens_{p}']:.0f} times fewer tokens at {p}" for p in PAIRS)
    return (Verdict.HOLDS if all(enough) else Verdict.FAILS), said


if __name__ == "__main__":
    claims.main(CLAIM, measure, judge)
