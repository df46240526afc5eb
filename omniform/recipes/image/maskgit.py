"""MaskGIT: a bidirectional transformer over image codes, shown most confident first.

Chang et al. 2022, arXiv:2202.04200; masking schedule of section 3.3, decoding of section 3.2; network and constants of the official code.
"""

from ...backbones.attention import Attention
from ...backbones.blocks import PostNorm, PreNorm
from ...backbones.embed import Embed
from ...backbones.mlp import Mlp
from ...backbones.positions import LearnedPositions
from ...backbones.stack import Stack
from ...conditions.conditioning import ClassLabel
from ...conditions.guidance import ClassifierFree
from ...core.spec import Spec
from ...heads.categorical import CategoricalHead
from ...processes.masked import Masked
from ...system.network import Network
from ...system.recipe import Fact, Recipe, Source
from ..codec.vq import RECIPE as VQ

RECIPE = Recipe(
    name="maskgit",
    title="MaskGIT",
    family="masked",
    modality="image",
    source=(Source("2202.04200", "MaskGIT: Masked Generative Image Transformer", code="google-research/maskgit", at="sections 3.2 and 3.3"),),
    codec=VQ.codec,
    shape=(3, 256, 256),
    conditions={"label": (Spec(ClassLabel, {"classes": 1000}), "prefix")},
    network=Spec(
        Network,
        {
            "width": 768,
            "init": "normal",
            "embed": Spec(Embed, {"positions": (Spec(LearnedPositions),), "norm": True}),
            "backbone": Spec(
                Stack, {"depth": 24, "final": None, "block": Spec(PostNorm, {"mixer": Spec(Attention, {"heads": 16}), "mlp": Spec(Mlp), "dropout": 0.1})}
            ),
            "head": Spec(CategoricalHead, {"tied": True, "transform": True, "eps": 1e-12}),
        },
    ),
    process=Spec(Masked, {"steps": 8, "schedule": "cosine", "choose": "confidence", "noise": 4.5, "smoothing": 0.1}),
    guidance=Spec(ClassifierFree, {"scale": 1.0}),
    drop=0.0,
    training={"batch": 256, "lr": 1e-4, "warmup": 5000, "shape": "constant", "weight_decay": 0.045, "betas": (0.9, 0.96), "ema": 0.999, "steps": 2_000_000},
    sizes={"256px": {}, "512px": {"shape": (3, 512, 512), "process.steps": 12}},
    tiny={
        "codec": VQ.sized("tiny").codec,
        "shape": (1, 28, 28),
        "network.width": 128,
        "network.backbone": Spec(Stack, {"depth": 6, "block": Spec(PreNorm, {"mixer": Spec(Attention, {"heads": 4}), "mlp": Spec(Mlp), "modulate": "zero"})}),
        "network.head": Spec(CategoricalHead),
        "network.embed.norm": False,
        "conditions.label": (Spec(ClassLabel, {"classes": 1000}), "modulate"),
        "drop": 0.1,
        "guidance.scale": 2.0,
        "process.smoothing": 0.0,
        "process.steps": 12,
        "training": {"batch": 64, "lr": 2e-3, "steps": 3000},
    },
    facts=(
        Fact(
            "parameters",
            "256px",
            172_457_193,
            0.0001,
            "official code, counted (its bias has rows for classes and mask too); the paper's 227 M (table 1) holds 54.4 M of tokenizer",
        ),
        Fact("parameters", "256px", 227e6, 0.01, "table 1", differs="it holds 54.4 M of tokenizer"),
        Fact("parameters", "512px", 173.05e6, 0.0001, "official code, counted"),
        Fact("tokens", "256px", 256, 0, "section 4.1"),
        Fact("tokens", "512px", 1024, 0, "section 4.1"),
        Fact("steps", "256px", 8, 0, "table 1"),
        Fact("steps", "512px", 12, 0, "table 1"),
    ),
)
