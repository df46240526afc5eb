"""Qihoo-T2X (PT-DiT): one proxy a window attends to the others and tells every token; windows see to the detail.

Wang et al. 2024, arXiv:2409.04005 (v2); block of section 3.2 and equations 1 and 2, sizes of table 4, windows of section 3.2.3 (always 8 x 8 proxies a
picture). One modulation for all blocks, as figure 4 draws it. What T5 says of a caption, 120 tokens, goes through PixArt's two linear maps.
"""

from ...backbones.attention import CrossAttention, ProxyAttention
from ...backbones.blocks import PreNorm
from ...backbones.mlp import Mlp
from ...conditions.caption import Caption
from ...core.spec import Spec
from ...processes.flow import Flow
from ...processes.paths import Betas
from ...processes.solvers import DpmPP2M
from ...system.recipe import Fact, Source
from .dit import RECIPE as DIT

FEW = "the block as described has 28 D^2 and a shared modulation; the paper's count has 0.4 to 2.2 D^2 a block more and does not say where"
CUT = "one window attention of the two in the block is not in the paper's figure (16.5 D^2 a token; as drawn 20 D^2)"

RECIPE = DIT.but(
    {
        "conditions": {"text": (Spec(Caption, {"features": 4096, "length": 120}), "cross")},
        "network.width": 864,
        "network.head.learned_variance": False,
        "network.backbone.shared": True,
        "network.backbone.block": Spec(
            PreNorm,
            {
                "mixer": Spec(ProxyAttention, {"heads": 12, "window": (2, 2)}),
                "cross": Spec(CrossAttention, {"heads": 12}),
                "mlp": Spec(Mlp),
                "modulate": "single",
            },
        ),
        "process": Spec(Flow, {"path": Spec(Betas), "predict": "velocity", "times": "levels", "solver": Spec(DpmPP2M), "steps": 50}),
        "guidance.scale": 6.0,
        "training": {"batch": 10240, "lr": 2e-5, "warmup": 0, "shape": "constant", "ema": 0.9999, "steps": 100_000},
    },
    name="qihoo-t2x-pt-dit",
    title="Qihoo-T2X (PT-DiT)",
    source=(
        Source(
            "2409.04005",
            "Qihoo-T2X: An Efficiency-Focused Diffusion Transformer via Proxy Tokens for Text-to-Any-Task",
            code="360CVGroup/Qihoo-T2X",
            at="section 3.2, table 4",
        ),
        *DIT.source,
    ),
    sizes={
        "L": {},
        "L-512": {"shape": (3, 512, 512), "network.backbone.block.mixer.window": (4, 4)},
        "B": {"network.width": 640, "network.backbone.depth": 12, "network.backbone.block.mixer.heads": 10, "network.backbone.block.cross.heads": 10},
        "XL": {"network.width": 1152, "network.backbone.block.mixer.heads": 16, "network.backbone.block.cross.heads": 16},
        "H": {"network.width": 1440, "network.backbone.depth": 30, "network.backbone.block.mixer.heads": 20, "network.backbone.block.cross.heads": 20},
    },
    tiny={
        **DIT.tiny,
        "network.backbone.block.mixer.window": (7, 7),
        "network.backbone.block.cross.heads": 4,
        "conditions.text.0.features": 64,
        "conditions.text.0.length": 48,
    },
    facts=(
        Fact("parameters", "B", 144e6, 0.01, "table 4"),
        Fact("parameters", "L", 605e6, 0.01, "table 4", differs=FEW),
        Fact("parameters", "XL", 1142e6, 0.01, "table 4", differs=FEW),
        Fact("parameters", "H", 1795e6, 0.01, "table 4", differs=FEW),
        Fact("multiply_adds", "L", 101.7e9, 0.02, "figure 2", differs=CUT),
        Fact("multiply_adds", "L-512", 366.1e9, 0.02, "figure 2", differs=CUT),
        Fact("tokens", "L-512", 1024, 0, "section 3.2.3"),
        Fact("steps", "L", 50, 0, "appendix A.1"),
    ),
)
