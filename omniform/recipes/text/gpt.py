"""GPT-2: a causal transformer over text pieces.

Radford et al. 2019 (no arXiv), section 2.3 and table 2; block of the official code: pre-norm, learned positions, tied output, GELU by tanh.
"""

from ...backbones.attention import Attention
from ...backbones.blocks import PreNorm
from ...backbones.embed import Embed
from ...backbones.mlp import Mlp
from ...backbones.positions import LearnedPositions
from ...backbones.stack import Stack
from ...codecs.ids import Ids
from ...codecs.text import Bytes
from ...core.order import Raster
from ...core.spec import Spec
from ...heads.categorical import CategoricalHead
from ...processes.autoregress import Autoregress
from ...processes.feeds import Shift
from ...system.network import Network
from ...system.recipe import Fact, Recipe, Source

RECIPE = Recipe(
    name="gpt",
    title="GPT-2",
    family="autoregressive",
    modality="text",
    source=(Source(None, "Language Models are Unsupervised Multitask Learners (Radford et al. 2019)", code="openai/gpt-2", at="section 2.3, table 2"),),
    codec=Spec(Ids, {"vocab": 50257, "start": 50256, "stop": 50256}),
    shape=(1024,),
    network=Spec(
        Network,
        {
            "width": 768,
            "init": "normal",
            "embed": Spec(Embed, {"positions": (Spec(LearnedPositions),), "hidden": False}),
            "backbone": Spec(
                Stack,
                {"depth": 12, "eps": 1e-5, "block": Spec(PreNorm, {"mixer": Spec(Attention, {"heads": 12}), "mlp": Spec(Mlp), "eps": 1e-5, "dropout": 0.1})},
            ),
            "head": Spec(CategoricalHead, {"tied": True, "bias": False}),
        },
    ),
    process=Spec(Autoregress, {"order": Spec(Raster), "feed": Spec(Shift)}),
    training={"batch": 512, "lr": 6e-4, "warmup": 2000, "betas": (0.9, 0.95), "weight_decay": 0.1, "steps": 600_000},
    sizes={
        "124M": {},
        "355M": {"network.width": 1024, "network.backbone.depth": 24, "network.backbone.block.mixer.heads": 16},
        "774M": {"network.width": 1280, "network.backbone.depth": 36, "network.backbone.block.mixer.heads": 20},
        "1558M": {"network.width": 1600, "network.backbone.depth": 48, "network.backbone.block.mixer.heads": 25},
    },
    tiny={
        "codec": Spec(Bytes, {"long": "cut"}),
        "shape": (256,),
        "network.width": 128,
        "network.backbone.depth": 6,
        "network.backbone.block.mixer.heads": 4,
        "network.backbone.block.dropout": 0.0,
        "training": {"batch": 32, "lr": 2e-3, "steps": 3000},
    },
    facts=(
        Fact("parameters", "124M", 124_439_808, 0, "official checkpoint"),
        Fact("parameters", "355M", 354_823_168, 0, "official checkpoint"),
        Fact("parameters", "774M", 774_030_080, 0, "official checkpoint"),
        Fact("parameters", "1558M", 1_557_611_200, 0, "official checkpoint"),
        Fact("tokens", "124M", 1024, 0, "section 2.3"),
    ),
)
