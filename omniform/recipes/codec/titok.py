"""TiTok: a picture as a short row of codes without a grid.

Yu et al. 2024, arXiv:2406.07550, section 3.2; sizes of section 4.1 and of the official code, whose networks these are after their second stage: pictures by
way of the codes and the convolutional decoder of MaskGIT's VQGAN (section 3.3), a class token in both towers, the numbers of the latents regrouped. The paper
teaches the towers that VQGAN's codes first, then its decoder by features and a critic; here all learns at once, from squared error. "tiny" says pixels itself:
soft codes without the first stage had learnt nothing after 400 steps.
"""

from ...backbones.attention import Attention
from ...backbones.blocks import PreNorm
from ...backbones.mlp import Mlp
from ...backbones.stack import Stack
from ...codecs.bottleneck import VQ
from ...codecs.convolutions import Convolutions
from ...codecs.one_d import OneD
from ...codecs.soft_codes import SoftCodes
from ...core.spec import Spec
from ...system.recipe import Fact, Recipe, Source

VIT = Spec(
    Stack,
    {"depth": 24, "final": None, "block": Spec(PreNorm, {"mixer": Spec(Attention, {"heads": 16}), "mlp": Spec(Mlp, {"activation": "gelu"}), "eps": 1e-5})},
)
BASE = VIT.but({"depth": 12, "block.mixer.heads": 12})
SMALL = VIT.but({"depth": 8, "block.mixer.heads": 8})
TINY = VIT.but({"depth": 3, "block.mixer.heads": 4})
MASKGIT = Spec(Convolutions, {"widths": (128, 128, 256, 256, 512), "looks": False, "maps": (False, False), "lean": True})

RECIPE = Recipe(
    name="titok",
    title="TiTok",
    family="latent",
    modality="image",
    source=(Source("2406.07550", "An Image is Worth 32 Tokens for Reconstruction and Generation", code="bytedance/1d-tokenizer", at="section 3.2"),),
    codec=Spec(
        OneD,
        {
            "patch": 16,
            "latents": 32,
            "width": 1024,
            "encoder": VIT,
            "decoder": VIT,
            "bottleneck": Spec(VQ, {"codes": 4096, "channels": 12, "normalise": True, "ema": 0.0}),
            "picture": Spec(SoftCodes, {"codes": 1024, "channels": 256, "network": MASKGIT}),
            "first": True,
            "regrouped": True,
            "unit": True,
        },
    ),
    shape=(3, 256, 256),
    training={"batch": 256, "lr": 1e-4, "warmup": 10_000, "betas": (0.9, 0.99), "weight_decay": 1e-4, "ema": 0.999, "steps": 1_000_000},
    sizes={
        "L-32": {},
        "B-64": {"codec.latents": 64, "codec.width": 768, "codec.encoder": BASE, "codec.decoder": BASE},
        "S-128": {"codec.latents": 128, "codec.width": 512, "codec.encoder": SMALL, "codec.decoder": SMALL},
    },
    tiny={
        "shape": (1, 28, 28),
        "codec.patch": 4,
        "codec.latents": 16,
        "codec.width": 128,
        "codec.encoder": TINY,
        "codec.decoder": TINY,
        "codec.bottleneck": Spec(VQ, {"codes": 256, "channels": 8, "normalise": True}),
        "codec.picture": None,
        "codec.first": False,
        "codec.regrouped": False,
        "codec.unit": False,
        "training": {"batch": 64, "lr": 1e-3, "steps": 4000},
    },
    facts=(
        Fact("codec_parameters", "L-32", 641_054_735, 0, "official code, counted; table 1: 641 M"),
        Fact("codec_parameters", "B-64", 204_814_095, 0, "official code, counted; table 1: 204 M"),
        Fact("codec_parameters", "S-128", 83_674_639, 0, "official code, counted; table 1: 83 M"),
        Fact("tokens", "L-32", 32, 0, "table 1"),
        Fact("tokens", "B-64", 64, 0, "table 1"),
        Fact("tokens", "S-128", 128, 0, "table 1"),
    ),
)
