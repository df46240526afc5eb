"""What of FlowAR has to change for another autoencoder: nothing but the maps in and out.

The recipe is built over latents of 4, 16 and 32 channels; counted are parameters of the tokenizer beyond the autoencoder's own, and tensors of the
network whose shape is not the same.
"""

from __future__ import annotations

from collections.abc import Sequence

import claims
from claims import Claim, Numbers, Verdict

from omniform import recipes
from omniform.codecs.bottleneck import KL
from omniform.core.net import parameters_of
from omniform.core.spec import Spec
from omniform.system.facts import built, counted

CHANNELS = (4, 16, 32)
BORDER = {"embed.enter.weight", "head.enter.weight", "head.out.weight", "head.out.bias"}

CLAIM = Claim(
    row="flowar",
    says="any autoencoder's latent will do: the scales add no parameter to it, four tensors at the border follow its channels; half of VAR's tokens",
    source="arXiv:2412.15205, abstract and section 3.2 (a streamlined scale design for any off-the-shelf VAE)",
    recipes=("flowar", "kl", "var"),
    budget="exact; a second",
    seeds=(0,),
    exact=True,
)


def measure(seed: int) -> Numbers:
    recipe = recipes.get("flowar").sized("S")
    shapes, added = [], 0
    for channels in CHANNELS:
        system = built(recipe.but({"codec.bottleneck.channels": channels}))
        plain = built(recipe.but({"codec.bottleneck": Spec(KL, {"channels": channels})}, network=None, process=None))
        added = max(added, abs(parameters_of({"a": system.codec}) - parameters_of({"b": plain.codec})))
        shapes.append({name.removeprefix("towers.main."): tuple(p.shape) for name, p in system.network.named_parameters()})
    moved = {name for name in shapes[0] if len({one[name] for one in shapes}) > 1}
    tokens = counted(recipe, costs=False).tokens / counted(recipes.get("var").sized("d16"), costs=False).tokens
    return {"added_parameters": added, "tensors": len(shapes[0]), "changed": len(moved), "changed_elsewhere": len(moved - BORDER), "tokens_share": tokens}


def judge(runs: Sequence[Numbers]) -> tuple[Verdict, str]:
    (run,) = runs
    fine = not run["added_parameters"] and not run["changed_elsewhere"] and run["changed"] == len(BORDER) and abs(run["tokens_share"] - 0.5) < 0.01
    said = f"{run['added_parameters']:.0f} added, {run['changed']:.0f} of {run['tensors']:.0f} tensors change, {run['tokens_share']:.3f} of VAR's tokens"
    return (Verdict.HOLDS if fine else Verdict.FAILS), said


if __name__ == "__main__":
    claims.main(CLAIM, measure, judge)
