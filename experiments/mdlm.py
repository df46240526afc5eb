"""How often MDLM's sampler asks its network, as the number of steps grows: where no token was shown since the last question, its answer still holds."""

from __future__ import annotations

from collections.abc import Sequence

import claims

from omniform import recipes
from omniform.system.build import assemble
from omniform.system.system import Counted

LENGTH, ROWS = 24, 16
STEPS = (6, 24, 240)
SMALL = {"shape": (LENGTH,), "network.width": 16, "network.backbone.depth": 1, "network.backbone.rotary.head_width": 4}
CLAIM = claims.Claim(
    row="mdlm",
    says="as the network is told no time, the answer to an unchanged sequence is remembered: a sample takes at most as many questions as it has tokens, "
    "however many steps, and at T steps as many as show a token, T (1 - (1 - 1/T)^L) on average",
    source="arXiv:2406.07524, section 4.1 (efficient ancestral sampling)",
    recipes=("mdlm",),
    budget=f"{ROWS} samples of {LENGTH} tokens one by one at up to {STEPS[-1]} steps a seed: a minute",
)


def measure(seed: int) -> claims.Numbers:
    system = assemble(recipes.get("mdlm").sized("tiny").but(SMALL), seed=seed).eval()
    found: claims.Numbers = {}
    for steps in STEPS:
        asked = []
        for row in range(ROWS):
            nets: list[Counted] = []
            system.generate(1, seed=seed, rows=[row], steps=steps, decode=False, wrap=lambda net, nets=nets: nets.append(Counted(net)) or nets[-1])
            asked.append(nets[0].calls)
        found |= {f"asked_{steps}": sum(asked) / ROWS, f"most_{steps}": max(asked)}
    return found


def judge(runs: Sequence[claims.Numbers]) -> tuple[claims.Verdict, str]:
    most = max(run[f"most_{steps}"] for run in runs for steps in STEPS)
    expected = {steps: steps * (1 - (1 - 1 / steps) ** LENGTH) for steps in STEPS}
    asked = {steps: sum(run[f"asked_{steps}"] for run in runs) / len(runs) for steps in STEPS}
    near = all(abs(asked[steps] / expected[steps] - 1) < 0.05 for steps in STEPS)
    said = ", ".join(f"{asked[steps]:.1f} at {steps} (expected {expected[steps]:.1f})" for steps in STEPS)
    return claims.Verdict.HOLDS if most <= LENGTH and near else claims.Verdict.FAILS, f"{said}; never more than {most:.0f} for {LENGTH} tokens"


if __name__ == "__main__":
    claims.main(CLAIM, measure, judge)
