"""Wan: all tokens of a clip at once, told a caption by cross-attention, with one modulation that each block shifts by a table of its own.

Wan team 2025, arXiv:2503.20314; shapes and block of the official code (wan/modules/model.py, wan/configs): norms of queries and keys over all heads, rotary
positions on three axes, an affine norm before cross-attention alone. The causal video autoencoder (4 x 8 x 8, 16 channels) and the text encoder (umT5-XXL) are
not part of it: the shape is that of the latents of 81 frames (`wan-vae`). The sampler is the code's UniPC, on the grid that its pipeline in diffusers has,
which begins a millionth (in single precision) behind noise alone.
"""

from ...backbones.attention import Attention, CrossAttention
from ...backbones.blocks import PreNorm
from ...backbones.embed import Embed, TimeEmbedding
from ...backbones.mlp import Mlp
from ...backbones.norms import Modulated
from ...backbones.positions import Rotary
from ...backbones.stack import Stack
from ...codecs.patch import Patches
from ...conditions.caption import Caption
from ...conditions.guidance import ClassifierFree
from ...core.spec import Spec
from ...heads.point import PointHead
from ...processes.flow import Flow
from ...processes.grids import Sigmas
from ...processes.paths import Linear
from ...processes.solvers import UniPC
from ...system.network import Network
from ...system.recipe import Fact, Recipe, Source

TEXT = Spec(Caption, {"features": 4096, "length": 512, "mask": False})
GRID = Spec(Sigmas, {"shift": 5.0, "least": 0.001, "open": True, "first": 17 / 2**24, "whole": 1000})
FLOW = Spec(Flow, {"path": Spec(Linear), "times": "logit_normal", "solver": Spec(UniPC), "grid": GRID, "shift": 5.0, "steps": 50})
BLOCK = Spec(
    PreNorm,
    {
        "mixer": Spec(Attention, {"heads": 12, "qk_norm": "rms_wide"}),
        "cross": Spec(CrossAttention, {"heads": 12, "qk_norm": "rms_wide"}),
        "norm_cross": True,
        "mlp": Spec(Mlp, {"hidden": 8960}),
        "modulate": "single",
    },
)

RECIPE = Recipe(
    name="wan",
    title="Wan",
    family="flow",
    modality="video",
    source=(Source("2503.20314", "Wan: Open and Advanced Large-Scale Video Generative Models", code="Wan-Video/Wan2.1", at="section 4.2"),),
    codec=Spec(Patches, {"patch": 2}),
    shape=(21, 16, 60, 104),
    conditions={"text": (TEXT, "cross")},
    network=Spec(
        Network,
        {
            "width": 1536,
            "embed": Spec(Embed, {"hidden": False}),
            "time": Spec(TimeEmbedding, {"flip": True}),
            "backbone": Spec(
                Stack,
                {
                    "depth": 30,
                    "shared": True,
                    "final": Spec(Modulated, {"by": "table"}),
                    "rotary": Spec(Rotary, {"head_width": 128, "interleaved": True, "share": (22, 21, 21)}),
                    "block": BLOCK,
                },
            ),
            "head": Spec(PointHead),
        },
    ),
    process=FLOW,
    guidance=Spec(ClassifierFree, {"scale": 5.0}),
    training={"batch": 1536, "lr": 1e-4, "precision": "bf16", "steps": 400_000},
    sizes={
        "1.3B": {},
        "14B": {
            "network.width": 5120,
            "network.backbone.depth": 40,
            "network.backbone.block.mixer.heads": 40,
            "network.backbone.block.cross.heads": 40,
            "network.backbone.block.mlp.hidden": 13824,
            "shape": (21, 16, 90, 160),
        },
    },
    tiny={
        "codec": Spec(Patches, {"patch": 8, "scale": 2.0, "shift": -0.8}),
        "shape": (8, 1, 32, 32),
        "conditions": {"text": (TEXT.but({"features": 64, "length": 8}), "cross")},
        "network.width": 128,
        "network.backbone.depth": 6,
        "network.backbone.rotary": Spec(Rotary, {"head_width": 32, "interleaved": True}),
        "network.backbone.block.mixer.heads": 4,
        "network.backbone.block.cross.heads": 4,
        "network.backbone.block.mlp.hidden": 512,
        "process": FLOW.but({"shift": 1.0, "grid.shift": 1.0, "steps": 25}),
        "guidance.scale": 2.0,
        "training": {"batch": 16, "lr": 2e-3, "steps": 3000},
    },
    facts=(
        Fact("parameters", "1.3B", 1_418_996_800, 0, "official code, counted (diffusers' module agrees); README: 1.3B"),
        Fact("parameters", "14B", 14_288_491_584, 0, "official code, counted (diffusers' module agrees); README: 14B"),
        Fact("tokens", "1.3B", 32_760, 0, "81 frames of 832 x 480, a fourth, a sixteenth and a sixteenth"),
        Fact("tokens", "14B", 75_600, 0, "81 frames of 1280 x 720"),
        Fact("steps", "1.3B", 50, 0, "official code, generate.py"),
    ),
)
