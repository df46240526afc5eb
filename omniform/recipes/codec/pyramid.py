"""A multi-scale residual quantiser: images as maps of codes from coarse to fine.

Tian et al. 2024, arXiv:2404.02905, section 3.2 and algorithms 1 and 2; four shared phi convolutions as in the code.
"""

from ...codecs.autoencoder import Autoencoder
from ...codecs.distortion import Logistic
from ...codecs.pyramid import Pyramid
from ...core.spec import Spec
from ...system.recipe import Recipe, Source

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
    sizes={"f16": {}},
    tiny={
        "codec.stride": 4,
        "codec.width": 24,
        "codec.depth": 1,
        "codec.bottleneck": Spec(Pyramid, {"scales": (1, 2, 3, 5, 7), "codes": 512, "channels": 8, "phis": 4}),
        "codec.distortion": Spec(Logistic),
        "shape": (1, 28, 28),
    },
)
