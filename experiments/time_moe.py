"""Four days by the hour after four that are known: by the heads of Time-MoE together, and by its one-step head alone, of the same trained network.

The traffic of the last fifth of two years, which was not trained on. How often the network is asked is counted as well as the squared error.
"""

import torch
from claims import Claim, Numbers, Verdict, main

from omniform import recipes
from omniform.data.series import traffic
from omniform.system.build import assemble
from omniform.system.facts import counted
from omniform.system.system import Counted
from omniform.training import Training
from omniform.training.trainer import train

STEPS, KNOWN = 200, 96
CLAIM = Claim(
    row="time-moe",
    says="heads of several horizons fill 96 points in 2 questions instead of 96, with no higher error than one step at a time; a token meets less than half of "
    "the parameters at each published size",
    source="arXiv:2409.16040, sections 3.2.2 and 3.3, table 2; its ablation of the heads",
    recipes=("time-moe",),
    budget=f"{STEPS} steps of the tiny one, which is then asked in two ways",
    data=("traffic",),
)


def measure(seed: int) -> Numbers:
    data = traffic()
    recipe = recipes.get("time-moe")
    system = assemble(recipe.sized("tiny"), seed=seed)
    train(system, data, Training(batch=16, steps=STEPS, lr=3e-3, seed=seed, ema=0.95), progress=False)
    series = data.test.batch(range(len(data.test))).data
    keep = torch.arange(series.shape[1]) < KNOWN
    found: Numbers = {"error_of_the_day_before": float((series[:, KNOWN:] - series[:, KNOWN - 24 : KNOWN].repeat(1, 4)).square().mean())}
    process = system.process
    for name, horizons in (("all_heads", process.horizons), ("one_step", (1,))):
        asked: list[Counted] = []
        system.process = process.but(horizons=horizons)
        made = system.generate(len(series), given=(series, keep), wrap=lambda net, asked=asked: asked.append(Counted(net)) or asked[-1])
        found[f"questions_{name}"] = asked[0].calls
        found[f"error_{name}"] = float((made - series)[:, KNOWN:].square().mean())
    for size in recipe.sizes:
        counts = counted(recipe.sized(size), costs=False)
        found[f"active_share_{size}"] = counts.active_parameters / counts.parameters
    return found


def judge(runs: list[Numbers]) -> tuple[Verdict, str]:
    mean = {n: sum(r[n] for r in runs) / len(runs) for n in runs[0]}
    fewer = all(r["questions_all_heads"] == 2 and r["questions_one_step"] == 96 for r in runs)
    sparse = max(v for n, v in mean.items() if n.startswith("active_share")) < 0.5
    said = (
        f"{mean['questions_all_heads']:g} questions for {mean['questions_one_step']:g}; mean squared error {mean['error_all_heads']:.3f} by all heads and "
        f"{mean['error_one_step']:.3f} step by step ({mean['error_of_the_day_before']:.3f} by the day before)"
    )
    lower = sum(r["error_all_heads"] <= r["error_one_step"] for r in runs)
    if fewer and sparse and lower == len(runs):
        return Verdict.HOLDS, said
    return (Verdict.UNDECIDED if fewer and sparse and lower else Verdict.FAILS), f"{said}; not higher for {lower} of {len(runs)} seeds"


if __name__ == "__main__":
    main(CLAIM, measure, judge)
