"""PixArt-alpha: DiT with cross-attention to a caption, and one modulation for all blocks.

Chen et al. 2023, arXiv:2310.00426; block and modulation of section 2.3 and figure 4 (cross-attention reads the bare stream and starts at zero), 120 caption
tokens of section 3.1, sizes and training of table 4 and section 3.3; last norm, positions and size conditions of the official code. The caption's encoder
(Flan-T5-XXL) is not part of it.
"""

from ...backbones.attention import Attention, CrossAttention
from ...backbones.blocks import PreNorm
from ...backbones.mlp import Mlp
from ...backbones.norms import Modulated
from ...conditions.caption import Caption, Sizes
from ...core.spec import Spec
from ...processes.flow import Flow
from ...processes.paths import Betas
from ...processes.solvers import DpmPP2M
from ...system.recipe import Fact, Source
from .dit import RECIPE as DIT

CAPTION = Spec(Caption, {"features": 4096, "length": 120, "unsaid": "random"})
CROSS = Spec(CrossAttention, {"heads": 16, "zero": True})

RECIPE = DIT.but(
    {
        "conditions": {"text": (CAPTION, "cross")},
        "network.backbone.shared": True,
        "network.backbone.final": Spec(Modulated, {"by": "table"}),
        "network.backbone.block": Spec(PreNorm, {"mixer": Spec(Attention, {"heads": 16}), "cross": CROSS, "mlp": Spec(Mlp), "modulate": "single"}),
        "process": Spec(Flow, {"path": Spec(Betas), "predict": "noise", "times": "levels", "solver": Spec(DpmPP2M), "steps": 20}),
        "guidance.scale": 4.5,
        "training": {"batch": 1024, "lr": 2e-5, "warmup": 1000, "shape": "constant", "weight_decay": 0.03, "clip": 0.01, "ema": 0.9999, "steps": 300_000},
    },
    name="pixart",
    title="PixArt-alpha",
    source=(
        Source(
            "2310.00426",
            "PixArt-alpha: Fast Training of Diffusion Transformer for Photorealistic Text-to-Image Synthesis",
            code="PixArt-alpha/PixArt-alpha",
            at="section 2.3, figure 4",
        ),
        *DIT.source,
    ),
    sizes={
        "XL/2": {},
        "XL/2-512": {"shape": (3, 512, 512)},
        "XL/2-1024": {
            "shape": (3, 1024, 1024),
            "network.embed.positions.0.scale": 0.5,
            "conditions.size": (Spec(Sizes, {"groups": (2, 1), "usual": (1024.0, 1024.0, 1.0)}), "modulate"),
        },
    },
    tiny={
        **DIT.tiny,
        "network.backbone.block.cross.heads": 4,
        "conditions": {"text": (CAPTION.but({"features": 64, "length": 48}), "cross")},
    },
    facts=(
        Fact("parameters", "XL/2", 610_856_096, 0, "official code, counted; section 3.3: 611 M"),
        Fact("parameters", "XL/2-512", 610_856_096, 0, "official code, counted"),
        Fact("parameters", "XL/2-1024", 611_349_152, 0, "official code with its two size embedders, counted"),
        Fact("tokens", "XL/2", 256, 0, "section 3.1"),
        Fact("tokens", "XL/2-1024", 4096, 0, "section 3.1"),
        Fact("steps", "XL/2", 20, 0, "appendix A.5"),
    ),
)
