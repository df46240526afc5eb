"""ADiT's autoencoder: molecules and crystals as one Gaussian token of eight channels an atom.

Joshi et al. 2025, arXiv:2503.03965, section 3.1; encoder, decoder, vae_module.py and configs of the official code. Each example is turned by a rotation of its
own (theirs: one a batch), and an atom of a crystal counts its cell's error (theirs: a crystal).
"""

import math

from ...backbones.attention import Attention
from ...backbones.blocks import PreNorm
from ...backbones.mlp import Mlp
from ...backbones.positions import SinCosPositions
from ...backbones.stack import Stack
from ...codecs.atoms import Atoms
from ...codecs.bottleneck import KL
from ...core.spec import Spec
from ...system.recipe import Fact, Recipe, Source

TOWER = Spec(
    Stack,
    {"depth": 8, "eps": 1e-5, "block": Spec(PreNorm, {"mixer": Spec(Attention, {"heads": 8}), "mlp": Spec(Mlp, {"activation": "gelu_tanh"}), "eps": 1e-5})},
)
SMALL = TOWER.but({"depth": 3, "block.mixer.heads": 4})
NUMBERED = (Spec(SinCosPositions, {"base": 2048.0, "scale": math.pi}),)

RECIPE = Recipe(
    name="adit-vae",
    title="ADiT's autoencoder",
    family="latent",
    modality="three_d",
    source=(
        Source(
            "2503.03965",
            "All-atom Diffusion Transformers: Unified generative modelling of molecules and materials",
            code="facebookresearch/all-atom-diffusion-transformer",
            at="section 3.1",
        ),
    ),
    codec=Spec(
        Atoms, {"width": 512, "encoder": TOWER, "decoder": TOWER, "positions": NUMBERED, "bottleneck": Spec(KL, {"channels": 8, "weight": 1e-5})}
    ),
    shape=(256, 13),
    training={"batch": 1024, "lr": 1e-4, "warmup": 0, "shape": "constant", "weight_decay": 0.0, "clip": 10.0, "ema": 0.9999, "steps": 300_000},
    sizes={"d8": {}},
    tiny={
        "shape": (24, 13),
        "codec.width": 96,
        "codec.encoder": SMALL,
        "codec.decoder": SMALL,
        "training": {"batch": 64, "lr": 2e-3, "steps": 4000},
    },
    facts=(
        Fact("codec_parameters", "d8", 51.1e6, 0.005, "official code, counted: encoder 25.8 M, decoder 25.3 M"),
    ),
)
