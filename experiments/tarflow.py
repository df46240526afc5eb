"""TarFlow's likelihood against a determinant that is worked out, its inverse against its input, and who hears whom after one map and after two."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import claims
import torch

from omniform import recipes
from omniform.codecs.patch import Patches
from omniform.core.rng import Rng
from omniform.core.spec import Spec
from omniform.system.build import assemble

SMALL = {
    "codec": Spec(Patches, {"patch": 4}),
    "shape": (1, 16, 16),
    "conditions": {},
    "network.width": 32,
    "network.backbone.depth": 1,
    "network.backbone.block.mixer.heads": 2,
    "process.noise": 0.0,
}
CLAIM = claims.Claim(
    row="tarflow",
    says="the log-determinant of all maps together is the sum of what the heads say, so that the likelihood is exact, and generation is the inverse of the "
    "flow; one map leaves half of the pairs of patches unheard, and a second one in the other order leaves none",
    source="arXiv:2412.06329, section 2.2 (block autoregressive flows)",
    recipes=("tarflow",),
    budget="the Jacobian of 256 numbers for one, two and three maps, in float64: seconds",
    seeds=(0,),
    exact=True,
)


def system_of(maps: int):
    system = assemble(recipes.get("tarflow").sized("tiny").but({**SMALL, "network.stages": maps, "process.maps": maps}, guidance=None), seed=0).eval().double()
    with torch.no_grad():
        for p in system.parameters():
            p.normal_(std=0.15)
    return system


@torch.no_grad()
def measure(seed: int) -> claims.Numbers:
    found: claims.Numbers = {}
    for maps in (1, 2, 3):
        system = system_of(maps)
        num, channels = system.codec.space.blank(1).vec.shape[1:]
        x = torch.randn(1, num, channels, dtype=torch.float64)
        z, said = noise_of(system, x)
        with torch.enable_grad():
            jacobian = torch.autograd.functional.jacobian(lambda x, system=system: noise_of(system, x)[0].flatten(), x)[:, 0].flatten(1)
        found[f"determinant_{maps}"] = float((jacobian.slogdet().logabsdet - said).abs() / said.abs())
        pairs = jacobian.reshape(num, channels, num, channels).abs().amax((1, 3)) > 0
        found[f"pairs_{maps}"] = float((pairs & ~torch.eye(num, dtype=torch.bool)).sum() / (num * (num - 1)))
        found[f"inverse_{maps}"] = float((data_of(system, z) - x).abs().max() / x.abs().max())
    return found


def noise_of(system, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """What the flow makes of data (1, L, C), and the log-determinant that it says."""
    tokens, said, _ = system.process.forward_map(system.net(1, memory="nothing"), replace(system.codec.space.blank(1), vec=x))
    return tokens.vec, said


def data_of(system, z: torch.Tensor) -> torch.Tensor:
    """What generation makes of this noise, place by place."""
    rng, blank = Rng.seeded(0, 1), system.codec.space.blank(1)
    state, net = replace(system.process.init(blank, rng=rng), tokens=replace(blank, vec=z)), system.net(1)
    while not bool(state.done.all()):
        state = system.process.step(net, state, rng=rng)
    return state.tokens.vec


def judge(runs: Sequence[claims.Numbers]) -> tuple[claims.Verdict, str]:
    (run,) = runs
    gap, back = (max(run[f"{name}_{maps}"] for maps in (1, 2, 3)) for name in ("determinant", "inverse"))
    exact = gap < 1e-5 and back < 1e-3 and run["pairs_1"] == 0.5 and run["pairs_2"] == run["pairs_3"] == 1.0
    return (
        claims.Verdict.HOLDS if exact else claims.Verdict.FAILS,
        f"log-determinants {gap:.0e} from those of the Jacobian, data found again from its noise to {back:.0e}; ordered pairs of patches heard: "
        f"{run['pairs_1']:.3f}, {run['pairs_2']:.3f} and {run['pairs_3']:.3f} after one, two and three maps",
    )


if __name__ == "__main__":
    claims.main(CLAIM, measure, judge)
