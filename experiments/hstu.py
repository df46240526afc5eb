"""HSTU: what is left of how often something happened, in the sum that attention takes and in what the layer answers, when a history is said twice.

Decided before the first run: an answer that moves by less than a hundredth of itself tells nothing. Biases and places are set to zero, since they tell two
copies apart by where they are, and what is asked about is the sum. A trained layer is as a short training leaves it. Seen in the first run, and left: the
start of a sequence is said once in both, so that the sum is not quite doubled and a softmax's answer moves a little; a norm after the sum undoes any
common factor of it, so that what a layer of the paper's own form answers can tell of the factor only by the norm's epsilon and by what is not said twice.
"""

from __future__ import annotations

import claims
import torch

from omniform import recipes
from omniform.backbones.attention import Attention, Pointwise
from omniform.backbones.attention import pointwise as module
from omniform.backbones.positions import LearnedPositions
from omniform.core.rng import Rng
from omniform.data import open_data
from omniform.system.build import assemble
from omniform.training import Training, train

CLAIM = claims.Claim(
    row="hstu",
    says="Attention without a softmax tells how often something happened: a history said twice gives twice the sum and "
    "another answer, where a softmax gives the same",
    source="arXiv:2402.17152, section 3.1 (pointwise aggregated attention: intensity of preferences)",
    recipes=("hstu", "gpt"),
    budget="a seed: one layer of each, width 64, 60 steps of 16 x 128 bytes; 16 texts of 64 bytes, once and twice",
    data=("stdlib",),
)
SMALL = {"shape": (128,), "network.width": 64, "network.backbone.depth": 1}


class Heard:
    """The attention's sum, which is the second thing that the layer normalises."""

    def __init__(self) -> None:
        self.sums: list[torch.Tensor] = []

    def layer_norm(self, x, shape, **more):
        self.sums.append(x)
        return torch.nn.functional.layer_norm(x, shape, **more)

    def __getattr__(self, name):
        return getattr(torch.nn.functional, name)


@torch.no_grad()
def moved(system, part, texts: list[str]) -> tuple[float, float]:
    """Length of the attention's sum at the last byte of a text said twice over that of one said once, and how far the layer's branch moves, of itself."""
    system.eval()
    for p in system.modules():
        if isinstance(p, LearnedPositions):
            for weight in p.parameters():
                weight.zero_()
        elif isinstance(p, Pointwise):
            p.place_bias.zero_()
            p.time_bias.zero_()
    said: list[torch.Tensor] = []
    hook = part.register_forward_hook(lambda _, given, out: said.append(out - given[0] if isinstance(part, Pointwise) else out))
    heard, plain, sums = Heard(), module.F, []
    module.F = heard
    try:
        for text in texts:
            for times in (1, 2):
                heard.sums.clear()
                # what is fed is moved by one, so that the last byte of the text is fed where the full stop is asked for
                system.process.loss(system.network.open(system.conditioning.context({}, 1)), system.codec.prompt([text * times + "."]), rng=Rng.seeded(0, 1))
                sums.append(heard.sums[1][0, -1] if heard.sums else said[-1][0, -1])
    finally:
        module.F = plain
        hook.remove()
    one, two = (torch.stack([x[0, -1] for x in said[i::2]]).norm(dim=-1) for i in (0, 1))
    gap = torch.stack([b[0, -1] - a[0, -1] for a, b in zip(said[::2], said[1::2], strict=True)]).norm(dim=-1)
    ratio = torch.stack([b.norm() / a.norm() for a, b in zip(sums[::2], sums[1::2], strict=True)])
    return float(ratio.mean()), float((gap / torch.maximum(one, two)).mean())


def measure(seed: int) -> dict[str, float]:
    data = open_data("stdlib", characters=128)
    texts = [text for text in open_data("stdlib", characters=60).test.batch(range(16)).data if text.isascii()]
    plan = Training(batch=16, steps=60, lr=2e-3, warmup=10, seed=seed, ema=0.0, weight_decay=0.0, validate_every=0, checkpoint_every=0)
    found = {}
    for name, kind in (("hstu", Pointwise), ("gpt", Attention)):
        changes = {**SMALL, "network.backbone.block.length": 128} if name == "hstu" else SMALL
        for steps in (0, 60):
            system = assemble(recipes.get(name).sized("tiny").but(changes), seed=seed)
            if steps:
                train(system, data, plan, progress=False)
            part = next(m for m in system.modules() if isinstance(m, kind))
            found[f"{name} sum after {steps}"], found[f"{name} answer after {steps}"] = moved(system, part, texts)
    return found


def judge(runs):
    worst = lambda name, of=max: of(run[name] for run in runs)  # noqa: E731
    said = f"said twice, the sum is {worst('hstu sum after 60', min):.3f} to {worst('hstu sum after 60'):.3f} times as long (softmax: "
    said += f"{worst('gpt sum after 60', min):.3f} to {worst('gpt sum after 60'):.3f}); the answer, normalised after it, moves by "
    said += f"{worst('hstu answer after 60', min):.1%} to {worst('hstu answer after 60'):.1%} after 60 steps and by up to "
    said += f"{worst('hstu answer after 0'):.1%} before (softmax: {worst('gpt answer after 60'):.1%})"
    if worst("hstu sum after 60", min) < 1.9 or worst("hstu answer after 60") < 0.01:
        return claims.Verdict.FAILS, said
    return (claims.Verdict.HOLDS if worst("hstu answer after 60", min) > 0.01 > worst("gpt answer after 60") else claims.Verdict.UNDECIDED), said


if __name__ == "__main__":
    claims.main(CLAIM, measure, judge)
