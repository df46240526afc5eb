"""Subsampled attention: a training that mostly sees a quarter of the keys, and then all of them for a short while, ends where a dense one does."""

from __future__ import annotations

import claims
import torch

import omniform as of
from omniform.backbones.attention import attention as module
from omniform.core.rng import Rng
from omniform.data import open_data
from omniform.training import Training, train
from omniform.training.objectives.subsampled import Subsampled, subsample

CLAIM = claims.Claim(
    row="stochastically-subsampled-self-attention-ssa",
    says="attention to a quarter of the keys costs a quarter, and with the last fifth of the steps dense it ends within 2 % of dense training's held-out nats",
    source="arXiv:2306.01705, abstract (4 to 8 times less, no loss of quality)",
    recipes=("gpt",),
    budget="a seed: two text models of two blocks, width 64, 100 steps of 4 x 256 bytes, bf16",
    data=("stdlib",),
)
KEEP, DENSE, STEPS = 0.25, 0.2, 100
NARROW = {"network.width": 64, "network.backbone.depth": 2, "network.backbone.block.mixer.heads": 4}


def model(seed: int):
    return of.build("gpt", "tiny", "stdlib", changes=NARROW, seed=seed)


@torch.no_grad()
def nats(system, data) -> float:
    """A byte, held out, with all keys."""
    total = system.eval().loss(data.test.batch(range(32)), rng=Rng.seeded(0))[0]
    return float(total.parts["main"] / total.count)


@torch.no_grad()
def asked(system, data) -> tuple[int, float]:
    """A training question: products of queries with keys, and the loss of it."""
    taken, plain = [], module.attend

    def counting(q, k, v, **more):
        taken.append(q.shape[0] * q.shape[1] * q.shape[2] * k.shape[2])
        return plain(q, k, v, **more)

    module.attend = counting
    try:
        losses = system.train().loss(data.train.batch(range(4)), rng=Rng.seeded(0))[0]
    finally:
        module.attend = plain
    return sum(taken), float(losses.parts["main"] / losses.count)


def measure(seed: int) -> dict[str, float]:
    data = open_data("stdlib")
    plan = Training(batch=4, steps=STEPS, lr=4e-3, warmup=10, precision="bf16", weight_decay=0.0, ema=0.0, seed=seed, validate_every=0, checkpoint_every=0)
    dense, sparse = model(seed), model(seed)
    cost, loss = asked(dense, data)
    subsample(sparse.network, 1.0)
    gap = abs(asked(sparse, data)[1] - loss)
    subsample(sparse.network, KEEP)
    share = asked(sparse, data)[0] / cost
    train(dense, data, plan, progress=False)
    train(sparse, data, plan, progress=False, objective=Subsampled(sparse, KEEP, DENSE))
    return {"dense": nats(dense, data), "subsampled": nats(sparse, data), "share of the scores": share, "gap of all keys": gap}


def judge(runs):
    gaps = [run["subsampled"] / run["dense"] - 1 for run in runs]
    cost, exact = max(run["share of the scores"] for run in runs), max(run["gap of all keys"] for run in runs)
    said = f"{cost:.3f} of the scores; held-out nats {min(gaps):+.1%} to {max(gaps):+.1%} against dense training; all keys drawn, the loss moves by {exact:g}"
    return (claims.Verdict.HOLDS if max(gaps) <= 0.02 and cost <= KEEP + 1e-9 and not exact else claims.Verdict.FAILS), said


if __name__ == "__main__":
    claims.main(CLAIM, measure, judge)
