"""FlowAR: the next scale of an ordinary latent, all its tokens drawn together by a flow.

Ren et al. 2024, arXiv:2412.15205; scales of section 3.2 (the latent made smaller, no tokenizer of its own), spatial adaLN of section 3.3; network,
sizes and guidance of the official code. Its middle map and second table of places (0.6 M at S) are not here; B is not in the code.
"""

from ...backbones.attention import Attention, CrossAttention
from ...backbones.blocks import PreNorm, ToldTwice
from ...backbones.embed import Embed, TimeEmbedding
from ...backbones.mlp import Mlp
from ...backbones.norms import AdaLN
from ...backbones.positions import LearnedPositions, Rotary
from ...backbones.stack import Stack
from ...codecs.resized import Resized
from ...conditions.guidance import ClassifierFree
from ...core.spec import Spec
from ...heads.field import FieldHead
from ...processes.flow import Flow
from ...processes.paths import Linear
from ...processes.solvers import Euler
from ...system.recipe import Fact, Source
from ..codec.kl import RECIPE as KL
from .var import RECIPE as VAR

AXES = ("y", "x")
TURNED = Spec(Rotary, {"head_width": 64, "axes": AXES})
SWIGLU = Spec(Mlp, {"hidden": 2048, "activation": "swiglu"})
PLACED = Spec(PreNorm, {"mixer": Spec(Attention, {"heads": 16, "biases": "o"}), "mlp": SWIGLU.but({"hidden": 2730}), "norm": "rms", "modulate": "zero"})
TOLD = Spec(
    ToldTwice, {"mixer": Spec(Attention, {"heads": 16, "biases": "o"}), "cross": Spec(CrossAttention, {"heads": 16}), "mlp": SWIGLU.but({"hidden": 2730})}
)
FLOW = Spec(Flow, {"path": Spec(Linear), "predict": "velocity", "per": "scale", "solver": Spec(Euler), "steps": 25})

RECIPE = VAR.but(
    {
        "codec": KL.codec.but({"stride": 16, "bottleneck": Spec(Resized, {"scales": (1, 2, 4, 8, 16), "channels": 16})}),
        "network.width": 768,
        "network.embed": Spec(Embed, {"positions": (Spec(LearnedPositions),)}),
        "network.backbone": Spec(
            Stack,
            {
                "depth": 12,
                "final": "rms",
                "rotary": TURNED,
                "block": Spec(PreNorm, {"mixer": Spec(Attention, {"heads": 12}), "mlp": SWIGLU, "norm": "rms", "modulate": Spec(AdaLN, {"zero": False})}),
            },
        ),
        "network.head": Spec(
            FieldHead,
            {
                "hidden": 1024,
                "time": Spec(TimeEmbedding),
                "inner": FLOW,
                "network": Spec(Stack, {"depth": 2, "final": "adaln", "rotary": TURNED, "block": PLACED}),
            },
        ),
        "guidance": Spec(ClassifierFree, {"scale": 4.3, "ramp": "rising"}),
        "training": {"batch": 2048, "lr": 4e-4, "warmup": 62_500, "weight_decay": 0.02, "ema": 0.9999, "steps": 250_000},
    },
    name="flowar",
    title="FlowAR",
    source=(
        Source("2412.15205", "FlowAR: Scale-wise Autoregressive Image Generation Meets Flow Matching", code="OliverRensu/FlowAR", at="sections 3.2 and 3.3"),
        *VAR.source,
    ),
    sizes={
        "S": {},
        "L": {
            "network.width": 1024,
            "network.backbone.depth": 16,
            "network.backbone.block.mixer.heads": 16,
            "network.backbone.block.mlp.hidden": 2730,
            "network.head.cross": True,
            "network.head.network": Spec(Stack, {"depth": 12, "final": "adaln", "rotary": TURNED, "block": TOLD}),
            "guidance.scale": 2.4,
        },
        "H": {
            "network.width": 1536,
            "network.backbone.depth": 30,
            "network.backbone.rotary.head_width": 96,
            "network.backbone.block.mixer.heads": 16,
            "network.backbone.block.mlp.hidden": 4096,
            "network.head.cross": True,
            "network.head.hidden": 1536,
            "network.head.network": Spec(Stack, {"depth": 12, "final": "adaln", "rotary": TURNED, "block": TOLD.but({"mixer.heads": 24, "mlp.hidden": 4096})}),
            "network.head.inner.steps": 50,
            "guidance.scale": 2.4,
        },
    },
    tiny={
        "codec": KL.sized("tiny").codec.but({"bottleneck": Spec(Resized, {"scales": (1, 2, 4, 7), "channels": 4})}),
        "shape": (1, 28, 28),
        "network.width": 128,
        "network.backbone.depth": 5,
        "network.backbone.rotary.head_width": 32,
        "network.backbone.block.mixer.heads": 4,
        "network.backbone.block.mlp.hidden": 344,
        "network.head.hidden": 128,
        "network.head.network.depth": 2,
        "network.head.network.rotary.head_width": 32,
        "network.head.network.block.mixer.heads": 4,
        "network.head.network.block.mlp.hidden": 344,
        "network.head.inner.steps": 12,
        "guidance.scale": 2.0,
        "training": {"batch": 64, "lr": 2e-3, "steps": 3000},
    },
    facts=(
        Fact("parameters", "S", 171.72e6, 0.01, "official code, counted; table 1: 170 M"),
        Fact("parameters", "L", 586.86e6, 0.01, "official code, counted; table 1: 589 M"),
        Fact("parameters", "H", 1913.3e6, 0.01, "official code, counted; table 1: 1.9 B"),
        Fact("tokens", "S", 341, 0, "official code: scales 1, 2, 4, 8 and 16"),
        Fact("steps", "S", 5, 0, "official code: one question a scale"),
    ),
)
