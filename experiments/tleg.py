"""TLEG: what is stored for networks of many depths is two layers and what is not a layer, whatever the depths; each depth is read off the line.

Counted at DiT's shape, whose blocks are ours: what a learngene stores beside what all networks of 4 to 12 layers would (the paper prints around 19 times fewer
for the depths that it asks for). Measured on a small one: an expansion to its own depth answers as the network that was trained, whose weights have no second
differences over the layers. What is not decided here is quality (a descendant's start beside a random one), which takes a trained teacher.
"""

from __future__ import annotations

import claims
import torch

from omniform import recipes
from omniform.core.rng import Rng
from omniform.data import open_data
from omniform.system.build import assemble, fitted
from omniform.system.facts import built
from omniform.training import Training, train
from omniform.training.objectives.line import Line, blocks_of, expanded

DEPTHS = tuple(range(4, 13))
CLAIM = claims.Claim(
    row="tleg",
    says="for networks of 4 to 12 layers two layers and the rest are stored, 19 times fewer parameters than a network each or fewer still, and the line read "
    "at the trained depth answers as the trained network, to 1e-4",
    source="arXiv:2312.05614, abstract and section 3 (parameters stored to initialise models of different depths)",
    recipes=("dit",),
    budget="exact; counts of DiT-B's shape, and 20 steps of 8 glyphs of a network of 4 blocks of width 32",
    seeds=(0,),
    exact=True,
    data=("glyphs",),
)
SMALL = {"network.width": 32, "network.backbone.depth": 4, "network.backbone.block.mixer.heads": 2}


def measure(seed: int) -> claims.Numbers:
    parts = lambda depth: built(recipes.get("dit").sized("B/2").but({"network.backbone.depth": depth}))  # noqa: E731
    count = lambda module: sum(p.numel() for p in module.parameters())  # noqa: E731
    every = {depth: parts(depth) for depth in DEPTHS}
    layer = count(blocks_of(every[4])[0])
    rest = count(every[4].network) - 4 * layer
    data = open_data("glyphs")
    system = assemble(fitted(recipes.get("dit").sized("tiny").but(SMALL), classes=data.classes), seed=seed)
    plan = Training(batch=8, steps=20, lr=2e-3, warmup=2, ema=0.0, weight_decay=0.0, seed=seed, validate_every=0, checkpoint_every=0)
    line = Line(system)
    train(system, data, plan, progress=False, objective=line)
    batch = data.test.batch(range(16))
    with torch.no_grad():
        trained, again = (float(one.eval().loss(batch, rng=Rng.seeded(0))[0].mean()) for one in (system, expanded(system, 4)))
        flat = [torch.nn.utils.parameters_to_vector(block.parameters()) for block in blocks_of(system)]
    return {
        "stored": 2 * layer + rest,
        "each": sum(count(one.network) for one in every.values()),
        "off": abs(again / trained - 1),
        "bend": max(float((c - 2 * b + a).abs().max()) for a, b, c in zip(flat, flat[1:], flat[2:], strict=False)),
        "apart": float((flat[-1] - flat[0]).abs().mean()),
    }


def judge(runs: list[claims.Numbers]) -> tuple[claims.Verdict, str]:
    (run,) = runs
    fewer = run["each"] / run["stored"]
    said = f"{run['stored'] / 1e6:.1f} M parameters stored for {len(DEPTHS)} depths, {fewer:.1f} times fewer than a network each; read at its own depth the "
    said += f"line is {run['off']:.0e} off in loss; second differences over the layers are at most {run['bend']:.0e}, "
    said += f"first and last layer {run['apart']:.0e} apart"
    good = fewer >= 19 and run["off"] < 1e-4 and run["bend"] < 1e-5 < run["apart"]
    return (claims.Verdict.HOLDS if good else claims.Verdict.FAILS), said


if __name__ == "__main__":
    claims.main(CLAIM, measure, judge)
