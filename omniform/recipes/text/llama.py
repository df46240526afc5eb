"""LLaMA: the causal decoder of today: RMSNorm, SwiGLU, rotary positions, no biases, nothing tied.

Touvron et al. 2023, arXiv:2302.13971; changes to the block in section 2.2, sizes of table 2; hidden widths and pairs of the rotation as in the official code.
SmolLM2 (arXiv:2502.02737) is the same with tied tables, fewer key-value heads and another base of rotation; its shapes are those of its published
configurations. Llama 3 (arXiv:2407.21783, table 3) has more codes, fewer key-value heads and a longer rotation,
Qwen2 (arXiv:2407.10671, section 2.2) biases on queries, keys and values besides. Mistral (arXiv:2310.06825, table 1) groups its queries and looks back through
a window.
"""

from ...backbones.attention import Attention
from ...backbones.blocks import PreNorm
from ...backbones.embed import Embed
from ...backbones.mlp import Mlp
from ...backbones.positions import Rotary, SlidingWindow
from ...backbones.stack import Stack
from ...codecs.ids import Ids
from ...core.order import Raster
from ...core.spec import Spec
from ...heads.categorical import CategoricalHead
from ...processes.autoregress import Autoregress
from ...processes.feeds import Shift
from ...system.network import Network
from ...system.recipe import Fact, Recipe, Source
from .gpt import RECIPE as GPT

SMOL = {
    "codec.vocab": 49152,
    "codec.start": 0,
    "codec.stop": 0,
    "network.head.tied": True,
    "network.backbone.eps": 1e-5,
    "network.backbone.block.eps": 1e-5,
    "network.backbone.rotary.interleaved": False,
    "network.backbone.rotary.head_width": 64,
    "network.backbone.rotary.base": 1e5,
}

LLAMA3 = {
    "codec.vocab": 128256,
    "codec.start": 128000,
    "codec.stop": 128001,
    "shape": (8192,),
    "network.backbone.eps": 1e-5,
    "network.backbone.block.eps": 1e-5,
    "network.backbone.rotary.base": 5e5,
    "network.backbone.block.mixer.kv_heads": 8,
}

QWEN2 = {
    "codec.vocab": 151936,
    "codec.start": 151643,
    "codec.stop": 151643,
    "shape": (32768,),
    "network.head.tied": True,
    "network.backbone.rotary.interleaved": False,
    "network.backbone.rotary.base": 1e6,
    "network.backbone.block.mixer.biases": "qkv",
}

