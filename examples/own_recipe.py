"""A recipe by changing another: MaskGIT with rotary positions, RMSNorm and a gated MLP, beside the original.

python examples/own_recipe.py --steps 2000
"""

from __future__ import annotations

import argparse

import omniform as of
from omniform import recipes
from omniform.backbones.attention import Attention
from omniform.backbones.blocks import PreNorm
from omniform.backbones.mlp import Mlp
from omniform.backbones.positions import Rotary
from omniform.backbones.stack import Stack
from omniform.core.spec import Spec
from omniform.system.recipe import Source

ORIGINAL = recipes.get("maskgit").sized("tiny")
BLOCK = Spec(
    PreNorm,
    {
        "mixer": Spec(Attention, {"heads": 4, "qk_norm": "rms"}),
        "mlp": Spec(Mlp, {"activation": "swiglu", "ratio": 2.67}),
        "norm": "rms",
        "modulate": "zero",
    },
)
ROTARY = Spec(Rotary, {"head_width": 32})
MODERN = ORIGINAL.but(
    {
        "network.embed.positions": (),
        "network.backbone": Spec(Stack, {"depth": 6, "final": "adaln", "rotary": ROTARY, "block": BLOCK}),
    },
    name="maskgit-modern",
    title="MaskGIT with the block of today",
    source=(Source(None, "Ours"), *ORIGINAL.source),
    tiny={},
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="digits")
    parser.add_argument("--steps", type=int, default=2000, help="for the codec, and for each of the two")
    parser.add_argument("--num", type=int, default=300, help="held-out examples that are scored")
    asked = parser.parse_args()

    print("what is changed:")
    for path, (ours, theirs) in MODERN.against(ORIGINAL).items():
        print(f"  {path}: {theirs!r} -> {ours!r}"[:160])
    data = of.data.open_data(asked.data)
    codec = of.train(of.build("vq", data=data), data, steps=asked.steps).system
    for recipe in (ORIGINAL, MODERN):
        run = of.train(of.build(recipe, data=data, codec=codec), data, steps=asked.steps)
        print(
            f"{recipe.name}: at most {of.score(run.system, data, num=asked.num)['nats_per_dimension']:.3f} nats a code"
        )


if __name__ == "__main__":
    main()
