"""What drawing each token by a small diffusion costs: parameters and multiply-adds of the denoising MLP beside those of the transformer that it stands behind.

Counted on the meta device, as the ablation of the paper has it: MAR-L with three blocks of MLP, 64 questions a sample, 100 steps of denoising a token. The
first judge let counts be a quarter off; they turned out to be those printed, rounded up, the transformer's too, and it asks for that now.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import claims

from omniform import recipes
from omniform.core.net import parameters_of
from omniform.system.facts import built, counted

PRINTED = {256: 2, 512: 6, 1024: 21, 1536: 45}
TRANSFORMER = 407
CLAIM = claims.Claim(
    row="mar",
    says="the denoising MLP is small: 2, 6, 21 and 45 M parameters at widths of 256 to 1536, the default 21 M being about 5 % of MAR-L, and its 100 steps a "
    "token about a tenth of the running time, here of the multiply-adds",
    source="arXiv:2406.11838, section 5.1 and table 3",
    recipes=("mar",),
    budget="counting, seconds",
    seeds=(0,),
    exact=True,
)


def recipe(width: int, steps: int):
    return recipes.get("mar").sized("L").but(
        {"network.head.hidden": width, "network.head.depth": 3, "network.head.inner.steps": steps, "process.steps": 64}
    )


def measure(seed: int) -> claims.Numbers:
    found: claims.Numbers = {}
    for width in PRINTED:
        head = built(recipe(width, 100)).network.towers["main"].head
        found[f"parameters_{width}"] = parameters_of({"head": head})
    found["transformer"] = counted(recipe(1024, 100), costs=False).parameters - found["parameters_1024"]
    one, many = (counted(recipe(1024, steps)).multiply_adds_per_sample for steps in (1, 100))
    return {**found, "share_of_multiply_adds": 100 / 99 * (many - one) / many}


def judge(runs: Sequence[claims.Numbers]) -> tuple[claims.Verdict, str]:
    (run,) = runs
    printed = {**{f"parameters_{width}": millions for width, millions in PRINTED.items()}, "transformer": TRANSFORMER}
    equal = all(math.ceil(run[name] / 1e6) == millions for name, millions in printed.items())
    extra, share = run["parameters_1024"] / run["transformer"], run["share_of_multiply_adds"]
    said = ", ".join(f"{run[f'parameters_{width}'] / 1e6:.1f} M at {width} (printed {millions})" for width, millions in PRINTED.items())
    return (
        claims.Verdict.HOLDS if equal and abs(extra - 0.05) < 0.01 and 0.05 < share < 0.2 else claims.Verdict.FAILS,
        f"{said}; the default adds {extra:.1%} to {run['transformer'] / 1e6:.1f} M (printed {TRANSFORMER}) and does {share:.1%} of the multiply-adds",
    )


if __name__ == "__main__":
    claims.main(CLAIM, measure, judge)
