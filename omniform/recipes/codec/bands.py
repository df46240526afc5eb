"""A residual quantiser from low frequencies to high: NFIG's tokenizer.

Huang et al. 2025, arXiv:2503.07076, section 3.1: bands whose edges follow the tokens of each scale. Encoder, decoder and losses are those of
the multi-scale quantiser here (the paper starts from DINOv2 and adds a perceptual and an adversarial loss).
"""

from ...codecs.bands import Bands
from ...core.spec import Spec
from ...system.recipe import Fact, Source
from .pyramid import RECIPE as PYRAMID

RECIPE = PYRAMID.but(
    {"codec.bottleneck": Spec(Bands, {**PYRAMID.codec.args["bottleneck"].args})},
    name="bands",
    title="Frequency-guided residual quantiser",
    source=(
        Source("2503.07076", "NFIG: Autoregressive Image Generation with Next-Frequency Prediction", code="Pride-Huang/NFIG", at="section 3.1"),
        *PYRAMID.source,
    ),
    sizes={"f16": {}},
    tiny={**PYRAMID.tiny, "codec.bottleneck": Spec(Bands, {**PYRAMID.tiny["codec.bottleneck"].args})},
    facts=(Fact("tokens", "f16", 680, 0, "section 4.1: scales 1 to 16"),),
)
