"""ENAT: MaskGIT with an encoder of what is shown, a short decoder of what is hidden, and what was said of shown codes at the last question.

Ni et al. 2024, arXiv:2411.06959, sections 4.1 and 4.2; network, strategies and constants of the official code (libs/models.py, libs/nat_misc.py, train.py and
the commands of its page). Depth and width of S and B are those that have the paper's counts. The class alone modulates. No dropout on what is embedded; an MLP
that the code builds and never calls is not built.
"""

from ...backbones.disentangled import Disentangled, Reader
from ...backbones.mlp import Mlp
from ...conditions.conditioning import ClassLabel
from ...core.spec import Spec
from ...processes.reusing import Reusing
from ...system.recipe import Fact, Source
from .maskgit import RECIPE as MASKGIT

BACKBONE = Spec(Disentangled, {"encoder": 22, "decoder": 2, "block": Spec(Reader, {"heads": 16}), "mlp": Spec(Mlp)})
PROCESS = Spec(Reusing, {"steps": 8, "noise": 1.5, "temperature": 6.0, "ratio": ("beta", 12, 3), "smoothing": 0.1})
UNUSED = "the code builds an MLP of 8.4 M beside that nothing calls"

RECIPE = MASKGIT.but(
    {
        "conditions": {"label": (Spec(ClassLabel, {"classes": 1000}), "modulate")},
        "network.width": 1024,
        "network.init": "xavier",
        "network.backbone": BACKBONE,
        "network.head.tied": "read",
        "network.head.eps": 1e-5,
        "process": PROCESS,
        "guidance.scale": 3.5,
        "guidance.ramp": "rising",
        "drop": 0.15,
        "training": {**MASKGIT.training, "batch": 2048, "lr": 4e-4, "weight_decay": 0.03, "betas": (0.99, 0.99), "ema": 0.9999, "steps": 500_000},
    },
    name="enat",
    title="ENAT",
    source=(
        Source("2411.06959", "ENAT: Rethinking Spatial-temporal Interactions in Token-based Image Synthesis", code="LeapLabTHU/ENAT", at="section 4"),
        *MASKGIT.source,
    ),
    sizes={
        "L": {},
        "L-512": {"shape": (3, 512, 512), "process.temperature": 4.0, "guidance.scale": 4.5, "training.lr": 1e-4, "training.batch": 512},
        "B": {"network.width": 768, "network.backbone.encoder": 14, "network.backbone.block.heads": 12},
        "S": {"network.width": 512, "network.backbone.encoder": 14, "network.backbone.block.heads": 8},
    },
    tiny={
        **MASKGIT.tiny,
        "network.head": MASKGIT.network.args["head"].but({"tied": "read", "eps": 1e-5}),
        "network.embed.norm": True,
        "network.backbone": BACKBONE.but({"encoder": 5, "decoder": 2, "block.heads": 4}),
        "process": PROCESS.but({"smoothing": 0.0, "temperature": 1.0}),
        "drop": 0.15,
    },
    facts=(
        Fact("parameters", "L", 565.90e6, 0.0001, "official code, counted without an MLP that nothing calls"),
        Fact("parameters", "L", 574e6, 0.01, "official code, all that it builds; the paper: 574 M", differs=UNUSED),
        Fact("parameters", "L-512", 566.69e6, 0.0001, "official code, counted without an MLP that nothing calls"),
        Fact("parameters", "B", 214.92e6, 0.0001, "official code, counted without an MLP that nothing calls"),
        Fact("parameters", "S", 95.97e6, 0.0001, "official code, counted without an MLP that nothing calls"),
        Fact("multiply_adds_per_sample", "L", 126.85e9, 0.001, "official code, counted: 8 questions, one term of guidance"),
        Fact("tokens", "L", 256, 0, "16 x 16 codes of 256 pixels"),
        Fact("tokens", "L-512", 1024, 0, "32 x 32 codes of 512 pixels"),
        Fact("steps", "L", 8, 0, "official code's commands"),
    ),
)
