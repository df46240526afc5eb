"""A GPT over image codes in raster order, the class as the token that the sequence starts from.

Esser et al. 2021, arXiv:2012.09841, section 3.2, with GPT-2's block; class as start token and guidance as LlamaGen, arXiv:2406.06525, section 3.1.
"""

from ...conditions.conditioning import ClassLabel
from ...conditions.guidance import ClassifierFree
from ...core.spec import Spec
from ...system.recipe import Fact, Source
from ..codec.vq import RECIPE as VQ
from ..text.gpt import RECIPE as GPT

RECIPE = GPT.but(
    {
        "codec": VQ.codec,
        "shape": (3, 256, 256),
        "conditions": {"label": (Spec(ClassLabel, {"classes": 1000}), "start")},
        "network.embed.hidden": True,
        "network.head.tied": False,
        "guidance": Spec(ClassifierFree, {"scale": 2.0}),
    },
    name="image-gpt",
    title="GPT over image codes",
    family="autoregressive",
    modality="image",
    source=(
        Source("2012.09841", "Taming Transformers for High-Resolution Image Synthesis", code="CompVis/taming-transformers", at="section 3.2"),
        Source("2406.06525", "Autoregressive Model Beats Diffusion: Llama for Scalable Image Generation", at="section 3.1"),
        *GPT.source,
    ),
    sizes={"12x768": {}},
    facts=(Fact("tokens", "12x768", 256, 0, "section 4.1: 16 x 16 codes"), Fact("steps", "12x768", 256, 0, "one code a question")),
    tiny={
        "codec": VQ.sized("tiny").codec,
        "shape": (1, 28, 28),
        "network.width": 128,
        "network.backbone.depth": 6,
        "network.backbone.block.mixer.heads": 4,
        "network.backbone.block.dropout": 0.0,
        "training": {"batch": 64, "lr": 2e-3, "steps": 3000},
    },
)
