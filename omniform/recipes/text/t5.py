"""T5: an encoder reads a text, a decoder writes another; distances are told by learned biases, and nothing else has one.

Raffel et al. 2020, arXiv:1910.10683: the model in section 2.1 (RMSNorm before each part, biases of scores in buckets, shared by the layers of encoder and of
decoder, one table for encoder, decoder and output), sizes of section 3.7, span corruption of section 3.1.4. From the official code: scores are not divided by
the root of the head's width, and what leaves the decoder is, before the table of unit variance. v1.1 (its release notes; sizes of the published
configurations): GEGLU by tanh in place of ReLU, an output map of its own. At tiny: spans of a program's characters.
"""

from ...backbones.attention import Attention, CrossAttention
from ...backbones.blocks import PreNorm
from ...backbones.embed import Embed
from ...backbones.mlp import Mlp
from ...backbones.positions import Buckets
from ...backbones.stack import Stack
from ...codecs.ids import Ids
from ...codecs.text import Bytes
from ...conditions.source import SourceText
from ...core.order import Raster
from ...core.spec import Spec
from ...heads.categorical import CategoricalHead
from ...processes.autoregress import Autoregress
from ...processes.feeds import Shift
from ...system.network import Network
from ...system.recipe import Fact, Recipe, Source

LOOK = {"heads": 8, "head_width": 64, "biases": "", "scale": 1.0}
BLOCK = Spec(
    PreNorm,
    {"norm": "rms", "dropout": 0.1, "mixer": Spec(Attention, LOOK), "mlp": Spec(Mlp, {"hidden": 2048, "activation": "relu", "bias": False})},
)
STACK = Spec(Stack, {"depth": 6, "final": "rms", "block": BLOCK, "relative": Spec(Buckets, {"heads": 8})})
E = "conditions.source.0.encoder."
D = "network.backbone."
V11 = {E + "block.mlp.activation": "geglu_tanh", D + "block.mlp.activation": "geglu_tanh", "network.head.tied": False, "network.head.scaled": False}

