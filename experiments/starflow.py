"""Guidance as a product of densities, and a class that is told to one map only."""

from __future__ import annotations

from collections.abc import Sequence

import claims
import torch

from omniform import recipes
from omniform.heads.affine import Affine
from omniform.system.build import assemble
from omniform.system.facts import counted

SMALL = {
    "network.width": 32,
    "network.backbone.rotary.head_width": 8,
    "network.towers.deep.backbone.rotary.head_width": 8,
    "shape": (1, 16, 16),
    "network.stages": 2,
    "process.maps": 3,
}

CLAIM = claims.Claim(
    row="starflow",
    says="guidance has a closed form, the normalised product p_c^(1+w) p_u^(-w) of two Gaussians; the class is told to the deep map alone, so the shallow ones "
    "answer the same with and without it; deep and shallow maps together ask no more often than equal ones",
    source="arXiv:2506.06276, sections 3.2 and 3.4",
    recipes=("starflow",),
    budget="a density on a grid; a sample of a network of three maps under guidance: a second",
    exact=True,
    seeds=(0,),
)


def measure(seed: int) -> claims.Numbers:
    g = torch.Generator().manual_seed(seed)
    num, w = 200, 1.5
    m_c, m_u = torch.randn(2, 1, num, 1, generator=g, dtype=torch.float64)
    s_u = torch.rand(1, num, 1, generator=g, dtype=torch.float64) + 0.5
    s_c = s_u * (0.3 + 0.7 * torch.rand(1, num, 1, generator=g, dtype=torch.float64))
    weights = [torch.tensor([1 + w], dtype=torch.float64), torch.tensor([-w], dtype=torch.float64)]
    mixed = Affine.mix([Affine(m_c, s_c.log(), True), Affine(m_u, s_u.log(), True)], weights)
    x = torch.linspace(-60, 60, 240_001, dtype=torch.float64)[:, None]
    log = lambda m, s: -0.5 * ((x - m[0, :, 0]) / s[0, :, 0]) ** 2 - s[0, :, 0].log()  # noqa: E731
    density = ((1 + w) * log(m_c, s_c) - w * log(m_u, s_u)).softmax(0)
    mean = (density * x).sum(0)
    spread = ((density * (x - mean) ** 2).sum(0)).sqrt()
    plain = Affine.mix([Affine(m_c, s_c.log(), True), Affine(m_u, s_u.log(), True)], [torch.ones(1), torch.zeros(1)])
    recipe = recipes.get("starflow").sized("tiny").but(SMALL)
    system = assemble(recipe).eval()
    with torch.no_grad():
        for p in [*system.conditioning.parameters(), *(p for p in system.network.parameters() if not p.any())]:
            p.normal_(std=0.3)
    answers: dict[bool, list] = {True: [], False: []}
    for told in answers:

        class Heard:
            def __init__(self, net, told=told):
                self.net, self.told = net, told

            def __call__(self, query, *, remember=False):
                answer = self.net(query, remember=remember)
                answers[self.told].append((query.stage, answer.distribution.shift))
                return answer

        tokens = system.tokens(torch.zeros(1, 1, 16, 16))
        context = system.conditioning.context({"label": torch.tensor([3])} if told else {}, 1)
        with torch.no_grad():
            system.process.forward_map(Heard(system.network.open(context)), tokens)
    gaps = {stage: float((a - b).abs().max()) for (stage, a), (_, b) in zip(answers[True], answers[False], strict=True)}
    return {
        "mean_off": float((mixed.shift[0, :, 0] - mean).abs().max()),
        "spread_off": float((mixed.log_scale.exp()[0, :, 0] - spread).abs().max()),
        "unguided_off": float((plain.shift - m_c).abs().max() + (plain.log_scale - s_c.log()).abs().max()),
        "deep_hears": gaps["deep"],
        "shallow_hear": max(v for k, v in gaps.items() if k != "deep"),
        "questions": counted(recipe, costs=False).questions,
        "maps_times_tokens": 3 * system.codec.space.length,
    }


def judge(runs: Sequence[claims.Numbers]) -> tuple[claims.Verdict, str]:
    run = runs[0]
    held = (
        max(run["mean_off"], run["spread_off"]) < 1e-4
        and run["unguided_off"] < 1e-9
        and run["deep_hears"] > 1e-2
        and run["shallow_hear"] == 0
        and run["questions"] == run["maps_times_tokens"]
    )
    return (
        claims.Verdict.HOLDS if held else claims.Verdict.FAILS,
        f"mean {run['mean_off']:.0e} and deviation {run['spread_off']:.0e} from the product on a grid; the class moves the deep map by "
        f"{run['deep_hears']:.2f} and the shallow ones by {run['shallow_hear']:g}",
    )


if __name__ == "__main__":
    claims.main(CLAIM, measure, judge)
