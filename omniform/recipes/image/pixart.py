"""PixArt-alpha: DiT with cross-attention to what is wanted, and one modulation for all blocks.

Chen et al. 2023, arXiv:2310.00426; block of section 2.3 and figure 4; sizes of section 3.3. The caption's encoder is not here: the class label stands at its
place, as in the
first stage of the paper's training, one token for 120.
"""

from ...backbones.attention import Attention, CrossAttention
from ...backbones.blocks import PreNorm
from ...backbones.mlp import Mlp
from ...conditions.conditioning import ClassLabel
from ...core.spec import Spec
from ...processes.flow import Flow
from ...processes.paths import Betas
from ...processes.solvers import DpmPP2M
from ...system.recipe import Fact, Source
from .dit import RECIPE as DIT

RECIPE = DIT.but(
    {
        "conditions": {"label": (Spec(ClassLabel, {"classes": 1000}), "cross")},
        "network.backbone.shared": True,
        "network.backbone.block": Spec(
            PreNorm, {"mixer": Spec(Attention, {"heads": 16}), "cross": Spec(CrossAttention, {"heads": 16}), "mlp": Spec(Mlp), "modulate": "single"}
        ),
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
    sizes={"XL/2": {}, "XL/2-512": {"shape": (3, 512, 512)}, "XL/2-1024": {"shape": (3, 1024, 1024)}},
    tiny={**DIT.tiny, "network.backbone.block.cross.heads": 4},
    facts=(
        Fact(
            "parameters",
            "XL/2",
            610_856_096,
            0.01,
            "official code; section 3.3: 611 M (a class table for the caption's two linear maps; the last norm's own map)",
        ),
        Fact("tokens", "XL/2", 256, 0, "section 3.1"),
        Fact("tokens", "XL/2-1024", 4096, 0, "section 3.1"),
        Fact("steps", "XL/2", 20, 0, "appendix A.5"),
    ),
)
