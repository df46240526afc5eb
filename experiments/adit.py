"""One denoiser for molecules and crystals against one for each, in the same latents."""

import torch
from claims import Claim, Numbers, Verdict, main

from omniform import recipes
from omniform.core.batch import Batch
from omniform.core.rng import Rng
from omniform.data import open_data
from omniform.data.dataset import order
from omniform.system.build import assemble

CLAIM = Claim(
    row="adit",
    says="trained on molecules and crystals at once, one model does at least as well on each as a model of its own, at equal steps",
    source="arXiv:2503.03965, abstract and section 4 (joint training)",
    recipes=("adit", "adit-vae"),
    budget="an autoencoder and three denoisers of 100 steps a seed, about 2 minutes in all",
    seeds=(0, 1, 2),
)
STEPS, BATCH, CHANGES = 100, 32, {"network.width": 64, "network.backbone.depth": 3}


def trained(system, batch_of, num, seed):
    """A system after STEPS steps; batch_of: indices to a batch."""
    learned = [p for n, p in system.named_parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(learned, lr=2e-3, weight_decay=0.0)
    for step in range(STEPS):
        for group in optimizer.param_groups:
            group["lr"] = 2e-3 * (1 - step / STEPS)
        loss = system.loss(batch_of(order(num, seed, step, BATCH)), rng=Rng.seeded(seed * 100_003 + step))[0].mean()
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(learned, 10.0)
        optimizer.step()
    return system.eval()


@torch.no_grad()
def held_out(system, data, labels):
    """The denoising loss of each kind, over four draws of noise and time."""
    found = []
    for kind in (0, 1):
        rows = Batch(data[labels == kind], {"label": labels[labels == kind]})
        found.append(sum(float(system.loss(rows, rng=Rng.seeded(9_000 + draw))[0].mean()) for draw in range(4)) / 4)
    return found


def measure(seed: int) -> Numbers:
    data = open_data("atoms")
    coder = assemble(recipes.get("adit-vae").sized("tiny").but({"codec.width": 64}), seed=seed)
    trained(coder, data.train.batch, len(data.train), seed)
    every = data.train.batch(range(len(data.train)))
    coder.codec.settle(every.data)
    coder.codec.requires_grad_(False)
    said = coder.codec.decode(coder.codec.encode(test := data.test.batch(range(len(data.test))).data))
    real = test[..., 0] > 0
    found: Numbers = {"types_right": float((said[real][:, 0] - test[real][:, 0]).abs().lt(0.005).float().mean())}
    labels, held = every.condition["label"], data.test.batch(range(len(data.test)))
    recipe = recipes.get("adit").sized("tiny").but(CHANGES)
    for name, keep in (("joint", labels >= 0), ("crystal", labels == 0), ("molecule", labels == 1)):
        rows, own = every.data[keep], labels[keep]
        system = assemble(recipe, coder.codec, seed=seed)
        trained(system, lambda index, rows=rows, own=own: Batch(rows[index], {"label": own[index]}), len(rows), seed)
        loss = held_out(system, held.data, held.condition["label"])
        for kind, value in zip(("crystal", "molecule"), loss, strict=True):
            if name in ("joint", kind):
                found[f"{kind}_{'joint' if name == 'joint' else 'alone'}"] = value
    return found


def judge(runs: list[Numbers]) -> tuple[Verdict, str]:
    ratios = {kind: [r[f"{kind}_joint"] / r[f"{kind}_alone"] for r in runs] for kind in ("crystal", "molecule")}
    told = "; ".join(f"{kind}s: held-out loss of the joint model over that of its own " + ", ".join(f"{x:.3f}" for x in xs) for kind, xs in ratios.items())
    told += "; types decoded right " + ", ".join(f"{r['types_right']:.2f}" for r in runs)
    if all(max(xs) <= 1.0 for xs in ratios.values()):
        return Verdict.HOLDS, told
    if all(min(xs) > 1.0 for xs in ratios.values()):
        return Verdict.FAILS, told
    return Verdict.UNDECIDED, told


if __name__ == "__main__":
    main(CLAIM, measure, judge)
