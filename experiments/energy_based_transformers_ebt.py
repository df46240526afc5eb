"""Thinking longer: more steps down the energy, and the best of several starts by energy."""

from __future__ import annotations

from collections.abc import Sequence

import claims
import torch

from omniform import recipes
from omniform.codecs.patch import Patches
from omniform.core.process import generate
from omniform.core.rng import Rng
from omniform.core.spec import Spec
from omniform.data import open_data
from omniform.system.build import assemble
from omniform.verbs.learning import train

STEPS, ROWS, STARTS = 120, 128, 4
SMALL = {
    "codec": Spec(Patches, {"patch": 2, "scale": 1.3, "shift": -0.4}),
    "shape": (1, 8, 8),
    "conditions": {},
    "guidance": None,
    "network.backbone.constant": True,
    "network.width": 48,
    "network.backbone.depth": 2,
}

CLAIM = claims.Claim(
    row="energy-based-transformers-ebt",
    says="with more steps than one, down the energy, held-out pictures are completed with less error and end at lower energy; choosing the start that ends "
    "lowest does no worse than a start by chance",
    source="arXiv:2507.02092, sections 3 and 4.4",
    recipes=("ebt",),
    budget=f"{STEPS} training steps on digits of 8x8 a seed; the lower halves of {ROWS} held-out digits completed in 1, 2 and 4 steps from {STARTS} starts",
    data=("digits",),
)


def measure(seed: int) -> claims.Numbers:
    data = open_data("digits")
    system = assemble(recipes.get("ebt").sized("tiny").but(SMALL), seed=seed)
    train(system, data, steps=STEPS, batch=32, lr=2e-3, seed=seed, ema=0.0, validate_every=0, checkpoint_every=0, progress=False)
    system.eval()
    pictures = data.test.batch(range(ROWS)).data
    wanted = system.tokens(pictures)
    given = (torch.arange(wanted.length) < wanted.length // 2).expand(ROWS, -1)
    found: claims.Numbers = {}
    for steps in (1, 2, 4):
        errors, energies = [], []
        for start in range(STARTS):
            ends = []
            made = generate(
                system.process.but(steps=steps + 1), system.net(ROWS), wanted, rng=Rng.seeded(100 * seed + start, ROWS), given=given, watch=ends.append
            )
            del made  # one step more, for the energy of where `steps` steps end
            end = ends[steps - 1].tokens.vec
            errors.append((end - wanted.vec).square()[~given].reshape(ROWS, -1).mean(-1))
            energies.append(ends[steps].energy)
        error, energy = torch.stack(errors), torch.stack(energies)
        found |= {f"error_{steps}": float(error.mean()), f"energy_{steps}": float(energy.mean())}
        found[f"best_{steps}"] = float(error.gather(0, energy.argmin(0)[None]).mean())
    return found


def judge(runs: Sequence[claims.Numbers]) -> tuple[claims.Verdict, str]:
    better = [run["error_4"] < run["error_1"] and run["energy_4"] < run["energy_1"] for run in runs]
    chosen = [run["best_4"] <= run["error_4"] for run in runs]
    said = ", ".join(f"{run['error_1']:.3f} > {run['error_2']:.3f} > {run['error_4']:.3f} (best {run['best_4']:.3f})" for run in runs)
    if all(better) and all(chosen):
        return claims.Verdict.HOLDS, f"squared errors after 1, 2 and 4 steps, a seed each: {said}; energies fall with them"
    if not any(better):
        return claims.Verdict.FAILS, f"squared errors after 1, 2 and 4 steps, a seed each: {said}"
    return claims.Verdict.UNDECIDED, f"{sum(better)} of {len(runs)} seeds end better and lower, {sum(chosen)} choose no worse: {said}"


if __name__ == "__main__":
    claims.main(CLAIM, measure, judge)
