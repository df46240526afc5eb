"""Three quarters of the patches dropped: with a mixer before (deferred masking) and without it, judged on whole pictures; and what it costs.

Both arms see the same pictures, times and masks. The arm without a mixer gets the mixer's two blocks as two more of its body, at the dense blocks' width.
"""

import torch
from claims import Claim, Numbers, Verdict, main

from omniform import recipes
from omniform.backbones.mlp import ExpertChoice
from omniform.codecs.patch import Patches
from omniform.core.batch import Batch
from omniform.core.rng import Rng
from omniform.core.spec import Spec
from omniform.data.glyphs import glyphs
from omniform.system.build import assemble
from omniform.system.facts import counted
from omniform.training import Training
from omniform.training.trainer import train

STEPS, ROWS = 120, 512
SMALL = {
    "codec": Spec(Patches, {"patch": 4, "scale": 1.6, "shift": -0.6}), "shape": (1, 28, 28), "process.dropped": 0.75, "network.width": 64,
    "network.backbone.body.depth": 2, "network.backbone.body.scaled": (), "conditions": {}, "network.backbone.mixer_width": 64,
}  # fmt: skip
CLAIM = Claim(
    row="micro-budget-diffusion-microdit",
    says="with 75 percent of the patches masked, deferred masking has a lower loss on whole pictures than naive masking, and every expert takes as many tokens",
    source="arXiv:2407.15811, section 3.1 and table of masking strategies",
    recipes=("micro-budget-diffusion-microdit",),
    budget=f"{STEPS} steps of a small one, twice",
    data=("glyphs",),
)


def measure(seed: int) -> Numbers:
    data = glyphs()
    tiny = recipes.get("micro-budget-diffusion-microdit").sized("tiny")
    plain = {"cross": None, "norm_cross": None, "mixer.heads": 2, "modulate.told": 64}
    blocks = tuple(b.but(plain) for b in tiny.network.args["backbone"].args["body"].args["block"])
    shared = {**SMALL, "network.backbone.body.block": blocks, "network.backbone.body.last": blocks[0], "network.backbone.mixer.block": blocks}
    arms = {"deferred": shared, "naive": {**shared, "network.backbone.mixer": None, "network.backbone.body.depth": 4}}
    at = torch.randperm(len(data.test), generator=torch.Generator().manual_seed(seed))[:ROWS]
    found: Numbers = {}
    for name, changes in arms.items():
        recipe = tiny.but(changes)
        system = assemble(recipe, seed=seed)
        train(system, data, Training(batch=64, steps=STEPS, lr=2e-3, seed=seed, ema=0.95), progress=False)
        system.eval()
        taken: list[int] = []
        experts = [m for m in system.modules() if isinstance(m, ExpertChoice)]
        hooks = [e.register_forward_hook(lambda module, given, y, taken=taken: taken.append(y.shape[1])) for m in experts for e in m.experts]
        system.process = system.process.but(dropped=0.0)
        with torch.no_grad():
            (loss,) = system.loss(Batch(data.test.batch(at).data), rng=Rng.seeded(seed))
        for hook in hooks:
            hook.remove()
        found |= {f"loss_{name}": float(loss.mean()), f"millions_{name}": counted(recipe).multiply_adds / 1e6}
        found[f"experts_unlike_{name}"] = len(set(taken)) - 1
    return found


def judge(runs: list[Numbers]) -> tuple[Verdict, str]:
    mean = {n: sum(r[n] for r in runs) / len(runs) for n in runs[0]}
    better = sum(r["loss_deferred"] < r["loss_naive"] for r in runs)
    unlike = any(r["experts_unlike_deferred"] or r["experts_unlike_naive"] for r in runs)
    said = (
        f"loss on whole pictures {mean['loss_deferred']:.3f} deferred ({mean['millions_deferred']:.1f} M multiply-adds a masked question) "
        f"and {mean['loss_naive']:.3f} naive ({mean['millions_naive']:.1f} M); deferred is lower in {better} of {len(runs)}"
    )
    if better == len(runs) and not unlike:
        return Verdict.HOLDS, said
    return (Verdict.UNDECIDED if better else Verdict.FAILS), said


if __name__ == "__main__":
    main(CLAIM, measure, judge)
