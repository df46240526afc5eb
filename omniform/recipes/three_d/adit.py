"""ADiT: a DiT that makes the latents of molecules and of crystals, one an atom, told which of the two.

Joshi et al. 2025, arXiv:2503.03965, section 3.2; denoisers/dit.py, ldm_module.py, the interpolant and configs of the official code: the data are predicted,
beside what was seen a question before; noise is centred; an error counts 1 / (1 - min(t, 0.9))^2. Times are all of [0, 1) (theirs: from 0.01 to 0.99).
"""

from ...backbones.embed import Embed
from ...conditions.conditioning import ClassLabel
from ...core.spec import Spec
from ...processes.echoed import SelfConditioned
from ...processes.paths import Linear
from ...processes.solvers import Euler
from ...system.recipe import Fact, Source
from ..codec.adit_vae import NUMBERED
from ..codec.adit_vae import RECIPE as VAE
from ..image.dit import RECIPE as DIT

FLOW = {"path": Spec(Linear), "solver": Spec(Euler), "predict": "data", "centred": True, "capped": 0.9}
NO_GROUPS = "without the table of 231 space groups, of which the official code feeds the first row only"

RECIPE = DIT.but(
    {
        "codec": VAE.codec,
        "shape": VAE.shape,
        "conditions": {"label": (Spec(ClassLabel, {"classes": 2, "names": ("crystal", "molecule")}), "modulate")},
        "network.width": 768,
        "network.embed": Spec(Embed, {"channels": 16, "positions": NUMBERED, "hidden": False}),
        "network.time.flip": False,
        "network.backbone.depth": 12,
        "network.backbone.block.mixer.heads": 12,
        "network.head.learned_variance": False,
        "process": Spec(SelfConditioned, {**FLOW, "steps": 100}),
        "guidance.scale": 2.0,
        "training": {"batch": 256, "lr": 1e-4, "warmup": 0, "shape": "constant", "weight_decay": 0.0, "ema": 0.9999, "steps": 300_000},
    },
    name="adit",
    title="ADiT",
    family="flow",
    modality="three_d",
    source=(
        Source(
            "2503.03965",
            "All-atom Diffusion Transformers: Unified generative modelling of molecules and materials",
            code="facebookresearch/all-atom-diffusion-transformer",
            at="section 3.2",
        ),
        *DIT.source,
    ),
    sizes={
        "B": {},
        "S": {"network.width": 384, "network.backbone.block.mixer.heads": 6},
        "L": {"network.width": 1024, "network.backbone.depth": 24, "network.backbone.block.mixer.heads": 16},
    },
    tiny={
        "codec": VAE.sized("tiny").codec,
        "shape": VAE.sized("tiny").shape,
        "network.width": 128,
        "network.backbone.depth": 4,
        "network.backbone.block.mixer.heads": 4,
        "process.steps": 50,
        "training": {"batch": 64, "lr": 1e-3, "steps": 3000},
    },
    facts=(
        Fact("parameters", "S", 32.56e6, 0.005, f"official code, counted; ours is {NO_GROUPS}"),
        Fact("parameters", "B", 129.71e6, 0.005, f"official code, counted; ours is {NO_GROUPS}"),
        Fact("parameters", "B", 150e6, 0.01, "the official code's page", differs="the shapes of its configuration give 129.7 M"),
        Fact("parameters", "L", 457.03e6, 0.005, f"official code, counted; ours is {NO_GROUPS}"),
        Fact("parameters", "L", 450e6, 0.02, "the official code's page"),
        Fact("steps", "B", 100, 0, "official configuration"),
    ),
)
