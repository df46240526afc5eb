"""STARFlow: TarFlow on latents, with one deep map next to the noise, which alone is told the class, and a few shallow ones.

Gu et al. 2025, arXiv:2506.06276: deep and shallow maps of section 3.2, noisy latents of 3.3, guidance as a product of Gaussians of 3.4; sizes of section 4.1;
softplus scale, soft clip, rotary positions and a final norm of the official code. The decoder that learns to denoise is not built: nothing is denoised here.
"""

from ...backbones.attention import Attention
from ...backbones.blocks import PreNorm
from ...backbones.embed import Embed
from ...backbones.mlp import Mlp
from ...backbones.positions import Rotary
from ...backbones.stack import Stack
from ...conditions.conditioning import ClassLabel
from ...core.spec import Spec
from ...heads.affine import AffineHead
from ...processes.bijective import Bijective
from ...system.network import Tower
from ...system.recipe import Fact, Source
from ..codec.kl import RECIPE as KL
from .tarflow import RECIPE as TARFLOW

BLOCK = Spec(PreNorm, {"mixer": Spec(Attention, {"heads": 32}), "mlp": Spec(Mlp, {"activation": "gelu"}), "eps": 1e-5})
TINY = BLOCK.but({"mixer.heads": 4})
SHALLOW = Spec(Stack, {"depth": 2, "final": "rms", "rotary": Spec(Rotary, {"head_width": 64}), "block": BLOCK})
HEAD = Spec(AffineHead, {"bound": 4.0, "softplus": True, "product": True})
DEEP = Spec(Tower, {"embed": Spec(Embed), "backbone": SHALLOW.but({"depth": 18}), "head": HEAD})

RECIPE = TARFLOW.but(
    {
        "codec": KL.codec,
        "shape": (3, 256, 256),
        "conditions": {"label": (Spec(ClassLabel, {"classes": 1000}), "prefix")},
        "network.width": 2048,
        "network.stages": 5,
        "network.embed": Spec(Embed),
        "network.backbone": SHALLOW,
        "network.head": HEAD,
        "network.towers": {"deep": DEEP},
        "network.told": ("deep",),
        "process": Spec(Bijective, {"maps": 6, "deep": True, "noise": 0.3, "denoise": False}),
        "guidance.scale": 3.5,
        "guidance.ramp": "constant",
        "training": {"batch": 512, "lr": 6.4e-5, "betas": (0.9, 0.95), "weight_decay": 1e-4, "steps": 780_000, "ema": 0.0},
    },
    name="starflow",
    title="STARFlow",
    source=(
        Source("2506.06276", "STARFlow: Scaling Latent Normalizing Flows for High-resolution Image Synthesis", code="apple/ml-starflow", at="sections 3, 4.1"),
        *TARFLOW.source,
    ),
    sizes={"XL": {}},
    tiny={
        "codec": KL.sized("tiny").codec,
        "shape": (1, 28, 28),
        "network.width": 128,
        "network.stages": 1,
        "network.backbone.rotary.head_width": 32,
        "network.backbone.block": TINY,
        "network.towers": {"deep": DEEP.but({"backbone.depth": 4, "backbone.block": TINY, "backbone.rotary.head_width": 32})},
        "process.maps": 2,
        "process.noise": 0.1,
        "guidance.scale": 1.5,
        "training": {"batch": 64, "lr": 2e-3, "steps": 3000},
    },
    facts=(
        Fact("parameters", "XL", 1.410e9, 0.005, "official configuration, counted; section 4.1 prints 1.4 B"),
        Fact("tokens", "XL", 1024, 0, "section 4.1"),
        Fact("steps", "XL", 6144, 0, "official code: 6 maps of 1024 turns"),
    ),
)
