"""Combiner: a decoder with full attention at sparse cost: its own span place by place, every other span as one.

Ren et al. 2021, arXiv:2107.05768, section 4, tables 1 and 3; the language model's shape as in the official configuration, the plans of sections 4.1 (fixed),
4.2 (logsparse) and 4.3 (axial, "vertical").
"""

from ...backbones.attention import Combiner
from ...core.spec import Spec
from ...system.recipe import Fact, Source
from .gpt import RECIPE as GPT

RECIPE = GPT.but(
    {
        "codec.vocab": 32000,
        "codec.start": 1,
        "codec.stop": 2,
        "shape": (2048,),
        "network.backbone.block.dropout": 0.0,
        "network.backbone.block.mixer": Spec(Combiner, {"heads": 12, "plan": "fixed", "size": 128}),
    },
    name="combiner",
    title="Combiner",
    source=(
        Source(
            "2107.05768",
            "Combiner: Full Attention Transformer with Sparse Computation Cost",
            code="google-research/google-research",
            at="section 4, combiner/tf/configs.py",
        ),
    ),
    training={"batch": 128, "lr": 3e-4, "warmup": 10_000, "betas": (0.9, 0.95), "weight_decay": 0.0, "clip": 1.0, "steps": 125_000},
    sizes={
        "fixed-12x768": {},
        "fixed-12x768-8k": {"shape": (8192,)},
        "logsparse-12x768": {"network.backbone.block.mixer.plan": "logsparse"},
        "axial-12x768": {"network.backbone.block.mixer.plan": "axial", "network.backbone.block.mixer.size": 32},
    },
    tiny={**GPT.tiny, "network.backbone.block.mixer.size": 16},
    facts=(
        Fact("parameters", "fixed-12x768", 32_000 * 768 + 2048 * 768 + 12 * (12 * 768**2 + 9 * 768) + 2 * 768, 0, "official configuration, by formula"),
        Fact("tokens", "fixed-12x768", 2048, 0, "section 5.2"),
    ),
)
