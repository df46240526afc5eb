"""What remembering finished frames changes: the time, and nothing else."""

from __future__ import annotations

from collections.abc import Sequence

import claims
import torch

from omniform import recipes
from omniform.system.build import assemble

SMALL = {"network.width": 32, "network.backbone.depth": 2, "network.backbone.rotary.head_width": 8, "process.inner.steps": 4}
SIDE = 16
LONG = (4, 8, 16)

CLAIM = claims.Claim(
    row="next-frame-diffusion-nfd",
    says="attention full in a frame and causal between frames lets finished frames be remembered: the frames are the same as by asking about everything anew, "
    "and a frame of a long film costs as many places as one of a short film, instead of a number that grows with the film",
    source="arXiv:2506.01380, section 3",
    recipes=("next-frame-diffusion",),
    budget=f"films of {', '.join(map(str, LONG))} frames, twice each: seconds",
    exact=True,
    seeds=(0,),
)


def measure(seed: int) -> claims.Numbers:
    found: claims.Numbers = {}
    gap = 0.0
    for frames in LONG:
        torch.manual_seed(seed)
        recipe = recipes.get("next-frame-diffusion").sized("tiny").but({**SMALL, "shape": (frames, 1, SIDE, SIDE)})
        system = assemble(recipe).eval()
        with torch.no_grad():
            for p in system.parameters():
                if not p.any():
                    p.normal_(std=0.1)
        made, places = {}, {}
        for memory in ("kv", "recall"):
            through = 0

            def count(module, inputs):
                nonlocal through
                through += inputs[0].shape[1]

            hook = system.network.towers["main"].backbone.register_forward_pre_hook(count)
            made[memory] = system.generate(1, seed=seed, memory=memory, decode=False).vec
            hook.remove()
            places[memory] = through
        gap = max(gap, float((made["kv"] - made["recall"]).abs().max() / made["recall"].abs().max()))
        found |= {f"places_a_frame_{frames}": places["kv"] / frames, f"places_a_frame_{frames}_anew": places["recall"] / frames}
    return {"gap": gap, **found}


def judge(runs: Sequence[claims.Numbers]) -> tuple[claims.Verdict, str]:
    run = runs[0]
    short, long = LONG[0], LONG[-1]
    steady = run[f"places_a_frame_{long}"] / run[f"places_a_frame_{short}"]
    anew = run[f"places_a_frame_{long}_anew"] / run[f"places_a_frame_{short}_anew"]
    held = run["gap"] < 1e-3 and steady < 1.1 and anew > 0.8 * long / short
    return (
        claims.Verdict.HOLDS if held else claims.Verdict.FAILS,
        f"frames {run['gap']:.0e} apart; from {short} to {long} frames, places asked a frame grow by a factor of {steady:.2f} remembered and {anew:.2f} anew",
    )


if __name__ == "__main__":
    claims.main(CLAIM, measure, judge)
