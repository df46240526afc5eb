"""TarFlow: a normalizing flow whose maps are causal transformers over patches, the order turned round from map to map.

Zhai et al. 2024, arXiv:2412.06329; maps of section 2.2, noise and denoising of sections 2.4 and 2.5, guidance of section 2.6; constants of the official code.
As in that code, each map keeps its first token as it is and has a table of classes of its own, whose mean is "nothing"; the tiny size asks about the first
token too, and has one table for all maps.
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

COUNTED = "official code, counted"
PLACES = {"positions": (Spec(LearnedPositions),)}

RECIPE = Recipe(
    name="tarflow",
    title="TarFlow",
    family="normalizing-flow",
    modality="image",
    source=(Source("2412.06329", "Normalizing Flows are Capable Generative Models", code="apple/ml-tarflow", at="section 2"),),
    codec=Spec(Patches, {"patch": 2}),
    shape=(3, 64, 64),
    conditions={"label": (Spec(ClassLabel, {"classes": 1000, "std": 0.01, "mean": True, "stages": 8}), "add")},
    network=Spec(
        Network,
        {
            "width": 768,
            "stages": 8,
            "embed": Spec(Embed, {**PLACES, "hidden": False}),
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
    process=Spec(Bijective, {"maps": 8, "noise": 0.05, "first": "kept"}),
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
        "conditions": {"label": (Spec(ClassLabel, {"classes": 1000}), "add")},
        "network.width": 128,
        "network.stages": 3,
        "network.embed": Spec(Embed, PLACES),
        "network.backbone.depth": 2,
        "network.backbone.block.mixer.heads": 4,
        "network.head.bound": 3.0,
        "process": Spec(Bijective, {"maps": 3, "noise": 0.1}),
        "guidance.scale": 1.5,
        "training": {"batch": 64, "lr": 2e-3, "steps": 3000},
    },
    facts=(
        Fact("parameters", "64-2-768-8-8", 466.3e6, 0.015, COUNTED),
        Fact("parameters", "128-4-1024-8-8", 823.9e6, 0.015, COUNTED),
        Fact("parameters", "64-2-768-8-8-free", 460_142_784, 0, COUNTED),
        Fact("tokens", "64-2-768-8-8", 1024, 0, "section 4"),
        Fact("tokens", "128-4-1024-8-8", 1024, 0, "section 4"),
        Fact("steps", "64-2-768-8-8", 8184, 0, "official code: 8 maps of 1023 turns"),
    ),
)
