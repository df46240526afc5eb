"""MMM: masked codes of a motion told a sentence, word by word and as a whole; a codec along time, and wrong codes beside hidden ones in training.

Pinyoanuntapong et al. 2023, arXiv:2312.03596, section 3; networks and constants of the official code (models/, train_vq.py, train_t2m_trans.py and options/):
two blocks of cross-attention to the words before the sentence's vector joins and 16 blocks look at everything. The text encoder (CLIP ViT-B/32) is not part of
it. A motion is as long as the shape says: there is no code for its end and none for what follows it, which the code has. The book's codes are fed as they are;
what is hidden is a vector of the network's width (there: of the book's). Steps of the learning rate are a cosine here. The tiny one moves hands.
"""

from ...backbones.attention import Attention, CrossAttention
from ...backbones.blocks import PreNorm
from ...backbones.embed import Embed
from ...backbones.mlp import Mlp
from ...backbones.positions import SinCosPositions
from ...backbones.stack import Stack, WordsFirst
from ...codecs.along_time import AlongTime
from ...codecs.bottleneck import VQ
from ...codecs.distortion import Smooth
from ...codecs.waves import Waves
from ...conditions.caption import Caption
from ...core.spec import Spec
from ...heads.categorical import CategoricalHead
from ...processes.corrupted import Corrupted
from ...system.network import Network
from ...system.recipe import Fact, Recipe, Source

BLOCK = {"mlp": Spec(Mlp, {"activation": "gelu"}), "eps": 1e-5, "dropout": 0.1}
READS = Spec(PreNorm, {**BLOCK, "mixer": Spec(CrossAttention, {"heads": 16, "norm_context": True})})
LOOKS = Spec(PreNorm, {**BLOCK, "mixer": Spec(Attention, {"heads": 16})})
PLACES = Spec(SinCosPositions)
TEXT = Spec(Caption, {"features": 512, "length": 77, "into": "linear", "mask": False, "pool": "linear", "pooled": 512})

RECIPE = Recipe(
    name="mmm",
    title="MMM",
    family="masked",
    modality="motion",
    source=(Source("2312.03596", "MMM: Generative Masked Motion Model", code="exitudio/MMM", at="section 3"),),
    codec=Spec(
        Waves,
        {
            "network": Spec(AlongTime, {"width": 512}),
            "bottleneck": Spec(VQ, {"codes": 8192, "channels": 32, "commitment": 0.02}),
            "distortion": Spec(Smooth, {"stress": (4, 67, 0.5)}),
        },
    ),
    shape=(1, 263, 196),
    conditions={"text": (TEXT, ("cross", "lead"))},
    network=Spec(
        Network,
        {
            "width": 1024,
            "init": "normal",
            "embed": Spec(Embed, {"channels": 32, "positions": (PLACES,)}),
            "backbone": Spec(
                WordsFirst,
                {
                    "first": Spec(Stack, {"depth": 2, "final": None, "block": READS}),
                    "then": Spec(Stack, {"depth": 16, "eps": 1e-5, "block": LOOKS}),
                    "positions": PLACES,
                },
            ),
            "head": Spec(CategoricalHead, {"bias": False}),
        },
    ),
    process=Spec(Corrupted, {"steps": 10, "share": 0.5, "ratio": ("uniform", 0.5, 1.0)}),
    drop=0.0,
    training={"batch": 128, "lr": 2e-4, "warmup": 0, "betas": (0.5, 0.9), "weight_decay": 1e-6, "ema": 0.0, "steps": 300_000},
    sizes={"HumanML3D": {}, "KIT-ML": {"shape": (1, 251, 196), "codec.distortion.stress": (4, 64, 0.5)}},
    tiny={
        "codec": Spec(
            Waves,
            {"network": Spec(AlongTime, {"width": 64, "depth": 2}), "bottleneck": Spec(VQ, {"codes": 256, "channels": 8}), "distortion": Spec(Smooth)},
        ),
        "shape": (1, 36, 64),
        "conditions": {"text": (TEXT.but({"features": 64, "length": 24, "pooled": 64, "mask": True}), ("cross", "lead"))},
        "network.width": 128,
        "network.embed.channels": 8,
        "network.backbone.first": Spec(Stack, {"depth": 1, "final": None, "block": READS.but({"mixer.heads": 4})}),
        "network.backbone.then": Spec(Stack, {"depth": 4, "block": LOOKS.but({"mixer.heads": 4})}),
        "training": {"batch": 64, "lr": 1e-3, "steps": 2000},
    },
    facts=(
        Fact("parameters", "HumanML3D", 236_315_744, 0.001, "official code, counted (it prints no count)"),
        Fact("codec_parameters", "HumanML3D", 17_961_767, 0, "official code, counted (it prints no count)"),
        Fact("multiply_adds", "HumanML3D", 12.2105e9, 0.01, "official code, counted", differs="it has a place more, for the end, and maps 77 words each time"),
        Fact("tokens", "HumanML3D", 49, 0, "official code: 196 frames by 4"),
        Fact("steps", "HumanML3D", 10, 0, "official code; at most"),
    ),
)
