"""Hierarchical autoregressive transformer: bytes are read into words, a large decoder goes from word to word, a small one writes the next word's bytes.

Neitemeier et al. 2025, arXiv:2501.10322, section 2, tables 2 and 6; LLaMA's block everywhere, its hidden width such that a layer costs 12 d^2. White space
belongs to the word before it. Costs of a question are counted for a text of one word, since words are the data's.
"""

from ...backbones.hierarchy import Words
from ...backbones.mlp import Mlp
from ...codecs.words import WordBytes
from ...core.spec import Spec
from ...heads.categorical import CategoricalHead
from ...system.recipe import Fact, Source
from .llama import RECIPE as LLAMA

STACK = LLAMA.network.args["backbone"].but(
    {"depth": 3, "block.mixer.heads": 6, "block.mlp": Spec(Mlp, {"ratio": 8 / 3, "activation": "swiglu", "bias": False})}
)
TURNED = ("network.backbone.encoder.rotary.head_width", "network.backbone.decoder.rotary.head_width", "network.backbone.backbone.rotary.head_width")
HEADS = ("network.backbone.encoder.block.mixer.heads", "network.backbone.decoder.block.mixer.heads")
DEPTH = ("network.backbone.encoder.depth", "network.backbone.decoder.depth")

RECIPE = LLAMA.but(
    {
        "codec": Spec(WordBytes, {"long": "cut"}),
        "shape": (16384,),
        "network.width": 768,
        "network.backbone": Spec(
            Words, {"word": 254, "wide": 2304, "encoder": STACK, "decoder": STACK, "backbone": STACK.but({"depth": 18, "block.mixer.heads": 18})}
        ),
        "network.head": Spec(CategoricalHead, {"tied": True, "bias": False}),
    },
    name="hat-byte-word",
    title="Hierarchical autoregressive transformer",
    source=(
        Source(
            "2501.10322",
            "Hierarchical Autoregressive Transformers: Combining Byte- and Word-Level Processing for Robust, Adaptable Language Models",
            code="Aleph-Alpha-Research/hat-splitter",
            at="section 2, tables 2 and 6",
        ),
    ),
    training={"batch": 1024, "lr": 5e-4, "warmup": 500, "betas": (0.9, 0.95), "weight_decay": 0.1, "steps": 72_000},
    sizes={
        "1B": {},
        "3B": {"network.backbone.wide": 3584, "network.backbone.backbone.depth": 28, "network.backbone.backbone.block.mixer.heads": 28},
        "7B": {
            "network.width": 1024,
            **dict.fromkeys(DEPTH, 4),
            **dict.fromkeys(HEADS, 8),
            "network.backbone.wide": 4608,
            "network.backbone.backbone.depth": 36,
            "network.backbone.backbone.block.mixer.heads": 36,
        },
    },
    tiny={
        "shape": (256,),
        "network.width": 64,
        "network.backbone.wide": 128,
        "network.backbone.backbone.depth": 4,
        "network.backbone.backbone.block.mixer.heads": 4,
        **dict.fromkeys(DEPTH, 2),
        **dict.fromkeys(HEADS, 4),
        **dict.fromkeys(TURNED, 16),
        "training": {"batch": 32, "lr": 2e-3, "steps": 3000},
    },
    facts=(
        Fact("parameters", "1B", 1.1468e9 + 2 * 23.2e6, 0.005, "table 2: 1.1 B and twice 23 M, by 12 d^2 a layer"),
        Fact("parameters", "3B", 4.3158e9 + 2 * 24.2e6, 0.005, "table 2: 4.3 B and twice 24 M, by 12 d^2 a layer"),
        Fact("parameters", "7B", 9.1729e9 + 2 * 55.3e6, 0.005, "table 2: 9.2 B and twice 55 M, by 12 d^2 a layer"),
        Fact("tokens", "1B", 16384, 0, "section 3: documents of at most 16,384 bytes"),
    ),
)
