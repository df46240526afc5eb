"""MAR-3D's autoencoder: a solid as a set of Gaussian tokens, by learned queries that read its surface at three densities, and any place asked of them.

Chen et al. 2025, arXiv:2503.20519, section 3.1; michelangelo_autoencoder.py and occ.yaml of the official code, which has one level of 20,480 points. Ours
reads grids, so that points and places are those of cells (there: of meshes); the weight is 0.001 times 25,600 places over 16,384 numbers, since the code takes
means of both.
"""

from ...backbones.attention import Attention, CrossAttention
from ...backbones.blocks import PreNorm
from ...backbones.mlp import Mlp
from ...backbones.stack import Stack
from ...codecs.bottleneck import KL
from ...codecs.vecset import VecSet
from ...core.spec import Spec
from ...system.recipe import Fact, Recipe, Source

MLP = Spec(Mlp, {"activation": "gelu"})
BLOCK = Spec(PreNorm, {"mixer": Spec(Attention, {"heads": 12}), "mlp": MLP, "eps": 1e-5})
CROSS = Spec(PreNorm, {"mixer": Spec(CrossAttention, {"heads": 12, "norm_context": True}), "mlp": MLP, "eps": 1e-5})
TOWER = Spec(Stack, {"depth": 8, "block": BLOCK, "eps": 1e-5})

RECIPE = Recipe(
    name="mar-3d-vae",
    title="MAR-3D's autoencoder",
    family="latent",
    modality="three_d",
    source=(
        Source("2503.20519", "MAR-3D: Progressive Masked Auto-regressor for High-Resolution 3D Generation", code="jinnan-chen/MAR-3D", at="section 3.1"),
        Source("2301.11445", "3DShape2VecSet: A 3D Shape Representation for Neural Fields and Generative Diffusion Models", at="section 4"),
    ),
    codec=Spec(
        VecSet,
        {
            "latents": 256,
            "width": 768,
            "points": (16384, 4096, 1024),
            "cross": CROSS,
            "encoder": TOWER,
            "decoder": TOWER.but({"depth": 16, "final": None}),
            "bottleneck": Spec(KL, {"channels": 64, "weight": 0.0015625}),
        },
    ),
    shape=(512, 512, 512),
    training={"batch": 32, "lr": 1e-4, "warmup": 5000, "betas": (0.9, 0.99), "steps": 100_000},
    sizes={
        "256": {},
        "1024": {"codec.latents": 1024},
        "256-flat": {"codec.points": (20480,)},
        "256-flat-deep": {"codec.points": (20480,), "codec.encoder.depth": 16, "codec.decoder.depth": 32},
    },
    tiny={
        "shape": (8, 28, 28),
        "codec.latents": 32,
        "codec.width": 64,
        "codec.points": (256, 64, 16),
        "codec.queries": 256,
        "codec.cross.mixer.heads": 4,
        "codec.encoder": TOWER.but({"depth": 2, "block.mixer.heads": 4}),
        "codec.decoder": TOWER.but({"depth": 2, "final": None, "block.mixer.heads": 4}),
        "codec.bottleneck": Spec(KL, {"channels": 8, "weight": 1e-3}),
        "training": {"batch": 32, "lr": 2e-3, "steps": 3000},
    },
    facts=(
        Fact("codec_parameters", "256-flat", 184_718_721, 0, "official code at occ.yaml, counted by formula"),
        Fact("codec_parameters", "256-flat-deep", 354_827_649, 0, "official code at mar.yaml, counted by formula"),
        Fact("tokens", "256", 256, 0, "section 3.2: the coarse stage"),
        Fact("tokens", "1024", 1024, 0, "section 3.2: the fine stage"),
    ),
)
