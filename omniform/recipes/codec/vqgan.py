"""VQGAN: a codebook whose decoder also answers to features and to a critic.

Esser et al. 2021, arXiv:2012.09841, section 3.1 (equations 4 to 7), table 7; configs of the official code: attention at the coarsest resolution, the critic's
opinion balanced (weight 0.8) and silent for 250,000 batches. "VQ-16" and "VQ-8" are LlamaGen's tokenizers (Sun et al. 2024, arXiv:2406.06525, section 3.1 and
official code): 16,384 codes of 8 numbers on the unit sphere, squared error, a fixed weight of 0.5 from batch 20,000 on.

The paper's features are a trained VGG-16's (LPIPS); here they have no weights (histograms of oriented gradients). Our critic has no batch norm and one
convolution less, and codes start on the first batch's vectors; VQGAN's number of steps is not published.
"""

from ...codecs.alignment import Orientations
from ...codecs.autoencoder import Autoencoder
from ...codecs.bottleneck import VQ
from ...codecs.convolutions import Convolutions
from ...codecs.critic import PatchCritic
from ...codecs.distortion import Absolute, Perceptual, Squared
from ...core.spec import Spec
from ...system.recipe import Fact, Recipe, Source

LLAMAGEN = {
    "codec.distortion.pixels": Spec(Squared),
    "codec.critic": Spec(PatchCritic, {"width": 64, "depth": 3, "weight": 0.5, "start": 20_000}),
    "codec.bottleneck": Spec(VQ, {"codes": 16384, "channels": 8, "normalise": True, "ema": 0.0, "restart": 0.0}),
    "codec.network.inner": 256,
    "training": {"batch": 128, "lr": 1e-4, "shape": "constant", "warmup": 0, "betas": (0.9, 0.95), "weight_decay": 0.05, "clip": 1.0, "steps": 400_000},
}

RECIPE = Recipe(
    name="vqgan",
    title="VQGAN",
    family="latent",
    modality="image",
    source=(
        Source("2012.09841", "Taming Transformers for High-Resolution Image Synthesis", code="CompVis/taming-transformers", at="section 3.1, table 7"),
        Source("2406.06525", "Autoregressive Model Beats Diffusion: Llama for Scalable Image Generation", code="FoundationVision/LlamaGen", at="section 3.1"),
    ),
    codec=Spec(
        Autoencoder,
        {
            "stride": 16,
            "bottleneck": Spec(VQ, {"codes": 1024, "channels": 256, "ema": 0.0, "restart": 0.0}),
            "network": Spec(Convolutions, {"widths": (128, 128, 256, 256, 512), "coarse": True}),
            "distortion": Spec(Perceptual, {"pixels": Spec(Absolute), "features": Spec(Orientations, {"cell": 8})}),
            "critic": Spec(PatchCritic, {"width": 64, "depth": 3, "weight": 0.8, "balanced": True, "start": 250_000}),
        },
    ),
    shape=(3, 256, 256),
    training={"batch": 12, "lr": 5.4e-5, "shape": "constant", "warmup": 0, "betas": (0.5, 0.9), "weight_decay": 0.0, "steps": 1_000_000},
    sizes={
        "f16-1024": {},
        "f16-16384": {"codec.bottleneck.codes": 16384},
        "VQ-16": LLAMAGEN,
        "VQ-8": {**LLAMAGEN, "codec.stride": 8, "codec.network.widths": (128, 256, 256, 512)},
    },
    tiny={
        "shape": (1, 28, 28),
        "codec.stride": 4,
        "codec.width": 24,
        "codec.network": None,
        "codec.bottleneck": Spec(VQ, {"codes": 256, "channels": 8}),
        "codec.distortion.features.cell": 4,
        "codec.critic": Spec(PatchCritic, {"width": 16, "weight": 0.8, "balanced": True}),
        "training": {"batch": 64, "lr": 2e-3, "steps": 4000},
    },
    ungraded={"codec.critic.net.4.bias": "moves the verdict on data and on reconstructions alike, so that it waits until a hinge is reached"},
    facts=(
        Fact("codec_parameters", "f16-1024", 72_141_699, 0, "official code, counted"),
        Fact("codec_parameters", "f16-16384", 76_073_859, 0, "official code, counted"),
        Fact("codec_parameters", "VQ-16", 71_883_403, 0, "official code, counted; its table of checkpoints: 72 M"),
        Fact("codec_parameters", "VQ-8", 70_109_835, 0, "official code, counted; its table of checkpoints: 70 M"),
        Fact("tokens", "f16-1024", 256, 0, "official configuration: 256 pixels by 16"),
        Fact("tokens", "VQ-16", 256, 0, "section 3.1: 256 pixels by 16"),
        Fact("tokens", "VQ-8", 1024, 0, "section 3.1: 256 pixels by 8"),
    ),
)
