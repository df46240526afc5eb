"""EBT on images: a transformer that names an energy a patch; pictures are found by going down its gradient.

Gladstone et al. 2025, arXiv:2507.02092; algorithm of section 3, image model of section 4.3; network and constants of the official code: DiT's blocks with an
MLP as wide as the
stream, no time, one learned vector as modulation. The paper's energy is the mean over patches, ours a sum, so the rate is theirs (3000) over 64. They start
from a noisy
picture to be cleaned; here, as in their text-to-image variant, from noise.
"""

from ...codecs.patch import Patches
from ...core.spec import Spec
from ...heads.point import EnergyHead
from ...processes.energy import Energy
from ...system.recipe import Fact, Source
from .dit import RECIPE as DIT

RECIPE = DIT.but(
    {
        "codec": Spec(Patches, {"patch": 16}),
        "shape": (3, 128, 128),
        "conditions": {},
        "network.time": None,
        "network.backbone.block.mlp.ratio": 1.0,
        "network.backbone.constant": True,
        "network.head": Spec(EnergyHead),
        "process": Spec(Energy, {"steps": 1, "rate": 47.0}),
        "guidance": None,
        "network.width": 1536,
        "network.backbone.depth": 24,
        "training": {"batch": 128, "lr": 1e-4, "warmup": 10_000, "weight_decay": 0.01, "clip": 1.0, "ema": 0.0, "steps": 1_000_000},
    },
    name="ebt",
    title="Energy-based transformer",
    family="energy",
    source=(Source("2507.02092", "Energy-Based Transformers are Scalable Learners and Thinkers", code="alexiglad/EBT", at="section 3"), *DIT.source),
    sizes={"large": {}},
    tiny={
        "codec": DIT.tiny["codec"],
        "shape": (1, 28, 28),
        "conditions": DIT.conditions,
        "guidance": DIT.guidance.but({"scale": 1.5}),
        "network.backbone.constant": False,
        "network.width": 128,
        "network.backbone.depth": 6,
        "network.backbone.block.mixer.heads": 4,
        "process.steps": 4,
        "process.rate": 10.0,
        "training": {"batch": 64, "lr": 1e-3, "steps": 3000},
    },
    facts=(
        Fact("parameters", "large", 685.8e6, 0.001, "official code, counted"),
        Fact("tokens", "large", 64, 0, "official code"),
        Fact("steps", "large", 1, 0, "official code"),
    ),
)
