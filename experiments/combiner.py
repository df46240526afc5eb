"""Combiner: one layer of each plan hears all that came before, and what it multiplies grows more slowly than the square of the places.

The cost of a layer is A D^2 + B D at width D; B, found from two widths and as the difference of two depths, is what its attention costs as it is computed,
with what is filled up to equal lengths. Spans are of the square root of the places. The first run found
the power 1.98 for logsparse, since spans of all sizes were filled up to the longest; the part was changed after it, and not the judge.
"""

from __future__ import annotations

import math
from dataclasses import replace

import claims
import torch

from omniform import recipes
from omniform.core.batch import Batch
from omniform.core.rng import Rng
from omniform.system.build import assemble
from omniform.system.facts import counted

CLAIM = claims.Claim(
    row="combiner",
    says="Every attention hears every earlier place and no later one, at O(L sqrt L) for the fixed and axial plans and O(L log L) for logsparse",
    source="arXiv:2107.05768, abstract, section 4 and table 1",
    recipes=("combiner",),
    budget="a minute: one layer of 64 places, all of them changed in turn; counting up to 4,096 places on the meta device",
    seeds=(0,),
    exact=True,
)
PLANS = {"fixed": 1.5, "axial": 1.5, "logsparse": 1.0}
LENGTHS = (256, 1024, 4096)


def recipe(plan: str, length: int, width: int, depth: int):
    mixer = {"plan": plan, "size": math.isqrt(length), "heads": 1}
    changes = {"shape": (length,), "network.width": width, "network.backbone.depth": depth}
    return recipes.get("combiner").sized("tiny").but({**changes, **{f"network.backbone.block.mixer.{k}": v for k, v in mixer.items()}})


def products(plan: str, length: int) -> float:
    """B of a layer over 2: pairs, where a pair is a product with a key and one with a value."""
    one, two = (counted(recipe(plan, length, w, 2)).multiply_adds - counted(recipe(plan, length, w, 1)).multiply_adds for w in (16, 32))
    return (2 * one - two / 2) / 16 / 2


@torch.no_grad()
def support(plan: str, seed: int) -> tuple[float, float]:
    """The least that a later answer moves, and the most that another does, when a place says something else."""
    system = assemble(recipe(plan, 64, 16, 1), seed=seed).eval()
    for p in system.parameters():
        p.normal_(std=0.3)
    num, space, said = 64, system.codec.space, []
    ids = torch.randint(0, 200, (1, num, 1)).expand(num + 1, -1, -1).clone()
    ids[1:][torch.arange(num), torch.arange(num)] = ids[0] + 50
    system.network.towers["main"].backbone.register_forward_hook(lambda _, __, out: said.append(out))
    system.double().loss(Batch(replace(space.blank(num + 1), ids=ids)), rng=Rng.seeded(seed, num + 1))
    moved = (said[0][1:] - said[0][:1]).abs().amax(-1)  # (place changed, answer)
    later = torch.ones(num, num).triu(1) > 0
    return float(moved[later].min()), float(moved[~later].max())


def measure(seed: int) -> dict[str, float]:
    found: dict[str, float] = {}
    for plan in PLANS:
        found[f"{plan} least heard"], found[f"{plan} most leaked"] = support(plan, seed)
        found |= {f"{plan} {length}": products(plan, length) for length in LENGTHS}
        found[f"{plan} slope"] = math.log(found[f"{plan} 4096"] / found[f"{plan} 1024"]) / math.log(4)
    return found


def judge(runs):
    (run,) = runs
    heard, leaked = min(run[f"{plan} least heard"] for plan in PLANS), max(run[f"{plan} most leaked"] for plan in PLANS)
    said = (
        f"each of 64 places moves every later answer by {heard:.0e} or more and every other by {leaked:.0e}; from 1,024 to 4,096 places the cost grows by the "
    )
    said += "power " + ", ".join(f"{run[f'{plan} slope']:.3f} ({plan})" for plan in PLANS)
    log = math.log(4096 * 12 / (1024 * 10)) / math.log(4)
    slopes = all(run[f"{plan} slope"] < (power if power > 1 else log) + 0.05 for plan, power in PLANS.items())
    return (claims.Verdict.HOLDS if heard > 1e-9 and leaked < 1e-12 and slopes else claims.Verdict.FAILS), said


if __name__ == "__main__":
    claims.main(CLAIM, measure, judge)
