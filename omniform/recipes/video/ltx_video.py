"""LTX-Video: a transformer over few and wide latents of a clip, with rotary positions in fractions of a span; a first frame is given by its own time.

HaCohen et al. 2025, arXiv:2501.00103, section 2.2; block, rotary positions, norms of queries and keys over all heads and last norm of the official code
(transformer3d.py); modulation as PixArt-alpha's. Section 2.4: tokens that are given are told a time without noise. The autoencoder (`ltx-vae`: 8 x 32 x 32, 128
channels) and the text encoder (T5-XXL) are not part of it: the shape is that of the latents of 121 frames of 768 x 512. Shift: exp of the code's line, here at
6,144 tokens.
"""

from ...backbones.attention import Attention, CrossAttention
from ...backbones.blocks import PreNorm
from ...backbones.mlp import Mlp
from ...backbones.positions import SpanRotary
from ...codecs.patch import Patches
from ...conditions.caption import Caption
from ...core.spec import Spec
from ...processes.flow import Flow
from ...processes.paths import Linear
from ...processes.shown import Shown
from ...processes.solvers import Euler
from ...system.recipe import Fact, Source
from .wan import RECIPE as WAN

TEXT = Spec(Caption, {"features": 4096, "length": 256})
BLOCK = Spec(
    PreNorm,
    {
        "norm": "rms",
        "mixer": Spec(Attention, {"heads": 32, "qk_norm": "rms_wide", "qk_eps": 1e-5}),
        "cross": Spec(CrossAttention, {"heads": 32, "qk_norm": "rms_wide", "qk_eps": 1e-5}),
        "mlp": Spec(Mlp),
        "modulate": "single",
    },
)
SHOWN = Spec(Shown, {"kinds": ("nothing", "first"), "shares": (0.7, 0.3), "told": True})
FLOW = Spec(
    Flow, {"path": Spec(Linear), "times": "logit_normal", "solver": Spec(Euler), "grid": "shifted", "shift": 16.17, "steps": 40, "shown": SHOWN}
)

RECIPE = WAN.but(
    {
        "codec": Spec(Patches, {"patch": 1}),
        "conditions": {"text": (TEXT, "cross")},
        "network.width": 2048,
        "network.backbone.depth": 28,
        "network.backbone.rotary": Spec(SpanRotary, {"heads": 32, "scale": (0.016, 0.015625, 0.015625)}),
        "network.backbone.block": BLOCK,
        "process": FLOW,
        "guidance.scale": 3.0,
    },
    name="ltx-video",
    title="LTX-Video",
    shape=(16, 128, 16, 24),
    training={"batch": 256, "lr": 1e-4, "precision": "bf16", "steps": 400_000},
    source=(Source("2501.00103", "LTX-Video: Realtime Video Latent Diffusion", code="Lightricks/LTX-Video", at="sections 2.2 and 2.4"),),
    sizes={"2B": {}},
    tiny={
        "codec": Spec(Patches, {"patch": 8, "scale": 2.0, "shift": -0.8}),
        "shape": (8, 1, 32, 32),
        "conditions": {"text": (TEXT.but({"features": 64, "length": 8}), "cross")},
        "network.width": 128,
        "network.backbone.depth": 6,
        "network.backbone.rotary": Spec(SpanRotary, {"heads": 4, "scale": (0.125, 0.25, 0.25)}),
        "network.backbone.block.mixer.heads": 4,
        "network.backbone.block.cross.heads": 4,
        "process": FLOW.but({"shift": 1.0, "steps": 25}),
        "guidance.scale": 2.0,
        "training": {"batch": 16, "lr": 2e-3, "steps": 3000},
    },
    facts=(
        Fact("parameters", "2B", 1_923_385_472, 0, "diffusers' module, counted; section 2.2: 1.9 B"),
        Fact("tokens", "2B", 6144, 0, "121 frames of 768 x 512: 16 x 16 x 24"),
        Fact("steps", "2B", 40, 0, "official code, configurations of 0.9"),
    ),
)
