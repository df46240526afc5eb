"""Block Transformer: a decoder over blocks of four tokens, and a small one that writes the next four from what the first says.

Ho et al. 2024, arXiv:2406.02657, section 2, table 1; GPT-NeoX's parallel block with a quarter of each head rotated, head widths, prefix of two vectors and
separate tables as in the official code. The first block is predicted too, from a learned vector (ours).
"""

from ...backbones.attention import Attention
from ...backbones.blocks import Parallel
from ...backbones.embed import Embed
from ...backbones.hierarchy import GlobalLocal
from ...backbones.mlp import Mlp
from ...backbones.positions import Rotary
from ...backbones.stack import Stack
from ...codecs.ids import Ids
from ...core.order import Raster
from ...core.spec import Spec
from ...heads.categorical import CategoricalHead
from ...processes.autoregress import Autoregress
from ...processes.feeds import Shift
from ...system.network import Network
from ...system.recipe import Fact, Recipe, Source
from .gpt import RECIPE as GPT

BLOCK = Spec(Parallel, {"mixer": Spec(Attention, {"heads": 12}), "mlp": Spec(Mlp, {"activation": "gelu"})})
LEVEL = Spec(Stack, {"depth": 6, "eps": 1e-5, "rotary": Spec(Rotary, {"head_width": 16}), "block": BLOCK})
HEADS = ("network.backbone.outer.block.mixer.heads", "network.backbone.inner.block.mixer.heads")
DEPTH = ("network.backbone.outer.depth", "network.backbone.inner.depth")
TURNED = ("network.backbone.outer.rotary.head_width", "network.backbone.inner.rotary.head_width")
BILLION = {"network.width": 2048, **dict.fromkeys(HEADS, 16), **dict.fromkeys(TURNED, 32)}

RECIPE = Recipe(
    name="block-transformer",
    title="Block Transformer",
    family="autoregressive",
    modality="text",
    source=(
        Source(
            "2406.02657",
            "Block Transformer: Global-to-Local Language Modeling for Fast Inference",
            code="itsnamgyu/block-transformer",
            at="section 2, table 1",
        ),
    ),
    codec=Spec(Ids, {"vocab": 50304, "start": 0, "stop": 0}),
    shape=(2048,),
    network=Spec(
        Network,
        {
            "width": 768,
            "init": "normal",
            "embed": Spec(Embed, {"hidden": False}),
            "backbone": Spec(GlobalLocal, {"size": 4, "prefix": 2, "outer": LEVEL, "inner": LEVEL}),
            "head": Spec(CategoricalHead, {"bias": False}),
        },
    ),
    process=Spec(Autoregress, {"order": Spec(Raster), "feed": Spec(Shift)}),
    training={"batch": 256, "lr": 6e-4, "warmup": 3000, "betas": (0.9, 0.95), "weight_decay": 0.1, "steps": 572_000},
    sizes={
        "170M": {},
        "33M": {"network.width": 256, **dict.fromkeys(DEPTH, 3), **dict.fromkeys(HEADS, 8), **dict.fromkeys(TURNED, 8)},
        "77M": {"network.width": 512, **dict.fromkeys(DEPTH, 3), **dict.fromkeys(HEADS, 8)},
        "420M": {"network.width": 1024, **dict.fromkeys(DEPTH, 12), **dict.fromkeys(HEADS, 16)},
        "1.0B": {**BILLION, **dict.fromkeys(DEPTH, 8)},
        "1.4B": {**BILLION, **dict.fromkeys(DEPTH, 12)},
    },
    tiny={
        "codec": GPT.sized("tiny").codec,
        "shape": (256,),
        "network.width": 128,
        **dict.fromkeys(DEPTH, 3),
        **dict.fromkeys(HEADS, 4),
        **dict.fromkeys(TURNED, 8),
        "training": {"batch": 32, "lr": 2e-3, "steps": 3000},
    },
    facts=(
        Fact("parameters", "33M", 33.85e6, 0.001, "official code, counted; table 1: 33 M"),
        Fact("parameters", "77M", 77.39e6, 0.001, "official code, counted; table 1: 77 M"),
        Fact("parameters", "170M", 173.16e6, 0.001, "official code, counted; table 1: 170 M"),
        Fact("parameters", "420M", 420.31e6, 0.001, "official code, counted; table 1: 420 M"),
        Fact("parameters", "1.0B", 1045.9e6, 0.001, "official code, counted; table 1: 1.0 B"),
        Fact("parameters", "1.4B", 1448.8e6, 0.001, "official code, counted; table 1: 1.4 B"),
        Fact("tokens", "170M", 2048, 0, "section 3.1"),
    ),
)
