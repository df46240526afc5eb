"""A multi-scale residual quantiser: images as maps of codes from coarse to fine.

Tian et al. 2024, arXiv:2404.02905, section 3.2 and algorithms 1 and 2; four shared phi convolutions as in the code. "ch160" has the network of
the released checkpoint (vae_ch160v4096z32: VQGAN's, 160 wide, maps to and from the codes of 3 x 3); "f16" computes nothing at full resolution. VAR adds
features (LPIPS) and a critic to its loss (section 3.2), which is plain here.
"""

from ...codecs.autoencoder import Autoencoder
from ...codecs.convolutions import Convolutions
from ...codecs.distortion import Logistic
from ...codecs.pyramid import Pyramid
from ...core.spec import Spec
from ...system.recipe import Fact, Recipe, Source

RECIPE = Recipe(
    name="pyramid",
    title="Multi-scale residual quantiser",
    family="latent",
    modality="image",
    source=(
        Source(
            "2404.02905",
            "Visual Autoregressive Modeling: Scalable Image Generation via Next-Scale Prediction",
            code="FoundationVision/VAR",
            at="algorithms 1 and 2",
        ),
    ),
    codec=Spec(
        Autoencoder,
        {"stride": 16, "width": 128, "depth": 2, "bottleneck": Spec(Pyramid, {"scales": (1, 2, 3, 4, 5, 6, 8, 10, 13, 16), "codes": 4096, "channels": 32})},
    ),
    shape=(3, 256, 256),
    training={"batch": 64, "lr": 2e-3, "steps": 4000},
    sizes={
        "f16": {},
        "ch160": {
            "codec.network": Spec(Convolutions, {"widths": (160, 160, 320, 320, 640), "coarse": True, "side": 3}),
            "codec.bottleneck.phi_of": (0, 0, 1, 1, 1, 2, 2, 3, 3, 3),
        },
    },
    tiny={
        "codec.stride": 4,
        "codec.width": 24,
        "codec.depth": 1,
        "codec.bottleneck": Spec(Pyramid, {"scales": (1, 2, 3, 5, 7), "codes": 512, "channels": 8, "phis": 4}),
        "codec.distortion": Spec(Logistic),
        "shape": (1, 28, 28),
    },
    facts=(Fact("codec_parameters", "ch160", 108_948_355, 0, "official code, counted"), Fact("tokens", "ch160", 680, 0, "utils/arg_util.py")),
)
