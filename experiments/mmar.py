"""What becomes of a rounding error in the network's answer, by what the answer names."""

from __future__ import annotations

import math
from collections.abc import Sequence

import claims
import torch

from omniform import recipes
from omniform.core.rng import Rng

STEPS = 100

CLAIM = claims.Claim(
    row="mmar",
    says="an error in a predicted velocity moves a DDIM step by at most its own size at every noise level; one in predicted noise grows without bound as the "
    "signal goes to 0",
    source="arXiv:2410.10798, section 3.3",
    recipes=("mmar",),
    budget=f"{STEPS} steps of the recipe's own solver and path, with an answer that is off by a relative 2^-9 (bfloat16): a second",
    exact=True,
    seeds=(0,),
)


def measure(seed: int) -> claims.Numbers:
    inner = recipes.get("mmar").network.args["head"].args["each"][1].args["inner"]
    path, solver = inner.args["path"].build(), inner.args["solver"].build()
    g = torch.Generator().manual_seed(seed)
    x, e = (torch.randn(1, 1000, dtype=torch.float64, generator=g) for _ in range(2))
    found = {}
    for name, first in (("", 1e-3), ("_nearer_to_noise", 1e-5)):
        worst, bound = _worst(path, solver, x, e, torch.linspace(first, 1, STEPS + 1, dtype=torch.float64))
        found |= {f"velocity{name}": worst["velocity"], f"noise{name}": worst["noise"], f"sine_of_the_step{name}": bound}
    return found


def _worst(path, solver, x, e, times):
    worst = {"velocity": 0.0, "noise": 0.0}
    bound = 0.0
    for t, s in zip(times[:-1], times[1:], strict=True):
        z = path.mixed(x, e, t)
        turn = (s - t) * math.pi / 2
        bound = max(bound, float(turn.sin()))
        for predict in worst:
            said = path.target(predict, x, e, t)
            unit = 1.0 if predict == "noise" else 2 / math.pi  # the recipe's velocity is pi / 2 times the paper's
            error = 2**-9 * said.abs().mean() * torch.ones_like(said)

            def stepped(answer, predict=predict, z=z, t=t, s=s):
                return solver.step(lambda at, when: path.read(predict, answer, at, when), path, z, t, s, None, Rng.seeded(0, 1))[0]

            moved = (stepped(said + error) - stepped(said)).abs().max() / (error.max() * unit)
            worst[predict] = max(worst[predict], float(moved))
    return worst, bound


def judge(runs: Sequence[claims.Numbers]) -> tuple[claims.Verdict, str]:
    run = runs[0]
    held = all(abs(run[f"velocity{n}"] / run[f"sine_of_the_step{n}"] - 1) < 1e-3 for n in ("", "_nearer_to_noise")) and run["velocity"] <= 1 < run["noise"]
    held = held and run["noise_nearer_to_noise"] > 50 * run["noise"]
    return (
        claims.Verdict.HOLDS if held else claims.Verdict.FAILS,
        f"at most {run['velocity']:.4f} times the error of a velocity (the sine of the step), {run['noise']:.3g} times that of noise from t = 0.001 on and "
        f"{run['noise_nearer_to_noise']:.4g} times from 0.00001",
    )


if __name__ == "__main__":
    claims.main(CLAIM, measure, judge)
