"""A convolutional autoencoder with one codebook: images as a grid of codes.

van den Oord et al. 2017, arXiv:1711.00937, sections 3.1 and 3.2; codebook by moving averages, appendix A.1.
"""

from ...codecs.autoencoder import Autoencoder
from ...codecs.bottleneck import VQ
from ...core.spec import Spec
from ...system.recipe import Recipe, Source

RECIPE = Recipe(
    name="vq",
    title="Vector-quantised autoencoder",
    family="latent",
    modality="image",
    source=(Source("1711.00937", "Neural Discrete Representation Learning", at="section 3, appendix A.1"),),
    codec=Spec(Autoencoder, {"stride": 16, "width": 128, "depth": 2, "bottleneck": Spec(VQ, {"codes": 1024, "channels": 256})}),
    shape=(3, 256, 256),
    training={"batch": 64, "lr": 2e-3, "steps": 4000},
    sizes={"f16": {}},
    tiny={"codec.stride": 4, "codec.width": 24, "codec.depth": 1, "codec.bottleneck": Spec(VQ, {"codes": 256, "channels": 8}), "shape": (1, 28, 28)},
)
