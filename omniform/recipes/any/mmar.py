"""MMAR: a language model whose pictures are clean continuous tokens, unmasked in random order, each drawn by a small diffusion.

Yang et al. 2024, arXiv:2410.10798: no noise in the backbone, only in the head, which names the velocity (section 3.3: the error of a low-precision output stays
bounded); text by the next token. Language model: Qwen2-0.5B (arXiv:2407.10671, table 1). Codec, head and schedule of MAR. Left out: the small
transformer before it that reads the visible patches, and the low-rank weights of pictures (kinds 0), which are published without sizes.
"""

from ...backbones.embed import Embed
from ...backbones.positions import Rotary
from ...codecs.ids import Ids
from ...codecs.interleaved import Interleaved
from ...core.spec import Spec
from ...heads.categorical import CategoricalHead
from ...heads.denoised import DenoisedHead
from ...processes.flow import Flow
from ...processes.masked import Masked
from ...processes.paths import Cosine, Linear
from ...processes.solvers import Ddim, Euler
from ...system.recipe import Fact, Source
from ..codec.kl import RECIPE as KL
from .transfusion import RECIPE as TRANSFUSION

INNER = Spec(Flow, {"path": Spec(Cosine), "predict": "velocity", "per": "token", "solver": Spec(Ddim), "steps": 100})
SMALL = Spec(Flow, {"path": Spec(Linear), "predict": "velocity", "per": "token", "solver": Spec(Euler), "steps": 20})
WORDS = Spec(CategoricalHead, {"bias": False})

RECIPE = TRANSFUSION.but(
    {
        "codec": Spec(
            Interleaved,
            {
                "text": Spec(Ids, {"vocab": 151_936, "start": 151_643, "stop": 151_645}),
                "length": 256,
                "inner": KL.codec.but({"stride": 16, "bottleneck.channels": 16}),
            },
        ),
        "network.width": 896,
        "network.embed.each": (Spec(Embed, {"hidden": False}), Spec(Embed)),
        "network.embed.time": None,
        "network.backbone.depth": 24,
        "network.backbone.eps": 1e-6,
        "network.backbone.rotary": Spec(Rotary, {"head_width": 64, "base": 1e6}),
        "network.backbone.block.eps": 1e-6,
        "network.backbone.block.mixer.heads": 14,
        "network.backbone.block.mixer.kv_heads": 2,
        "network.backbone.block.mixer.biases": "qkv",
        "network.backbone.block.mlp.hidden": 4864,
        "network.head.each": (WORDS.but({"tied": True}), Spec(DenoisedHead, {"hidden": 1024, "depth": 6, "inner": INNER})),
        "process.inner.1": Spec(Masked, {"steps": 64, "choose": "random", "ratio": (0.7, 1.0, 0.25)}),
        "process.record": "clean",
        "process.weights": (1.0, 1.0),
        "process.turned": 0.5,
    },
    name="mmar",
    title="MMAR",
    source=(
        Source("2410.10798", "MMAR: Towards Lossless Multi-Modal Auto-Regressive Probabilistic Modeling", code="ydcUstc/MMAR", at="sections 3.2 and 3.3"),
        Source("2407.10671", "Qwen2 Technical Report", code="QwenLM/Qwen2", at="table 1"),
        *TRANSFUSION.source,
    ),
    sizes={"0.5B": {}},
    tiny={
        "codec": TRANSFUSION.tiny["codec"],
        "shape": (1, 28, 28),
        "network.width": 128,
        "network.backbone.depth": 6,
        "network.backbone.rotary.head_width": 32,
        "network.backbone.block.mixer.heads": 4,
        "network.backbone.block.mlp.hidden": 344,
        "network.head.each.1": Spec(DenoisedHead, {"hidden": 128, "depth": 3, "draws": 2, "inner": SMALL}),
        "process.inner.1.steps": 16,
        "training": {"batch": 64, "lr": 2e-3, "steps": 3000},
    },
    facts=(
        Fact(
            "parameters",
            "0.5B",
            494_032_768,
            0.01,
            "Qwen2-0.5B's checkpoint, after which the model is named",
            differs="the denoising head (MAR's size: 7 % more) and the linear map of patches stand beside it; the paper prints no count of its own",
        ),
    ),
)
