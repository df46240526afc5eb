"""MDLM: a masked language model that is a diffusion: each token is hidden by itself, the loss is a bound of the likelihood.

Sahoo et al. 2024, arXiv:2406.07524; objective of section 3.3, sampler and its cache of section 4.1; network of the official code: rotary positions, norms
without bias,
a modulation that time does not enter (time_conditioning False), so that what stands for the time is a learned vector of 128.
"""

from ...backbones.attention import Attention
from ...backbones.blocks import PreNorm
from ...backbones.embed import Embed
from ...backbones.mlp import Mlp
from ...backbones.norms import AdaLN
from ...backbones.positions import Rotary
from ...backbones.stack import Stack
from ...codecs.ids import Ids
from ...core.spec import Spec
from ...heads.categorical import CategoricalHead
from ...processes.masked import Masked
from ...system.network import Network
from ...system.recipe import Fact, Recipe, Source
from .gpt import RECIPE as GPT

RECIPE = Recipe(
    name="mdlm",
    title="MDLM",
    family="masked",
    modality="text",
    source=(Source("2406.07524", "Simple and Effective Masked Diffusion Language Models", code="kuleshov-group/mdlm", at="sections 3.3 and 4.1"),),
    codec=Spec(Ids, {"vocab": 50257}),
    shape=(1024,),
    network=Spec(
        Network,
        {
            "width": 768,
            "embed": Spec(Embed),
            "backbone": Spec(
                Stack,
                {
                    "depth": 12,
                    "final": "adaln",
                    "told": 128,
                    "constant": True,
                    "eps": 1e-5,
                    "rotary": Spec(Rotary, {"head_width": 64}),
                    "block": Spec(
                        PreNorm,
                        {
                            "mixer": Spec(Attention, {"heads": 12, "biases": ""}),
                            "mlp": Spec(Mlp),
                            "modulate": Spec(AdaLN, {"told": 128}),
                            "affine": True,
                            "bias": False,
                            "eps": 1e-5,
                            "dropout": 0.1,
                        },
                    ),
                },
            ),
            "head": Spec(CategoricalHead, {"small": 0.0}),
        },
    ),
    process=Spec(Masked, {"steps": 1000, "schedule": "linear", "choose": "independent", "weight": "bound"}),
    training={
        "batch": 512,
        "lr": 3e-4,
        "warmup": 2500,
        "shape": "constant",
        "weight_decay": 0.0,
        "betas": (0.9, 0.999),
        "clip": 1.0,
        "ema": 0.9999,
        "steps": 1_000_000,
    },
    sizes={
        "170M": {},
        "LM1B": {"codec.vocab": 30521, "shape": (128,)},
        "tiny-80M": {"network.width": 512, "network.backbone.depth": 8, "network.backbone.block.mixer.heads": 8},
        "medium": {"network.width": 1024, "network.backbone.depth": 24, "network.backbone.block.mixer.heads": 16},
    },
    tiny={
        "codec": GPT.sized("tiny").codec,
        "shape": (256,),
        "network.width": 128,
        "network.backbone.depth": 6,
        "network.backbone.rotary.head_width": 32,
        "network.backbone.block.mixer.heads": 4,
        "network.backbone.block.dropout": 0.0,
        "process": Spec(Masked, {"steps": 64, "schedule": "linear", "choose": "independent", "weight": "bound"}),
        "training": {"batch": 32, "lr": 2e-3, "steps": 3000},
    },
    facts=(
        Fact(
            "parameters", "170M", 169.6e6, 0.001, "official code, counted; hub 170 M (ours: a vector of 128 for the two linear maps of a time that is always 0)"
        ),
        Fact("parameters", "LM1B", 139.3e6, 0.001, "official code, counted"),
        Fact(
            "parameters",
            "LM1B",
            110e6,
            0.01,
            "section 5.1",
            differs="the official network of this shape holds 139.3 M; 110 M leaves out a table of the vocabulary",
        ),
        Fact("parameters", "tiny-80M", 80.1e6, 0.002, "official code, counted"),
        Fact("parameters", "medium", 424.5e6, 0.001, "official code, counted"),
        Fact("tokens", "170M", 1024, 0, "section 5.1"),
        Fact("tokens", "LM1B", 128, 0, "section 5.1"),
        Fact("steps", "170M", 1000, 0, "official code"),
    ),
)
