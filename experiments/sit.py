"""One network, two ways to train it: velocity along straight lines, and noise along the variance-preserving path; as many steps in training and in sampling."""

import torch
from claims import Claim, Numbers, Verdict, main

from omniform import recipes
from omniform.codecs.patch import Patches
from omniform.core.spec import Spec
from omniform.data.catalog import open_data
from omniform.data.dataset import order
from omniform.evaluation.metrics import frechet
from omniform.processes.flow import Flow
from omniform.processes.paths import Linear, VariancePreserving
from omniform.processes.solvers import Euler
from omniform.system.build import assemble
from omniform.training import Training, train

STEPS, BATCH, DRAWN, ASKED = 150, 32, 128, 25
WAYS = {"velocity_linear": (Linear, "velocity"), "noise_vp": (VariancePreserving, "noise")}
CLAIM = Claim(
    row="sit",
    says="velocity on the linear path beats noise on the variance-preserving one at equal network, training and evaluations",
    source="arXiv:2401.08740v2, section 3.1, tables 2 to 4",
    recipes=("sit",),
    budget=f"two networks of 64 channels and 3 blocks, {STEPS} steps of {BATCH} glyphs a seed, {DRAWN} samples of {ASKED} evaluations each, under a minute",
    data=("glyphs",),
)


def features(pictures: torch.Tensor) -> torch.Tensor:
    """Means of 4 x 4 pixels."""
    return torch.nn.functional.avg_pool2d(pictures, 4).flatten(1).double()


def measure(seed: int) -> Numbers:
    data, found = open_data("glyphs"), {}
    real = features(data.test.batch(order(len(data.test), 0, 0, 2048)).data)
    for name, (path, predict) in WAYS.items():
        recipe = recipes.get("sit").sized("tiny").but(
            {
                "codec": Spec(Patches, {"patch": 4, "scale": 1.5, "shift": -0.6}),
                "conditions": {},
                "network.width": 64,
                "network.backbone.depth": 3,
                "process": Spec(Flow, {"path": Spec(path), "predict": predict, "solver": Spec(Euler), "steps": ASKED}),
            },
            guidance=None,
        )
        system = assemble(recipe, seed=seed)
        train(system, data, Training(batch=BATCH, steps=STEPS, lr=2e-3, seed=seed, ema=0.0, validate_every=0), progress=False)
        found[name] = frechet(real, features(system.generate(DRAWN, seed=seed)))
    found["floor"] = frechet(real, features(data.train.batch(order(len(data.train), seed, 0, DRAWN)).data))
    return found


def judge(runs: list[Numbers]) -> tuple[Verdict, str]:
    wins = sum(run["velocity_linear"] < run["noise_vp"] for run in runs)
    mean = {name: sum(run[name] for run in runs) / len(runs) for name in (*WAYS, "floor")}
    verdict = Verdict.HOLDS if wins == len(runs) else Verdict.FAILS if wins == 0 else Verdict.UNDECIDED
    return verdict, (
        f"Frechet distance of coarse pixels {mean['velocity_linear']:.2f} by velocity, {mean['noise_vp']:.2f} by noise ({mean['floor']:.2f} of as many "
        f"real ones); "
        f"velocity is ahead for {wins} of {len(runs)} seeds"
    )


if __name__ == "__main__":
    main(CLAIM, measure, judge)
