"""A convolutional autoencoder with a Gaussian bottleneck: images as a grid of continuous latents.

Rombach et al. 2022, arXiv:2112.10752, section 3.1 and appendix G: KL regularisation of weight 1e-6. "f8" is the network of the paper's code (what Stable
Diffusion's latents are of); "f16" MAR's (Li et al. 2024, arXiv:2406.11838, appendix A and models/vae.py), which looks around at the coarsest resolution in the
encoder alone; "light" computes nothing at full resolution.
"""

from ...codecs.autoencoder import Autoencoder
from ...codecs.bottleneck import KL
from ...codecs.convolutions import Convolutions
from ...core.spec import Spec
from ...system.recipe import Fact, Recipe, Source

RECIPE = Recipe(
    name="kl",
    title="KL-regularised autoencoder",
    family="latent",
    modality="image",
    source=(
        Source("2112.10752", "High-Resolution Image Synthesis with Latent Diffusion Models", code="CompVis/latent-diffusion", at="section 3.1, appendix G"),
    ),
    codec=Spec(Autoencoder, {"stride": 8, "width": 128, "depth": 2, "bottleneck": Spec(KL, {"channels": 4, "weight": 1e-6})}),
    shape=(3, 256, 256),
    training={"batch": 64, "lr": 2e-3, "steps": 4000},
    sizes={
        "f8": {"codec.network": Spec(Convolutions)},
        "f16": {
            "codec.stride": 16,
            "codec.bottleneck.channels": 16,
            "codec.network": Spec(Convolutions, {"widths": (128, 128, 256, 256, 512), "coarse": (True, False)}),
        },
        "light": {},
    },
    tiny={"codec.stride": 4, "codec.width": 24, "codec.depth": 1, "codec.bottleneck": Spec(KL, {"channels": 4, "weight": 1e-3}), "shape": (1, 28, 28)},
    facts=(
        Fact("codec_parameters", "f8", 83_653_863, 0, "official code, counted; diffusers' AutoencoderKL agrees"),
        Fact("codec_parameters", "f16", 66_456_019, 0, "official code of MAR, counted"),
    ),
)
