"""Transfusion: one causal transformer that predicts the next piece of text and denoises pictures, in the same sequence.

Zhou et al. 2024, arXiv:2408.11039; a picture is full within itself and causal to the rest (section 3.1, figure 4), loss of equation 4 with lambda 5 (a mean
squared error of 32 channels; text and patches one to one), caption first in 80 % of the pairs (4.1), noise limited where the caption follows (4.3.4).
Patches are linear; the variant with U-Net blocks (0.27 B more) is not built. Guidance by dropping the caption is left out: it is no condition here but a part.
"""

from ...backbones.attention import Attention
from ...backbones.blocks import PreNorm
from ...backbones.embed import Embed, EmbedByKind, TimeEmbedding
from ...backbones.mlp import Mlp
from ...backbones.positions import Rotary
from ...backbones.stack import Stack
from ...codecs.folded import Folded
from ...codecs.ids import Ids
from ...codecs.interleaved import Interleaved
from ...codecs.patch import Patches
from ...codecs.text import Bytes
from ...core.order import Raster
from ...core.spec import Spec
from ...heads.by_kind import ByKindHead
from ...heads.categorical import CategoricalHead
from ...heads.point import PointHead
from ...processes.autoregress import Autoregress
from ...processes.feeds import Shift
from ...processes.flow import Flow
from ...processes.interleave import Interleave
from ...processes.paths import Betas, Linear
from ...processes.solvers import Ancestral, Euler
from ...system.network import Network
from ...system.recipe import Fact, Recipe, Source
from ..codec.kl import RECIPE as KL

TEXT = Spec(Autoregress, {"order": Spec(Raster), "feed": Spec(Shift)})
DDPM = Spec(Flow, {"path": Spec(Betas, {"kind": "cosine"}), "predict": "noise", "times": "levels", "solver": Spec(Ancestral), "steps": 250})
COUNTED = "table 2: layers and width; Llama's blocks with two tables of 32,000, counted"

RECIPE = Recipe(
    name="transfusion",
    title="Transfusion",
    family="interleaved",
    modality="any",
    source=(Source("2408.11039", "Transfusion: Predict the Next Token and Diffuse Images with One Multi-Modal Model", at="sections 3 and 4.1, table 2"),),
    codec=Spec(
        Interleaved,
        {
            "text": Spec(Ids, {"vocab": 32000, "start": 1, "stop": 2}),
            "length": 3840,
            "inner": Spec(Folded, {"inner": KL.codec.but({"bottleneck.channels": 8}), "patch": 2}),
        },
    ),
    shape=(3, 256, 256),
    network=Spec(
        Network,
        {
            "width": 4096,
            "init": "normal",
            "embed": Spec(EmbedByKind, {"each": (Spec(Embed, {"hidden": False, "std": 0.02}), Spec(Embed, {"hidden": False})), "time": Spec(TimeEmbedding)}),
            "backbone": Spec(
                Stack,
                {
                    "depth": 32,
                    "final": "rms",
                    "eps": 1e-5,
                    "rotary": Spec(Rotary, {"head_width": 128, "interleaved": True}),
                    "block": Spec(
                        PreNorm,
                        {
                            "mixer": Spec(Attention, {"heads": 32, "biases": ""}),
                            "mlp": Spec(Mlp, {"hidden": 11008, "activation": "swiglu", "bias": False}),
                            "norm": "rms",
                            "eps": 1e-5,
                        },
                    ),
                },
            ),
            "head": Spec(ByKindHead, {"each": (Spec(CategoricalHead, {"bias": False}), Spec(PointHead))}),
        },
    ),
    process=Spec(Interleave, {"inner": (TEXT, DDPM), "record": "noisy", "weights": (1.0, 0.3125)}),
    training={"batch": 512, "lr": 3e-4, "warmup": 4000, "betas": (0.9, 0.95), "weight_decay": 0.1, "clip": 1.0, "steps": 250_000},
    sizes={
        "7B": {},
        "1.4B": {
            "network.width": 2048,
            "network.backbone.depth": 24,
            "network.backbone.block.mixer.heads": 16,
            "network.backbone.block.mlp.hidden": 5632,
        },
        "0.76B": {
            "network.width": 1536,
            "network.backbone.depth": 24,
            "network.backbone.rotary.head_width": 64,
            "network.backbone.block.mixer.heads": 24,
            "network.backbone.block.mlp.hidden": 4096,
        },
        "0.37B": {
            "network.width": 1024,
            "network.backbone.depth": 24,
            "network.backbone.rotary.head_width": 64,
            "network.backbone.block.mixer.heads": 16,
            "network.backbone.block.mlp.hidden": 2816,
        },
        "0.16B": {
            "network.width": 768,
            "network.backbone.depth": 16,
            "network.backbone.rotary.head_width": 64,
            "network.backbone.block.mixer.heads": 12,
            "network.backbone.block.mlp.hidden": 2048,
        },
    },
    tiny={
        "codec": Spec(Interleaved, {"text": Spec(Bytes), "length": 48, "inner": Spec(Patches, {"patch": 4, "scale": 1.5, "shift": -0.68})}),
        "shape": (1, 28, 28),
        "network.width": 128,
        "network.backbone.depth": 6,
        "network.backbone.rotary.head_width": 32,
        "network.backbone.block.mixer.heads": 4,
        "network.backbone.block.mlp.hidden": 344,
        "process.inner.1": Spec(Flow, {"path": Spec(Linear), "predict": "velocity", "solver": Spec(Euler), "steps": 25}),
        "process.turned": 0.5,
        "training": {"batch": 64, "lr": 2e-3, "steps": 3000},
    },
    facts=(
        Fact("parameters", "7B", 6738.4e6, 0.01, COUNTED),
        Fact("parameters", "1.4B", 1364.3e6, 0.01, COUNTED),
        Fact("parameters", "0.76B", 777.9e6, 0.01, COUNTED),
        Fact("parameters", "0.37B", 373.9e6, 0.01, COUNTED),
        Fact("parameters", "0.16B", 162.4e6, 0.01, COUNTED),
        Fact("tokens", "7B", 4096, 0, "section 4.1"),
    ),
)
