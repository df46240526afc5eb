"""TarFlow: a normalizing flow whose maps are causal transformers over patches, the order turned round from map to map.

Zhai et al. 2024, arXiv:2412.06329; maps of section 2.2, noise and denoising of sections 2.4 and 2.5, guidance of section 2.6; constants of the official code.
"""

from ...backbones.attention import Attention
from ...backbones.blocks import PreNorm
from ...backbones.embed import Embed
from ...backbones.mlp import Mlp
from ...backbones.positions import LearnedPositions
from ...backbones.stack import Stack
from ...codecs.patch import Patches
from ...conditions.conditioning import ClassLabel
from ...conditions.guidance import ClassifierFree
from ...core.spec import Spec
from ...heads.affine import AffineHead
from ...processes.bijective import Bijective
from ...system.network import Network
from ...system.recipe import Fact, Recipe, Source
from ..codec.kl import RECIPE as KL

TABLES = "official code, counted (a class table a map; ours is one for all maps)"

RECIPE = Recipe(
    name="tarflow",
    title="TarFlow",
    family="normalizing-flow",
    modality="image",
    source=(Source("2412.06329", "Normalizing Flows are Capable Generative Models", code="apple/ml-tarflow", at="section 2"),),
    codec=Spec(Patches, {"patch": 2}),
    shape=(3, 64, 64),
    conditions={"label": (Spec(ClassLabel, {"classes": 1000}), "add")},
    network=Spec(
        Network,
        {
            "width": 768,
            "stages": 8,
            "embed": Spec(Embed, {"positions": (Spec(LearnedPositions),)}),
            "backbone": Spec(
                Stack,
                {
                    "depth": 8,
                    "final": None,
                    "block": Spec(PreNorm, {"mixer": Spec(Attention, {"heads": 12}), "mlp": Spec(Mlp, {"activation": "gelu"}), "eps": 1e-5}),
                },
            ),
            "head": Spec(AffineHead),
        },
    ),
    process=Spec(Bijective, {"maps": 8, "noise": 0.05}),
    guidance=Spec(ClassifierFree, {"scale": 3.3, "ramp": "rising"}),
    training={"batch": 256, "lr": 1e-4, "betas": (0.9, 0.95), "weight_decay": 1e-4, "steps": 1_000_000, "ema": 0.0},
    sizes={
        "64-2-768-8-8": {},
        "64-2-768-8-8-free": {"conditions": {}},
        "128-4-1024-8-8": {"shape": (3, 128, 128), "codec.patch": 4, "network.width": 1024, "network.backbone.block.mixer.heads": 16, "process.noise": 0.15},
    },
    tiny={
        "codec": KL.sized("tiny").codec,
        "shape": (1, 28, 28),
        "network.width": 128,
        "network.stages": 3,
        "process.maps": 3,
        "network.backbone.depth": 2,
        "network.backbone.block.mixer.heads": 4,
        "network.head.bound": 3.0,
        "process.noise": 0.1,
        "guidance.scale": 1.5,
        "training": {"batch": 64, "lr": 2e-3, "steps": 3000},
    },
    facts=(
        Fact("parameters", "64-2-768-8-8", 466.3e6, 0.015, TABLES),
        Fact("parameters", "128-4-1024-8-8", 823.9e6, 0.015, TABLES),
        Fact(
            "parameters",
            "64-2-768-8-8-free",
            460_142_784,
            0.0001,
            "official code, counted (ours: a learned vector a map for the first token, theirs passes unchanged)",
        ),
        Fact("tokens", "64-2-768-8-8", 1024, 0, "section 4"),
        Fact("tokens", "128-4-1024-8-8", 1024, 0, "section 4"),
        Fact("steps", "64-2-768-8-8", 8192, 0.001, "official code: 8 maps of 1023 turns (ours asks about the first token too)"),
    ),
)
