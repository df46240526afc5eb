"""LTX-Video's autoencoder: clips as few and wide latents, 8 frames of 32 x 32 pixels a token; its decoder takes the last of the noise away.

HaCohen et al. 2025, arXiv:2501.00103, section 2.1 (1:192, 128 channels, one variance for all of them, a decoder that learns at noise up to 0.2 and is told
how much); networks of the official code (causal_video_autoencoder.py) as released: 0.9 with a decoder that is told nothing, 0.9.5 with one that is. The paper
adds LPIPS, wavelets and a critic that is shown both clips; here it learns by the absolute difference and the divergence at a millionth of it.
"""

from ...codecs.autoencoder import Autoencoder
from ...codecs.bottleneck import KL
from ...codecs.distortion import Logistic
from ...codecs.patched import PatchedConvolutions
from ...core.spec import Spec
from ...system.recipe import Fact, Recipe, Source

RECIPE = Recipe(
    name="ltx-vae",
    title="LTX-Video's VAE",
    family="latent",
    modality="video",
    source=(Source("2501.00103", "LTX-Video: Realtime Video Latent Diffusion", code="Lightricks/LTX-Video", at="section 2.1"),),
    codec=Spec(Autoencoder, {"stride": 32, "bottleneck": Spec(KL, {"channels": 128, "weight": 1e-6}), "network": Spec(PatchedConvolutions)}),
    shape=(121, 3, 512, 768),
    training={"batch": 16, "lr": 1e-4, "steps": 100_000},
    sizes={
        "0.9": {},
        "0.9.5": {
            "codec.noise": 0.2,
            "codec.network": Spec(
                PatchedConvolutions,
                {
                    "widths": (128, 256, 512, 1024, 2048),
                    "depths": (4, 6, 6, 2, 2),
                    "down": ("space", "time", "both", "both"),
                    "back": ((128, 256, 512, 1024), (5, 5, 5, 5)),
                    "up": ("unfolded", "unfolded", "unfolded"),
                    "time": 0.0,
                },
            ),
        },
    },
    tiny={
        "codec.stride": 8,
        "codec.bottleneck": Spec(KL, {"channels": 8, "weight": 1e-4}),
        "codec.distortion": Spec(Logistic),
        "codec.noise": 0.2,
        "codec.network": Spec(
            PatchedConvolutions,
            {"widths": (32, 64), "depths": (1, 1), "down": ("both",), "up": ("unfolded",), "time": 0.0},
        ),
        "shape": (9, 1, 32, 32),
        "training": {"batch": 16, "lr": 2e-3, "steps": 1000},
    },
    facts=(
        Fact("codec_parameters", "0.9", 419_193_649, 0, "diffusers' module, counted"),
        Fact("codec_parameters", "0.9.5", 1_246_913_521, 0, "diffusers' module, counted, without the number that it multiplies times by"),
        Fact("tokens", "0.9", 6144, 0, "section 2.1: 8 x 32 x 32 pixels a token of 121 frames of 512 x 768"),
    ),
)
