"""EzAudio: a transformer over the one-dimensional latents of a sound, with long skips, and modulation of which blocks own only a part of low rank.

Hai et al. 2024, arXiv:2409.10819, sections 2.2 and 2.3; udit.py and blocks.py of the official code: L / 2 blocks, one in the middle and L / 2 that take up the
first ones, AdaLN-SOLA of rank 32 or 36 with gates 1 - g, GEGLU, LayerNorm of queries and keys a head, given sound beside the noisy one. The waveform
autoencoder (24 kHz to 50 Hz, 128 channels) and the text encoder (FLAN-T5) are not part of it: the shape is that of the latents of 10 s. The code's betas
become the trigonometric path, which ends without signal as they do and whose velocity is their v up to a constant; its last convolution over three frames
(49,280 weights) is left out.
"""

from ...backbones.attention import Attention, CrossAttention
from ...backbones.blocks import PreNorm
from ...backbones.embed import Embed, TimeEmbedding
from ...backbones.mlp import Mlp
from ...backbones.norms import LowRankAdaLN, Modulated
from ...backbones.positions import Rotary
from ...backbones.stack import Stack
from ...codecs.frames import Frames
from ...conditions.caption import Caption
from ...conditions.guidance import ClassifierFree
from ...core.spec import Spec
from ...heads.point import PointHead
from ...processes.flow import Flow
from ...processes.paths import Cosine
from ...processes.shown import Shown
from ...processes.solvers import Ddim
from ...system.network import Network
from ...system.recipe import Fact, Recipe, Source

TEXT = Spec(Caption, {"features": 1024, "length": 100})
SELF = Spec(Attention, {"heads": 16, "biases": "o", "qk_norm": "layer"})
CROSS = Spec(CrossAttention, {"heads": 16, "biases": "o", "qk_norm": "layer", "zero": True, "norm_context": True})
BLOCK = {"mlp": Spec(Mlp, {"activation": "geglu"}), "affine": True, "norm_cross": True, "modulate": Spec(LowRankAdaLN, {"rank": 32})}
STACK = {"depth": 25, "skips": "normed", "shared": "beside", "final": Spec(Modulated, {"affine": True}), "rotary": Spec(Rotary, {"head_width": 64})}
SHOWN = Spec(Shown, {"kinds": ("nothing", "around"), "shares": (0.75, 0.25), "axis": "time"})
FLOW = Spec(Flow, {"path": Spec(Cosine), "predict": "velocity", "solver": Spec(Ddim), "steps": 100, "shown": SHOWN})

RECIPE = Recipe(
    name="ezaudio",
    title="EzAudio",
    family="diffusion",
    modality="audio",
    source=(
        Source(
            "2409.10819",
            "EzAudio: Enhancing Text-to-Audio Generation with Efficient Diffusion Transformer",
            code="haidog-yaqub/EzAudio",
            at="sections 2.2 and 2.3, table 3",
        ),
    ),
    codec=Spec(Frames),
    shape=(1, 128, 500),
    conditions={"text": (TEXT, "cross")},
    network=Spec(
        Network,
        {
            "width": 1024,
            "embed": Spec(Embed, {"hidden": False, "beside": True}),
            "time": Spec(TimeEmbedding, {"flip": True}),
            "backbone": Spec(Stack, {**STACK, "block": Spec(PreNorm, {"mixer": SELF, "cross": CROSS, **BLOCK})}),
            "head": Spec(PointHead, {"small": 1.0}),
        },
    ),
    process=FLOW,
    guidance=Spec(ClassifierFree, {"scale": 5.0}),
    training={"batch": 128, "lr": 1e-4, "warmup": 5000, "betas": (0.9, 0.999), "weight_decay": 0.01, "clip": 1.0, "steps": 100_000},
    sizes={
        "L": {},
        "XL": {
            "conditions.text": (TEXT.but({"features": 2048}), "cross"),
            "network.width": 1152,
            "network.backbone.depth": 29,
            "network.backbone.rotary.head_width": 72,
            "network.backbone.block.modulate.rank": 36,
        },
    },
    tiny={
        "shape": (1, 28, 28),
        "conditions": {"text": (TEXT.but({"features": 64, "length": 48}), "cross")},
        "network.width": 128,
        "network.backbone.depth": 5,
        "network.backbone.rotary.head_width": 32,
        "network.backbone.block.mixer.heads": 4,
        "network.backbone.block.cross.heads": 4,
        "network.backbone.block.modulate.rank": 4,
        "process": FLOW.but({"steps": 25}),
        "guidance.scale": 2.0,
        "training": {"batch": 64, "lr": 2e-3, "steps": 3000},
    },
    facts=(
        Fact("parameters", "L", 596e6, 0.005, "table 3"),
        Fact("parameters", "XL", 874e6, 0.005, "table 3"),
        Fact("tokens", "L", 500, 0, "section 2.1: 10 s at 50 Hz"),
        Fact("steps", "L", 100, 0, "section 3"),
    ),
)
