"""HSTU, a generative recommender: the next item of a history, by attention that counts and does not normalise.

Zhai et al. 2024, arXiv:2402.17152, section 3, and the public experiments' configurations: item ids of MovieLens with learned places, cosines over 0.05 and a
sampled softmax. The clock of the time bias is the number of the event, where the data has no other axis. At "tiny" the items are bytes.
"""

from ...backbones.attention import Pointwise
from ...backbones.embed import Embed
from ...backbones.positions import LearnedPositions
from ...core.spec import Spec
from ...heads.items import ItemHead
from ...system.recipe import Fact, Source
from .gpt import RECIPE as GPT

RECIPE = GPT.but(
    {
        "codec.vocab": 26_745,
        "codec.start": 0,
        "codec.stop": None,
        "shape": (200,),
        "network.width": 256,
        "network.embed": Spec(Embed, {"hidden": False, "positions": (Spec(LearnedPositions),), "std": 0.32}),
        "network.backbone.depth": 4,
        "network.backbone.final": None,
        "network.backbone.block": Spec(Pointwise, {"heads": 4, "length": 211, "dropout": 0.2}),
        "network.head": Spec(ItemHead, {"temperature": 0.05, "negatives": 128}),
    },
    name="hstu",
    title="HSTU",
    source=(
        Source(
            "2402.17152",
            "Actions Speak Louder than Words: Trillion-Parameter Sequential Transducers for Generative Recommendations",
            code="facebookresearch/generative-recommenders",
            at="section 3, configs/ml-20m",
        ),
    ),
    training={"batch": 128, "lr": 1e-3, "betas": (0.9, 0.98), "weight_decay": 0.0, "shape": "constant", "steps": 110_000},
    sizes={
        "ML-20M": {},
        "ML-20M-large": {"network.backbone.depth": 16, "network.backbone.block.heads": 8},
        "ML-1M": {
            "codec.vocab": 3953,
            "network.width": 50,
            "network.backbone.depth": 2,
            "network.backbone.block.heads": 1,
        },
        "ML-1M-large": {
            "codec.vocab": 3953,
            "network.width": 50,
            "network.backbone.depth": 8,
            "network.backbone.block.heads": 2,
        },
    },
    tiny={
        "codec": GPT.sized("tiny").codec,
        "shape": (256,),
        "network.width": 128,
        "network.backbone.depth": 6,
        "network.backbone.block.length": 256,
        "network.backbone.block.dropout": 0.0,
        "network.head.negatives": 64,
        "training": {"batch": 32, "lr": 2e-3, "steps": 3000},
    },
    facts=(
        Fact("parameters", "ML-20M", 1_313_944 + (26_745 + 200) * 256, 0, "official layers, counted, and the tables of items and of 200 places"),
        Fact("parameters", "ML-20M-large", 5_255_776 + (26_745 + 200) * 256, 0, "official layers, counted, and the tables"),
        Fact("parameters", "ML-1M", 26_200 + (3953 + 200) * 50, 0, "official layers, counted, and the tables"),
        Fact("parameters", "ML-1M-large", 104_800 + (3953 + 200) * 50, 0, "official layers, counted, and the tables"),
        Fact("tokens", "ML-20M", 200, 0, "configs/ml-20m: the longest history"),
    ),
)
