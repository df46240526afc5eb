"""VA-VAE: an autoencoder of wide latents that are drawn towards the features of a frozen encoder.

Yao et al. 2025, arXiv:2501.01423, section 3 (equations 1 to 5, margins 0.5 and 0.25, weight 0.1) and vavae/configs of the official code: 16 pixels a latent,
32 channels. The paper's encoders are DINOv2 and MAE; here the frozen one has no weights (histograms of oriented gradients), and the convolutions are our
autoencoder's.
"""

from ...codecs.alignment import Alignment, Orientations
from ...codecs.bottleneck import KL as Gaussian
from ...core.spec import Spec
from ...system.recipe import Fact, Source
from .kl import RECIPE as KL

ALIGN = Spec(Alignment, {"teacher": Spec(Orientations, {"cell": 16}), "features": 10, "weight": 0.1, "margins": (0.5, 0.25)})

RECIPE = KL.but(
    {"codec.stride": 16, "codec.bottleneck.channels": 32, "codec.align": ALIGN},
    name="va-vae",
    title="VA-VAE",
    source=(
        Source(
            "2501.01423",
            "Reconstruction vs. Generation: Taming Optimization Dilemma in Latent Diffusion Models",
            code="hustvl/LightningDiT",
            at="section 3, equations 1 to 5",
        ),
        *KL.source,
    ),
    sizes={"f16d32": {}, "f16d16": {"codec.bottleneck.channels": 16}, "f16d64": {"codec.bottleneck.channels": 64}},
    tiny={**KL.tiny, "codec.bottleneck": Spec(Gaussian, {"channels": 16, "weight": 1e-3}), "codec.align.teacher.cell": 4},
    facts=(Fact("tokens", "f16d32", 256, 0, "section 5.1: 256 pixels by 16"),),
)
