"""Switch-DiT: DiT whose every block stands behind experts that the time chooses, pulled toward what is known of how noise levels go together.

Park et al. 2024, arXiv:2403.09176; block and diffusion prior loss of the official code (3 experts, 2 chosen, a window that slides with the fourth power).
Guidance is of all four channels with 1.5, as in the official code.
"""

from ...backbones.timed_experts import DiffusionPrior, TimedExperts
from ...core.spec import Spec
from ...system.recipe import Fact, Source
from .dit import RECIPE as DIT

STACK = DIT.network.args["backbone"]
SMALL = DIT.sized("tiny")
ROUTED = Spec(TimedExperts, {"num": 3, "top": 2, "block": STACK.args["block"]})
COUNT = "official code, counted: DiT and N (3 (D^2 + D) + 3 D + 3)"

RECIPE = DIT.but(
    {
        "network.backbone": Spec(DiffusionPrior, {"weight": 8.0, "stack": STACK.but({"block": ROUTED})}),
        "guidance.scale": 1.5,
        "training": {"batch": 256, "lr": 1e-4, "warmup": 0, "shape": "constant", "weight_decay": 0.0, "ema": 0.9999, "steps": 400_000},
    },
    name="switch-dit",
    title="Switch-DiT",
    source=(
        Source(
            "2403.09176",
            "Switch Diffusion Transformer: Synergizing Denoising Tasks with Sparse Mixture-of-Experts",
            code="byeongjun-park/Switch-DiT",
            at="official code: models/MoE.py, util/model_util.py",
        ),
        *DIT.source,
    ),
    sizes={
        "XL/2": {},
        "L/2": {"network.width": 1024, "network.backbone.stack.depth": 24},
        "B/2": {"network.width": 768, "network.backbone.stack.depth": 12, "network.backbone.stack.block.block.mixer.heads": 12},
        "S/2": {"network.width": 384, "network.backbone.stack.depth": 12, "network.backbone.stack.block.block.mixer.heads": 6},
    },
    tiny={
        "codec": SMALL.codec,
        "shape": SMALL.shape,
        "network": SMALL.network.but(
            {
                "backbone": Spec(
                    DiffusionPrior,
                    {
                        "weight": 2.0,
                        "levels": 100,
                        "stack": SMALL.network.args["backbone"].but({"block": ROUTED.but({"block": SMALL.network.args["backbone"].args["block"]})}),
                    },
                )
            }
        ),
        "process": SMALL.process,
        "guidance.scale": 2.0,
        "training": SMALL.training,
    },
    facts=(
        Fact("parameters", "XL/2", 786_505_076, 0, COUNT),
        Fact("parameters", "L/2", 533_485_672, 0, COUNT),
        Fact("parameters", "B/2", 151_604_804, 0, COUNT),
        Fact("parameters", "S/2", 38_201_156, 0, COUNT),
        Fact("multiply_adds", "S/2", 6.06e9 + 12 * (256 + 2) * 384**2, 0.002, "DiT's table 4, and N (L + 2) D^2 for experts mixed before they are applied"),
        Fact("steps", "XL/2", 250, 0, "official code: config"),
    ),
)
