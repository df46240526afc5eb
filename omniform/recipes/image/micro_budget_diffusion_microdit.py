"""MicroDiT: three quarters of the patches are dropped in training, after all have met in a small mixer; blocks widen with depth, and every second one has
experts that choose their tokens.

Sehwag et al. 2024, arXiv:2407.15811; mixer, scaling and experts of section 3 and the official code (dit.py, utils.py). EDM's preconditioning is here what it
equals for data of unit variance: velocity on the trigonometric path, with its log-normal noise (official mean and deviation, over data of deviation 0.9);
sampling is Heun's on an even grid. The block of attention over the caption and the tanh-GELU before modulations are left out.
"""

from ...backbones.attention import Attention, CrossAttention
from ...backbones.blocks import PreNorm
from ...backbones.mlp import ExpertChoice, Mlp
from ...backbones.norms import AdaLN
from ...backbones.stack import DeferredMask, Stack
from ...conditions.caption import Caption
from ...core.spec import Spec
from ...processes.flow import Flow
from ...processes.paths import Cosine
from ...processes.solvers import Heun
from ...system.recipe import Fact, Source
from .dit import RECIPE as DIT

WIDE = {"biases": "", "qk_norm": "layer_wide"}
DENSE = Spec(
    PreNorm,
    {
        "mixer": Spec(Attention, {"heads": 16, "head_width": 64, **WIDE}),
        "cross": Spec(CrossAttention, {"heads": 16, "context": 1024, **WIDE}),
        "mlp": Spec(Mlp, {"hidden": 2048, "activation": "swiglu", "bias": False}),
        **{"modulate": Spec(AdaLN, {"told": 1024}), "affine": True, "bias": False, "norm_cross": True},
    },
)
SPARSE = DENSE.but({"mlp": Spec(ExpertChoice, {"num": 8, "mlp": Spec(Mlp, {"hidden": 3072, "activation": "gelu", "bias": False})})})
SLIM = {"mixer.heads": 12, "cross.heads": 12}
GROW = (("mixer.heads", 8, 16, 2), ("mlp.hidden", 1024 / 3, 8192 / 3, 256), ("mlp.mlp.hidden", 512, 4096, 256))
SMALL = {"mixer.heads": 4, "mixer.head_width": 32, "cross.heads": 4, "cross.context": 128, "modulate.told": 128}
TEXT = "attention over the caption is left out"
TINY = (DENSE.but({**SMALL, "mlp.hidden": 128}), SPARSE.but({**SMALL, "mlp.num": 4, "mlp.mlp.hidden": 128}))

RECIPE = DIT.but(
    {
        "conditions": {"text": (Spec(Caption, {"features": 1024, "length": 77, "pool": "mean", "mask": False}), ("cross", "modulate"))},
        "network.width": 1024,
        "network.head.learned_variance": False,
        "network.backbone": Spec(
            DeferredMask,
            {
                "mixer_width": 768,
                "mixer": Spec(Stack, {"depth": 6, "final": None, "block": (DENSE.but(SLIM), SPARSE.but(SLIM))}),
                "body": Spec(Stack, {"depth": 28, "final": "adaln", "block": (DENSE, SPARSE), "last": DENSE.but({"mlp.hidden": 2816}), "scaled": GROW}),
            },
        ),
        "process": Spec(
            Flow, {"path": Spec(Cosine), "times": "log_normal", "logit": (-0.495, 1.2), "dropped": 0.75, "solver": Spec(Heun), "steps": 30}
        ),
        "guidance.scale": 5.0,
        "training": {"batch": 2048, "lr": 2.4e-4, "warmup": 2500, "weight_decay": 0.1, "clip": 0.25, "betas": (0.9, 0.999), "steps": 250_000},
    },
    name="micro-budget-diffusion-microdit",
    title="MicroDiT",
    source=(
        Source("2407.15811", "Stretching Each Dollar: Diffusion Training from Scratch on a Micro-Budget", code="SonyResearch/micro_diffusion", at="section 3"),
        *DIT.source,
    ),
    sizes={"XL/2": {}, "XL/2-unmasked": {"process.dropped": 0.0}, "XL/2-512": {"shape": (3, 512, 512)}},
    tiny={
        **{"codec": DIT.tiny["codec"], "shape": (1, 28, 28), "network.width": 128, "network.backbone.mixer_width": 64},
        **{"process.steps": 12, "process.dropped": 0.5},
        **{"network.backbone.mixer.depth": 2, "network.backbone.mixer.block": TINY},
        **{"network.backbone.body.depth": 5, "network.backbone.body.block": TINY},
        **{"network.backbone.body.last": TINY[0], "network.backbone.body.scaled": (("mixer.heads", 2, 4, 1), ("mlp.hidden", 64, 256, 32))},
        **{"guidance.scale": 2.0, "training": DIT.tiny["training"]},
    },
    facts=(
        Fact("parameters", "XL/2", 1_165_442_320, 0.01, "official code, counted; README 1.16 B", differs=TEXT),
        Fact("multiply_adds", "XL/2-unmasked", 119.1e9, 0.02, "official code, counted"),
        Fact("multiply_adds", "XL/2", 47.0e9, 0.02, "official code, counted, 75 % of patches dropped", differs=TEXT),
        Fact("multiply_adds", "XL/2-512", 178.2e9, 0.02, "official code, counted, 75 % of patches dropped"),
        Fact("steps", "XL/2", 30, 0, "official code: 30 steps of Heun"),
    ),
)
