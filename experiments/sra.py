"""SRA: an early block that learns from a later one of the averaged network in less noise helps a flow; from the same block it does not.

The rule of judging was written before any run. Data and steps were chosen by how long they take. One trial on seed 100, of scikit-learn's digits (400 steps of
64), is not judged; it found the losses of both arms 0.3 % below that of none.
"""

from __future__ import annotations

import claims
import torch

import omniform as of
from omniform.codecs.patch import Patches
from omniform.core.rng import Rng
from omniform.core.spec import Spec
from omniform.data import open_data
from omniform.training import Training, train
from omniform.training.objectives.self_align import SelfAlign

CLAIM = claims.Claim(
    row="sra",
    says="after as many steps the held-out loss is lower with early-to-late alignment than without, and not lower where a block learns from itself",
    source="arXiv:2505.02831, section 4.3 and the ablation of blocks (3 to 8 against 3 to 3)",
    recipes=("sit",),
    budget="a seed: three flows of four blocks, width 64, 16 patches of 7 x 7, 200 steps of 32 digits; 1,000 held-out digits at 4 draws of noise",
    data=("mnist",),
)
STEPS = 200
ARMS = {"plain": None, "late": ("block.0", "block.2", 0.2), "same": ("block.0", "block.0", 0.0)}


def flow(seed: int):
    changes = {"codec": Spec(Patches, {"patch": 7}), "network.width": 64, "network.backbone.depth": 4, "network.backbone.block.mixer.heads": 4}
    return of.build("sit", "tiny", "mnist", changes=changes, seed=seed)


@torch.no_grad()
def held(system, data) -> float:
    digits = data.test.batch(range(1000))
    return sum(float(system.eval().loss(digits, rng=Rng.seeded(5 + draw))[0].mean()) for draw in range(4)) / 4


def measure(seed: int) -> dict[str, float]:
    data, found = open_data("mnist"), {}
    plan = Training(batch=32, steps=STEPS, lr=2e-3, warmup=20, weight_decay=0.0, ema=0.0, seed=seed, validate_every=0, checkpoint_every=0)
    for name, arm in ARMS.items():
        system = flow(seed)
        objective = None if arm is None else SelfAlign(system, 0.2, arm[0], arm[1], gap=arm[2], decay=0.99)
        train(system, data, plan, progress=False, objective=objective)
        found[name] = held(system, data)
    return found


def judge(runs):
    late, same = ([run[name] / run["plain"] - 1 for run in runs] for name in ("late", "same"))
    said = f"held-out loss against none: early to late {min(late):+.2%} to {max(late):+.2%}, same block {min(same):+.2%} to {max(same):+.2%}"
    if max(late) < 0 <= min(same):
        return claims.Verdict.HOLDS, said
    if min(late) >= 0 or max(same) < 0:
        return claims.Verdict.FAILS, said
    return claims.Verdict.UNDECIDED, said


if __name__ == "__main__":
    claims.main(CLAIM, measure, judge)
