"""GPHT: four causal transformers over the same 48-point tokens, coarse to fine, each for what those before it left over.

Liu et al. 2024, arXiv:2402.16516; stages and their rates of section 3.3, rolling forecast of section 3.4; max-pooling, the chain's shift, instance norm without
weights and all widths as in the official code, whose script makes no statement of size. Dropout of the embedding is left out.
"""

from ...backbones.attention import Attention
from ...backbones.blocks import PostNorm
from ...backbones.embed import Embed, Pooled
from ...backbones.mlp import Mlp
from ...backbones.positions import SinCosPositions
from ...backbones.stack import Stack
from ...codecs.series import Series
from ...core.spec import Spec
from ...heads.point import PointHead
from ...processes.forecast import Rolling
from ...system.network import Network, Tower
from ...system.recipe import Fact, Recipe, Source

BLOCK = Spec(PostNorm, {"mixer": Spec(Attention, {"heads": 8}), "mlp": Spec(Mlp, {"activation": "gelu"}), "eps": 1e-5, "dropout": 0.1})
EMBED = Spec(Embed, {"hidden": False, "enter": Spec(Pooled, {"rate": 8}), "positions": (Spec(SinCosPositions),)})
PARTS = {"backbone": Spec(Stack, {"depth": 3, "eps": 1e-5, "block": BLOCK}), "head": Spec(PointHead, {"small": 1.0})}

RECIPE = Recipe(
    name="gpht",
    title="GPHT",
    family="autoregressive",
    modality="timeseries",
    source=(
        Source(
            "2402.16516", "Generative Pretrained Hierarchical Transformer for Time Series Forecasting", code="icantnamemyself/GPHT", at="sections 3.3 and 3.4"
        ),
    ),
    codec=Spec(Series, {"token": 48}),
    shape=(384,),
    network=Spec(
        Network,
        {
            "width": 512,
            "init": "torch",
            "embed": EMBED,
            **PARTS,
            "towers": {
                "rate4": Spec(Tower, {"embed": EMBED.but({"enter.rate": 4}), **PARTS}),
                "rate2": Spec(Tower, {"embed": EMBED.but({"enter.rate": 2}), **PARTS}),
                "rate1": Spec(Tower, {"embed": EMBED.but({"enter.rate": 1}), **PARTS}),
            },
        },
    ),
    process=Spec(Rolling, {"context": 7, "chain": ("main", "rate4", "rate2", "rate1")}),
    training={"batch": 1024, "lr": 1e-4, "weight_decay": 0.0, "steps": 100_000},
    sizes={"4x3x512": {}},
    tiny={
        "codec.token": 24,
        "shape": (192,),
        "network.width": 64,
        "network.backbone.depth": 2,
        "network.backbone.block.mixer.heads": 4,
        "network.backbone.block.dropout": 0.0,
        "network.towers.rate4.backbone.depth": 2,
        "network.towers.rate4.backbone.block.mixer.heads": 4,
        "network.towers.rate4.backbone.block.dropout": 0.0,
        "network.towers.rate2.backbone.depth": 2,
        "network.towers.rate2.backbone.block.mixer.heads": 4,
        "network.towers.rate2.backbone.block.dropout": 0.0,
        "network.towers.rate1.backbone.depth": 2,
        "network.towers.rate1.backbone.block.mixer.heads": 4,
        "network.towers.rate1.backbone.block.dropout": 0.0,
        "training": {"batch": 32, "lr": 1e-3, "steps": 2000},
    },
    facts=(
        Fact("parameters", "4x3x512", 37_977_280, 0, "official code, counted: four stages of three layers; the paper prints none"),
        Fact("tokens", "4x3x512", 8, 0, "official script: a window of 336 points and the token after it, 48 points each"),
    ),
)
