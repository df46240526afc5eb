"""MAR-3D: a solid's set of continuous tokens shown in random order, each drawn by a small diffusion, told a picture by the tokens that stand before them.

Chen et al. 2025, arXiv:2503.20519, section 3.2; mar_diffusion.py of the official code: MAR's network, to whose buffer 257 features of a picture (CLIP ViT-L/14,
not part of it) come as they are, and learned ones where none is told; places are learned, one a slot of the set. This is the coarse stage.
"""

from ...conditions.caption import Caption
from ...core.spec import Spec
from ...system.recipe import Fact, Source
from ..codec.mar_3d_vae import RECIPE as VAE
from ..image.mar import RECIPE as MAR

PICTURE = Spec(Caption, {"features": 1024, "length": 257, "into": "same", "mask": False, "unsaid": "learned"})

RECIPE = MAR.but(
    {
        **MAR.sizes["L"],
        "codec": VAE.codec,
        "shape": VAE.shape,
        "conditions": {"image": (PICTURE, "prefix")},
        "network.backbone.buffer": 1,
        "network.backbone.prefix": 257,
        "network.head.depth": 6,
        "network.head.hidden": 1024,
        "process.steps": 64,
        "guidance.scale": 3.0,
        "training": {"batch": 12, "lr": 1e-4, "warmup": 5000, "betas": (0.9, 0.99), "precision": "bf16", "steps": 300_000},
    },
    name="mar-3d",
    title="MAR-3D",
    modality="three_d",
    source=(
        Source("2503.20519", "MAR-3D: Progressive Masked Auto-regressor for High-Resolution 3D Generation", code="jinnan-chen/MAR-3D", at="section 3.2"),
        *MAR.source,
    ),
    sizes={"LR": {}},
    tiny={
        **MAR.tiny,
        "codec": VAE.sized("tiny").codec,
        "shape": VAE.sized("tiny").shape,
        "conditions": {"image": (PICTURE.but({"features": 16, "length": 49, "into": "linear"}), "prefix")},
        "network.backbone.buffer": 1,
        "network.backbone.prefix": 49,
        "process.steps": 8,
        "guidance.scale": 2.0,
        "training": {"batch": 64, "lr": 2e-3, "steps": 3000},
    },
    facts=(
        Fact("parameters", "LR", 441_938_048, 0, "official code with a buffer of 257, counted by formula"),
        Fact("tokens", "LR", 256, 0, "section 3.2 and official code"),
        Fact("steps", "LR", 64, 0, "official code, validation_step"),
    ),
)
