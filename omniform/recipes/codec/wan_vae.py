"""Wan-VAE: clips as continuous latents by causal convolutions, the first frame by itself and then four frames a latent, eight pixels a side.

Wan team 2025, arXiv:2503.20314, section 4.1 (4 x 8 x 8, 16 channels, RMS norms in place of group norms so that causality holds); widths and blocks of the
official code, wan/modules/vae.py. The paper adds LPIPS to the absolute difference and ends with a critic of clips, after a start from an autoencoder of
pictures; here it learns clips from the start, by the absolute difference and the divergence at a millionth of it.
"""

from ...codecs.autoencoder import Autoencoder
from ...codecs.bottleneck import KL
from ...codecs.causal import CausalConvolutions
from ...codecs.distortion import Logistic
from ...core.spec import Spec
from ...system.recipe import Fact, Recipe, Source

RECIPE = Recipe(
    name="wan-vae",
    title="Wan-VAE",
    family="latent",
    modality="video",
    source=(Source("2503.20314", "Wan: Open and Advanced Large-Scale Video Generative Models", code="Wan-Video/Wan2.1", at="section 4.1"),),
    codec=Spec(Autoencoder, {"stride": 8, "bottleneck": Spec(KL, {"channels": 16, "weight": 1e-6}), "network": Spec(CausalConvolutions)}),
    shape=(81, 3, 480, 832),
    training={"batch": 16, "lr": 1e-4, "steps": 100_000},
    sizes={"127M": {}},
    tiny={
        "codec.stride": 4,
        "codec.bottleneck": Spec(KL, {"channels": 8, "weight": 1e-4}),
        "codec.distortion": Spec(Logistic),
        "codec.network": Spec(CausalConvolutions, {"widths": (8, 16, 32), "depth": 1, "in_time": (True, True)}),
        "shape": (9, 1, 32, 32),
        "training": {"batch": 16, "lr": 2e-3, "steps": 1000},
    },
    facts=(
        Fact("codec_parameters", "127M", 126_892_531, 0, "official code, counted (diffusers' module agrees); section 4.1: 127M"),
        Fact("tokens", "127M", 131_040, 0, "section 4.1: 1 + 80 / 4 frames of 480 / 8 x 832 / 8"),
    ),
)
