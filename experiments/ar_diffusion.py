"""How noise levels of frames are drawn in training, and how many questions a sample takes for each distance between frames."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import claims
import torch

from omniform import recipes
from omniform.core.rng import Rng
from omniform.processes.staggered import rising
from omniform.system.build import assemble

FRAMES, LEVELS, NUM = 3, 4, 60_000
SMALL = {"network.width": 32, "network.backbone.depth": 1, "shape": (4, 1, 16, 16), "process.steps": 5}

CLAIM = claims.Claim(
    row="ar-diffusion",
    says="FoPP draws rows of non-decreasing levels, of which there are C(F + T - 1, F), from the law that is uniform in a frame and its level and among the "
    "rows left; the AD scheduler takes N + (F - 1) s questions, from all together (s = 0) to frame by frame (s = N), no frame cleaner than the one before",
    source="arXiv:2503.07418, sections 3.3 and 3.4",
    recipes=("ar-diffusion",),
    budget=f"{NUM:,} rows of {FRAMES} frames and {LEVELS} levels against all that there are; a sample for each s: two seconds",
    exact=True,
    seeds=(0,),
)


def measure(seed: int) -> claims.Numbers:
    rows = list(itertools.combinations_with_replacement(range(LEVELS), FRAMES))
    share = dict.fromkeys(rows, 0.0)
    for f, level in itertools.product(range(FRAMES), range(LEVELS)):
        left = [row for row in rows if row[f] == level]
        for row in left:
            share[row] += 1 / (FRAMES * LEVELS * len(left))
    drawn = rising(FRAMES, LEVELS, (NUM,), Rng.seeded(seed))
    counts = {tuple(r.tolist()): int(n) for r, n in zip(*drawn.unique(dim=0, return_counts=True), strict=True)}
    chi = sum((counts.get(row, 0) - NUM * p) ** 2 / (NUM * p) for row, p in share.items())
    uniform = sum((counts.get(row, 0) - NUM / len(rows)) ** 2 / (NUM / len(rows)) for row in rows)
    system = assemble(recipes.get("ar-diffusion").sized("tiny").but(SMALL))
    frames, steps, gap, cleaner = 4, system.process.steps, 0, 0.0
    for stride in range(steps + 1):
        times: list[torch.Tensor] = []
        system.process = system.process.but(stride=stride)

        class Heard:
            def __init__(self, net, times=times):
                self.net, self.times = net, times

            def __call__(self, query, *, remember=False):
                self.times.append(query.time[0])
                return self.net(query)

        system.generate(1, seed=seed, wrap=Heard, decode=False)
        each = torch.stack(times).reshape(len(times), frames, -1)[..., 0]
        gap = max(gap, abs(len(times) - (steps + (frames - 1) * stride)))
        cleaner = max(cleaner, float(each.diff(dim=1).max()))
    return {"rows": len(rows), "seen": len(counts), "chi_square": chi, "chi_square_of_the_uniform_law": uniform, "questions_off": gap, "cleaner_by": cleaner}


def judge(runs: Sequence[claims.Numbers]) -> tuple[claims.Verdict, str]:
    run = runs[0]
    free = run["rows"] - 1
    held = (
        run["rows"] == run["seen"] == math.comb(FRAMES + LEVELS - 1, FRAMES)
        and run["chi_square"] < free + 4 * math.sqrt(2 * free) < run["chi_square_of_the_uniform_law"]
        and run["questions_off"] == 0
        and run["cleaner_by"] <= 0
    )
    return (
        claims.Verdict.HOLDS if held else claims.Verdict.FAILS,
        f"chi-square {run['chi_square']:.1f} with {free:.0f} degrees of freedom ({run['chi_square_of_the_uniform_law']:.0f} against a uniform law of rows), "
        f"questions as said for every s",
    )


if __name__ == "__main__":
    claims.main(CLAIM, measure, judge)
