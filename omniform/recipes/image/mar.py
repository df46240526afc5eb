"""MAR: continuous tokens shown in random order, each drawn by a small diffusion given the decoder's vector.

Li et al. 2024, arXiv:2406.11838; diffusion loss of section 3.2, random-order masked model of section 3.4; network and constants of the official code.
"""

from ...backbones.attention import Attention
from ...backbones.blocks import PreNorm
from ...backbones.embed import Embed
from ...backbones.mlp import Mlp
from ...backbones.positions import LearnedPositions
from ...backbones.stack import EncodeKnown, Stack
from ...conditions.conditioning import ClassLabel
from ...conditions.guidance import ClassifierFree
from ...core.spec import Spec
from ...heads.denoised import DenoisedHead
from ...processes.flow import Flow
from ...processes.masked import Masked
from ...processes.paths import Betas
from ...processes.paths import Linear as LinearPath
from ...processes.solvers import Ancestral, Euler
from ...system.network import Network
from ...system.recipe import Fact, Recipe, Source
from ..codec.kl import RECIPE as KL

VIT = Spec(PreNorm, {"mixer": Spec(Attention, {"heads": 12}), "mlp": Spec(Mlp, {"activation": "gelu"}), "dropout": 0.1})
SMALL = Spec(Stack, {"depth": 3, "block": Spec(PreNorm, {"mixer": Spec(Attention, {"heads": 4}), "mlp": Spec(Mlp)})})

RECIPE = Recipe(
    name="mar",
    title="MAR",
    family="masked-autoregressive",
    modality="image",
    source=(Source("2406.11838", "Autoregressive Image Generation without Vector Quantization", code="LTH14/mar", at="sections 3.2 to 3.4"),),
    codec=KL.sized("f16").codec,
    shape=(3, 256, 256),
    conditions={"label": (Spec(ClassLabel, {"classes": 1000}), "prefix")},
    network=Spec(
        Network,
        {
            "width": 768,
            "embed": Spec(Embed, {"hidden": False}),
            "backbone": Spec(
                EncodeKnown,
                {
                    "buffer": 64,
                    "positions": (Spec(LearnedPositions),),
                    "last_positions": True,
                    "encoder": Spec(Stack, {"depth": 12, "block": VIT}),
                    "decoder": Spec(Stack, {"depth": 12, "block": VIT}),
                },
            ),
            "head": Spec(
                DenoisedHead,
                {
                    "hidden": 1024,
                    "depth": 6,
                    "learned_variance": True,
                    "inner": Spec(
                        Flow,
                        {
                            "path": Spec(Betas, {"kind": "cosine"}),
                            "predict": "noise",
                            "times": "levels",
                            "per": "token",
                            "solver": Spec(Ancestral),
                            "steps": 100,
                        },
                    ),
                },
            ),
        },
    ),
    process=Spec(Masked, {"steps": 256, "schedule": "cosine", "choose": "random", "ratio": (0.7, 1.0, 0.25)}),
    guidance=Spec(ClassifierFree, {"scale": 2.9, "ramp": "rising"}),
    training={"batch": 2048, "lr": 8e-4, "betas": (0.9, 0.95), "weight_decay": 0.02, "clip": 3.0, "shape": "constant", "ema": 0.9999, "steps": 500_000},
    sizes={
        "B": {},
        "L": {
            "network.width": 1024,
            "network.backbone.encoder.depth": 16,
            "network.backbone.decoder.depth": 16,
            "network.backbone.encoder.block.mixer.heads": 16,
            "network.backbone.decoder.block.mixer.heads": 16,
            "network.head.depth": 8,
            "network.head.hidden": 1280,
            "guidance.scale": 3.0,
        },
        "H": {
            "network.width": 1280,
            "network.backbone.encoder.depth": 20,
            "network.backbone.decoder.depth": 20,
            "network.backbone.encoder.block.mixer.heads": 16,
            "network.backbone.decoder.block.mixer.heads": 16,
            "network.head.depth": 12,
            "network.head.hidden": 1536,
            "guidance.scale": 3.2,
        },
    },
    tiny={
        "codec": KL.sized("tiny").codec,
        "shape": (1, 28, 28),
        "network.width": 128,
        "network.backbone.encoder": SMALL,
        "network.backbone.decoder": SMALL,
        "network.backbone.buffer": 4,
        "process.steps": 16,
        "guidance.scale": 3.0,
        "training": {"batch": 64, "lr": 2e-3, "steps": 3000},
        "network.head": Spec(
            DenoisedHead,
            {
                "hidden": 192,
                "depth": 3,
                "draws": 2,
                "inner": Spec(
                    Flow,
                    {"path": Spec(LinearPath), "predict": "velocity", "times": "logit_normal", "per": "token", "solver": Spec(Euler), "steps": 20},
                ),
            },
        ),
    },
    facts=(
        Fact("parameters", "B", 207.92e6, 0.0001, "official code, counted; README 208 M"),
        Fact("parameters", "L", 478.33e6, 0.0001, "official code, counted; README 479 M"),
        Fact("parameters", "H", 942.40e6, 0.0001, "official code, counted; README 943 M"),
        Fact("codec_parameters", "B", 66_456_019, 0, "official code, counted"),
        Fact("tokens", "B", 256, 0, "section 4.1"),
        Fact("steps", "B", 256, 0, "table 4"),
    ),
)
