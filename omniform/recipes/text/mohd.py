"""MoHD: LLaMA whose linear maps read, for each token, some sub-dimensions of their input: shared ones and ones that a router picks.

Chen et al. 2024, arXiv:2412.05644 (abstract and introduction; the equations could not be read, so that `RoutedLinear` says what is ours in it). Half of
width 1,024 is read at "50%"; "x2" and "x4" are expansions of which as much is read as the dense model has.
"""

from ...backbones.mlp import RoutedLinear
from ...core.spec import Spec
from ...system.recipe import Fact, Source
from .llama import RECIPE as LLAMA

UNREAD = "depth and width are not in what could be read of the paper; 24 x 1,024 is ours"
MAPS = ("network.backbone.block.mixer.linear", "network.backbone.block.mlp.linear")
ROUTED = Spec(RoutedLinear, {"groups": 16, "shared": 4, "top": 4})

RECIPE = LLAMA.but(
    {
        "network.width": 1024,
        "network.head.tied": True,
        "network.backbone.depth": 24,
        "network.backbone.rotary.head_width": 64,
        "network.backbone.block.mixer.heads": 16,
        "network.backbone.block.mixer.linear": ROUTED,
        "network.backbone.block.mlp.hidden": 2816,
        "network.backbone.block.mlp.linear": ROUTED,
    },
    name="mohd",
    title="MoHD",
    source=(Source("2412.05644", "Mixture of Hidden-Dimensions Transformer", at="abstract"), *LLAMA.source[:1]),
    sizes={
        "355M-50%": {},
        "355M-x2": {"network.width": 2048, "network.backbone.block.mixer.head_width": 64, **dict.fromkeys(MAPS, ROUTED.but({"fused": False}))},
        "355M-x4": {
            "network.width": 4096,
            "network.backbone.block.mixer.head_width": 64,
            **dict.fromkeys(MAPS, ROUTED.but({"shared": 2, "top": 2, "fused": False})),
        },
    },
    tiny={
        **LLAMA.tiny,
        "network.backbone.block.mixer.kv_heads": None,
        "network.backbone.block.mixer.linear": ROUTED.but({"groups": 4, "shared": 1, "top": 1}),
        "network.backbone.block.mlp.linear": ROUTED.but({"groups": 4, "shared": 1, "top": 1}),
    },
    facts=(
        Fact("parameters", "355M-50%", 355e6, 0.01, "label of the dense model", differs=UNREAD),
        Fact("tokens", "355M-50%", 2048, 0, "LLaMA's code"),
    ),
)
