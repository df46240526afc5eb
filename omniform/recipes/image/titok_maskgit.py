"""MaskGIT over TiTok's codes: 32 to 128 tokens a picture, eight questions.

Yu et al. 2024, arXiv:2406.07550, section 3.3; networks and masking schedule of the official code: a BERT, whose class is a token at a first place of its own,
normed with the codes; S-128 uses a U-ViT with long skips (arXiv:2209.12152). Guidance and decoding as its configurations and its script for ImageNet
(sample_imagenet_titok.py) have them: noise and temperature fall together, and what is shown is chosen by logits. Of its training, dropout within attention and
the tenth that places count which were shown are not here.
"""

from ...backbones.attention import Attention
from ...backbones.blocks import PreNorm
from ...backbones.mlp import Mlp
from ...backbones.stack import Stack
from ...core.spec import Spec
from ...heads.categorical import CategoricalHead
from ...system.recipe import Fact
from ..codec.titok import RECIPE as TITOK
from .maskgit import RECIPE as MASKGIT

UVIT = Spec(
    Stack,
    {
        "depth": 21,
        "skips": True,
        "eps": 1e-5,
        "block": Spec(PreNorm, {"mixer": Spec(Attention, {"heads": 16, "biases": "o"}), "mlp": Spec(Mlp, {"activation": "gelu"}), "eps": 1e-5}),
    },
)

RECIPE = MASKGIT.but(
    {
        "codec": TITOK.codec,
        "network.embed.prefix": 1,
        "network.embed.kinds": 2,
        "network.backbone.block.mlp.activation": "gelu",
        "network.head": Spec(CategoricalHead),
        "process.schedule": "arccos",
        "process.choose": "logit",
        "process.noise": 9.5,
        "process.temperature": 9.5,
        "process.cool": (0.5, 0.8),
        "guidance.scale": 5.5,
        "guidance.ramp": "rising",
        "drop": 0.1,
        "training": {"batch": 2048, "lr": 2e-4, "warmup": 10_000, "weight_decay": 0.03, "betas": (0.9, 0.96), "clip": 1.0, "steps": 500_000},
    },
    name="titok-maskgit",
    title="MaskGIT over TiTok",
    source=(*TITOK.source, *MASKGIT.source),
    sizes={
        "L-32": {},
        "B-64": {"codec": TITOK.sized("B-64").codec, "process.noise": 11.0, "process.temperature": 11.0, "guidance.scale": 4.0},
        "S-128": {
            "codec": TITOK.sized("S-128").codec,
            "network.width": 1024,
            "network.backbone": UVIT,
            "network.embed.norm": False,
            "network.embed.kinds": 0,
            "process.steps": 64,
            "process.noise": 2.8,
            "process.temperature": 2.8,
            "guidance.scale": 6.9,
            "guidance.ramp": "power_cosine",
        },
    },
    tiny={
        "codec": TITOK.sized("tiny").codec,
        "shape": (1, 28, 28),
        "network.width": 128,
        "network.backbone.depth": 6,
        "network.backbone.block.mixer.heads": 4,
        "network.backbone.block.dropout": 0.0,
        "process.noise": 1.0,
        "process.temperature": 1.0,
        "process.smoothing": 0.0,
        "guidance.scale": 2.0,
        "training": {"batch": 64, "lr": 1e-3, "warmup": 300, "steps": 3000},
    },
    facts=(
        Fact("parameters", "L-32", 177_202_432, 0, "official code, counted; table 2: 177 M"),
        Fact("parameters", "B-64", 177_227_008, 0, "official code, counted"),
        Fact("parameters", "S-128", 294_990_848, 0, "official code, counted"),
        Fact("parameters", "S-128", 287e6, 0.01, "table 2", differs="the network of the official code and configuration holds 295.0 M"),
        Fact("tokens", "L-32", 32, 0, "table 2"),
        Fact("steps", "L-32", 8, 0, "table 2"),
        Fact("steps", "S-128", 64, 0, "table 2"),
    ),
)
