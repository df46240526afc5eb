"""What a small DiT-MoE's experts turn out to be experts of: places, times or classes of glyphs.

The mutual information of an expert's number with each, over all layers and held-out glyphs, less what the same count finds when the labels of the pictures
are shuffled among them (times: likewise).
"""

import torch
from claims import Claim, Numbers, Verdict, main

from omniform import recipes
from omniform.backbones.mlp import Experts
from omniform.codecs.patch import Patches
from omniform.core.batch import Batch
from omniform.core.rng import Rng
from omniform.core.spec import Spec
from omniform.data.glyphs import glyphs
from omniform.system.build import assemble, fitted
from omniform.training import Training
from omniform.training.trainer import train

STEPS, ROWS, BINS = 250, 1024, 16
CLAIM = Claim(
    row="dit-moe",
    says="expert selection shows preference with spatial position and denoising time step, and is insensitive to class-conditional information",
    source="arXiv:2407.11633, abstract and section 3.2",
    recipes=("dit-moe",),
    budget=f"{STEPS} steps of a small one, and {ROWS} held-out glyphs",
    data=("glyphs",),
)


def information(expert: torch.Tensor, other: torch.Tensor) -> float:
    """Nats, of two numberings of the same length."""
    table = torch.zeros(int(expert.max()) + 1, int(other.max()) + 1, dtype=torch.float64)
    table.index_put_((expert, other), torch.ones(len(expert), dtype=torch.float64), accumulate=True)
    joint = table / table.sum()
    return float(torch.special.xlogy(joint, joint / (joint.sum(0) * joint.sum(1, keepdim=True)).clamp(min=1e-30)).sum())


def measure(seed: int) -> Numbers:
    data = glyphs()
    recipe = recipes.get("dit-moe").sized("tiny").but(
        {"codec": Spec(Patches, {"patch": 7, "scale": 1.6, "shift": -0.6}), "shape": (1, 28, 28), "network.width": 64, "network.backbone.depth": 3}
    )
    system = assemble(fitted(recipe, classes=data.classes), seed=seed)
    train(system, data, Training(batch=64, steps=STEPS, lr=2e-3, seed=seed, ema=0.98), progress=False)
    system.eval()
    layers = [m for m in system.modules() if isinstance(m, Experts)]
    chosen: list[torch.Tensor] = []
    hooks = [m.router.register_forward_hook(lambda module, given, y: chosen.append(y.argmax(-1))) for m in layers]
    at = torch.randperm(len(data.test), generator=torch.Generator().manual_seed(seed))[:ROWS]
    batch: Batch = data.test.batch(at)
    tokens = system.tokens(batch.data)
    context = system.conditioning.context({"label": batch.condition["label"]}, ROWS)
    asked: list[torch.Tensor] = []

    class Ear:
        def __init__(self, net):
            self.net = net

        def __call__(self, query, *, remember=False):
            asked.append(query.time[:, 0])
            return self.net(query, remember=remember)

    with torch.no_grad():
        system.process.loss(Ear(system.network.open(context)), tokens, rng=Rng.seeded(seed))
    for hook in hooks:
        hook.remove()
    length = tokens.length
    place = torch.arange(length).repeat(ROWS)
    time, label = (asked[0] * BINS).long().clamp(max=BINS - 1), batch.condition["label"] % BINS  # as many kinds of each
    shuffled = torch.randperm(ROWS, generator=torch.Generator().manual_seed(seed + 1))
    found = dict.fromkeys(("place", "time", "class"), 0.0)
    for expert in chosen:
        found["place"] += information(expert, place) / len(layers)
        for name, of in (("time", time), ("class", label)):
            told = information(expert, of.repeat_interleave(length)) - information(expert, of[shuffled].repeat_interleave(length))
            found[name] += told / len(layers)
    return found


def judge(runs: list[Numbers]) -> tuple[Verdict, str]:
    mean = {n: sum(r[n] for r in runs) / len(runs) for n in runs[0]}
    said = (
        f"an expert's number tells {mean['place']:.3f} nats of the place, {mean['time']:.3f} of the time "
        f"and {mean['class']:.3f} of the class (16 kinds of each)"
    )
    if all(min(r["place"], r["time"]) > 2 * r["class"] for r in runs):
        return Verdict.HOLDS, said
    if all(min(r["place"], r["time"]) > r["class"] for r in runs):
        return Verdict.UNDECIDED, said + ": more, but not twice as much"
    return Verdict.FAILS, said


if __name__ == "__main__":
    main(CLAIM, measure, judge)
