"""What scaling the maps onto the residual path by 1/sqrt(N) is for: how far blocks of a fresh network have moved the stream, by depth, on lines of real text.

The official code leaves the scale out, and so does the recipe; here it is put onto the recipe's network.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import claims
import torch

from omniform import recipes
from omniform.core.rng import Rng
from omniform.data.catalog import open_data
from omniform.data.dataset import order
from omniform.system.build import assemble

DEPTHS = (4, 16, 64)
CLAIM = claims.Claim(
    row="gpt",
    says="weights of residual layers scaled at the start by 1/sqrt(N), N their number, keep what accumulates on the residual path from growing with depth: "
    "the power of depth by which its square grows is at most 0.15, and without the scale at least 0.7",
    source="Radford et al. 2019, section 2.3",
    recipes=("gpt",),
    budget="three fresh networks of up to 64 blocks a seed, a question each: seconds",
    data=("stdlib",),
)


@torch.no_grad()
def moved(depth: int, scaled: bool, seed: int) -> float:
    """Mean square of what all blocks have added to the stream."""
    system = assemble(recipes.get("gpt").sized("tiny").but({"network.backbone.depth": depth}), seed=seed).eval()
    backbone = system.network.towers["main"].backbone
    streams: list[torch.Tensor] = []
    backbone.blocks[0].register_forward_pre_hook(lambda _, inputs: streams.append(inputs[0]))
    backbone.blocks[-1].register_forward_hook(lambda _, inputs, out: streams.append(out))
    if scaled:
        for block in backbone.blocks:
            for weight in (*block.mixer.out.parameters(), *(p for name, p in block.mlp.named_parameters() if ".down." in name)):
                weight.mul_((2 * depth) ** -0.5)
    data = open_data("stdlib", characters=256).train
    system.loss(data.batch(order(len(data), seed, 0, 4)), rng=Rng.seeded(seed, 4))
    first, last = streams
    return float((last - first).square().mean())


def measure(seed: int) -> claims.Numbers:
    return {f"{'scaled' if scaled else 'plain'}_{depth}": moved(depth, scaled, seed) for scaled in (True, False) for depth in DEPTHS}


def power(run: claims.Numbers, kind: str) -> float:
    return math.log(run[f"{kind}_{DEPTHS[-1]}"] / run[f"{kind}_{DEPTHS[0]}"]) / math.log(DEPTHS[-1] / DEPTHS[0])


def judge(runs: Sequence[claims.Numbers]) -> tuple[claims.Verdict, str]:
    scaled, plain = ([power(run, kind) for run in runs] for kind in ("scaled", "plain"))
    holds = max(map(abs, scaled)) <= 0.15 and min(plain) >= 0.7
    told = lambda values: f"{min(values):.2f} to {max(values):.2f}"  # noqa: E731
    return (
        claims.Verdict.HOLDS if holds else claims.Verdict.FAILS,
        f"from {DEPTHS[0]} to {DEPTHS[-1]} blocks what they add grows by the power {told(scaled)} with the scale and {told(plain)} without",
    )


if __name__ == "__main__":
    claims.main(CLAIM, measure, judge)
