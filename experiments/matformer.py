"""MatFormer: one network trained with nested MLPs holds smaller ones, each as good as one trained by itself, and each a network of its own when cut out."""

from __future__ import annotations

import claims
import torch

import omniform as of
from omniform.core.rng import Rng
from omniform.data import open_data
from omniform.training import Training, train
from omniform.training.objectives.nested import Nested, cut, narrow

SHARES = (1.0, 0.5, 0.25, 0.125)
CLAIM = claims.Claim(
    row="matformer",
    says="each of four nested parts of one text model is within 3 % of the held-out nats of a model of that size trained by itself for as many steps",
    source="arXiv:2310.07707, section 4.1 and figure 2; shares of section 3.1",
    recipes=("gpt",),
    budget="a seed: one nested model and four of their own, two blocks of width 64, 60 steps of 4 x 256 bytes, bf16",
    data=("stdlib",),
)
NARROW = {"network.width": 64, "network.backbone.depth": 2, "network.backbone.block.mixer.heads": 4}


def model(seed: int):
    return of.build("gpt", "tiny", "stdlib", changes=NARROW, seed=seed)


@torch.no_grad()
def nats(system, data) -> float:
    """A byte, held out."""
    system.eval()
    total = system.loss(data.test.batch(range(32)), rng=Rng.seeded(0))[0]
    return float(total.parts["main"] / total.count)


def measure(seed: int) -> dict[str, float]:
    data = open_data("stdlib")
    plan = Training(batch=4, steps=60, lr=4e-3, warmup=6, precision="bf16", weight_decay=0.0, ema=0.0, seed=seed, validate_every=0, checkpoint_every=0)
    nested = model(seed)
    train(nested, data, plan, progress=False, objective=Nested(nested, SHARES))
    found, worst = {}, 0.0
    for share in SHARES:
        alone = cut(model(seed), share)
        train(alone, data, plan, progress=False)
        narrow(nested.network, share)
        part, cut_out = nats(nested, data), None
        narrow(nested.network, 1.0)
        cut_out = nats(cut(nested, share), data)
        found |= {f"nested {share:g}": part, f"alone {share:g}": nats(alone, data)}
        worst = max(worst, abs(part - cut_out))
    return {**found, "worst gap of what is cut out": worst}


def judge(runs):
    gaps = [run[f"nested {share:g}"] / run[f"alone {share:g}"] - 1 for run in runs for share in SHARES]
    exact = max(run["worst gap of what is cut out"] for run in runs)
    said = f"nested parts take {min(gaps):+.1%} to {max(gaps):+.1%} nats against models of their own; cut out they differ by {exact:.1g}"
    if exact > 1e-5:
        return claims.Verdict.FAILS, said
    return (claims.Verdict.HOLDS if max(gaps) <= 0.03 else claims.Verdict.FAILS), said


if __name__ == "__main__":
    claims.main(CLAIM, measure, judge)
