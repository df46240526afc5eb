"""FIT: groups of patches with a few latents each; layers inside groups and layers among all latents take turns, here to denoise pixels.

Chen and Li 2023, arXiv:2305.12689; the denoiser of the official code (architectures/transformers.py: FITDenoiser), as its diffusion of pixels. Sizes are not
published under names: "6400" is the largest picture of the abstract (patches of 16), "512" the layout of the code's example. The latents of the last step
are not kept (latent self-conditioning); DDPM's levels stand for the host's noise schedule.
"""

from ...backbones.attention import Attention
from ...backbones.blocks import PreNorm
from ...backbones.embed import Embed
from ...backbones.interleaved import Interleaved
from ...backbones.mlp import Mlp
from ...codecs.patch import Patches
from ...conditions.conditioning import ClassLabel
from ...core.spec import Spec
from ...system.recipe import Fact, Source
from .dit import RECIPE as DIT

LAYER = Spec(PreNorm, {"mixer": Spec(Attention, {"heads": 8}), "mlp": Spec(Mlp, {"activation": "gelu"})})

RECIPE = DIT.but(
    {
        "codec": Spec(Patches, {"patch": 16, "scale": 2.0}),
        "shape": (3, 512, 512),
        "conditions": {"label": (Spec(ClassLabel, {"classes": 1000}), "cross")},
        "network.width": 512,
        "network.embed": Spec(Embed, {"hidden": False}),
        "network.head.learned_variance": False,
        "network.backbone": Spec(
            Interleaved,
            {
                "group": (8, 8),
                "latents": 16,
                "latent_width": 768,
                "layers": ((2, 4), (2, 4), (2, 0)),
                "block": LAYER,
                "latent_block": LAYER.but({"mixer.heads": 12}),
            },
        ),
    },
    name="fit",
    title="FIT",
    source=(Source("2305.12689", "FIT: Far-reaching Interleaved Transformers", code="google-research/pix2seq", at="official code: FITDenoiser"), *DIT.source),
    sizes={"512": {}, "6400": {"shape": (3, 6400, 6400), "network.backbone.group": (10, 10), "network.backbone.latents": 4}},
    tiny={
        **{"codec": Spec(Patches, {"patch": 2, "scale": 1.6, "shift": -0.6}), "shape": (1, 28, 28), "process": DIT.tiny["process"]},
        **{"network.width": 96, "network.backbone.group": (7, 7), "network.backbone.latents": 4, "network.backbone.latent_width": 128},
        **{"network.backbone.layers": ((1, 2), (1, 2), (1, 0)), "network.backbone.heads": 4},
        **{"network.backbone.block.mixer.heads": 4, "network.backbone.latent_block.mixer.heads": 4, "guidance.scale": 2.0, "training": DIT.tiny["training"]},
    },
    facts=(
        Fact("tokens", "6400", 160_000, 0, "abstract"),
        Fact("parameters", "512", 87.8e6, 0.005, "by hand: 6 local layers, 8 global ones, 4 readings, 2 of what is told, 2.3 M around them"),
        Fact("tokens", "512", 1024, 0, "by hand: 16 groups of 64"),
    ),
)
