"""Mamba: a decoder without attention: selective state spaces, each a block by itself, whose memory does not grow with what was read.

Gu and Dao 2023, arXiv:2312.00752; block of figure 3 (no MLP beside it), RMSNorm, 16 numbers a channel, no positions, tables tied; sizes, batch and rates of
table 12 (appendix E.2.1), rates five times GPT-3's (how long they rise is ours); code: state-spaces/mamba, whose vocabulary is filled up to a multiple of
eight. The codes are those of GPT-NeoX's tokenizer.
"""

from ...backbones.blocks import PreNorm
from ...backbones.embed import Embed
from ...backbones.selective import SelectiveScan
from ...core.spec import Spec
from ...system.recipe import Fact, Source
from .gpt import RECIPE as GPT

RECIPE = GPT.but(
    {
        "codec.vocab": 50280,
        "codec.start": 0,
        "codec.stop": 0,
        "shape": (2048,),
        "network.init": "torch",
        "network.embed": Spec(Embed, {"hidden": False}),
        "network.backbone.depth": 24,
        "network.backbone.final": "rms",
        "network.backbone.block": Spec(PreNorm, {"mixer": Spec(SelectiveScan), "norm": "rms", "eps": 1e-5}),
    },
    name="mamba",
    title="Mamba",
    source=(
        Source("2312.00752", "Mamba: Linear-Time Sequence Modeling with Selective State Spaces", code="state-spaces/mamba", at="section 3, appendix E.2"),
    ),
    training={"batch": 256, "lr": 3e-3, "warmup": 480, "betas": (0.9, 0.95), "weight_decay": 0.1, "precision": "bf16", "steps": 4_800},
    sizes={
        "130M": {},
        "370M": {"network.width": 1024, "network.backbone.depth": 48},
        "790M": {"network.width": 1536, "network.backbone.depth": 48},
        "1.4B": {"network.width": 2048, "network.backbone.depth": 48},
        "2.8B": {"network.width": 2560, "network.backbone.depth": 64},
    },
    tiny={
        "codec": GPT.tiny["codec"],
        "shape": (256,),
        "network.width": 128,
        "network.backbone.depth": 4,
        "network.backbone.block.mixer.states": 4,
        "training": {"batch": 16, "lr": 2e-3, "steps": 3000},
    },
    facts=(
        Fact("parameters", "130M", 129_135_360, 0, "transformers' module of the official configuration, counted; section 4.2.2: 130 M"),
        Fact("parameters", "370M", 371_516_416, 0, "the same: 370 M"),
        Fact("parameters", "790M", 793_204_224, 0, "the same: 790 M"),
        Fact("parameters", "1.4B", 1_372_178_432, 0, "the same: 1.4 B"),
        Fact("parameters", "2.8B", 2_768_345_600, 0, "the same: 2.8 B"),
        Fact("tokens", "130M", 2048, 0, "appendix E.2.2"),
    ),
)
