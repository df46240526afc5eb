"""VAR: one question a scale, all tokens of a scale at once.

Tian et al. 2024, arXiv:2404.02905, section 3; the network, its sizes and its guidance from the official code.
"""

from ...backbones.attention import Attention
from ...backbones.blocks import PreNorm
from ...backbones.embed import Embed
from ...backbones.mlp import Mlp
from ...backbones.positions import LearnedPositions, LevelPositions
from ...backbones.stack import Stack
from ...conditions.conditioning import ClassLabel
from ...conditions.guidance import ClassifierFree
from ...core.order import Along
from ...core.spec import Spec
from ...heads.categorical import CategoricalHead
from ...processes.autoregress import Autoregress
from ...processes.feeds import PyramidFeed
from ...system.network import Network
from ...system.recipe import Fact, Recipe, Source
from ..codec.pyramid import RECIPE as PYRAMID

RECIPE = Recipe(
    name="var",
    title="VAR",
    family="next-scale",
    modality="image",
    source=(
        Source(
            "2404.02905", "Visual Autoregressive Modeling: Scalable Image Generation via Next-Scale Prediction", code="FoundationVision/VAR", at="section 3"
        ),
    ),
    codec=PYRAMID.sized("ch160").codec,
    shape=(3, 256, 256),
    conditions={"label": (Spec(ClassLabel, {"classes": 1000}), "modulate")},
    network=Spec(
        Network,
        {
            "width": 1024,
            "embed": Spec(Embed, {"channels": 32, "positions": (Spec(LearnedPositions), Spec(LevelPositions, {"axis": "scale"}))}),
            "backbone": Spec(
                Stack,
                {
                    "depth": 16,
                    "final": "adaln",
                    "block": Spec(
                        PreNorm, {"mixer": Spec(Attention, {"heads": 16, "biases": "qvo", "qk_norm": "cosine"}), "mlp": Spec(Mlp), "modulate": "zero"}
                    ),
                },
            ),
            "head": Spec(CategoricalHead, {"small": 0.02}),
        },
    ),
    process=Spec(Autoregress, {"order": Spec(Along, {"axis": "scale"}), "feed": Spec(PyramidFeed)}),
    guidance=Spec(ClassifierFree, {"scale": 2.5, "ramp": "rising"}),
    training={"batch": 768, "lr": 3e-4, "betas": (0.9, 0.95), "weight_decay": 0.05, "clip": 2.0, "steps": 334_000},
    sizes={
        "d16": {},
        "d20": {"network.width": 1280, "network.backbone.depth": 20, "network.backbone.block.mixer.heads": 20},
        "d24": {"network.width": 1536, "network.backbone.depth": 24, "network.backbone.block.mixer.heads": 24},
        "d30": {"network.width": 1920, "network.backbone.depth": 30, "network.backbone.block.mixer.heads": 30},
    },
    tiny={
        "codec": PYRAMID.sized("tiny").codec,
        "shape": (1, 28, 28),
        "network.width": 128,
        "network.backbone.depth": 6,
        "network.backbone.block.mixer.heads": 4,
        "network.embed.channels": 8,
        "guidance.scale": 4.0,
        "training": {"batch": 64, "lr": 2e-3, "steps": 3000},
    },
    facts=(
        Fact("parameters", "d16", 310.28e6, 0.0001, "official code, counted; README 310 M"),
        Fact("parameters", "d20", 600.92e6, 0.0001, "official code, counted; README 600 M"),
        Fact("parameters", "d24", 1033.4e6, 0.0001, "official code, counted; README 1.0 B"),
        Fact("parameters", "d30", 2010.0e6, 0.0001, "official code, counted; README 2.0 B"),
        Fact("codec_parameters", "d16", 108_948_355, 0, "official code, counted"),
        Fact("tokens", "d16", 680, 0, "utils/arg_util.py"),
        Fact("steps", "d16", 10, 0, "utils/arg_util.py: ten scales"),
    ),
)
