"""SD3: text and picture as two streams with weights of their own and one attention (MM-DiT), trained as a rectified flow with logit-normal times.

Esser et al. 2024, arXiv:2403.03206; block of section 4 and figure 2, width 64 times depth and as many heads; times of section 3.1, shift of equation 23; the
text of the last block is only read, and norms of queries and keys are of the larger sizes (official code; section 5.3.2). Text encoders (two CLIP, T5) are not
part of it.
"""

from ...backbones.attention import Attention
from ...backbones.blocks import PreNorm
from ...backbones.mlp import Mlp
from ...conditions.caption import Caption
from ...core.spec import Spec
from ...processes.flow import Flow
from ...processes.paths import Linear
from ...processes.solvers import Euler
from ...system.recipe import Fact, Source
from .dit import RECIPE as DIT

TEXT = Spec(Caption, {"features": 4096, "length": 154, "into": "linear", "mask": False, "pool": "given", "pooled": 2048})
JOINT = Spec(PreNorm, {"mixer": Spec(Attention, {"heads": 24}), "mlp": Spec(Mlp), "modulate": "zero", "streams": 2})
FLOW = Spec(Flow, {"path": Spec(Linear), "times": "logit_normal", "solver": Spec(Euler), "grid": "shifted", "steps": 50})
TIED = "network.backbone.block.mixer.", "network.backbone.last.mixer."

RECIPE = DIT.but(
    {
        "codec.inner.bottleneck.channels": 16,
        "conditions": {"text": (TEXT, ("joint", "modulate"))},
        "network.width": 1536,
        "network.backbone.depth": 24,
        "network.backbone.block": JOINT,
        "network.backbone.last": JOINT.but({"ends": True}),
        "network.head.learned_variance": False,
        "process": FLOW,
        "guidance.scale": 5.0,
        "training": {"batch": 4096, "lr": 1e-4, "warmup": 1000, "shape": "constant", "ema": 0.9999, "precision": "bf16", "steps": 500_000},
    },
    name="sd3",
    title="Stable Diffusion 3 (MM-DiT)",
    family="flow",
    drop=0.1,
    source=(
        Source(
            "2403.03206", "Scaling Rectified Flow Transformers for High-Resolution Image Synthesis", code="Stability-AI/sd3-ref", at="sections 3, 4 and 5.3"
        ),
        *DIT.source,
    ),
    ungraded={"network.towers.main.backbone.last.mixer.norm.q.1": "the text of the last block asks nothing"},
    sizes={
        "2B": {},
        "2B-1024": {"shape": (3, 1024, 1024), "network.embed.positions.0.scale": 0.25, "process.shift": 3.0},
        "d15": {"network.width": 960, "network.backbone.depth": 15, TIED[0] + "heads": 15, TIED[1] + "heads": 15},
        "d18": {"network.width": 1152, "network.backbone.depth": 18, TIED[0] + "heads": 18, TIED[1] + "heads": 18},
        "d21": {"network.width": 1344, "network.backbone.depth": 21, TIED[0] + "heads": 21, TIED[1] + "heads": 21},
        "d30": {"network.width": 1920, "network.backbone.depth": 30, TIED[0] + "heads": 30, TIED[1] + "heads": 30},
        "8B": {
            "network.width": 2432,
            "network.backbone.depth": 38,
            "network.backbone.block.mixer": Spec(Attention, {"heads": 38, "qk_norm": "rms"}),
            "network.backbone.last.mixer": Spec(Attention, {"heads": 38, "qk_norm": "rms"}),
        },
    },
    tiny={
        **DIT.tiny,
        "process": FLOW.but({"steps": 25}),
        "network.backbone.block.mixer": Spec(Attention, {"heads": 4, "qk_norm": "rms"}),
        "network.backbone.last.mixer": Spec(Attention, {"heads": 4, "qk_norm": "rms"}),
        "network.backbone.depth": 4,
        "conditions": {"text": (TEXT.but({"features": 64, "length": 48, "pooled": 64}), ("joint", "modulate"))},
    },
    facts=(
        Fact("parameters", "2B", 2_028_328_000, 0, "section 5.3 and figure 8: 2 B; diffusers' module of 24 blocks, counted"),
        Fact("parameters", "d15", 496_066_624, 0, "diffusers' module of 15 blocks, counted"),
        Fact("parameters", "d18", 856_159_552, 0, "diffusers' module of 18 blocks, counted"),
        Fact("parameters", "d21", 1_358_950_720, 0, "the same module by formula"),
        Fact("parameters", "d30", 3_962_392_384, 0, "the same module by formula"),
        Fact("parameters", "8B", 8_056_617_792, 1e-5, "section 5.3: 8 B; diffusers' module of 38 blocks, counted, which has no norms of queries and keys"),
        Fact("tokens", "2B-1024", 4096, 0, "1024 pixels by 16"),
        Fact("steps", "2B", 50, 0, "official code"),
    ),
)
