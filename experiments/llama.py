"""What LLaMA's two changes of the block promise: rotary positions know differences of places only, and SwiGLU of two thirds costs what a plain MLP costs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import claims
import torch

from omniform import recipes
from omniform.backbones.mlp import Mlp
from omniform.core.net import parameters_of
from omniform.core.spec import Spec
from omniform.system.build import assemble
from omniform.system.facts import built, first_question
from omniform.system.recipe import Recipe

SIZES = ("7B", "13B", "30B", "65B")
FURTHER, NUM = (1, 17, 128), 64
CLAIM = claims.Claim(
    row="llama",
    says="rotary embeddings in place of absolute ones leave answers the same when all places move on together; SwiGLU of 2/3 4d has the parameters of a plain "
    "MLP of 4d (within 2 %)",
    source="arXiv:2302.13971, section 2.2 (SwiGLU, rotary embeddings)",
    recipes=("llama", "gpt"),
    budget="counting four sizes, and a few questions to two small networks: seconds",
    seeds=(0,),
    exact=True,
)


@torch.no_grad()
def gap(name: str) -> float:
    """How far answers move, relative to the largest, when all places move on."""
    system = assemble(recipes.get(name).sized("tiny").but({"network.backbone.depth": 3, "shape": (256,)}), seed=0).eval()
    for p in system.parameters():
        p.normal_(std=0.1)
    space = system.codec.space
    tokens = replace(space.blank(2), ids=torch.randint(0, 200, (2, 256, 1)))
    query = first_question(system, tokens).at(slice(0, NUM))
    net = system.network.open(system.conditioning.context({}, 2))
    answers = [net(replace(query, tokens=replace(query.tokens, coord=query.tokens.coord + far))).distribution.logits for far in (0, *FURTHER)]
    return max(float((other - answers[0]).abs().max() / answers[0].abs().max()) for other in answers[1:])


def measure(seed: int) -> claims.Numbers:
    found = {"moved_rotary": gap("llama"), "moved_absolute": gap("gpt")}
    for size in SIZES:
        gated = recipes.get("llama").sized(size)
        plain = gated.but({"network.backbone.block.mlp": Spec(Mlp, {"bias": False, "activation": "gelu"})})
        found[f"ratio_{size}"] = in_mlps(gated) / in_mlps(plain)
    return found


def in_mlps(recipe: Recipe) -> int:
    """Parameters of all of a network's MLPs."""
    return parameters_of({name: part for name, part in built(recipe).named_modules() if isinstance(part, Mlp)})


def judge(runs: Sequence[claims.Numbers]) -> tuple[claims.Verdict, str]:
    (run,) = runs
    equal = run["moved_rotary"] < 1e-4 < 1e-2 < run["moved_absolute"]
    sized = all(abs(run[f"ratio_{size}"] - 1) < 0.02 for size in SIZES)
    ratios = ", ".join(f"{run[f'ratio_{size}']:.4f}" for size in SIZES)
    return (
        claims.Verdict.HOLDS if equal and sized else claims.Verdict.FAILS,
        f"moved on by {', '.join(map(str, FURTHER))} places, answers differ by {run['moved_rotary']:.0e}, with GPT-2's learned places by "
        f"{run['moved_absolute']:.0e}; SwiGLU over a plain MLP, parameters: {ratios} ({', '.join(SIZES)})",
    )


if __name__ == "__main__":
    claims.main(CLAIM, measure, judge)
