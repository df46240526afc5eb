"""Primer-EZ: GPT with squared ReLU and a short convolution along each channel of queries, keys and values.

So et al. 2021, arXiv:2109.08668, section 4 and appendix A.9; T5's relative bias shared by all layers, no biases in attention, start of the convolution and
sizes as in the official configurations. (The full Primer's shared queries and keys and its other norm are left out: the paper finds EZ as good.)
"""

from ...backbones.embed import Embed
from ...backbones.positions import Buckets
from ...backbones.sequence import ShortConv
from ...core.spec import Spec
from ...system.recipe import Fact, Source
from .gpt import RECIPE as GPT

RECIPE = GPT.but(
    {
        "codec.vocab": 32128,
        "codec.start": 0,
        "codec.stop": 1,
        "shape": (512,),
        "network.embed": Spec(Embed, {"hidden": False}),
        "network.backbone.relative": Spec(Buckets, {"heads": 12}),
        "network.backbone.block.dropout": 0.0,
        "network.backbone.block.mixer.biases": "",
        "network.backbone.block.mixer.head_width": 64,
        "network.backbone.block.mixer.blend": Spec(ShortConv, {"taps": 3}),
        "network.backbone.block.mlp.activation": "relu2",
    },
    name="primer",
    title="Primer-EZ",
    source=(
        Source(
            "2109.08668",
            "Primer: Searching for Efficient Transformers for Language Modeling",
            code="google-research/google-research",
            at="section 4, primer/gin/models",
        ),
    ),
    training={"batch": 128, "lr": 1e-2, "warmup": 10_000, "weight_decay": 0.0, "steps": 525_000},
    sizes={
        "medium": {},
        "small": {
            "shape": (64,),
            "network.width": 512,
            "network.backbone.depth": 6,
            "network.backbone.relative.heads": 8,
            "network.backbone.block.mixer.heads": 8,
        },
        "large": {
            "network.width": 1024,
            "network.backbone.depth": 24,
            "network.backbone.relative.heads": 16,
            "network.backbone.block.mixer.heads": 16,
            "network.backbone.block.mlp.hidden": 8192,
        },
    },
    tiny={**GPT.tiny, "network.backbone.relative.heads": 4, "network.backbone.block.mixer.head_width": 32},
    facts=(
        Fact(
            "parameters",
            "small",
            36e6,
            0.01,
            "configuration's label",
            differs="the configuration makes 35.4 M; the label is rounded",
        ),
        Fact("parameters", "medium", 110e6, 0.01, "configuration's label"),
        Fact("parameters", "large", 537e6, 0.01, "configuration's label; section 5.2: 500 M"),
        Fact("tokens", "medium", 512, 0, "section 5.2"),
    ),
)
