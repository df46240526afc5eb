"""Meissonic: masked codes of a picture of 1024 pixels told text, by blocks of two streams and then of one over a compressed grid.

Bai et al. 2024, arXiv:2410.08261, section 3; official code (src/transformer.py) and configuration: 14 blocks of two streams and 28 of one, rotary positions of
56 channels an axis, compression layers of 2 x 2 at 1024 pixels and none below, the masking rate as a time, five numbers (width, height, cut, preference) as
micro-conditions. The text encoder (CLIP H/14) is not part of it. Here the masking rate is told in sampling as in training (the code passes the step's
number), the numbers and the pooled text have an MLP each (the code: one and a second behind it), and the text has no norm behind its map. 48 steps and
guidance of the code; its noise falls to zero as MaskGIT's does.
"""

from ...backbones.attention import Attention
from ...backbones.blocks import PreNorm, SingleStream
from ...backbones.compressed import Compressed
from ...backbones.embed import Embed, TimeEmbedding
from ...backbones.mlp import Mlp
from ...backbones.positions import Rotary
from ...backbones.stack import Stack
from ...conditions.caption import Caption, Sizes
from ...core.spec import Spec
from ...heads.categorical import CategoricalHead
from ...system.network import Network
from ...system.recipe import Fact, Source
from .maskgit import RECIPE as MASKGIT

TEXT = Spec(Caption, {"features": 1024, "length": 77, "into": "linear", "mask": False, "pool": "given", "pooled": 1024})
NUMBERS = Spec(Sizes, {"groups": (), "usual": (1024.0, 1024.0, 0.0, 0.0, 6.0)})
JOINT = Spec(PreNorm, {"mixer": Spec(Attention, {"heads": 8, "qk_norm": "rms"}), "mlp": Spec(Mlp), "modulate": "zero", "streams": 2})
SINGLE = Spec(SingleStream, {"mixer": Spec(Attention, {"heads": 8, "qk_norm": "rms", "biases": "qkv"}), "mlp": Spec(Mlp)})
TURNED = Spec(Rotary, {"head_width": 128, "share": (28, 28), "interleaved": True})
HALVES = Spec(Stack, {"depth": 14, "final": None, "block": JOINT}), Spec(Stack, {"depth": 28, "final": None, "block": SINGLE})
SMALL = {"head_width": 32, "interleaved": True}
FEW = {"heads": 4, "qk_norm": "rms"}

RECIPE = MASKGIT.but(
    {
        "codec.bottleneck.codes": 8192,
        "codec.bottleneck.channels": 64,
        "shape": (3, 1024, 1024),
        "conditions": {"text": (TEXT, ("joint", "modulate")), "numbers": (NUMBERS, "modulate")},
        "network": Spec(
            Network,
            {
                "width": 1024,
                "embed": Spec(Embed, {"extra_ids": 64}),
                "time": Spec(TimeEmbedding, {"flip": True}),
                "backbone": Spec(Compressed, {"inner": Spec(Stack, {"depth": 2, "final": None, "rotary": TURNED, "block": HALVES})}),
                "head": Spec(CategoricalHead, {"bias": False}),
            },
        ),
        "process.steps": 48,
        "process.noise": 2.0,
        "process.smoothing": 0.0,
        "process.timed": True,
        "guidance.scale": 9.0,
        "training": {"batch": 2048, "lr": 1e-4, "shape": "constant", "weight_decay": 0.01, "clip": 10.0, "precision": "bf16", "steps": 500_000},
    },
    name="meissonic",
    title="Meissonic",
    drop=0.1,
    source=(
        Source(
            "2410.08261",
            "Meissonic: Revitalizing Masked Generative Transformers for Efficient High-Resolution Text-to-Image Synthesis",
            code="viiika/Meissonic",
            at="section 3",
        ),
        *MASKGIT.source,
    ),
    sizes={"1024": {}, "512": {"shape": (3, 512, 512), "network.backbone.factor": 1}},
    tiny={
        "codec": MASKGIT.tiny["codec"].but({"stride": 2}),
        "shape": (1, 28, 28),
        "conditions": {"text": (TEXT.but({"features": 64, "length": 48, "pooled": 64}), ("joint", "modulate")), "numbers": (NUMBERS, "modulate")},
        "network.width": 128,
        "network.embed.extra_ids": 0,
        "network.backbone.inner.rotary": Spec(Rotary, SMALL),
        "network.backbone.inner.block": (
            Spec(Stack, {"depth": 2, "final": None, "block": JOINT.but({"mixer": Spec(Attention, FEW)})}),
            Spec(Stack, {"depth": 4, "final": None, "block": SINGLE.but({"mixer": Spec(Attention, {**FEW, "biases": "qkv"})})}),
        ),
        "process.steps": 12,
        "guidance.scale": 2.0,
        "training": {"batch": 64, "lr": 2e-3, "steps": 3000},
    },
    facts=(
        Fact("parameters", "1024", 1006.9e6, 0.003, "official code and configuration, counted; abstract: 1 B"),
        Fact("tokens", "1024", 4096, 0, "1024 pixels by 16"),
        Fact("tokens", "512", 1024, 0, "512 pixels by 16"),
        Fact("steps", "1024", 48, 0, "official code"),
    ),
)
