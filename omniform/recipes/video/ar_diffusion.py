"""AR-Diffusion: frames denoised together, no frame cleaner than the one before it, each seeing only itself and those before.

Sun et al. 2025, arXiv:2503.07418: non-decreasing noise drawn by FoPP and the data as prediction (section 3.3), the AD scheduler with stride 5 (section 3.4);
DiT-XL of the official code. Frames of 32 tokens of 4 channels (their one-dimensional tokenizer) are the data. Left out: the 77 context vectors before the
sequence, and that their block writes its norm over the stream.
"""

from ...codecs.patch import Patches
from ...core.spec import Spec
from ...heads.point import PointHead
from ...processes.paths import Betas, Linear
from ...processes.staggered import Staggered
from ...system.recipe import Fact, Source
from ..image.dit import RECIPE as DIT

RECIPE = DIT.but(
    {
        "codec": Spec(Patches, {"patch": 1}),
        "shape": (16, 4, 1, 32),
        "conditions": {},
        "guidance": None,
        "network.backbone.final": "layer",
        "network.head": Spec(PointHead),
        "process": Spec(Staggered, {"path": Spec(Betas, {"kind": "scaled"}), "steps": 50, "stride": 5}),
        "training": {"batch": 96, "lr": 2e-4, "warmup": 0, "shape": "constant", "clip": 1.0, "ema": 0.9999, "steps": 100_000},
    },
    name="ar-diffusion",
    title="AR-Diffusion",
    modality="video",
    source=(
        Source(
            "2503.07418",
            "AR-Diffusion: Asynchronous Video Generation with Auto-Regressive Diffusion",
            code="iva-mzsun/AR-Diffusion",
            at="sections 3.3 and 3.4",
        ),
        *DIT.source,
    ),
    sizes={"XL": {}, "XL-together": {"process.stride": 0}, "XL-frame-by-frame": {"process.stride": 50}},
    tiny={
        "codec": Spec(Patches, {"patch": 8, "scale": 2.0, "shift": -0.8}),
        "shape": (8, 1, 32, 32),
        "network.width": 128,
        "network.backbone.depth": 6,
        "network.backbone.block.mixer.heads": 4,
        "process.path": Spec(Linear),
        "process.steps": 12,
        "process.stride": 3,
        "training": {"batch": 16, "lr": 2e-3, "steps": 3000},
    },
    facts=(
        Fact("parameters", "XL", 671.9e6, 0.005, "official code, counted without its context vectors"),
        Fact("tokens", "XL", 512, 0, "official code: 16 frames of 32"),
        Fact("questions", "XL", 125, 0, "AD scheduler: 50 + 15 * 5, simulated from the official code"),
        Fact("questions", "XL-together", 50, 0, "the same with stride 0"),
        Fact("questions", "XL-frame-by-frame", 800, 0, "the same with stride 50"),
    ),
)
