"""Time-MoE: a decoder over single points of a series, with sparse experts and heads that look 1, 8, 32 and 64 points ahead.

Shi et al. 2024, arXiv:2409.16040; embedding of equation 2, experts of equations 4 to 6, heads and Huber's loss of section 3.2.2, choice of heads of 3.3;
biases, head widths and hidden widths (experts half as wide as the shared one, gates not renormalised) as in the official code. The balance due is a layer's
own here, of all layers together there: its weight is shared out over the layers.
"""

from ...backbones.embed import Embed, Gated
from ...backbones.mlp import Experts, Mlp
from ...codecs.series import Series
from ...core.spec import Spec
from ...heads.forecast import ForecastHead
from ...processes.forecast import Forecast
from ...system.recipe import Fact, Source
from ..text.llama import RECIPE as LLAMA

EXPERT = Spec(Mlp, {"hidden": 768, "activation": "swiglu", "bias": False})
HORIZONS = (1, 8, 32, 64)

RECIPE = LLAMA.but(
    {
        "codec": Spec(Series),
        "shape": (4096,),
        "network.width": 384,
        "network.embed": Spec(Embed, {"hidden": False, "enter": Spec(Gated)}),
        "network.backbone.depth": 12,
        "network.backbone.rotary.head_width": 32,
        "network.backbone.rotary.interleaved": False,
        "network.backbone.block.mixer.heads": 12,
        "network.backbone.block.mixer.biases": "qkv",
        "network.backbone.block.mlp": Spec(
            Experts,
            {"num": 8, "top": 2, "mlp": EXPERT, "shared": 1, "shared_mlp": EXPERT.but({"hidden": 1536}), "gated": True, "balance": 0.04 / 12},
        ),
        "network.head": Spec(ForecastHead, {"horizons": HORIZONS}),
        "process": Spec(Forecast, {"horizons": HORIZONS}),
    },
    name="time-moe",
    title="Time-MoE",
    modality="timeseries",
    source=(
        Source(
            "2409.16040",
            "Time-MoE: Billion-Scale Time Series Foundation Models with Mixture of Experts",
            code="Time-MoE/Time-MoE",
            at="sections 3.2 and 3.3, table 2",
        ),
    ),
    training={"batch": 1024, "lr": 1e-3, "warmup": 10_000, "betas": (0.9, 0.95), "weight_decay": 0.1, "clip": 1.0, "steps": 100_000},
    sizes={
        "base": {},
        "large": {
            "network.width": 768,
            "network.backbone.rotary.head_width": 64,
            "network.backbone.block.mlp.mlp.hidden": 1536,
            "network.backbone.block.mlp.shared_mlp.hidden": 3072,
        },
        "ultra": {
            "network.width": 1024,
            "network.backbone.depth": 36,
            "network.backbone.rotary.head_width": 64,
            "network.backbone.block.mixer.heads": 16,
            "network.backbone.block.mlp.mlp.hidden": 2048,
            "network.backbone.block.mlp.shared_mlp.hidden": 4096,
            "network.backbone.block.mlp.balance": 0.04 / 36,
        },
    },
    tiny={
        "shape": (192,),
        "network.width": 64,
        "network.backbone.depth": 3,
        "network.backbone.rotary.head_width": 16,
        "network.backbone.block.mixer.heads": 4,
        "network.backbone.block.mlp.num": 4,
        "network.backbone.block.mlp.mlp.hidden": 64,
        "network.backbone.block.mlp.shared_mlp.hidden": 128,
        "network.backbone.block.mlp.balance": 0.04 / 3,
        "training": {"batch": 16, "lr": 2e-3, "steps": 1500},
    },
    facts=(
        Fact("parameters", "base", 113_352_192, 0, "published configuration, counted; table 2: 113 M"),
        Fact("active_parameters", "base", 49_651_200, 0, "published configuration, counted; table 2: 50 M"),
        Fact("parameters", "large", 453_196_800, 0, "published configuration, counted; table 2: 453 M"),
        Fact("active_parameters", "large", 198_392_832, 0, "published configuration, counted; table 2: 200 M"),
        Fact("parameters", "ultra", 2.4e9, 0.01, "table 2: 2.4 B"),
        Fact("active_parameters", "ultra", 1.1e9, 0.04, "table 2: 1.1 B"),
        Fact("tokens", "base", 4096, 0, "section 4: context of 4,096 points, one a token"),
    ),
)
