"""Axial Transformer: who hears whom, what a further layer of each tower compares, and how often each tower is asked while a picture is drawn.

Weights are random, so that no path is closed by a start at zero; every value of one picture is changed in turn. The cost of a layer is A D^2 + B D at
width D; B, found from two widths and as the difference of two depths, is what the products of its attention cost.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import replace

import claims
import torch

from omniform import recipes
from omniform.core.batch import Batch
from omniform.core.process import generate
from omniform.core.rng import Rng
from omniform.system.build import assemble
from omniform.system.facts import counted

CLAIM = claims.Claim(
    row="axial-transformer",
    says="Each value sees every earlier one and no later, a layer compares O(N sqrt N) pairs, and while drawing the "
    "outer tower is asked once a row, not a place",
    source="arXiv:1912.12180, section 3.2 (complexity), 3.3 (semi-parallel sampling)",
    recipes=("axial-transformer",),
    budget="a minute: three channels of 5 x 6, width 16; counting up to 3 x 128 x 128 on the meta device",
    seeds=(0,),
    exact=True,
)
TOWERS = ("exterior", "outer", "inner")
SIDES = (16, 32, 64, 128)


def recipe(shape: tuple[int, ...], width: int, **depths: int):
    changes = {f"network.backbone.{tower}": depths.get(tower, 2) for tower in TOWERS}
    return recipes.get("axial-transformer").but({"shape": shape, "network.width": width, "network.backbone.block.mixer.heads": 2, **changes})


def pairs(side: int) -> float:
    """Pairs of places that two further layers of each tower compare."""
    more = dict.fromkeys(TOWERS, 4)
    one, two = (counted(recipe((3, side, side), w, **more)).multiply_adds - counted(recipe((3, side, side), w)).multiply_adds for w in (16, 32))
    return (2 * one - two / 2) / 16 / 2


@torch.no_grad()
def measure(seed: int) -> dict[str, float]:
    rows, columns = 5, 6
    system = assemble(recipe((3, rows, columns), 16), seed=seed).eval()
    for p in system.parameters():
        p.normal_(std=0.3)
    found: dict[str, float] = {}
    asked, backbone = Counter(), system.network.towers["main"].backbone
    hooks = [getattr(backbone, tower)[0].register_forward_hook(lambda *_, tower=tower: asked.update([tower])) for tower in TOWERS]
    space = system.codec.space
    generate(system.process, system.network.open(system.conditioning.context({}, 1), memory="kv"), space.blank(1), rng=Rng.seeded(seed, 1))
    found |= {f"{tower} asked": asked[tower] for tower in TOWERS}
    for hook in hooks:
        hook.remove()

    num = space.length
    ids = torch.randint(0, space.vocab[0], (1, num, 1)).expand(num + 1, -1, -1).clone()
    ids[1:][torch.arange(num), torch.arange(num)] = (ids[0] + space.vocab[0] // 2) % space.vocab[0]
    said: list[torch.Tensor] = []
    backbone.register_forward_hook(lambda _, __, out: said.append(out))
    system.double().loss(Batch(replace(space.blank(num + 1), ids=ids)), rng=Rng.seeded(seed, num + 1))
    moved = (said[0][1:] - said[0][:1]).abs().amax(-1)  # (value changed, answer)
    later = torch.ones(num, num).triu(1) > 0
    found |= {"least heard": moved[later].min(), "most leaked": moved[~later].max()}

    for side in SIDES:
        found[f"pairs {side}"] = pairs(side)
    found["slope"] = math.log(found["pairs 128"] / found["pairs 64"]) / math.log(4)
    return found


def judge(runs):
    (run,) = runs
    said = f"every later answer hears each of 90 values by {run['least heard']:.0e} or more, every other by {run['most leaked']:.0e}; "
    said += f"pairs grow by the power {run['slope']:.3f} of the places (2 in full attention); of 90 values in 15 rows, the inner tower is asked "
    said += f"{run['inner asked']:.0f} times, the outer one {run['outer asked']:.0f} and the exterior {run['exterior asked']:.0f}"
    sees = run["most leaked"] < 1e-12 and run["least heard"] > 1e-9
    asks = run["inner asked"] == 90 and run["outer asked"] <= 15 and run["exterior asked"] <= 3
    return (claims.Verdict.HOLDS if sees and asks and abs(run["slope"] - 1.5) < 0.02 else claims.Verdict.FAILS), said


if __name__ == "__main__":
    claims.main(CLAIM, measure, judge)
