"""More multiply-adds at nearly equal parameters: the same small network over coarse, middle and fine patches of glyphs, an equal number of steps each."""

import torch
from claims import Claim, Numbers, Verdict, main

from omniform import recipes
from omniform.codecs.patch import Patches
from omniform.core.rng import Rng
from omniform.core.spec import Spec
from omniform.data.catalog import open_data
from omniform.data.dataset import order
from omniform.system.build import assemble
from omniform.system.facts import counted
from omniform.training import Training, train

PATCHES, STEPS, BATCH, HELD = (14, 7, 4), 150, 32, 256
CLAIM = Claim(
    row="dit",
    says="at the same depth and width more multiply-adds, by smaller patches, make a better model: the held-out loss a pixel falls from patch 14 to 7 to 4",
    source="arXiv:2212.09748, section 5 and figure 8",
    recipes=("dit",),
    budget=f"three networks of 64 channels and 3 blocks, {STEPS} steps of {BATCH} glyphs a seed, under a minute",
    data=("glyphs",),
)


def recipe(patch: int) -> object:
    return recipes.get("dit").sized("tiny").but(
        {
            "codec": Spec(Patches, {"patch": patch, "scale": 1.5, "shift": -0.6}),
            "conditions": {},
            "network.width": 64,
            "network.backbone.depth": 3,
            "network.backbone.block.mixer.heads": 4,
        },
        guidance=None,
    )


def measure(seed: int) -> Numbers:
    data, found = open_data("glyphs"), {}
    held = data.test.batch(order(len(data.test), 0, 0, HELD))
    for patch in PATCHES:
        system = assemble(recipe(patch), seed=seed)
        train(system, data, Training(batch=BATCH, steps=STEPS, lr=2e-3, seed=seed, ema=0.0, validate_every=0), progress=False)
        with torch.no_grad():
            (cost,) = system.eval().loss(held, rng=Rng.seeded(0))
        counts = counted(recipe(patch))
        found |= {
            f"loss_{patch}": float(cost.parts["main"]) / (HELD * 784),
            f"multiply_adds_{patch}": counts.multiply_adds,
            f"parameters_{patch}": counts.parameters,
        }
    return found


def judge(runs: list[Numbers]) -> tuple[Verdict, str]:
    falls = [run["loss_14"] > run["loss_7"] > run["loss_4"] for run in runs]
    mean = {p: sum(run[f"loss_{p}"] for run in runs) / len(runs) for p in PATCHES}
    said = ", ".join(f"patch {p}: {runs[0][f'multiply_adds_{p}'] / 1e6:.1f} M multiply-adds, {runs[0][f'parameters_{p}'] / 1e3:.0f} K parameters, loss "
        f"{mean[p]:.4f}" for p in PATCHES)
    verdict = Verdict.HOLDS if all(falls) else Verdict.FAILS if not any(falls) else Verdict.UNDECIDED
    return verdict, f"{said}; in order for {sum(falls)} of {len(runs)} seeds"


if __name__ == "__main__":
    main(CLAIM, measure, judge)
