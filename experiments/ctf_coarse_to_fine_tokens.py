"""CTF: codes with near vectors are nearly the same code, so that the second stage may draw all of them at once; codes sorted at random are not.

The codec is the one that ships with image-gpt: 256 codes of glyphs, sorted into 16 clusters by their vectors, or shuffled among clusters of the same sizes.
Told the true labels of held-out pictures, the second stage draws every code of a picture independently; what is measured is how far the picture is then from
the codec's own. Steps and width were chosen by how long they take. The nats are written down and not judged: what the paper claims of quality is FID.
"""

from __future__ import annotations

import claims
import torch

from omniform import recipes
from omniform.core.distribution import Sampling
from omniform.core.rng import Rng
from omniform.data import open_data
from omniform.system.build import assemble, fitted
from omniform.training import Training, train
from omniform.verbs import load
from omniform.verbs.learning import tokenised

CLAIM = claims.Claim(
    row="ctf-coarse-to-fine-tokens",
    says="a code replaced by one of its cluster moves pixels less than one replaced by any other, and pictures drawn by the second stage from true labels are "
    "nearer to the truth with clusters of near vectors than with random clusters",
    source="arXiv:2503.16194, section 3 and figure 1 (redundancy of codes), and the ablation of random clusters",
    recipes=("ctf",),
    budget="a seed: two systems of width 64, 2 blocks a stage, 250 steps of 64 glyphs; 512 held-out glyphs",
    data=("glyphs",),
)
CHANGES = {
    "network.width": 64,
    "network.backbone.depth": 2,
    "network.backbone.block.mixer.heads": 2,
    "network.backbone.block.mlp.hidden": 172,
    "network.towers.fine.width": 64,
    "network.towers.fine.backbone.depth": 2,
    "network.towers.fine.backbone.block.mixer.heads": 2,
    "network.towers.fine.backbone.block.mlp.hidden": 172,
}


def off(codec, tokens, ids) -> float:
    """Mean absolute difference of pixels, of the codec's picture of tokens with these codes in place of its own."""
    return float((codec.decode(tokens.put(slice(None), Sampled(ids))) - codec.decode(tokens)).abs().mean())


class Sampled:
    """Content of codes."""

    def __init__(self, ids: torch.Tensor):
        self.ids, self.vec = ids, None


def mates(label: torch.Tensor, ids: torch.Tensor, rng: Rng) -> torch.Tensor:
    """For each code another of its cluster, drawn; a code that is alone stays."""
    same = (label[:, None] == label[None]) & ~torch.eye(len(label), dtype=torch.bool)
    same |= torch.diag(~same.any(1))
    weights = same[ids.flatten()].float().log()
    return (weights + rng.gumbel((1, *weights.shape))[0]).argmax(-1).view_as(ids)


@torch.no_grad()
def measure(seed: int) -> dict[str, float]:
    codec = load("shipped:image-gpt").codec
    glyphs = open_data("glyphs")
    data = tokenised(codec, glyphs, progress=False)
    tokens = codec.encode(glyphs.test.batch(torch.randperm(len(glyphs.test), generator=torch.Generator().manual_seed(0))[:512]).data)
    found = {}
    for kind in ("near", "random"):
        recipe = fitted(recipes.get("ctf").sized("tiny").but(CHANGES), classes=glyphs.classes)
        system = assemble(recipe, codec, seed=seed)
        process = system.process
        if kind == "random":
            order = torch.randperm(len(process.label), generator=torch.Generator().manual_seed(seed))
            process.label.copy_(process.label[order])
            process.nearest.copy_(order.argsort()[process.nearest])
        assert torch.equal(process.label[process.nearest], torch.arange(len(process.nearest)))
        rng = Rng.seeded(seed)
        found[f"{kind} mates"] = off(codec, tokens, mates(process.label, tokens.ids, rng))
        plan = Training(batch=64, steps=250, lr=2e-3, warmup=20, weight_decay=0.0, ema=0.0, seed=seed, validate_every=0, checkpoint_every=0)
        with torch.enable_grad():
            train(system, data, plan, progress=False)
        system.eval()
        net = system.network.open(system.conditioning.context({}, tokens.batch))
        coarse, fine, _ = process._nll(net, tokens, rng)
        drawn = process.fine(net, process.labelled(tokens), torch.zeros(tokens.batch)).distribution.sample(rng=Rng.seeded(seed, tokens.batch), how=Sampling())
        found[f"{kind} drawn"] = off(codec, tokens, drawn.ids)
        found |= {f"{kind} label nats": float(coarse.sum(-1).mean()), f"{kind} code nats": float(fine.sum(-1).mean())}
    return found


def judge(runs):
    mate = [run["near mates"] / run["random mates"] for run in runs]
    drawn = [run["near drawn"] / run["random drawn"] for run in runs]
    mean = lambda name: sum(run[name] for run in runs) / len(runs)  # noqa: E731
    said = f"replaced by a mate, pixels move {min(mate):.2f} to {max(mate):.2f} times as far as by a code drawn from a random cluster; "
    said += f"drawn from true labels they are {min(drawn):.2f} to {max(drawn):.2f} times as far off; nats of a picture, labels and codes: "
    said += " against ".join(f"{mean(f'{kind} label nats'):.1f} + {mean(f'{kind} code nats'):.1f} ({kind})" for kind in ("near", "random"))
    if max(mate) < 1 and max(drawn) < 1:
        return claims.Verdict.HOLDS, said
    return (claims.Verdict.FAILS if min(mate) >= 1 or min(drawn) >= 1 else claims.Verdict.UNDECIDED), said


if __name__ == "__main__":
    claims.main(CLAIM, measure, judge)
