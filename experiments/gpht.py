"""The traffic of days to come by GPHT, whose four towers explain what is left over by those before, and by one tower of as many layers that reads at the full
rate.

Both forecast tokens of a day; the same trained network is asked for one to four of them. Which tower says how much is not judged.
"""

import torch
from claims import Claim, Numbers, Verdict, main

from omniform import recipes
from omniform.codecs.series import Series
from omniform.data.series import traffic
from omniform.system.build import assemble
from omniform.training import Training
from omniform.training.trainer import train

STEPS, TOKEN, KNOWN = 300, 24, 7
CLAIM = Claim(
    row="gpht",
    says="a chain of stages from coarse to fine forecasts with a lower error than one stage of as many layers, at every horizon from one network",
    source="arXiv:2402.16516, section 4.4 (hierarchical or not) and section 3.4",
    recipes=("gpht",),
    budget=f"{STEPS} steps of the tiny one, twice",
    data=("traffic",),
)


def measure(seed: int) -> Numbers:
    data, longer = traffic(steps=8 * TOKEN), traffic(steps=11 * TOKEN)
    series = longer.test.batch(range(len(longer.test))).data
    keep = torch.arange(11) < KNOWN
    tiny = recipes.get("gpht").sized("tiny")
    depth = tiny.network.args["backbone"].args["depth"]
    single = tiny.but({"network.towers": {}, "network.embed.enter.rate": 1, "network.backbone.depth": 4 * depth, "process.chain": ("main",)})
    found: Numbers = {}
    for name, recipe in (("chain", tiny), ("single", single)):
        system = assemble(recipe, seed=seed)
        train(system, data, Training(batch=32, steps=STEPS, lr=2e-3, seed=seed, ema=0.95), progress=False)
        found[f"parameters_{name}"] = sum(p.numel() for p in system.network.parameters())
        system.codec = Series((11 * TOKEN,), token=TOKEN)  # room for a longer sample; nothing in the network depends on it
        made = system.generate(len(series), given=(series, keep))
        for days in (1, 2, 4):
            found[f"error_{name}_{days}"] = float((made - series)[:, KNOWN * TOKEN : (KNOWN + days) * TOKEN].square().mean())
    return found


def judge(runs: list[Numbers]) -> tuple[Verdict, str]:
    mean = {n: sum(r[n] for r in runs) / len(runs) for n in runs[0]}
    each = "; ".join(f"{d} days: {mean[f'error_chain_{d}']:.3f} and {mean[f'error_single_{d}']:.3f}" for d in (1, 2, 4))
    said = f"mean squared error of the chain and of one stage, {each} ({mean['parameters_chain']:,.0f} and {mean['parameters_single']:,.0f} parameters)"
    lower = [all(r[f"error_chain_{d}"] < r[f"error_single_{d}"] for r in runs) for d in (1, 2, 4)]
    higher = [all(r[f"error_chain_{d}"] > r[f"error_single_{d}"] for r in runs) for d in (1, 2, 4)]
    return (Verdict.HOLDS if all(lower) else Verdict.FAILS if all(higher) else Verdict.UNDECIDED), said


if __name__ == "__main__":
    main(CLAIM, measure, judge)
