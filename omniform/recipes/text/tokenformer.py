"""TokenFormer: a GPT of which every linear map is attention to learned tokens, so that it grows by getting more of them.

Wang et al. 2024, arXiv:2410.23168, section 3.2, equations 4 to 10; norms without weights, rotation of a quarter of each head and the start of the official
configurations; sizes of tables 8 and 9. A trained one grows by `system.growth:grown`.
"""

from ...backbones.embed import Embed
from ...backbones.mlp import Pattention
from ...backbones.positions import Rotary
from ...core.spec import Spec
from ...system.recipe import Fact, Source
from .gpt import RECIPE as GPT

RECIPE = GPT.but(
    {
        "codec.vocab": 50304,
        "codec.start": 0,
        "codec.stop": 0,
        "network.embed": Spec(Embed, {"hidden": False}),
        "network.backbone.rotary": Spec(Rotary, {"head_width": 16}),
        "network.backbone.block.dropout": 0.0,
        "network.backbone.block.affine": False,
        "network.backbone.block.mixer.linear": Spec(Pattention, {"pairs": 576}),
        "network.backbone.block.mlp": Spec(Pattention, {"pairs": 2304}),
    },
    name="tokenformer",
    title="TokenFormer",
    source=(
        Source(
            "2410.23168",
            "TokenFormer: Rethinking Transformer Scaling with Tokenized Model Parameters",
            code="Haiyang-W/TokenFormer",
            at="section 3.2, tables 8 and 9",
        ),
    ),
    training={"batch": 512, "lr": 6e-4, "warmup": 2000, "betas": (0.9, 0.95), "weight_decay": 0.1, "steps": 600_000},
    sizes={
        "124M": {},
        "354M": {"network.backbone.block.mixer.linear.pairs": 2140, "network.backbone.block.mlp.pairs": 8560},
        "757M": {"network.backbone.block.mixer.linear.pairs": 4850, "network.backbone.block.mlp.pairs": 19400},
        "1.4B": {"network.backbone.block.mixer.linear.pairs": 8620, "network.backbone.block.mlp.pairs": 34480},
        "450M": {
            "network.width": 1024,
            "network.backbone.depth": 24,
            "network.backbone.block.mixer.heads": 16,
            "network.backbone.block.mixer.linear.pairs": 1024,
            "network.backbone.block.mlp.pairs": 4096,
        },
        "1.5B": {
            "network.width": 1536,
            "network.backbone.depth": 40,
            "network.backbone.rotary.head_width": 24,
            "network.backbone.block.mixer.heads": 16,
            "network.backbone.block.mixer.linear.pairs": 1536,
            "network.backbone.block.mlp.pairs": 6144,
        },
    },
    tiny={
        **GPT.tiny,
        "network.backbone.rotary.head_width": 8,
        "network.backbone.block.mixer.linear.pairs": 96,
        "network.backbone.block.mlp.pairs": 384,
    },
    facts=(
        Fact("parameters", "124M", 124e6, 0.01, "table 8"),
        Fact("parameters", "354M", 354e6, 0.01, "table 8"),
        Fact("parameters", "757M", 757e6, 0.01, "table 8"),
        Fact("parameters", "1.4B", 1.4e9, 0.01, "table 8", differs="the pairs that the table names make 1.31 B; 9,230 and 36,920 would make 1.4"),
        Fact("parameters", "450M", 454.2e6, 0.001, "official configuration, counted; table 9: 450 M"),
        Fact("parameters", "1.5B", 1.5872e9, 0.001, "official configuration, counted; table 9: 1.5 B"),
        Fact("tokens", "124M", 1024, 0, "appendix D"),
    ),
)
