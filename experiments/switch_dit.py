"""Whom the times of a small Switch-DiT choose, trained with the diffusion prior and without it.

Over all pairs of noise levels: the rank correlation of their distance with the share of experts that both choose. A fresh one is compared with DiT, too.
"""

import torch
from claims import Claim, Numbers, Verdict, main

from omniform import recipes
from omniform.codecs.patch import Patches
from omniform.core.spec import Spec
from omniform.data.glyphs import glyphs
from omniform.system.build import assemble, fitted
from omniform.training import Training
from omniform.training.trainer import train

STEPS = 100
PIXELS = {"codec": Spec(Patches, {"patch": 7, "scale": 1.6, "shift": -0.6}), "shape": (1, 28, 28), "network.width": 64}
CLAIM = Claim(
    row="switch-dit",
    says="the diffusion prior makes similar noise levels share experts and distant ones part: overlap of the chosen falls with the distance of the levels, "
    "more than without it; before training it is DiT",
    source="arXiv:2403.09176, abstract and diffusion prior loss",
    recipes=("switch-dit", "dit"),
    budget=f"{STEPS} steps of a small one, twice",
    data=("glyphs",),
)


def ranks(x: torch.Tensor) -> torch.Tensor:
    """Mean ranks, ties shared."""
    _, number, count = x.unique(return_inverse=True, return_counts=True)
    last = count.cumsum(0).double()
    return (last - (count - 1) / 2)[number]


def correlation(system: torch.nn.Module) -> float:
    """Of distance and overlap, by rank."""
    prior = system.network.towers["main"].backbone
    with torch.no_grad():
        level = 1 - (torch.arange(100)[:, None] + 1) / 100
        each = [m.gates(system.network.time(level)[:, 0]) for m in prior.routed]
    chosen = torch.cat([torch.zeros_like(g).scatter(1, g.topk(m.top, -1).indices, 1.0) for g, m in zip(each, prior.routed, strict=True)], 1)
    one, other = torch.triu_indices(100, 100, 1)
    overlap = (chosen[one] * chosen[other]).sum(1)
    if overlap.unique().numel() == 1:
        return 0.0
    return float(torch.corrcoef(torch.stack([ranks((other - one).double()), ranks(overlap.double())]))[0, 1])


def measure(seed: int) -> Numbers:
    data = glyphs()
    small = fitted(recipes.get("switch-dit").sized("tiny").but({**PIXELS, "network.backbone.stack.depth": 3}), classes=data.classes)
    plain = fitted(recipes.get("dit").sized("tiny").but({**PIXELS, "network.backbone.depth": 3}), classes=data.classes)
    fresh, dit = assemble(small, seed=seed), assemble(plain, seed=seed)
    weights = fresh.state_dict()
    dit.load_state_dict({name: weights[_inside(name)] for name in dit.state_dict()})
    for system in (fresh, dit):
        torch.manual_seed(seed)
        for p in system.network.towers["main"].head.parameters():
            torch.nn.init.normal_(p, std=0.1)
    said = [system.generate(4, {"label": 3}, seed=seed, decode=False).vec for system in (fresh, dit)]
    found = {"fresh_differs_from_dit_by": float((said[0] - said[1]).abs().max())}
    for name, weight in (("with", 2.0), ("without", 0.0)):
        system = assemble(small.but({"network.backbone.weight": weight}), seed=seed)
        train(system, data, Training(batch=64, steps=STEPS, lr=2e-3, seed=seed, ema=0.95), progress=False)
        found[f"correlation_{name}"] = correlation(system)
    return found


def _inside(name: str) -> str:
    """Where a weight of DiT is in Switch-DiT."""
    before, within, after = name.replace(".backbone.", ".backbone.stack.").partition(".blocks.")
    number, _, rest = after.partition(".")
    return f"{before}.blocks.{number}.block.{rest}" if within and ".backbone." in before else before + within + after


def judge(runs: list[Numbers]) -> tuple[Verdict, str]:
    mean = {n: sum(r[n] for r in runs) / len(runs) for n in runs[0]}
    fine = all(r["correlation_with"] < -0.5 and r["correlation_with"] < r["correlation_without"] and r["fresh_differs_from_dit_by"] == 0 for r in runs)
    return (Verdict.HOLDS if fine else Verdict.FAILS), (
        f"rank correlation of distance and overlap {mean['correlation_with']:.2f} with the prior, {mean['correlation_without']:.2f} without it; "
        f"a fresh one differs from DiT by {max(r['fresh_differs_from_dit_by'] for r in runs):g}"
    )


if __name__ == "__main__":
    main(CLAIM, measure, judge)
