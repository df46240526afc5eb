"""Two streams with one attention: with the same weights in both they are one transformer on the joined sequence, and apart they cost parameters and nothing
else."""

import torch
from claims import Claim, Numbers, Verdict, main

from omniform import recipes
from omniform.processes.masked import asked
from omniform.system.build import assemble
from omniform.system.facts import counted

CLAIM = Claim(
    row="sd3-mmdit",
    says="MM-DiT is two transformers, one for each modality, that join their sequences for attention: with equal weights it is a DiT on the joined "
        "sequence, and the second "
    "set of weights adds parameters and no multiply-adds",
    source="arXiv:2403.03206, section 4",
    recipes=("sd3",),
    budget="counting, and two questions to a small network, seconds",
    seeds=(0,),
    exact=True,
)
ONE = {"network.backbone.last": None, "network.backbone.block.streams": 1}
TWO = {"network.backbone.last": None}


@torch.no_grad()
def measure(seed: int) -> Numbers:
    tiny = recipes.get("sd3").sized("tiny").but({"network.width": 64, "network.backbone.depth": 2})
    one, two = assemble(tiny.but(ONE)), assemble(tiny.but(TWO))
    for p in one.parameters():
        p.normal_(std=0.1)
    mine = one.state_dict()
    own = {n: mine[n] if n in mine else mine[_first(n)] for n in two.state_dict()}
    two.load_state_dict(own)
    blank = two.codec.space.blank(2)
    blank.vec.normal_()
    query = asked(blank, torch.ones_like(blank.doc, dtype=torch.bool), torch.zeros(2), torch.full((2, 1), 0.3))
    a, b = (s.network.open(s.conditioning.context({"text": ["cat", "a dog"]}, 2))(query).distribution.value for s in (one, two))
    small = recipes.get("sd3").sized("d15").but({"network.backbone.depth": 2})
    joined, apart = counted(small.but(ONE)), counted(small.but(TWO))
    return {
        "gap": float((a - b).abs().max() / a.abs().max()),
        "parameters": apart.parameters / joined.parameters,
        "multiply_adds": apart.multiply_adds / joined.multiply_adds,
    }


def _first(name: str) -> str:
    """The first stream's weight in place of the second's."""
    for second, first in ((".each.1.", ".each.0."), (".modulation.1.", ".modulation.0."), (".q.1.", ".q.0."), (".k.1.", ".k.0.")):
        name = name.replace(second, first)
    return name


def judge(runs: list[Numbers]) -> tuple[Verdict, str]:
    (run,) = runs
    holds = run["gap"] < 1e-4 and run["parameters"] > 1.7 and abs(run["multiply_adds"] - 1) < 0.002
    return (
        Verdict.HOLDS if holds else Verdict.FAILS,
        f"with equal weights the answers differ by {run['gap']:.0e}; with two sets {run['parameters']:.2f} times the parameters and "
        f"{run['multiply_adds']:.4f} times "
        "the multiply-adds (the rest is the second map of modulation)",
    )


if __name__ == "__main__":
    main(CLAIM, measure, judge)