RECIPE = Recipe(
    name="llama",
    title="LLaMA",
    family="autoregressive",
    modality="text",
    source=(
        Source("2302.13971", "LLaMA: Open and Efficient Foundation Language Models", code="meta-llama/llama", at="section 2.2, table 2"),
        Source("2407.21783", "The Llama 3 Herd of Models", code="meta-llama/llama3", at="table 3"),
        Source("2407.10671", "Qwen2 Technical Report", code="QwenLM/Qwen2", at="section 2.2, table 1"),
        Source("2502.02737", "SmolLM2: When Smol Goes Big", code="huggingface/smollm", at="published configurations"),
    ),
    codec=Spec(Ids, {"vocab": 32000, "start": 1, "stop": 2}),
    shape=(2048,),
    network=Spec(
        Network,
        {
            "width": 4096,
            "init": "normal",
            "embed": Spec(Embed, {"hidden": False}),
            "backbone": Spec(
                Stack,
                {
                    "depth": 32,
                    "final": "rms",
                    "eps": 1e-6,
                    "rotary": Spec(Rotary, {"head_width": 128, "interleaved": True}),
                    "block": Spec(
                        PreNorm,
                        {
                            "mixer": Spec(Attention, {"heads": 32, "biases": ""}),
                            "mlp": Spec(Mlp, {"hidden": 11008, "activation": "swiglu", "bias": False}),
                            "norm": "rms",
                            "eps": 1e-6,
                        },
                    ),
                },
            ),
            "head": Spec(CategoricalHead, {"tied": False, "bias": False}),
        },
    ),
    process=Spec(Autoregress, {"order": Spec(Raster), "feed": Spec(Shift)}),
    training={"batch": 2048, "lr": 3e-4, "warmup": 2000, "betas": (0.9, 0.95), "weight_decay": 0.1, "clip": 1.0, "steps": 250_000},
    sizes={
        "7B": {},
        "13B": {"network.width": 5120, "network.backbone.depth": 40, "network.backbone.block.mixer.heads": 40, "network.backbone.block.mlp.hidden": 13824},
        "30B": {"network.width": 6656, "network.backbone.depth": 60, "network.backbone.block.mixer.heads": 52, "network.backbone.block.mlp.hidden": 17920},
        "65B": {"network.width": 8192, "network.backbone.depth": 80, "network.backbone.block.mixer.heads": 64, "network.backbone.block.mlp.hidden": 22016},
        "Llama-3-8B": {**LLAMA3, "network.backbone.block.mlp.hidden": 14336},
        "Llama-3-70B": {
            **LLAMA3,
            "network.width": 8192,
            "network.backbone.depth": 80,
            "network.backbone.block.mixer.heads": 64,
            "network.backbone.block.mlp.hidden": 28672,
        },
        "Mistral-7B": {
            "shape": (8192,),
            "network.backbone.eps": 1e-5,
            "network.backbone.relative": Spec(SlidingWindow, {"size": 4096}),
            "network.backbone.block.eps": 1e-5,
            "network.backbone.block.mixer.kv_heads": 8,
            "network.backbone.block.mlp.hidden": 14336,
        },
        "Qwen2-0.5B": {
            **QWEN2,
            "network.width": 896,
            "network.backbone.depth": 24,
            "network.backbone.rotary.head_width": 64,
            "network.backbone.block.mixer.heads": 14,
            "network.backbone.block.mixer.kv_heads": 2,
            "network.backbone.block.mlp.hidden": 4864,
        },
        "Qwen2-1.5B": {
            **QWEN2,
            "network.width": 1536,
            "network.backbone.depth": 28,
            "network.backbone.block.mixer.heads": 12,
            "network.backbone.block.mixer.kv_heads": 2,
            "network.backbone.block.mlp.hidden": 8960,
        },
        "Qwen2-7B": {
            **QWEN2,
            "codec.vocab": 152064,
            "network.head.tied": False,
            "network.width": 3584,
            "network.backbone.depth": 28,
            "network.backbone.block.mixer.heads": 28,
            "network.backbone.block.mixer.kv_heads": 4,
            "network.backbone.block.mlp.hidden": 18944,
        },
        "SmolLM2-135M": {
            **SMOL,
            "network.width": 576,
            "network.backbone.depth": 30,
            "network.backbone.block.mixer.heads": 9,
            "network.backbone.block.mixer.kv_heads": 3,
            "network.backbone.block.mlp.hidden": 1536,
        },
        "SmolLM2-360M": {
            **SMOL,
            "network.width": 960,
            "network.backbone.depth": 32,
            "network.backbone.block.mixer.heads": 15,
            "network.backbone.block.mixer.kv_heads": 5,
            "network.backbone.block.mlp.hidden": 2560,
        },
        "SmolLM2-1.7B": {
            **SMOL,
            "network.width": 2048,
            "network.backbone.depth": 24,
            "network.backbone.block.mlp.hidden": 8192,
            "network.backbone.rotary.base": 1.3e5,
        },
    },
    tiny={
        "codec": GPT.sized("tiny").codec,
        "shape": (256,),
        "network.width": 128,
        "network.backbone.depth": 6,
        "network.backbone.rotary.head_width": 32,
        "network.backbone.block.mixer.heads": 4,
        "network.backbone.block.mixer.kv_heads": 2,
        "network.backbone.block.mlp.hidden": 344,
        "training": {"batch": 32, "lr": 2e-3, "steps": 3000},
    },
    facts=(
        Fact("parameters", "7B", 6_738_415_616, 0, "official checkpoint; table 2: 6.7 B"),
        Fact("parameters", "13B", 13_015_864_320, 0, "official checkpoint; table 2: 13.0 B"),
        Fact("parameters", "30B", 32_528_943_616, 0, "official checkpoint; table 2: 32.5 B"),
        Fact("parameters", "65B", 65_285_660_672, 0, "official checkpoint; table 2: 65.2 B"),
        Fact("parameters", "Llama-3-8B", 8_030_261_248, 0, "official checkpoint"),
        Fact("parameters", "Llama-3-70B", 70_553_706_496, 0, "official checkpoint"),
        Fact("parameters", "Mistral-7B", 7_241_732_096, 0, "official checkpoint; arXiv:2310.06825: 7 B"),
        Fact("parameters", "Qwen2-0.5B", 494_032_768, 0, "official checkpoint; table 1: 0.49 B"),
        Fact("parameters", "Qwen2-1.5B", 1_543_714_304, 0, "official checkpoint; table 1: 1.54 B"),
        Fact("parameters", "Qwen2-7B", 7_615_616_512, 0, "official checkpoint; table 1: 7.62 B"),
        Fact("parameters", "SmolLM2-135M", 134_515_008, 0, "official checkpoint"),
        Fact("parameters", "SmolLM2-360M", 361_821_120, 0, "official checkpoint"),
        Fact("parameters", "SmolLM2-1.7B", 1_711_376_384, 0, "official checkpoint"),
        Fact("tokens", "7B", 2048, 0, "official code"),
    ),
)
