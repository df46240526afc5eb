"""Weights for each kind of token: as many multiply-adds as the dense model, more parameters, the same function where the weights agree, attention over all."""

from __future__ import annotations

from collections.abc import Sequence

import claims
import torch

from omniform import recipes
from omniform.core.batch import Batch
from omniform.core.rng import Rng
from omniform.system.build import assemble
from omniform.system.facts import counted

SMALL = {"network.width": 32, "network.backbone.depth": 2, "network.backbone.rotary.head_width": 8, "network.backbone.block.mlp.hidden": 48}

CLAIM = claims.Claim(
    row="mixture-of-transformers",
    says="weights of their own for each of K kinds cost no multiply-add more than the dense model and K times its non-embedding parameters; with equal weights "
    "they are the dense model; a text's answer still depends on a picture before it",
    source="arXiv:2411.04996, sections 2 and 6.1, algorithm 1",
    recipes=("mixture-of-transformers",),
    budget="two networks of 2 layers, one question each: a second",
    exact=True,
    seeds=(0,),
)


def measure(seed: int) -> claims.Numbers:
    recipe = recipes.get("mixture-of-transformers").sized("tiny").but(SMALL)
    dense_recipe = recipe.but({"network.backbone.block.kinds": 0})
    apart, dense = (counted(r) for r in (recipe, dense_recipe))
    one, other = assemble(recipe).eval(), assemble(dense_recipe).eval()
    weights = other.state_dict()
    one.load_state_dict({name: weights[name if name in weights else name.replace("each.1", "each.0")] for name in one.state_dict()})
    batch = Batch(torch.rand(4, 1, 28, 28), {"text": ["a", "bcd", "ef", ""]})
    (a,), (b,) = (s.loss(batch, rng=Rng.seeded(seed)) for s in (one, other))
    blocks = sum(w.numel() for name, w in weights.items() if ".blocks." in name)
    tokens = one.tokens(one._read(batch))
    moved = tokens.where(tokens.kind == 0, tokens._mapped(lambda x: x + 1 if x.is_floating_point() else x))
    heard = []
    for said in (tokens, moved):
        process = one.process.but(turned=2.0, floor=1.0)  # every picture first, and clean
        loss = process.loss(one.network.open(one.conditioning.context({}, 4)), said, rng=Rng.seeded(seed))
        heard.append(float(loss.parts["main"]))
    return {
        "multiply_adds": apart.multiply_adds,
        "dense_multiply_adds": dense.multiply_adds,
        "parameters_of_blocks": (apart.parameters - dense.parameters + blocks) / blocks,
        "active": apart.active_parameters,
        "dense": dense.parameters,
        "gap_with_equal_weights": max(abs(float(a.parts[n] - b.parts[n])) / float(b.parts[n].abs()) for n in a.parts),
        "text_hears_the_picture": abs(heard[0] - heard[1]),
    }


def judge(runs: Sequence[claims.Numbers]) -> tuple[claims.Verdict, str]:
    run = runs[0]
    held = (
        run["multiply_adds"] == run["dense_multiply_adds"]
        and run["parameters_of_blocks"] == 2
        and run["active"] == run["dense"]
        and run["gap_with_equal_weights"] < 1e-5
        and run["text_hears_the_picture"] > 1e-3
    )
    return (
        claims.Verdict.HOLDS if held else claims.Verdict.FAILS,
        f"{run['multiply_adds'] / 1e6:.3f} M multiply-adds against {run['dense_multiply_adds'] / 1e6:.3f} M, "
        f"{run['parameters_of_blocks']:g} times the parameters of the blocks, losses {run['gap_with_equal_weights']:.0e} apart with equal weights",
    )


if __name__ == "__main__":
    claims.main(CLAIM, measure, judge)
