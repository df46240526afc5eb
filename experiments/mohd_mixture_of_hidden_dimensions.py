"""MoHD: which channels a token's maps read, on real text, and how many parameters a block of a wider model meets beside one of the dense model.

Decided before the first run: "constant" is within 5 %, routers included. What the paper's abstract does not count either, the table and the output, is told;
so is, since the first run, what the half-width block meets without the fusion of groups, whose form is ours.
"""

from __future__ import annotations

import claims
import torch

from omniform import recipes
from omniform.backbones.mlp import RoutedLinear
from omniform.core.rng import Rng
from omniform.data import open_data
from omniform.system.build import assemble
from omniform.system.facts import counted

CLAIM = claims.Claim(
    row="mohd-mixture-of-hidden-dimensions",
    says="Each token uses half of the hidden dimensions, some by all and others by choice; two and four times the width activates as many parameters a block",
    source="arXiv:2412.05644, abstract (50 % fewer activated parameters; expansion at constant activation cost)",
    recipes=("mohd",),
    budget="seconds: 4 texts of 64 bytes; counting on the meta device",
    seeds=(0,),
    exact=True,
    data=("stdlib",),
)
DENSE = {"network.backbone.block.mixer.linear": None, "network.backbone.block.mlp.linear": None}

UNFUSED = {f"{name}.fused": False for name in DENSE}


def used(seed: int) -> dict[str, float]:
    """Channels that an answer of a map has a slope in, by token."""
    system = assemble(recipes.get("mohd").sized("tiny").but({"shape": (64,)}), seed=seed).eval()
    maps = [(name, part) for name, part in system.named_modules() if isinstance(part, RoutedLinear)]
    asked: dict[str, tuple[torch.Tensor, object]] = {}
    hooks = [part.register_forward_pre_hook(lambda _, given, name=name: asked.update({name: given})) for name, part in maps]
    with torch.no_grad():
        system.loss(open_data("stdlib", characters=64).test.batch(range(4)), rng=Rng.seeded(seed, 4))
    for hook in hooks:
        hook.remove()
    shares, always, kinds = [], [], []
    for name, part in maps:
        x, env = asked[name]
        x = x.detach().requires_grad_()
        (slope,) = torch.autograd.grad((part(x, env) * torch.randn(part.weight.shape[1])).sum(), x)
        read = slope.flatten(0, -2) != 0
        groups = read.unflatten(-1, (part.groups, -1)).any(-1)
        shares.append(read.float().mean(-1))
        always.append(groups[:, : part.shared].float().mean())
        kinds.append(len(groups.unique(dim=0)))
    share = torch.cat(shares)
    return {"least used": share.min(), "most used": share.max(), "shared used": torch.stack(always).mean(), "sets of channels a map": sum(kinds) / len(kinds)}


def met(size: str, changes: dict[str, object] | None = None) -> tuple[float, float]:
    """Parameters that a token meets in a block, and outside of all."""
    recipe = recipes.get("mohd").sized(size).but(changes or {})
    one, two = (counted(recipe.but({"network.backbone.depth": n}), costs=False).active_parameters for n in (1, 2))
    return two - one, 2 * one - two


def measure(seed: int) -> dict[str, float]:
    found = used(seed)
    block, outside = met("355M-50%", DENSE)
    for size in ("355M-50%", "355M-x2", "355M-x4"):
        mine, other = met(size)
        found |= {f"{size} block": mine / block, f"{size} outside": other / outside}
    found["355M-50% block, not fused"] = met("355M-50%", UNFUSED)[0] / block
    return found


def judge(runs):
    (run,) = runs
    said = f"a token uses {run['least used']:.3f} to {run['most used']:.3f} of the channels, the shared ones {run['shared used']:.0%} of the time, in "
    said += f"{run['sets of channels a map']:.1f} sets a map; a block meets {run['355M-50% block']:.3f} of the dense one's parameters "
    said += f"({run['355M-50% block, not fused']:.3f} without the fusion), "
    said += f"{run['355M-x2 block']:.3f} at twice the width and {run['355M-x4 block']:.3f} at four times; table and output are "
    said += f"{run['355M-x2 outside']:.2f} and {run['355M-x4 outside']:.2f} times the dense model's"
    half = run["least used"] == run["most used"] == 0.5 and run["shared used"] == 1 and run["sets of channels a map"] > 1
    constant = abs(run["355M-50% block"] - 0.5) < 0.05 and all(abs(run[f"355M-{n} block"] - 1) < 0.05 for n in ("x2", "x4"))
    return (claims.Verdict.HOLDS if half and constant else claims.Verdict.FAILS), said


if __name__ == "__main__":
    claims.main(CLAIM, measure, judge)
