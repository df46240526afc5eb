"""VDT: a diffusion transformer whose blocks look along time and then over space, for every task that is a mask of frames.

Lu et al. 2023, arXiv:2305.13311, sections 3.2 and 3.3; models.py and mask_generator.py of the official code: the temporal branch has a norm with weights of
its own, no modulation, and a linear map more; clean frames are put in at the input. The autoencoder of frames (8 x 8, 4 channels) is not part of it: the shape
is that of the latents of 16 frames of 128 pixels. The paper prints 28.5 M and 595.9 M, which is a block without its map of six vectors; the released one is
counted here.
"""

from ...backbones.attention import Windowed
from ...backbones.blocks import Chain, PreNorm
from ...backbones.mlp import Mlp
from ...backbones.positions import SinCosPositions
from ...codecs.patch import Patches
from ...core.spec import Spec
from ...processes.flow import Flow
from ...processes.paths import Betas, Linear
from ...processes.shown import Shown
from ...processes.solvers import Ancestral, Euler
from ...system.recipe import Fact, Source
from ..image.dit import RECIPE as DIT

TIME = Spec(PreNorm, {"mixer": Spec(Windowed, {"heads": 16, "window": (0, 1, 1), "behind": True})})
PLACE = Spec(PreNorm, {"mixer": Spec(Windowed, {"heads": 16, "window": (1, 0, 0)}), "mlp": Spec(Mlp), "modulate": "zero"})
SHOWN = Spec(Shown, {"kinds": ("nothing", "past", "future", "every_fourth", "one", "some")})
PLACES = Spec(SinCosPositions, {"axes": (1, 2)}), Spec(SinCosPositions, {"axes": (0,)})
HEADS = "network.backbone.block.blocks.0.mixer.heads", "network.backbone.block.blocks.1.mixer.heads"
APART = "the paper's block has neither the map of six vectors nor the linear map behind temporal attention; the released one has both"

RECIPE = DIT.but(
    {
        "codec": Spec(Patches, {"patch": 2}),
        "shape": (16, 4, 16, 16),
        "conditions": {},
        "network.embed.positions": PLACES,
        "network.backbone.block": Spec(Chain, {"blocks": (TIME, PLACE)}),
        "process": Spec(
            Flow, {"path": Spec(Betas), "predict": "noise", "times": "levels", "solver": Spec(Ancestral), "steps": 250, "shown": SHOWN}
        ),
    },
    name="vdt",
    title="VDT",
    modality="video",
    guidance=None,
    source=(Source("2305.13311", "VDT: General-purpose Video Diffusion Transformers via Mask Modeling", code="RERV/VDT", at="sections 3.2 and 3.3"),
    *DIT.source), sizes={"L/2": {}, "S/2": {"network.width": 384, "network.backbone.depth": 12, HEADS[0]: 6, HEADS[1]: 6}},
    tiny={
        "codec": Spec(Patches, {"patch": 8, "scale": 2.0, "shift": -0.8}),
        "shape": (8, 1, 32, 32),
        "network.width": 128,
        "network.backbone.depth": 4,
        HEADS[0]: 4,
        HEADS[1]: 4,
        "network.head.learned_variance": False,
        "process": Spec(Flow, {"path": Spec(Linear), "solver": Spec(Euler), "steps": 25, "shown": SHOWN}),
        "training": {"batch": 16, "lr": 2e-3, "steps": 3000},
    },
    facts=(
        Fact("parameters", "L/2", 859.7e6, 0.001, "official code, counted without its one class"),
        Fact("parameters", "L/2", 595.9e6, 0.01, "section 4", differs=APART),
        Fact("parameters", "S/2", 41.4e6, 0.002, "official code, counted without its one class"),
        Fact("parameters", "S/2", 28.5e6, 0.01, "section 4", differs=APART),
        Fact("tokens", "L/2", 1024, 0, "16 frames of 8 x 8 patches"),
    ),
)
