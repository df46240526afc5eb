"""FLUX.1: blocks of two streams (text, picture) and then of one, attention and MLP of it beside each other, as a rectified flow over packed latents.

Black Forest Labs, section 2 of arXiv:2506.15742 (FLUX.1 Kontext); official code (src/flux): 19 blocks of two streams as in Stable Diffusion 3, 38 of one,
heads of 128 channels of which 16 belong to an axis where everything lies at 0 and 56 turn along each edge, text not turned, RMSNorm of queries and keys,
autoencoder of 16 channels. How strongly a guided teacher was guided is told as a number (dev: 3.5; schnell is not told). Times as section 2 says
(logit-normal, shifted), sampling as in cli.py and sampling.py: 50 steps, shifted by e^1.15 at 1024 pixels; 4 for schnell, not shifted. Text encoders (CLIP,
T5) are not part of it; how it was trained is not published: learning rate and batch are ours, as Stable Diffusion 3's.
"""

from ...backbones.attention import Attention
from ...backbones.blocks import PreNorm, SingleStream
from ...backbones.embed import Embed
from ...backbones.mlp import Mlp
from ...backbones.positions import Rotary
from ...backbones.stack import Stack
from ...conditions.caption import Caption, Sizes
from ...core.spec import Spec
from ...system.recipe import Fact, Source
from .sd3 import FLOW
from .sd3 import RECIPE as SD3

TEXT = Spec(Caption, {"features": 4096, "length": 512, "into": "linear", "mask": False, "pool": "given", "pooled": 768})
GUIDED = Spec(Sizes, {"groups": (1,), "usual": (3.5,), "scale": 1000.0})
JOINT = Spec(PreNorm, {"mixer": Spec(Attention, {"heads": 24, "qk_norm": "rms"}), "mlp": Spec(Mlp), "modulate": "zero", "streams": 2})
SINGLE = Spec(SingleStream, {"mixer": Spec(Attention, {"heads": 24, "qk_norm": "rms", "biases": "qkv"}), "mlp": Spec(Mlp)})
HALVES = Spec(Stack, {"depth": 19, "final": None, "block": JOINT}), Spec(Stack, {"depth": 38, "final": None, "block": SINGLE})
TURNED = {"head_width": 128, "share": (28, 28), "interleaved": True}
FEW = {"heads": 4, "qk_norm": "rms"}

RECIPE = SD3.but(
    {
        "shape": (3, 1024, 1024),
        "conditions": {"text": (TEXT, ("joint", "modulate")), "guidance": (GUIDED, "modulate")},
        "network.width": 3072,
        "network.embed": Spec(Embed, {"hidden": False}),
        "network.backbone": Spec(Stack, {"depth": 2, "final": "adaln", "rotary": Spec(Rotary, TURNED), "block": HALVES}),
        "process": FLOW.but({"shift": 3.1582}),
        "guidance.scale": 1.0,
    },
    name="flux",
    title="FLUX.1",
    source=(
        Source(
            "2506.15742",
            "FLUX.1 Kontext: Flow Matching for In-Context Image Generation and Editing in Latent Space",
            code="black-forest-labs/flux",
            at="section 2",
        ),
        *SD3.source,
    ),
    ungraded={},
    sizes={
        "dev": {},
        "schnell": {"conditions": {"text": (TEXT.but({"length": 256}), ("joint", "modulate"))}, "process.steps": 4, "process.shift": 1.0},
    },
    tiny={
        "codec": SD3.tiny["codec"],
        "shape": (1, 28, 28),
        "conditions": {"text": (TEXT.but({"features": 64, "length": 48, "pooled": 64}), ("joint", "modulate")), "guidance": (GUIDED, "modulate")},
        "network.width": 128,
        "network.backbone.rotary": Spec(Rotary, {"head_width": 32, "interleaved": True}),
        "network.backbone.block": (
            Spec(Stack, {"depth": 2, "final": None, "block": JOINT.but({"mixer": Spec(Attention, FEW)})}),
            Spec(Stack, {"depth": 4, "final": None, "block": SINGLE.but({"mixer": Spec(Attention, {**FEW, "biases": "qkv"})})}),
        ),
        "process": FLOW.but({"steps": 25}),
        "guidance.scale": 2.0,
        "training": {"batch": 64, "lr": 2e-3, "steps": 3000},
    },
    facts=(
        Fact("parameters", "dev", 11_901_408_320, 0, "diffusers' module of its configuration, counted; model card: 12 B"),
        Fact("parameters", "schnell", 11_891_178_560, 0, "the same without the guidance"),
        Fact("tokens", "dev", 4096, 0, "1024 pixels by 16"),
        Fact("steps", "dev", 50, 0, "official code, cli.py"),
        Fact("steps", "schnell", 4, 0, "official code, cli.py"),
    ),
)
