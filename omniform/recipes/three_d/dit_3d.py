"""DiT-3D: points as voxels, a DiT over cubes of voxels with windows in every third block, and the noise read back at the points.

Mo et al. 2023, arXiv:2307.01831; adapter of section 3.1 and the official code, windows of 4 x 4 x 4 cubes in blocks 0, 3, 6... as in the code, there local as
in the paper (the released blocks attend to everything), sizes of table 4 (L is as wide as XL: the width must divide by three and by the heads).
"""

from ...backbones.attention import Attention, Windowed
from ...backbones.blocks import PreNorm
from ...backbones.embed import Bare
from ...backbones.mlp import Mlp
from ...backbones.stack import Stack
from ...backbones.voxels import Voxelised
from ...codecs.points import Points
from ...conditions.conditioning import ClassLabel
from ...core.spec import Spec
from ...heads.point import BareHead
from ...processes.flow import Flow
from ...processes.paths import Betas
from ...processes.solvers import Ancestral
from ...system.recipe import Fact, Source
from ..image.dit import RECIPE as DIT

FULL = Spec(PreNorm, {"mixer": Spec(Attention, {"heads": 6}), "mlp": Spec(Mlp, {"activation": "gelu"}), "modulate": "zero"})
NEAR = FULL.but({"mixer": Spec(Windowed, {"heads": 6, "window": (4, 4, 4)})})
TALL, WIDE = "network.backbone.stack.depth", "network.width"
HEADS = "network.backbone.stack.block.{}.mixer.heads"
OF12 = {HEADS.format(0): 12, HEADS.format(1): 12, HEADS.format(2): 12}
OF16 = {HEADS.format(0): 16, HEADS.format(1): 16, HEADS.format(2): 16}

RECIPE = DIT.but(
    {
        "codec": Spec(Points, {"scale": 2.0}),
        "shape": (2048, 3),
        "conditions": {"label": (Spec(ClassLabel, {"classes": 55}), "modulate")},
        "network.width": 384,
        "network.embed": Spec(Bare),
        "network.head": Spec(BareHead),
        "network.backbone": Spec(Voxelised, {"stack": Spec(Stack, {"depth": 12, "final": "adaln", "block": (NEAR, FULL, FULL)})}),
        "process": Spec(Flow, {"path": Spec(Betas), "predict": "noise", "times": "levels", "solver": Spec(Ancestral), "steps": 1000}),
        "guidance.scale": 1.0,
        "training": {"batch": 128, "lr": 1e-4, "warmup": 0, "shape": "constant", "weight_decay": 0.0, "ema": 0.9999, "steps": 300_000},
    },
    name="dit-3d",
    title="DiT-3D",
    modality="three_d",
    source=(
        Source("2307.01831", "DiT-3D: Exploring Plain Diffusion Transformers for 3D Shape Generation", code="DiT-3D/DiT-3D", at="section 3, table 4"),
        *DIT.source,
    ),
    sizes={
        "S/4": {},
        "B/4": {WIDE: 768, **OF12},
        "L/4": {WIDE: 1152, TALL: 24, **OF16},
        "XL/4": {WIDE: 1152, TALL: 28, **OF16},
        "S/2": {"network.backbone.patch": 2},
        "S/8": {"network.backbone.patch": 8},
    },
    tiny={
        "shape": (256, 3),
        "codec.scale": 3.4,
        "network.width": 96,
        TALL: 3,
        "network.backbone.voxels": 16,
        "network.backbone.stack.block.0.mixer.window": (2, 2, 2),
        "process.steps": 50,
        "guidance.scale": 2.0,
        "training": {"batch": 32, "lr": 2e-3, "steps": 3000},
    },
    facts=(
        Fact("parameters", "S/4", 32.8e6, 0.01, "table 4 (with its fixed positions, which ours are not counted with)"),
        Fact("parameters", "B/4", 130.2e6, 0.01, "table 4"),
        Fact("parameters", "L/4", 579.0e6, 0.01, "table 4"),
        Fact("parameters", "XL/4", 674.7e6, 0.01, "table 4"),
        Fact("steps", "S/4", 1000, 0, "section 4.1"),
        Fact("tokens", "S/4", 2048, 0, "section 4.1: points of a shape"),
    ),
)
