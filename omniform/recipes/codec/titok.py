"""TiTok: a picture as a short row of codes without a grid.

Yu et al. 2024, arXiv:2406.07550, section 3.2; sizes of section 4.1 and of the official code. Decoded to pixels by one linear map: the paper's way through
the codes and the
convolutional decoder of another tokenizer is not here.
"""

from ...backbones.attention import Attention
from ...backbones.blocks import PreNorm
from ...backbones.mlp import Mlp
from ...backbones.stack import Stack
from ...codecs.bottleneck import VQ
from ...codecs.one_d import OneD
from ...core.spec import Spec
from ...system.recipe import Fact, Recipe, Source

VIT = Spec(
    Stack,
    {"depth": 24, "final": None, "block": Spec(PreNorm, {"mixer": Spec(Attention, {"heads": 16}), "mlp": Spec(Mlp, {"activation": "gelu"}), "eps": 1e-5})},
)
BASE = VIT.but({"depth": 12, "block.mixer.heads": 12})
SMALL = VIT.but({"depth": 8, "block.mixer.heads": 8})
TINY = VIT.but({"depth": 3, "block.mixer.heads": 4})

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
        "training": {"batch": 64, "lr": 1e-3, "steps": 4000},
    },
    facts=(
        Fact("codec_parameters", "L-32", 610.3e6, 0.006, "official code, both transformers and the book (theirs ends in 1024 logits, ours in pixels)"),
        Fact("codec_parameters", "B-64", 174.1e6, 0.015, "official code, the same"),
        Fact("codec_parameters", "S-128", 52.9e6, 0.025, "official code, the same"),
        Fact("codec_parameters", "L-32", 641e6, 0.01, "table 1", differs="30.8 M of it are the convolutional decoder and the book of another tokenizer"),
        Fact("tokens", "L-32", 32, 0, "table 1"),
        Fact("tokens", "B-64", 64, 0, "table 1"),
        Fact("tokens", "S-128", 128, 0, "table 1"),
    ),
)
