"""LightningDiT: DiT with SwiGLU, RMSNorm and rotary positions, trained as a flow whose direction counts, over VA-VAE's latents, one a token.

Yao et al. 2025, arXiv:2501.01423, section 4 and table 1; lightningdit.py, transport.py and configs of the official code: norms with weights, DiT's table of
positions kept beside the rotary ones, no norm of queries and keys. The code guides three of the 32 channels by 6.7 from t = 0.125 on; here all are guided. Its
shift is of the grid alone: the mean of the times undoes it in training (ln(1 / 0.3)).
"""

from ...backbones.attention import Attention
from ...backbones.blocks import PreNorm
from ...backbones.mlp import Mlp
from ...backbones.norms import Modulated
from ...backbones.positions import Rotary
from ...conditions.guidance import ClassifierFree
from ...core.spec import Spec
from ...processes.flow import Flow
from ...processes.paths import Linear
from ...processes.solvers import Euler
from ...system.recipe import Fact, Source
from ..codec.kl import RECIPE as KL
from ..codec.va_vae import RECIPE as VA_VAE
from .dit import RECIPE as DIT

BLOCK = {"norm": "rms", "affine": True, "mlp": Spec(Mlp, {"hidden": 3072, "activation": "swiglu"}), "modulate": "zero"}
FLOW = {"path": Spec(Linear), "solver": Spec(Euler), "times": "logit_normal", "direction": 1.0}

RECIPE = DIT.but(
    {
        "codec": VA_VAE.codec,
        "network.backbone.block": Spec(PreNorm, {"mixer": Spec(Attention, {"heads": 16}), **BLOCK}),
        "network.backbone.rotary": Spec(Rotary, {"head_width": 72, "interleaved": True}),
        "network.backbone.final": Spec(Modulated, {"kind": "rms", "affine": True}),
        "network.head.learned_variance": False,
        "network.time.flip": False,
        "process": Spec(Flow, {**FLOW, "logit": (1.204, 1.0), "grid": "shifted", "shift": 3.3333, "steps": 250}),
        "guidance": Spec(ClassifierFree, {"scale": 1.5, "interval": (0.125, 1.0)}),
        "training": {"batch": 1024, "lr": 2e-4, "betas": (0.9, 0.95), "weight_decay": 0.0, "clip": 0.0, "ema": 0.9999, "precision": "bf16", "steps": 80_000},
    },
    name="lightningdit",
    title="LightningDiT",
    family="flow",
    source=(
        Source(
            "2501.01423",
            "Reconstruction vs. Generation: Taming Optimization Dilemma in Latent Diffusion Models",
            code="hustvl/LightningDiT",
            at="section 4, table 1",
        ),
        *DIT.source,
    ),
    sizes={
        "XL/1": {},
        "B/1": {
            **DIT.sizes["B/2"],
            "network.backbone.block.mlp.hidden": 2048,
            "network.backbone.rotary.head_width": 64,
        },
        "1p0B/1": {
            "network.width": 1536,
            "network.backbone.depth": 24,
            "network.backbone.block.mixer.heads": 24,
            "network.backbone.block.mlp.hidden": 4096,
            "network.backbone.rotary.head_width": 64,
        },
        "1p6B/1": {
            "network.width": 1792,
            "network.backbone.block.mixer.heads": 28,
            "network.backbone.block.mlp.hidden": 4778,
            "network.backbone.rotary.head_width": 64,
        },
    },
    tiny={
        **DIT.tiny,
        "codec": KL.sized("tiny").codec,
        "network.backbone.block.mlp.hidden": 344,
        "network.backbone.rotary.head_width": 32,
        "process": Spec(Flow, {**FLOW, "steps": 25}),
    },
    facts=(
        Fact("parameters", "XL/1", 674_961_824, 0, "official code, counted without its table of positions; table 3: 675 M"),
        Fact("parameters", "B/1", 130_359_584, 0, "official code, counted; figure 4: 0.1 B"),
        Fact("parameters", "1p0B/1", 1_029_007_904, 0, "official code, counted; 1.0 B"),
        Fact("parameters", "1p6B/1", 1_631_308_368, 0, "official code, counted; section 5.3: 1.6 B"),
        Fact("tokens", "XL/1", 256, 0, "section 5.1"),
        Fact("steps", "XL/1", 250, 0, "official code, configs"),
    ),
)
