"""BERT: a transformer that sees a text from both sides and answers the places that were hidden from it.

Devlin et al. 2018, arXiv:1810.04805; sizes of section 3, inputs of section 3.2 and figure 2 (a learned place, and a segment: the first one here), hidden places
of section 3.1 (15 %, of which a tenth show a random token and a tenth their own), training of appendix A.2; norm behind each sum, GELU, and an answer by the
transposed table behind one more layer of the official code. Whether two texts follow each other is not asked. It was not made to generate: places are shown
from the surest on, in ten steps (mask-predict, arXiv:1904.09324, section 3.2, which also hides some again).
"""

from ...backbones.attention import Attention
from ...backbones.blocks import PostNorm
from ...backbones.embed import Embed
from ...backbones.mlp import Mlp
from ...backbones.positions import LearnedPositions
from ...backbones.stack import Stack
from ...codecs.ids import Ids
from ...codecs.text import Bytes
from ...core.spec import Spec
from ...heads.categorical import CategoricalHead
from ...processes.masked import Masked
from ...system.network import Network
from ...system.recipe import Fact, Recipe, Source

BLOCK = Spec(PostNorm, {"mixer": Spec(Attention, {"heads": 12}), "mlp": Spec(Mlp, {"hidden": 3072, "activation": "gelu"}), "dropout": 0.1})

RECIPE = Recipe(
    name="bert",
    title="BERT",
    family="masked",
    modality="text",
    source=(
        Source(
            "1810.04805",
            "BERT: Pre-training of Deep Bidirectional Transformers for Language Understanding",
            code="google-research/bert",
            at="sections 3, 3.1 and 3.2, appendix A.2",
        ),
    ),
    codec=Spec(Ids, {"vocab": 30522}),
    shape=(512,),
    network=Spec(
        Network,
        {
            "width": 768,
            "init": "normal",
            "embed": Spec(Embed, {"positions": (Spec(LearnedPositions),), "kinds": 2, "norm": True, "eps": 1e-12, "mask_id": 103}),
            "backbone": Spec(Stack, {"depth": 12, "final": None, "block": BLOCK}),
            "head": Spec(CategoricalHead, {"tied": True, "transform": "exact", "eps": 1e-12}),
        },
    ),
    process=Spec(Masked, {"steps": 10, "schedule": "linear", "noise": 1.0, "ratio": 0.15, "spoil": (0.1, 0.1)}),
    training={"batch": 256, "lr": 1e-4, "warmup": 10_000, "shape": "linear", "betas": (0.9, 0.999), "weight_decay": 0.01, "steps": 1_000_000},
    sizes={
        "base": {},
        "large": {"network.width": 1024, "network.backbone.depth": 24, "network.backbone.block.mixer.heads": 16, "network.backbone.block.mlp.hidden": 4096},
    },
    tiny={
        "codec": Spec(Bytes, {"long": "cut"}),
        "shape": (256,),
        "network.width": 128,
        "network.embed.mask_id": 257,
        "network.backbone.depth": 4,
        "network.backbone.block.mixer.heads": 4,
        "network.backbone.block.mlp.hidden": 512,
        "network.backbone.block.dropout": 0.0,
        "training": {"batch": 32, "lr": 1e-3, "warmup": 300, "steps": 3000},
    },
    facts=(
        Fact("parameters", "base", 109_514_298, 0, "transformers' BertForMaskedLM of this size, counted"),
        Fact("parameters", "base", 110e6, 0.01, "section 3"),
        Fact("parameters", "large", 335_174_458, 0, "transformers' BertForMaskedLM of this size, counted"),
        Fact("parameters", "large", 340e6, 0.01, "section 3", differs="rounded: with its pooler and next-sentence head it holds 336.2 M"),
        Fact("tokens", "base", 512, 0, "appendix A.2"),
    ),
)
