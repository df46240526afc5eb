"""DiT: a transformer that denoises latent patches, told time and class by adaLN-Zero.

Peebles and Xie 2023, arXiv:2212.09748; block of section 3.2 and figure 3; sizes of table 1; costs of table 4; guidance of section 5.
The paper guides three of the four latent channels; guiding all four with 1.375 is its equivalent of 1.5 (appendix A).
"""

from ...backbones.attention import Attention
from ...backbones.blocks import PreNorm
from ...backbones.embed import Embed, TimeEmbedding
from ...backbones.mlp import Mlp
from ...backbones.positions import SinCosPositions
from ...backbones.stack import Stack
from ...codecs.folded import Folded
from ...conditions.conditioning import ClassLabel
from ...conditions.guidance import ClassifierFree
from ...core.spec import Spec
from ...heads.point import PointHead
from ...processes.flow import Flow
from ...processes.paths import Betas
from ...processes.paths import Linear as LinearPath
from ...processes.solvers import Ancestral, Euler
from ...system.network import Network
from ...system.recipe import Fact, Recipe, Source
from ..codec.kl import RECIPE as KL

RECIPE = Recipe(
    name="dit",
    title="DiT",
    family="diffusion",
    modality="image",
    source=(Source("2212.09748", "Scalable Diffusion Models with Transformers", code="facebookresearch/DiT", at="section 3.2, tables 1 and 4"),),
    codec=Spec(Folded, {"inner": KL.codec, "patch": 2}),
    shape=(3, 256, 256),
    conditions={"label": (Spec(ClassLabel, {"classes": 1000}), "modulate")},
    network=Spec(
        Network,
        {
            "width": 1152,
            "embed": Spec(Embed, {"positions": (Spec(SinCosPositions),), "hidden": False}),
            "time": Spec(TimeEmbedding, {"flip": True}),
            "backbone": Spec(
                Stack,
                {
                    "depth": 28,
                    "final": "adaln",
                    "block": Spec(PreNorm, {"mixer": Spec(Attention, {"heads": 16}), "mlp": Spec(Mlp, {"ratio": 4.0}), "modulate": "zero"}),
                },
            ),
            "head": Spec(PointHead, {"learned_variance": True}),
        },
    ),
    process=Spec(Flow, {"path": Spec(Betas), "predict": "noise", "times": "levels", "solver": Spec(Ancestral), "steps": 250}),
    guidance=Spec(ClassifierFree, {"scale": 1.375}),
    training={"batch": 256, "lr": 1e-4, "warmup": 0, "shape": "constant", "weight_decay": 0.0, "betas": (0.9, 0.999), "ema": 0.9999, "steps": 7_000_000},
    sizes={
        "XL/2": {},
        "XL/4": {"codec.patch": 4},
        "XL/8": {"codec.patch": 8},
        "XL/2-512": {"shape": (3, 512, 512)},
        "L/2": {"network.width": 1024, "network.backbone.depth": 24},
        "B/2": {"network.width": 768, "network.backbone.depth": 12, "network.backbone.block.mixer.heads": 12},
        "B/4": {"network.width": 768, "network.backbone.depth": 12, "network.backbone.block.mixer.heads": 12, "codec.patch": 4},
        "S/2": {"network.width": 384, "network.backbone.depth": 12, "network.backbone.block.mixer.heads": 6},
        "S/8": {"network.width": 384, "network.backbone.depth": 12, "network.backbone.block.mixer.heads": 6, "codec.patch": 8},
    },
    tiny={
        "codec": KL.sized("tiny").codec,
        "shape": (1, 28, 28),
        "network.width": 128,
        "network.backbone.depth": 6,
        "network.backbone.block.mixer.heads": 4,
        "network.head.learned_variance": False,
        "process": Spec(Flow, {"path": Spec(LinearPath), "predict": "velocity", "solver": Spec(Euler), "steps": 25}),
        "guidance.scale": 2.0,
        "training": {"batch": 64, "lr": 2e-3, "steps": 3000},
    },
    facts=(
        Fact("parameters", "XL/2", 674_834_720, 0, "table 4: 675 M (the official module without its position table)"),
        Fact("parameters", "XL/4", 675_000_704, 0, "table 4: 675 M"),
        Fact("parameters", "XL/8", 675_664_640, 0, "table 4: 676 M"),
        Fact("parameters", "L/2", 457_840_672, 0, "table 4: 458 M"),
        Fact("parameters", "B/2", 130_315_808, 0, "table 4: 130 M"),
        Fact("parameters", "S/2", 32_865_056, 0, "table 4: 33 M"),
        Fact("parameters", "S/8", 33_142_016, 0, "table 4: 33 M"),
        Fact("multiply_adds", "XL/2", 118.64e9, 0.001, "table 4"),
        Fact("multiply_adds", "XL/2-512", 524.60e9, 0.001, "table 4"),
        Fact("multiply_adds", "B/4", 5.56e9, 0.001, "table 4"),
        Fact("multiply_adds", "S/2", 6.06e9, 0.001, "table 4"),
        Fact("multiply_adds", "S/8", 0.36e9, 0.01, "table 4, printed to two digits"),
        Fact("tokens", "XL/2", 256, 0, "section 3.2"),
        Fact("steps", "XL/2", 250, 0, "section 4"),
    ),
)
