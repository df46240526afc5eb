"""Lumina-T2X (Flag-DiT): any picture as one line of tokens with marked ends of lines, told a caption through a gate that starts shut, and trained as a flow.

Gao et al. 2024, arXiv:2405.05945, section 3.1; lumina_t2i/models/model.py of the official code: RMSNorm, LayerNorm of queries and keys over all heads, rotary
positions on the one axis, SwiGLU without biases, modulation of at most 1,024 channels, the mean of the caption beside time. The text encoder (LLaMA-2-7B) is
not part of it; the code predicts as many channels again and throws them away.
"""

from ...backbones.attention import Attention, ToldAttention
from ...backbones.blocks import PreNorm
from ...backbones.embed import Embed, TimeEmbedding
from ...backbones.lines import Lines
from ...backbones.mlp import Mlp
from ...backbones.norms import AdaLN
from ...backbones.positions import Rotary
from ...backbones.stack import Stack
from ...conditions.caption import Caption
from ...conditions.conditioning import ClassLabel
from ...core.spec import Spec
from ...processes.flow import Flow
from ...processes.paths import Linear
from ...processes.solvers import Euler
from ...system.recipe import Fact, Source
from ..codec.kl import RECIPE as KL
from .dit import RECIPE as DIT

TEXT = Spec(Caption, {"features": 4096, "length": 256, "into": "same", "pool": "mean", "told": 1024})
BLOCK = Spec(
    PreNorm,
    {
        "norm": "rms",
        "affine": True,
        "eps": 1e-5,
        "mixer": Spec(ToldAttention, {"heads": 32, "context": 4096}),
        "mlp": Spec(Mlp, {"hidden": 8192, "activation": "swiglu", "bias": False}),
        "modulate": Spec(AdaLN, {"told": 1024}),
    },
)
STACK = Spec(Stack, {"depth": 32, "final": "adaln", "told": 1024, "rotary": Spec(Rotary, {"head_width": 96, "interleaved": True}), "block": BLOCK})
FLOW = Spec(Flow, {"path": Spec(Linear), "solver": Spec(Euler), "times": "logit_normal", "grid": "shifted", "shift": 6.0, "logit": (1.7918, 1.0), "steps": 60})
PLAIN = Spec(Attention, {"heads": 32, "biases": "", "qk_norm": "layer_wide", "qk_eps": 1e-5})

RECIPE = DIT.but(
    {
        "shape": (3, 1024, 1024),
        "conditions": {"text": (TEXT, ("cross", "modulate"))},
        "network.width": 3072,
        "network.embed": Spec(Embed, {"hidden": False}),
        "network.time": Spec(TimeEmbedding, {"width": 1024}),
        "network.backbone": Spec(Lines, {"inner": STACK}),
        "network.head.learned_variance": False,
        "process": FLOW,
        "guidance.scale": 4.0,
        "training": {"batch": 512, "lr": 1e-4, "weight_decay": 0.0, "clip": 2.0, "precision": "bf16", "ema": 0.9999, "steps": 300_000},
    },
    name="lumina-t2x",
    title="Lumina-T2X (Flag-DiT)",
    family="flow",
    source=(
        Source(
            "2405.05945",
            "Lumina-T2X: Transforming Text into Any Modality, Resolution, and Duration via Flow-based Large Diffusion Transformers",
            code="Alpha-VLLM/Lumina-T2X",
            at="section 3.1",
        ),
        *DIT.source,
    ),
    sizes={
        "5B": {},
        "ImageNet-3B": {
            "shape": (3, 256, 256),
            "conditions": {"label": (Spec(ClassLabel, {"width": 1024, "classes": 1000}), "modulate")},
            "network.backbone.ends": False,
            "network.backbone.inner.block.mixer": PLAIN,
        },
        "ImageNet-600M": {
            "shape": (3, 256, 256),
            "conditions": {"label": (Spec(ClassLabel, {"width": 1024, "classes": 1000}), "modulate")},
            "network.width": 1536,
            "network.backbone.ends": False,
            "network.backbone.inner.depth": 16,
            "network.backbone.inner.rotary.head_width": 48,
            "network.backbone.inner.block.mixer": PLAIN,
            "network.backbone.inner.block.mlp.hidden": 4096,
        },
        "ImageNet-7B": {
            "shape": (3, 256, 256),
            "conditions": {"label": (Spec(ClassLabel, {"width": 1024, "classes": 1000}), "modulate")},
            "network.width": 4096,
            "network.backbone.ends": False,
            "network.backbone.inner.rotary.head_width": 128,
            "network.backbone.inner.block.mixer": PLAIN,
            "network.backbone.inner.block.mlp.hidden": 11008,
        },
    },
    tiny={
        "codec": KL.sized("tiny").codec,
        "shape": (1, 28, 28),
        "network.width": 128,
        "guidance.scale": 2.0,
        "training": {"batch": 64, "lr": 2e-3, "steps": 3000},
        "conditions": {"text": (TEXT.but({"features": 64, "length": 48, "told": 32}), ("cross", "modulate"))},
        "network.time.width": 32,
        "network.backbone.inner.told": 32,
        "network.backbone.inner.rotary.head_width": 32,
        "network.backbone.inner.depth": 6,
        "network.backbone.inner.block.mixer": Spec(ToldAttention, {"heads": 4, "context": 64}),
        "network.backbone.inner.block.mlp.hidden": 512,
        "network.backbone.inner.block.modulate.told": 32,
        "process": FLOW.but({"shift": 1.0, "logit": (0.0, 1.0), "steps": 25}),
    },
    facts=(
        Fact("parameters", "5B", 5_046_643_744, 1e-4, "official code, counted; table 3: 5 B (its dropped channels and its pad vector are not here)"),
        Fact("parameters", "ImageNet-600M", 609_836_576, 1e-3, "official code, counted: 600M (its dropped channels are not here)"),
        Fact("parameters", "ImageNet-3B", 4_237_824_032, 1e-4, "official code, counted, where it is called 3B"),
        Fact("parameters", "ImageNet-7B", 7_293_819_936, 1e-4, "official code, counted: 7B"),
        Fact("tokens", "5B", 4096, 0, "1024 pixels by 16; the sequence has 64 marks more"),
        Fact("steps", "5B", 60, 0, "official code, demo.py"),
    ),
)