RECIPE = Recipe(
    name="t5",
    title="T5",
    family="autoregressive",
    modality="text",
    source=(
        Source(
            "1910.10683",
            "Exploring the Limits of Transfer Learning with a Unified Text-to-Text Transformer",
            code="google-research/text-to-text-transfer-transformer",
            at="sections 2.1, 3.1.4, 3.7",
        ),
    ),
    codec=Spec(Ids, {"vocab": 32128, "start": 0, "stop": 1}),
    shape=(512,),
    conditions={
        "source": (
            Spec(
                SourceText,
                {"length": 512, "codec": Spec(Ids, {"vocab": 32128, "start": 0, "stop": 1}), "encoder": STACK.but({"relative.both": True})},
            ),
            "cross",
        )
    },
    drop=0.0,
    network=Spec(
        Network,
        {
            "width": 512,
            "embed": Spec(Embed, {"hidden": False, "std": 1.0}),
            "backbone": STACK.but({"block.cross": Spec(CrossAttention, LOOK)}),
            "head": Spec(CategoricalHead, {"tied": True, "bias": False, "scaled": True}),
        },
    ),
    process=Spec(Autoregress, {"order": Spec(Raster), "feed": Spec(Shift)}),
    training={"batch": 128, "lr": 1e-2, "warmup": 10_000, "weight_decay": 0.0, "steps": 524_288},
    # fmt: off
    sizes={
        "small": {},
        "base": {
            "network.width": 768, E + "depth": 12, D + "depth": 12,
            E + "block.mlp.hidden": 3072, D + "block.mlp.hidden": 3072,
            E + "relative.heads": 12, E + "block.mixer.heads": 12, D + "relative.heads": 12, D + "block.mixer.heads": 12, D + "block.cross.heads": 12,
        },
        "large": {
            "network.width": 1024, E + "depth": 24, D + "depth": 24,
            E + "block.mlp.hidden": 4096, D + "block.mlp.hidden": 4096,
            E + "relative.heads": 16, E + "block.mixer.heads": 16, D + "relative.heads": 16, D + "block.mixer.heads": 16, D + "block.cross.heads": 16,
        },
        "3b": {
            "network.width": 1024, E + "depth": 24, D + "depth": 24,
            E + "block.mlp.hidden": 16384, D + "block.mlp.hidden": 16384,
            E + "relative.heads": 32, E + "block.mixer.heads": 32, D + "relative.heads": 32, D + "block.mixer.heads": 32, D + "block.cross.heads": 32,
            E + "block.mixer.head_width": 128, D + "block.mixer.head_width": 128, D + "block.cross.head_width": 128,
        },
        "11b": {
            "network.width": 1024, E + "depth": 24, D + "depth": 24,
            E + "block.mlp.hidden": 65536, D + "block.mlp.hidden": 65536,
            E + "relative.heads": 128, E + "block.mixer.heads": 128, D + "relative.heads": 128, D + "block.mixer.heads": 128, D + "block.cross.heads": 128,
            E + "block.mixer.head_width": 128, D + "block.mixer.head_width": 128, D + "block.cross.head_width": 128,
        },
        "v1.1-small": {
            **V11, E + "depth": 8, D + "depth": 8,
            E + "block.mlp.hidden": 1024, D + "block.mlp.hidden": 1024,
            E + "relative.heads": 6, E + "block.mixer.heads": 6, D + "relative.heads": 6, D + "block.mixer.heads": 6, D + "block.cross.heads": 6,
        },
        "v1.1-base": {
            **V11, "network.width": 768, E + "depth": 12, D + "depth": 12,
            E + "relative.heads": 12, E + "block.mixer.heads": 12, D + "relative.heads": 12, D + "block.mixer.heads": 12, D + "block.cross.heads": 12,
        },
        "v1.1-large": {
            **V11, "network.width": 1024, E + "depth": 24, D + "depth": 24,
            E + "block.mlp.hidden": 2816, D + "block.mlp.hidden": 2816,
            E + "relative.heads": 16, E + "block.mixer.heads": 16, D + "relative.heads": 16, D + "block.mixer.heads": 16, D + "block.cross.heads": 16,
        },
        "v1.1-xl": {
            **V11, "network.width": 2048, E + "depth": 24, D + "depth": 24,
            E + "block.mlp.hidden": 5120, D + "block.mlp.hidden": 5120,
            E + "relative.heads": 32, E + "block.mixer.heads": 32, D + "relative.heads": 32, D + "block.mixer.heads": 32, D + "block.cross.heads": 32,
        },
        "v1.1-xxl": {
            **V11, "network.width": 4096, E + "depth": 24, D + "depth": 24,
            E + "block.mlp.hidden": 10240, D + "block.mlp.hidden": 10240,
            E + "relative.heads": 64, E + "block.mixer.heads": 64, D + "relative.heads": 64, D + "block.mixer.heads": 64, D + "block.cross.heads": 64,
        },
    },
    tiny={
        "codec": Spec(Bytes, {"long": "cut"}), "conditions.source.0.codec": Spec(Bytes, {"long": "cut"}), "conditions.source.0.length": 256,
        "shape": (256,), "network.width": 128, E + "depth": 3, D + "depth": 3, E + "block.mlp.hidden": 512, D + "block.mlp.hidden": 512,
        E + "block.dropout": 0.0, D + "block.dropout": 0.0, E + "relative.heads": 4, D + "relative.heads": 4,
        E + "block.mixer.heads": 4, D + "block.mixer.heads": 4, D + "block.cross.heads": 4,
        E + "block.mixer.head_width": 32, D + "block.mixer.head_width": 32, D + "block.cross.head_width": 32,
        "training": {"batch": 32, "lr": 2e-3, "steps": 3000},
    },
    # fmt: on
    facts=(
        Fact("parameters", "small", 60_506_624, 0, "official checkpoint; section 3.7: 60 M"),
        Fact("parameters", "base", 222_903_552, 0, "official checkpoint; section 3.7: 220 M"),
        Fact("parameters", "large", 737_668_096, 0, "official checkpoint; section 3.7: 770 M"),
        Fact("parameters", "3b", 2_851_598_336, 0, "official checkpoint; section 3.7: 2.8 B"),
        Fact("parameters", "11b", 11_307_321_344, 0, "official checkpoint; section 3.7: 11 B"),
        Fact("parameters", "v1.1-small", 76_961_152, 0, "official checkpoint"),
        Fact("parameters", "v1.1-base", 247_577_856, 0, "official checkpoint"),
        Fact("parameters", "v1.1-large", 783_150_080, 0, "official checkpoint"),
        Fact("parameters", "v1.1-xl", 2_849_757_184, 0, "official checkpoint"),
        Fact("parameters", "v1.1-xxl", 11_135_332_352, 0, "official checkpoint"),
        Fact("tokens", "small", 512, 0, "section 3.1.2"),
    ),
)
