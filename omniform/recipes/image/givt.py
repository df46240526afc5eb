"""GIVT: a GPT over continuous tokens, each answered as a mixture of Gaussians.

Tschannen et al. 2023, arXiv:2312.02116; mixture of section 3.2, causal model of section 3.3; constants of the official code. The paper guides by drawing
from the guided density;
here the parameters of the mixtures are mixed.
"""

from ...core.spec import Spec
from ...heads.mixture import MixtureHead
from ...system.recipe import Fact, Source
from ..codec.kl import RECIPE as KL
from .image_gpt import RECIPE as IMAGE_GPT

RECIPE = IMAGE_GPT.but(
    {
        "codec": KL.codec.but({"stride": 16, "bottleneck.channels": 16, "bottleneck.weight": 5e-5}),
        "network.head": Spec(MixtureHead, {"components": 16}),
        "network.width": 1024,
        "network.backbone.depth": 24,
        "network.backbone.block.mixer.heads": 16,
        "network.backbone.block.dropout": 0.2,
        "guidance.scale": 1.4,
        "training": {"batch": 8192, "lr": 1e-3, "warmup": 7800, "betas": (0.9, 0.95), "weight_decay": 1e-4, "clip": 1.0, "steps": 78_000},
    },
    name="givt",
    title="GIVT",
    source=(
        Source("2312.02116", "GIVT: Generative Infinite-Vocabulary Transformers", code="google-research/big_vision", at="sections 3.2 and 3.3"),
        *IMAGE_GPT.source,
    ),
    sizes={"default": {}},
    tiny={**IMAGE_GPT.tiny, "codec": KL.sized("tiny").codec, "network.head": Spec(MixtureHead, {"components": 8})},
    facts=(
        Fact("parameters", "default", 304e6, 0.01, "table 1: 304 M"),
        Fact("tokens", "default", 256, 0, "section 4"),
        Fact("steps", "default", 256, 0, "one token a question"),
    ),
)
