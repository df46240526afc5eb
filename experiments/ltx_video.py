"""A time for each token: with equal times it is the time of the row, and with a first frame at its own time one network makes clips from text and from an
image."""

from dataclasses import replace

import torch
from claims import Claim, Numbers, Verdict, main

from omniform import recipes
from omniform.core.rng import Rng
from omniform.processes.masked import asked
from omniform.system.build import assemble

CLAIM = Claim(
    row="ltx-video",
    says="conditioning on a frame needs no other network: given tokens are told a time without noise, stay as they are and are heard; with all times "
        "equal nothing changes; and a "
    "token is 8 x 32 x 32 pixels in 128 numbers, 1 : 192",
    source="arXiv:2501.00103, sections 2.1 and 2.4",
    recipes=("ltx-video",),
    budget="a few questions to a small network, seconds",
    seeds=(0,),
    exact=True,
)


@torch.no_grad()
def measure(seed: int) -> Numbers:
    recipe = recipes.get("ltx-video")
    system = assemble(recipe.sized("tiny").but({"network.backbone.depth": 2}))
    for p in system.parameters():
        if not bool(p.any()):
            p.normal_(std=0.1)
    blank = system.codec.space.blank(1)
    noisy = replace(blank, vec=Rng.seeded(1).normal(blank.vec.shape))
    net = system.network.open(system.conditioning.context({}, 1))
    known = torch.ones_like(blank.doc, dtype=torch.bool)
    value = lambda t: net(asked(noisy, known, torch.zeros(1), t)).distribution.value  # noqa: E731
    row = value(torch.full((1, 1), 0.3))
    each = value(torch.full((1, blank.length), 0.3))
    keep = system.codec.space.places[:, 0] == 0
    own = value(torch.where(keep, 1.0, 0.3)[None])
    clips = [torch.rand(1, *system.codec.shape, generator=torch.Generator().manual_seed(s)) * 2 - 1 for s in (0, 1)]
    made = [system.generate(1, seed=0, given=(clip, keep), steps=3, decode=False).vec for clip in clips]
    channels = recipe.shape[1]
    return {
        "equal_times": float((row - each).abs().max() / row.abs().max()),
        "own_time": float((row - own).abs().max() / row.abs().max()),
        "kept": max(float((m - system.tokens(c).vec)[:, keep].abs().max()) for m, c in zip(made, clips, strict=True)),
        "heard": float((made[0] - made[1])[:, ~keep].abs().max()),
        "compression": 3 * 8 * 32 * 32 / channels,
    }


def judge(runs: list[Numbers]) -> tuple[Verdict, str]:
    (run,) = runs
    holds = run["equal_times"] < 1e-5 and run["own_time"] > 1e-3 and run["kept"] == 0 and run["heard"] > 1e-3 and run["compression"] == 192
    return Verdict.HOLDS if holds else Verdict.FAILS, (
        f"equal times a token differ from one a row by {run['equal_times']:.0e}, a frame's own time by {run['own_time']:.1g}; a given frame changes by "
        f"{run['kept']:g} and moves the "
        f"others by {run['heard']:.2g}; 1 : {run['compression']:.0f}"
    )


if __name__ == "__main__":
    main(CLAIM, measure, judge)
