"""PixArt-Sigma: PixArt-alpha with longer captions, stretched positions, and keys and values compressed in the deep half of the blocks.

Chen et al. 2024, arXiv:2403.04692; compression of section 3.2 in blocks 14 to 27 with stride 2 (table 3 and the official code, which puts a LayerNorm behind
the convolution), 300 caption tokens, no size conditions. The caption's encoder is not part of it.
"""

from ...backbones.attention import CompressedAttention
from ...codecs.patch import Patches
from ...conditions.caption import Caption
from ...core.spec import Spec
from ...system.recipe import Fact, Source
from .pixart import RECIPE as PIXART

LATE = PIXART.network.args["backbone"].args["block"].but({"mixer": Spec(CompressedAttention, {"heads": 16, "stride": 2})})
CAPTION = Spec(Caption, {"features": 4096, "length": 300, "unsaid": "random"})

RECIPE = PIXART.but(
    {
        "conditions.text": (CAPTION, "cross"),
        "network.backbone.late": LATE,
        "shape": (3, 1024, 1024),
        "network.embed.positions.0.scale": 0.5,
    },
    name="pixart-sigma",
    title="PixArt-Sigma",
    source=(
        Source(
            "2403.04692",
            "PixArt-Sigma: Weak-to-Strong Training of Diffusion Transformer for 4K Text-to-Image Generation",
            code="PixArt-alpha/PixArt-sigma",
            at="section 3.2, table 3",
        ),
        *PIXART.source,
    ),
    sizes={
        "1024-KV": {},
        "256": {"network.backbone.late": None, "shape": (3, 256, 256), "network.embed.positions.0.scale": 2.0},
        "512": {"network.backbone.late": None, "shape": (3, 512, 512), "network.embed.positions.0.scale": 1.0},
        "1024": {"network.backbone.late": None},
        "2K": {"network.backbone.late": None, "shape": (3, 2048, 2048), "network.embed.positions.0.scale": 0.25},
        "2K-KV": {"shape": (3, 2048, 2048), "network.embed.positions.0.scale": 0.25},
        "4K-KV": {"shape": (3, 4096, 4096), "network.embed.positions.0.scale": 0.125, "network.backbone.late.mixer.stride": 4},
    },
    tiny={
        **PIXART.tiny,
        "codec": Spec(Patches, {"patch": 2}),
        "network.embed.positions.0.scale": 0.5,
        "network.backbone.late.mixer.heads": 4,
        "network.backbone.late.cross.heads": 4,
    },
    facts=(
        Fact("parameters", "1024", 610_856_096, 0, "official code, counted; its released 1024 file of 2,443,492,488 bytes agrees; section 3: 0.6 B"),
        Fact("parameters", "1024-KV", 610_968_992, 0, "official code with compression in 14 blocks, counted; section 3.2: 0.018 % more"),
        Fact("tokens", "1024-KV", 4096, 0, "1024 pixels by 16"),
        Fact("tokens", "4K-KV", 65536, 0, "section 1: 4K"),
        Fact("steps", "1024-KV", 20, 0, "official code"),
    ),
)
