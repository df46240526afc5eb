"""Hi-MAR: a small picture under masks, then the large one, told the hidden states that the small one was drawn from; a transformer denoises the large one.

Zheng et al. 2025, arXiv:2505.20288; phases of section 3.2, heads of section 3.3, sizes, constants, kinds of pivots and the modulation of four parts of the
official code. Pivots are the latent made smaller by area (there: the latent of a smaller picture), guidance is one weight (there: one a phase), and the share
that is told pivots is the code's last (there it rises over the first epochs).
"""

from ...backbones.attention import Attention
from ...backbones.blocks import PreNorm
from ...backbones.embed import EmbedPivots, TimeEmbedding
from ...backbones.mlp import Mlp
from ...backbones.norms import ScaleAware
from ...backbones.positions import SinCosPositions
from ...backbones.stack import EncodeKnownTwice, Stack
from ...codecs.resized import Resized
from ...core.spec import Spec
from ...heads.field import FieldHead
from ...processes.flow import Flow
from ...processes.paths import Betas, Linear
from ...processes.pivoted import Pivoted
from ...processes.solvers import Ancestral, Euler
from ...system.recipe import Fact, Source
from ...system.sequel import Sequel
from ..codec.kl import RECIPE as KL
from .mar import RECIPE as MAR
from .mar import VIT

AWARE = VIT.but({"modulate": Spec(ScaleAware), "affine": True})
SMALL = Spec(Stack, {"depth": 3, "block": AWARE.but({"mixer.heads": 4, "dropout": 0.0})})
DIT = Spec(PreNorm, {"mixer": Spec(Attention, {"heads": 8}), "mlp": Spec(Mlp, {"activation": "gelu"}), "modulate": "zero"})
DENSE = "network.towers.dense.head"

RECIPE = MAR.but(
    {
        "codec.bottleneck": Spec(Resized, {"scales": (8, 16), "channels": 16}),
        "network.embed": Spec(EmbedPivots),
        "network.backbone": Spec(
            EncodeKnownTwice,
            {
                **MAR.network.args["backbone"].args,
                "encoder": Spec(Stack, {"depth": 12, "block": AWARE}),
                "decoder": Spec(Stack, {"depth": 12, "block": AWARE}),
            },
        ),
        "network.towers": {
            "dense": Spec(
                Sequel,
                {
                    "head": Spec(
                        FieldHead,
                        {
                            "hidden": 512,
                            "time": Spec(TimeEmbedding),
                            "positions": (Spec(SinCosPositions, {"axes": (1, 2)}),),
                            "network": Spec(Stack, {"depth": 6, "final": "adaln", "block": DIT}),
                            "inner": Spec(
                                Flow,
                                {"path": Spec(Betas, {"kind": "cosine"}), "predict": "noise", "times": "levels", "solver": Spec(Ancestral), "steps": 250},
                            ),
                        },
                    )
                },
            )
        },
        "process": Spec(Pivoted, {"coarse": MAR.process.but({"steps": 32}), "fine": MAR.process.but({"steps": 4, "ratio": "schedule"}), "told": 0.25}),
        "guidance.scale": 2.5,
        "training": {**MAR.training, "lr": 8e-4, "steps": 500_000},
    },
    name="hi-mar",
    title="Hi-MAR",
    source=(
        Source(
            "2505.20288",
            "Hierarchical Masked Autoregressive Models with Low-Resolution Token Pivots",
            code="HiDream-ai/himar",
            at="sections 3.2 and 3.3",
        ),
        *MAR.source,
    ),
    sizes={
        "B": {},
        "L": {**MAR.sizes["L"], f"{DENSE}.network.depth": 8, "guidance.scale": 3.5},
        "H": {
            **MAR.sizes["H"],
            f"{DENSE}.hidden": 768,
            f"{DENSE}.network.depth": 12,
            f"{DENSE}.network.block.mixer.heads": 12,
            "process.fine.steps": 12,
            "guidance.scale": 3.2,
        },
    },
    tiny={
        "shape": (1, 28, 28),
        "network.width": 128,
        "network.backbone.buffer": 4,
        "network.head": MAR.tiny["network.head"],
        "guidance.scale": 3.0,
        "training": {"batch": 64, "lr": 2e-3, "steps": 3000},
        "codec": KL.sized("tiny").codec.but({"bottleneck": Spec(Resized, {"scales": (4, 7), "channels": 4})}),
        "network.backbone.encoder": SMALL,
        "network.backbone.decoder": SMALL,
        "process": Spec(
            Pivoted, {"coarse": MAR.process.but({"steps": 8, "ratio": "schedule"}), "fine": MAR.process.but({"steps": 4, "ratio": "schedule"}), "told": 0.75}
        ),
        "network.towers": {
            "dense": Spec(
                Sequel,
                {
                    "head": Spec(
                        FieldHead,
                        {
                            "hidden": 96,
                            "time": Spec(TimeEmbedding),
                            "positions": (Spec(SinCosPositions, {"axes": (1, 2)}),),
                            "network": Spec(Stack, {"depth": 2, "final": "adaln", "block": DIT.but({"mixer.heads": 4})}),
                            "inner": Spec(Flow, {"path": Spec(Linear), "predict": "velocity", "times": "logit_normal", "solver": Spec(Euler), "steps": 20}),
                        },
                    )
                },
            )
        },
    },
    facts=(
        Fact("parameters", "B", 244.47e6, 0.0001, "official code, counted; table 1: 244 M"),
        Fact("parameters", "L", 529.23e6, 0.0001, "official code, counted; table 1: 529 M"),
        Fact("parameters", "H", 1090.57e6, 0.0001, "official code, counted; table 1: 1090 M"),
        Fact("tokens", "B", 320, 0, "section 4.2: 64 pivots and 256 dense tokens"),
        Fact("steps", "B", 36, 0, "section 4.2 and official code: 32 of pivots, 4 of dense tokens"),
    ),
)
