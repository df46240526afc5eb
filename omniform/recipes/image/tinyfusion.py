"""TinyFusion: DiT made shallow; which blocks stay is learned together with an update that simulates the fine-tuning to come.

Fang et al. 2024, arXiv:2412.01199; N:M groups, Gumbel masks a row and throw-away updates of section 3 and of the official code; sizes of table 1.
The first three sizes are the stage that learns what stays (1 of 2, 2 of 4, 7 of 14), the others what is left of it and fine-tuned. At tiny all weights learn
with the masks (table 4's second row), as there is no trained network to begin with.
"""

from ...backbones.depth import LearnedDepth
from ...core.spec import Spec
from ...system.recipe import Fact, Source
from .dit import RECIPE as DIT

SMALL = DIT.sized("tiny")
STACK = DIT.network.args["backbone"]
GROUP = Spec(LearnedDepth, {"num": 2, "keep": 1, "rank": 8, "block": STACK.args["block"]})

RECIPE = DIT.but(
    {
        "network.backbone.depth": 14,
        "network.backbone.block": GROUP,
        "training": {"batch": 128, "lr": 1e-3, "weight_decay": 0.0, "clip": 1.0, "ema": 0.999, "warmup": 0, "shape": "constant", "steps": 10_000},
    },
    name="tinyfusion",
    title="TinyFusion",
    source=(Source("2412.01199", "TinyFusion: Diffusion Transformers Learned Shallow", code="VainF/TinyFusion", at="section 3, tables 1 and 4"), *DIT.source),
    sizes={
        "XL/2-1:2": {},
        "XL/2-2:4": {"network.backbone.depth": 7, "network.backbone.block": GROUP.but({"num": 4, "keep": 2})},
        "XL/2-7:14": {"network.backbone.depth": 2, "network.backbone.block": GROUP.but({"num": 14, "keep": 7})},
        "D19": {"network.backbone": STACK.but({"depth": 19})},
        "D14": {"network.backbone": STACK.but({"depth": 14})},
        "D7": {"network.backbone": STACK.but({"depth": 7})},
    },
    tiny={
        "codec": SMALL.codec,
        "shape": SMALL.shape,
        "network": SMALL.network.but(
            {"backbone.depth": 3, "backbone.block": GROUP.but({"rank": 0, "over": 2000, "block": SMALL.network.args["backbone"].args["block"]})}
        ),
        "process": SMALL.process,
        "guidance.scale": 2.0,
        "training": SMALL.training,
    },
    facts=(
        Fact("parameters", "D19", 459e6, 0.002, "table 1"),
        Fact("parameters", "D14", 340e6, 0.001, "table 1"),
        Fact("parameters", "D7", 173e6, 0.002, "table 1"),
        Fact("multiply_adds", "D14", 59.4e9, 0.002, "half of DiT's 118.64 G and half of what is outside the blocks"),
        Fact("steps", "D14", 250, 0, "section 4.1"),
    ),
)
