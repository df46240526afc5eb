"""Tranception: a causal model of proteins whose heads look along the sequence in four groups, three of them through convolutions of 3, 5 and 7 places.

Notin et al. 2022, arXiv:2205.13760, section 3.1: GPT-2's block with squared ReLU, ALiBi with the same slopes in each group, no other positions; table of 25
rows as in the official code. Retrieval (section 3.3: the frequencies of an alignment mixed into the score of a mutant) is put around the net that answers:
conditions.retrieval:Retrieved. Left out: dropout of the embedding and of attention, and proteins read backwards. How it was trained is from memory.
"""

from ...backbones.embed import Embed
from ...backbones.sequence import HeadConv
from ...codecs.symbols import Symbols
from ...core.spec import Spec
from ...system.recipe import Fact, Source
from ..text.gpt import RECIPE as GPT

RECIPE = GPT.but(
    {
        "codec": Spec(Symbols, {"alphabet": "amino acids", "pieces": 23}),
        "network.embed": Spec(Embed, {"hidden": False}),
        "network.backbone.block.mixer.slopes": 4,
        "network.backbone.block.mixer.blend": Spec(HeadConv, {"taps": (1, 3, 5, 7)}),
        "network.backbone.block.mlp.activation": "relu2",
    },
    name="tranception",
    title="Tranception",
    modality="protein",
    source=(
        Source(
            "2205.13760",
            "Tranception: protein fitness prediction with autoregressive transformers and inference-time retrieval",
            code="OATML-Markslab/Tranception",
            at="section 3.1, tranception/model_pytorch.py",
        ),
    ),
    training={"batch": 1024, "lr": 3e-4, "warmup": 10_000, "steps": 150_000},
    sizes={
        "S": {},
        "M": {"network.width": 1024, "network.backbone.depth": 24, "network.backbone.block.mixer.heads": 16},
        "L": {"network.width": 1280, "network.backbone.depth": 36, "network.backbone.block.mixer.heads": 20},
    },
    tiny={
        "codec.pieces": None,
        "codec.long": "cut",
        "shape": (128,),
        "network.width": 128,
        "network.backbone.depth": 4,
        "network.backbone.block.mixer.heads": 8,
        "network.backbone.block.dropout": 0.0,
        "training": {"batch": 32, "lr": 2e-3, "steps": 2000},
    },
    facts=(
        Fact("parameters", "S", 85_116_672, 0, "official code, counted; official list of models: 85 M"),
        Fact("parameters", "M", 302_419_968, 0, "official code, counted; official list of models: 300 M"),
        Fact("parameters", "L", 708_546_816, 0, "official code and configuration, counted; official list of models: 700 M"),
        Fact("tokens", "L", 1024, 0, "published configuration: n_ctx"),
    ),
)
