"""Axial Transformer: pixel values one after another, channel by channel, by attention along rows and columns.

Ho et al. 2019, arXiv:1912.12180, section 3; three towers of eight blocks, MLPs as wide as the stream and sizes as in the official configurations.
Training looks at all channels at once (the official code draws one a step). At "tiny" the places are codes of a grid, one channel, so without exterior.
"""

from ...backbones.attention import Attention
from ...backbones.axial import Axial
from ...backbones.blocks import PreNorm
from ...backbones.embed import Embed
from ...backbones.mlp import Mlp
from ...codecs.pixels import Pixels
from ...core.order import Raster
from ...core.spec import Spec
from ...heads.categorical import CategoricalHead
from ...processes.autoregress import Autoregress
from ...processes.feeds import Shift
from ...system.network import Network
from ...system.recipe import Fact, Recipe, Source
from ..codec.vq import RECIPE as VQ

RECIPE = Recipe(
    name="axial-transformer",
    title="Axial Transformer",
    family="autoregressive",
    modality="image",
    source=(Source("1912.12180", "Axial Attention in Multidimensional Transformers", code="google-research/google-research", at="section 3, axial/config"),),
    codec=Spec(Pixels),
    shape=(3, 32, 32),
    network=Spec(
        Network,
        {
            "width": 1536,
            "embed": Spec(Embed, {"hidden": False, "std": 0.13}),
            "backbone": Spec(
                Axial,
                {
                    "outer": 8,
                    "inner": 8,
                    "exterior": 8,
                    "block": Spec(
                        PreNorm,
                        {"mixer": Spec(Attention, {"heads": 16}), "mlp": Spec(Mlp, {"ratio": 1.0, "activation": "gelu_sigmoid"}), "eps": 1e-5, "dropout": 0.04},
                    ),
                },
            ),
            "head": Spec(CategoricalHead, {"small": 0.0}),
        },
    ),
    process=Spec(Autoregress, {"order": Spec(Raster), "feed": Spec(Shift)}),
    training={"batch": 64, "lr": 1e-4, "warmup": 5000, "betas": (0.9, 0.999), "weight_decay": 0.0, "shape": "constant", "ema": 0.99995, "steps": 300_000},
    sizes={"imagenet32": {}, "imagenet64": {"shape": (3, 64, 64), "network.width": 2048, "network.backbone.block.dropout": 0.0}},
    tiny={
        "codec": VQ.sized("tiny").codec,
        "shape": (1, 28, 28),
        "network.width": 128,
        "network.backbone.outer": 4,
        "network.backbone.inner": 4,
        "network.backbone.block.dropout": 0.0,
        "network.backbone.block.mixer.heads": 4,
        "training": {"batch": 64, "lr": 1e-3, "steps": 3000},
    },
    facts=(
        Fact("parameters", "imagenet32", 341_178_112, 0, "official configuration, counted"),
        Fact("parameters", "imagenet64", 606_161_152, 0, "official configuration, counted"),
        Fact("tokens", "imagenet32", 3072, 0, "section 4: 32 x 32 x 3"),
        Fact("steps", "imagenet32", 3072, 0, "one value a question"),
    ),
)
