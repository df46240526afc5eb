"""GP-MoLFormer: a causal language model of SMILES whose attention is a sum over random features, with rotary positions.

Ross et al. 2024, arXiv:2405.04912, section 3; a block normed after each half, an MLP no wider than the stream, features, a table of 2,362 rows and the head's
inner layer as in the published configuration and MoLFormer's code (arXiv:2106.09553). Its symbols are not shipped: the table here spells what is rare sign by
sign. Dropout of the embedding is left out.
"""

from ...backbones.attention import FeatureAttention
from ...backbones.blocks import PostNorm
from ...backbones.embed import Embed
from ...backbones.mlp import Mlp
from ...codecs.symbols import Symbols
from ...core.spec import Spec
from ...heads.categorical import CategoricalHead
from ...system.recipe import Fact, Source
from ..text.llama import RECIPE as LLAMA

RECIPE = LLAMA.but(
    {
        "codec": Spec(Symbols, {"alphabet": "smiles", "pieces": 2360}),
        "shape": (202,),
        "network.width": 768,
        "network.embed": Spec(Embed, {"hidden": False}),
        "network.backbone.depth": 12,
        "network.backbone.final": "layer",
        "network.backbone.eps": 1e-5,
        "network.backbone.rotary.head_width": 64,
        "network.backbone.rotary.interleaved": False,
        "network.backbone.block": Spec(
            PostNorm,
            {"mixer": Spec(FeatureAttention, {"heads": 12, "features": 32}), "mlp": Spec(Mlp, {"ratio": 1.0, "activation": "gelu"}), "dropout": 0.1},
        ),
        "network.head": Spec(CategoricalHead, {"transform": True, "bias": False, "eps": 1e-12}),
    },
    name="gp-molformer",
    title="GP-MoLFormer",
    modality="molecule",
    source=(
        Source("2405.04912", "GP-MoLFormer: A Foundation Model For Molecular Generation", code="IBM/gp-molformer", at="section 3, published configuration"),
        Source("2106.09553", "Large-Scale Chemical Language Representations Capture Molecular Structure and Properties", code="IBM/molformer"),
    ),
    training={"batch": 25_600, "lr": 1.6e-4, "weight_decay": 0.0, "steps": 170_000},
    sizes={"46.8M": {}},
    tiny={
        "codec.pieces": None,
        "codec.long": "cut",
        "shape": (64,),
        "network.width": 128,
        "network.backbone.depth": 4,
        "network.backbone.rotary.head_width": 32,
        "network.backbone.block.mixer.heads": 4,
        "network.backbone.block.dropout": 0.0,
        "training": {"batch": 64, "lr": 2e-3, "steps": 2000},
    },
    facts=(
        Fact("parameters", "46.8M", 46_781_184, 0, "published configuration, counted; abstract: 46.8 M"),
        Fact("tokens", "46.8M", 202, 0, "published configuration"),
    ),
)
