"""FAR: frames one after another, each by a flow; in training every frame has a time of its own and a tenth of them are shown clean.

Gu et al. 2025, arXiv:2503.19325: frame-causal attention and a time a frame of section 3.1, stochastic clean context of section 3.2, block and sizes of the
official code and table 1. Latents of 8 x 8 tokens of 32 channels a frame (their DC-AE) are the data. A clean frame is told the time of clean data, where their
code has a time of its own. FAR-Long, whose old frames are coarser and have weights of their own, is not built; nor are class and action.
"""

from ...codecs.patch import Patches
from ...core.spec import Spec
from ...processes.shown import Shown
from ...system.recipe import Fact, Source
from .next_frame_diffusion import RECIPE as NEXT_FRAME

CODE = "official code, counted (without class tables); table 1 prints "
SHOWN = Spec(Shown, {"kinds": ("few",), "told": True})

RECIPE = NEXT_FRAME.but(
    {
        "codec": Spec(Patches, {"patch": 1}),
        "shape": (16, 32, 8, 8),
        "network.width": 768,
        "network.backbone.depth": 12,
        "network.backbone.rotary.share": (8, 12, 12),
        "network.backbone.block.mixer.heads": 12,
        "network.backbone.block.mixer.qk_norm": "rms",
        "process.record": "noisy",
        "process.inner.times": "logit_normal",
        "process.inner.shown": SHOWN,
        "training": {"batch": 32, "lr": 1e-4, "warmup": 0, "shape": "constant", "weight_decay": 0.0, "betas": (0.9, 0.999), "ema": 0.9999, "steps": 400_000},
    },
    name="far",
    title="FAR",
    source=(
        Source("2503.19325", "Long-Context Autoregressive Video Modeling with Next-Frame Prediction", code="showlab/FAR", at="section 3, table 1"),
        *NEXT_FRAME.source,
    ),
    sizes={
        "B": {},
        "M": {"network.width": 1024, "network.backbone.block.mixer.heads": 16},
        "L": {"network.width": 1024, "network.backbone.depth": 24, "network.backbone.block.mixer.heads": 16},
        "XL": {"network.width": 1152, "network.backbone.depth": 28, "network.backbone.block.mixer.heads": 18},
    },
    tiny={
        **NEXT_FRAME.tiny,
        "codec": Spec(Patches, {"patch": 8, "scale": 2.0, "shift": -0.8}),
        "network.backbone.rotary.share": None,
    },
    facts=(
        Fact("parameters", "B", 129.56e6, 0.001, CODE + "130 M"),
        Fact("parameters", "M", 230.16e6, 0.001, CODE + "230 M"),
        Fact("parameters", "L", 456.84e6, 0.001, CODE + "457 M"),
        Fact("parameters", "XL", 673.70e6, 0.001, CODE + "674 M"),
        Fact("tokens", "B", 1024, 0, "section 4: 16 frames of 64"),
        Fact("steps", "B", 800, 0, "official code: 50 a frame"),
    ),
)
