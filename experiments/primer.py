"""Primer: squared ReLU in place of GELU, and then the short convolution too, in a small model of bytes, at equal steps and equal batches."""

from __future__ import annotations

import claims
import torch

from omniform import data, recipes
from omniform.system.build import assemble
from omniform.training import Training, train

CLAIM = claims.Claim(
    row="primer",
    says="Squared ReLU lowers the loss of a decoder at equal steps, and the depthwise convolution after queries, keys and values lowers it further",
    source="arXiv:2109.08668, section 4 and table 4 (speed-ups of the modifications alone)",
    recipes=("primer", "gpt"),
    budget="three models a seed, 350 steps of 16 texts of 128 bytes, width 64, 3 blocks; nats a byte on held-out texts",
    data=("stdlib",),
)
SMALL = {"shape": (128,), "network.width": 64, "network.backbone.depth": 3, "network.backbone.block.mixer.head_width": 16}
KINDS = {
    "gelu": {"network.backbone.block.mlp.activation": "gelu_tanh", "network.backbone.block.mixer.blend": None},
    "relu2": {"network.backbone.block.mixer.blend": None},
    "relu2 and convolution": {},
}


def measure(seed):
    texts = data.open_data("stdlib", characters=128)
    held = texts.test.batch(range(128)).data
    found = {}
    for kind, changes in KINDS.items():
        system = assemble(recipes.get("primer").sized("tiny").but({**SMALL, **changes}), seed=seed)
        train(system, texts, Training(batch=16, steps=350, lr=2e-3, warmup=30, seed=seed, ema=0.0, validate_every=0), progress=False)
        with torch.no_grad():
            found[kind] = float(system.eval().score(held).mean()) / 129
    return found


def judge(runs):
    first = [run["gelu"] - run["relu2"] for run in runs]
    second = [run["relu2"] - run["relu2 and convolution"] for run in runs]
    because = f"squared ReLU is {min(first):+.4f} to {max(first):+.4f} nats a byte better than GELU, "
    because += f"the convolution {min(second):+.4f} to {max(second):+.4f} better than without"
    if min(first) > 0 and min(second) > 0:
        return claims.Verdict.HOLDS, because
    return (claims.Verdict.FAILS if max(first) < 0 or max(second) < 0 else claims.Verdict.UNDECIDED), because


if __name__ == "__main__":
    claims.main(CLAIM, measure, judge)
