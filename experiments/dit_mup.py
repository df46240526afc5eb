"""DiT-muP: under maximal update parametrisation the same learning rate moves networks of all widths alike; with one rate for all maps, wide ones move more."""

from __future__ import annotations

import math

import claims
import torch

import omniform as of
from omniform.codecs.patch import Patches
from omniform.core.rng import Rng
from omniform.core.spec import Spec
from omniform.data import open_data
from omniform.training import Training, train
from omniform.training.objectives.objective import Listening
from omniform.training.objectives.widths import MaximalUpdate

CLAIM = claims.Claim(
    row="dit-mup",
    says="after some steps of Adam, the change of the stream grows with width under one rate for all (slope above 0.25) and not under muP (within 0.2 of 0)",
    source="arXiv:2505.15270, theorem 3.1 and section 3; the coordinate check of arXiv:2203.03466, appendix D",
    recipes=("dit",),
    budget="a seed: six networks of 32 to 128 wide, 6 steps each",
    data=("glyphs",),
)
WIDTHS, HEAD, STEPS, RATE = (32, 64, 128), 16, 6, 2e-3
TAP = "block.1"


def network(width: int, seed: int):
    changes = {"codec": Spec(Patches, {"patch": 7}), "network.width": width, "network.backbone.depth": 2, "network.backbone.block.mixer.heads": width // HEAD}
    return of.build("dit", "tiny", "glyphs", changes=changes, seed=seed)


@torch.no_grad()
def seen(system, batch) -> torch.Tensor:
    """The stream after the second block, on fixed noise."""
    tokens, context = system.eval().read(batch, rng=Rng.seeded(9))
    net = Listening(system.network.open(context, taps=frozenset({TAP})))
    system.process.loss(net, tokens, rng=Rng.seeded(9))
    return net.heard[0][1].taps[TAP]


def change(width: int, seed: int, mup: bool) -> float:
    data = open_data("glyphs")
    system, batch = network(width, seed), open_data("glyphs").test.batch(range(32))
    base = {"network.width": WIDTHS[0], "network.backbone.block.mixer.heads": WIDTHS[0] // HEAD}
    objective = MaximalUpdate(system, base)
    objective.begin(system, fresh=True)  # the same start for both, so that only rates differ
    objective.scaled = False
    before = seen(system, batch)
    still = {"warmup": 0, "shape": "constant", "weight_decay": 0.0, "ema": 0.0, "clip": 0.0, "validate_every": 0, "checkpoint_every": 0}
    plan = Training(batch=32, steps=STEPS, lr=RATE, seed=seed, **still)
    train(system, data, plan, progress=False, objective=objective if mup else None)
    return float((seen(system, batch) - before).square().mean().sqrt())


def slope(changes: list[float]) -> float:
    """Of log change against log width, by least squares."""
    x, y = ([math.log(v) for v in values] for values in (WIDTHS, changes))
    mean_x, mean_y = sum(x) / len(x), sum(y) / len(y)
    return sum((a - mean_x) * (b - mean_y) for a, b in zip(x, y, strict=True)) / sum((a - mean_x) ** 2 for a in x)


def measure(seed: int) -> dict[str, float]:
    usual, mup = ([change(width, seed, how) for width in WIDTHS] for how in (False, True))
    named = {f"{name} {width}": v for name, values in (("usual", usual), ("muP", mup)) for width, v in zip(WIDTHS, values, strict=True)}
    return {"usual slope": slope(usual), "muP slope": slope(mup), **named}


def judge(runs):
    usual, mup = ([run[f"{name} slope"] for run in runs] for name in ("usual", "muP"))
    said = f"slopes of the change with width: {min(usual):.2f} to {max(usual):.2f} with one rate, {min(mup):.2f} to {max(mup):.2f} under muP"
    if min(usual) > 0.25 and max(abs(s) for s in mup) < 0.2:
        return claims.Verdict.HOLDS, said
    return (claims.Verdict.FAILS if min(usual) <= max(mup) else claims.Verdict.UNDECIDED), said


if __name__ == "__main__":
    claims.main(CLAIM, measure, judge)
