"""One network, any mask of frames: what is given is kept, is heard, and is never read through noise; and what time and space apart cost."""

import torch
from claims import Claim, Numbers, Verdict, main

from omniform import recipes
from omniform.backbones.attention import Attention
from omniform.core.rng import Rng
from omniform.core.spec import Spec
from omniform.system.build import assemble
from omniform.system.facts import counted

CLAIM = Claim(
    row="vdt",
    says="one network predicts, interpolates and completes by a mask of frames: given frames are kept and heard, and their noise is not; attention "
        "apart in time and space costs "
    "T + H W pairs a place in place of T H W",
    source="arXiv:2305.13311, sections 3.2 and 3.3",
    recipes=("vdt",),
    budget="a small network asked a few times, and counting, seconds",
    seeds=(0,),
    exact=True,
)
MASKS = {"prediction": (0, 1, 2, 3), "backward": (4, 5, 6, 7), "interpolation": (0, 4), "one": (2,)}


@torch.no_grad()
def measure(seed: int) -> Numbers:
    system = assemble(recipes.get("vdt").sized("tiny").but({"network.backbone.depth": 1}))
    for p in system.parameters():
        if not bool(p.any()):
            p.normal_(std=0.1)
    space = system.codec.space
    frame = space.places[:, 0].long()
    clip, other = (torch.rand(1, *system.codec.shape, generator=torch.Generator().manual_seed(s)) * 2 - 1 for s in (0, 1))
    found: Numbers = {}
    for name, frames in MASKS.items():
        keep = torch.isin(frame, torch.tensor(frames))
        made = lambda data, seed=0, keep=keep: system.generate(1, seed=seed, given=(data, keep), steps=2, decode=False).vec  # noqa: E731
        mine, theirs = made(clip), made(other)
        found[f"kept_{name}"] = float((mine - system.tokens(clip).vec)[:, keep].abs().max())
        found[f"heard_{name}"] = float((mine - theirs)[:, ~keep].abs().max())
    process = system.process
    state = process.init(system.tokens(clip), rng=_rng(), given=keep[None])
    again = process.init(system.tokens(clip), rng=_rng(9), given=keep[None])
    mixed = torch.where(keep[:, None], again.tokens.vec, state.tokens.vec)  # other noise where frames are given
    found["noise_of_given"] = float((mixed - state.tokens.vec).abs().max())
    apart, whole = (_block(2, b) - _block(1, b) for b in (None, Attention))
    tokens, width, frames_, places = 1024, 384, 16, 64
    found["pairs_apart"] = apart - tokens * width**2 * 17 - 6 * width**2
    found["pairs_whole"] = whole - tokens * width**2 * 16 - 6 * width**2
    found["expected"] = (frames_ + places) / (2 * tokens)
    return found


def _rng(seed: int = 0) -> Rng:
    return Rng.seeded(seed, 1)


def _block(depth: int, plain: type | None) -> float:
    """Multiply-adds of so many blocks; plain: both attentions over everything."""
    recipe = recipes.get("vdt").sized("S/2").but({"network.backbone.depth": depth})
    if plain is not None:
        at = "network.backbone.block.blocks"
        recipe = recipe.but({f"{at}.{i}.mixer": Spec(plain, {"heads": 6}) for i in (0, 1)})
    return counted(recipe).multiply_adds


def judge(runs: list[Numbers]) -> tuple[Verdict, str]:
    (run,) = runs
    kept, heard = (f(run[f"{what}_{m}"] for m in MASKS) for what, f in (("kept", max), ("heard", min)))
    share = run["pairs_apart"] / run["pairs_whole"]
    holds = kept == 0 and run["noise_of_given"] == 0 and heard > 1e-3 and abs(share / run["expected"] - 1) < 1e-3
    return Verdict.HOLDS if holds else Verdict.FAILS, (
        f"over {len(MASKS)} masks given frames change by {kept:g} and move the others by {heard:.2g} or more; other noise at given frames changes what "
        f"is asked by "
        f"{run['noise_of_given']:g}; pairs cost {share:.4f} of two attentions over everything (expected {run['expected']:.4f})"
    )


if __name__ == "__main__":
    main(CLAIM, measure, judge)
