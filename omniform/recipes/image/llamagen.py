"""LlamaGen: LLaMA's block over image codes in raster order, the class as the token that the sequence starts from, rotations by row and column.

Sun et al. 2024, arXiv:2406.06525, section 3.1 and table 1; block, rotation (none at the class, whose query and key are zero) and dropout of the official
code. The codec is the paper's own: 16,384 codes of 8 numbers on the unit sphere at stride 16 (section 3.1; `vqgan`, size "VQ-16").
"""

from ...conditions.conditioning import ClassLabel
from ...conditions.guidance import ClassifierFree
from ...core.spec import Spec
from ...processes.feeds import Shift
from ...system.recipe import Fact, Source
from ..codec.vq import RECIPE as VQ
from ..codec.vqgan import RECIPE as VQGAN
from ..text.llama import RECIPE as LLAMA

RECIPE = LLAMA.but(
    {
        "codec": VQGAN.sized("VQ-16").codec,
        "shape": (3, 256, 256),
        "conditions": {"label": (Spec(ClassLabel, {"classes": 1000}), "start")},
        "guidance": Spec(ClassifierFree, {"scale": 2.0}),
        "network.width": 768,
        "network.embed.hidden": True,
        "network.head.small": 0.0,
        "network.backbone.depth": 12,
        "network.backbone.eps": 1e-5,
        "network.backbone.rotary.head_width": 64,
        "network.backbone.rotary.mute": True,
        "network.backbone.block.eps": 1e-5,
        "network.backbone.block.dropout": 0.1,
        "network.backbone.block.mixer.heads": 12,
        "network.backbone.block.mlp.hidden": 2048,
        "process.feed": Spec(Shift, {"own_place": True}),
    },
    name="llamagen",
    title="LlamaGen",
    modality="image",
    source=(
        Source("2406.06525", "Autoregressive Model Beats Diffusion: Llama for Scalable Image Generation", code="FoundationVision/LlamaGen", at="section 3.1"),
        *LLAMA.source[:1],
    ),
    training={"batch": 256, "lr": 1e-4, "shape": "constant", "betas": (0.9, 0.95), "weight_decay": 0.05, "clip": 1.0, "steps": 1_500_000},
    sizes={
        "B": {},
        "L": {"network.width": 1024, "network.backbone.depth": 24, "network.backbone.block.mixer.heads": 16, "network.backbone.block.mlp.hidden": 2816},
        "XL": {"network.width": 1280, "network.backbone.depth": 36, "network.backbone.block.mixer.heads": 20, "network.backbone.block.mlp.hidden": 3584},
        "XXL": {"network.width": 1536, "network.backbone.depth": 48, "network.backbone.block.mixer.heads": 24, "network.backbone.block.mlp.hidden": 4096},
        "3B": {
            "network.width": 3200,
            "network.backbone.depth": 24,
            "network.backbone.rotary.head_width": 100,
            "network.backbone.block.mixer.heads": 32,
            "network.backbone.block.mlp.hidden": 8704,
        },
    },
    tiny={
        "codec": VQ.sized("tiny").codec,
        "shape": (1, 28, 28),
        "network.width": 128,
        "network.backbone.depth": 6,
        "network.backbone.rotary.head_width": 32,
        "network.backbone.block.dropout": 0.0,
        "network.backbone.block.mixer.heads": 4,
        "network.backbone.block.mlp.hidden": 344,
        "training": {"batch": 64, "lr": 2e-3, "steps": 3000},
    },
    facts=(
        Fact("parameters", "B", 110_888_448, 1e-5, "official code, counted (ours has a mask vector besides); table 1: 111 M"),
        Fact("parameters", "L", 342_910_976, 1e-5, "official code, counted; table 1: 343 M"),
        Fact("parameters", "XL", 774_699_520, 1e-5, "official code, counted; table 1: 775 M"),
        Fact("parameters", "XXL", 1_410_972_672, 1e-5, "official code, counted; table 1: 1.4 B"),
        Fact("parameters", "3B", 3_096_659_200, 1e-5, "official code, counted; table 1: 3.1 B"),
        Fact("codec_parameters", "B", 71_883_403, 0, "official code, counted"),
        Fact("tokens", "B", 256, 0, "section 3.1: 16 x 16 codes"),
        Fact("steps", "B", 256, 0, "one code a question"),
    ),
)
