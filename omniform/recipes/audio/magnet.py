"""MAGNeT: residual codes of sound, book after book, each shown in few questions with runs of three places hidden together.

Ziv et al. 2024, arXiv:2401.04577, sections 3.1 to 3.4; official code (lm_magnet.py, solver and model configurations): one table and one map a book and no
biases, later books see five frames to either side, 20 questions for the first book and 10 for each other, temperature 3 and guidance 10 that fall over a
book. The text encoder (T5) is not part of it and EnCodec is a convolutional autoencoder of its strides and books, without its LSTM and its critic. Rescoring
by an autoregressive model (section 3.5) is left out, as in the code. The tiny one writes hours of traffic, which nothing is told of.
"""

from ...backbones.attention import Attention, CrossAttention
from ...backbones.blocks import PreNorm
from ...backbones.embed import Embed
from ...backbones.mlp import Mlp
from ...backbones.positions import SinCosPositions
from ...backbones.stack import Stack
from ...codecs.bottleneck import RVQ
from ...codecs.waves import Waves
from ...conditions.caption import Caption
from ...conditions.guidance import ClassifierFree
from ...core.spec import Spec
from ...heads.categorical import CategoricalHead
from ...processes.spans import Spans
from ...system.near import Near
from ...system.network import Network
from ...system.recipe import Fact, Recipe, Source

TEXT = Spec(Caption, {"features": 768, "length": 128, "into": "linear"})
BLOCK = {"mixer": Spec(Attention, {"heads": 16, "biases": ""}), "cross": Spec(CrossAttention, {"heads": 16, "biases": ""})}
MLP = Spec(Mlp, {"activation": "gelu", "bias": False})
HEADS = "network.backbone.block.mixer.heads", "network.backbone.block.cross.heads"
DEEP = {"network.backbone.depth": 48}

RECIPE = Recipe(
    name="magnet",
    title="MAGNeT",
    family="masked",
    modality="audio",
    source=(
        Source("2401.04577", "Masked Audio Generation using a Single Non-Autoregressive Transformer", code="facebookresearch/audiocraft", at="section 3"),
    ),
    codec=Spec(Waves, {"factors": (4, 4, 5, 8), "width": 64, "bottleneck": Spec(RVQ, {"codes": 2048, "channels": 128, "books": 4})}),
    shape=(1, 1, 320_000),
    conditions={"text": (TEXT, "cross")},
    network=Spec(
        Network,
        {
            "width": 1024,
            "init": "normal",
            "embed": Spec(Embed, {"hidden": False, "extra_ids": 1, "positions": (Spec(SinCosPositions),)}),
            "backbone": Spec(Stack, {"depth": 24, "eps": 1e-5, "block": Spec(PreNorm, {**BLOCK, "mlp": MLP, "eps": 1e-5})}),
            "head": Spec(CategoricalHead, {"bias": False}),
            "towers": {"near": Spec(Near, {"axis": "time", "reach": 5})},
        },
    ),
    process=Spec(Spans, {"counts": (20, 10, 10, 10), "temperature": 3.0, "top_p": 0.9}),
    guidance=Spec(ClassifierFree, {"scale": 10.0, "ramp": "falling"}),
    drop=0.3,
    training={"batch": 576, "lr": 1e-4, "warmup": 4000, "betas": (0.9, 0.95), "weight_decay": 0.1, "clip": 1.0, "ema": 0.99, "steps": 1_000_000},
    sizes={
        "small": {},
        "medium": {**DEEP, "network.width": 1536, HEADS[0]: 24, HEADS[1]: 24},
        "large": {**DEEP, "network.width": 2048, HEADS[0]: 32, HEADS[1]: 32},
        "small-30s": {"shape": (1, 1, 960_000), "process.counts": (60, 10, 10, 10)},
    },
    tiny={
        "codec": Spec(Waves, {"factors": (2, 2), "width": 16, "bottleneck": Spec(RVQ, {"codes": 64, "channels": 8, "books": 3})}),
        "shape": (1, 1, 192),
        "conditions": {},
        "network.width": 128,
        "network.backbone.depth": 4,
        "network.backbone.block": Spec(PreNorm, {"mixer": Spec(Attention, {"heads": 4, "biases": ""}), "mlp": MLP}),
        "process": Spec(Spans, {"counts": (8, 4, 4)}),
        "training": {"batch": 64, "lr": 2e-3, "steps": 3000},
    },
    facts=(
        Fact("parameters", "small", 420.4e6, 0.001, "official code and configuration, counted"),
        Fact("parameters", "small", 300e6, 0.01, "section 4", differs="it counts no cross-attention (302 M of the blocks without it)"),
        Fact("parameters", "medium", 1838.7e6, 0.001, "official code and configuration, counted"),
        Fact("parameters", "medium", 1.5e9, 0.01, "section 4", differs="it counts no cross-attention, embeddings or heads (1.36 B without)"),
        Fact("parameters", "large", 3257.0e6, 0.001, "official configuration, counted"),
        Fact("tokens", "small", 500, 0, "section 4: 10 s at 50 Hz"),
        Fact("steps", "small", 50, 0, "section 4: 20 and 10, 10, 10"),
        Fact("steps", "small-30s", 90, 0, "official configuration: 60 and 10, 10, 10"),
    ),
)
