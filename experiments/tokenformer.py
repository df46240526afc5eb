"""TokenFormer: zero keys added to a system leave what it says of real text as it is while the scale is kept, and not with the official code's scale."""

from __future__ import annotations

import math

import claims
import torch

from omniform import data, recipes
from omniform.backbones.mlp import Pattention
from omniform.system.build import assemble
from omniform.system.growth import grown

CLAIM = claims.Claim(
    row="tokenformer",
    says="Appending key-value parameter pairs whose keys are zero leaves the function unchanged",
    source="arXiv:2410.23168, section 3.3 and appendix B, equations 28 to 31",
    recipes=("tokenformer",),
    budget="a second: 8 texts of 64 bytes, two blocks, pairs doubled",
    seeds=(0,),
    exact=True,
    data=("stdlib",),
)


@torch.no_grad()
def measure(seed):
    texts = data.open_data("stdlib", characters=64).test.batch(range(8)).data
    system = assemble(recipes.get("tokenformer").sized("tiny").but({"shape": (64,), "network.backbone.depth": 2}), seed=seed).eval()
    larger = grown(system, 2, seed=seed).eval()
    before = system.score(texts)
    found = {"kept scale": float(((larger.score(texts) - before) / before).abs().max())}
    for part in larger.modules():
        if isinstance(part, Pattention):
            part.scale *= math.sqrt(2)
    return {**found, "scale of the code": float(((larger.score(texts) - before) / before).abs().max())}


def judge(runs):
    (run,) = runs
    because = f"no text's nats move by more than {run['kept scale']:.0e} of them; with the code's scale, sqrt(pairs), by up to {run['scale of the code']:.0e}"
    return (claims.Verdict.HOLDS if run["kept scale"] < 1e-5 < run["scale of the code"] else claims.Verdict.FAILS), because


if __name__ == "__main__":
    claims.main(CLAIM, measure, judge)
