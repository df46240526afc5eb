"""aMUSEd: masked codes of a picture told text, by a transformer between convolutional ends.

Patil et al. 2024, arXiv:2401.01808, section 3; official code (diffusers' UVit2DModel, AmusedScheduler, AmusedPipeline) and published configurations: codes of
768 channels, six pairs of convolutional and reading blocks around 22 blocks of 1024, at 512 pixels over squares of four codes; no positions but what the
convolutions see. Text is the penultimate states of CLIP L/14 (not part of it) in cross-attention, its projected vector with five numbers (width, height,
cut, aesthetic score) is what modulates. 12 steps, guidance 10 and noise from 2 to 0 of the pipeline. Where nothing is said text is zeros here (the
pipeline: what CLIP says of nothing). The codes are those of the VQ recipe with 8192 of 64 channels; the paper's autoencoder is wider. What training needs
is MaskGIT's.
"""

from ...backbones.attention import Attention, CrossAttention
from ...backbones.embed import Embed
from ...backbones.mlp import Mlp
from ...backbones.stack import Stack
from ...backbones.uvit import Restyled, UVit
from ...conditions.caption import Caption, Sizes
from ...core.spec import Spec
from ...heads.categorical import CategoricalHead
from ...system.network import Network
from ...system.recipe import Fact, Source
from .maskgit import RECIPE as MASKGIT

TEXT = Spec(
    Caption,
    {"width": 1024, "features": 768, "length": 77, "into": "linear", "mask": False, "pool": "linear", "pooled": 768, "bias": False, "normed": 1e-6},
)
NUMBERS = Spec(Sizes, {"width": 1024, "groups": (), "usual": (256.0, 256.0, 0.0, 0.0, 6.0), "bare": True})
BLOCK = Spec(
    Restyled,
    {
        "mixer": Spec(Attention, {"heads": 16, "biases": ""}),
        "cross": Spec(CrossAttention, {"heads": 16, "biases": ""}),
        "mlp": Spec(Mlp, {"hidden": 2816, "activation": "geglu", "bias": False}),
    },
)

RECIPE = MASKGIT.but(
    {
        "codec.bottleneck.codes": 8192,
        "codec.bottleneck.channels": 64,
        "conditions": {"text": (TEXT, ("cross", "modulate")), "numbers": (NUMBERS, "modulate")},
        "network": Spec(
            Network,
            {
                "width": 768,
                "embed": Spec(Embed, {"extra_ids": 64, "mask_id": 8255}),
                "backbone": Spec(UVit, {"wide": 1024, "inner": Spec(Stack, {"depth": 22, "final": None, "block": BLOCK})}),
                "head": Spec(CategoricalHead, {"bias": False}),
            },
        ),
        "process.steps": 12,
        "process.noise": 2.0,
        "process.whole": True,
        "process.smoothing": 0.0,
        "guidance.scale": 10.0,
    },
    name="amused",
    title="aMUSEd",
    drop=0.1,
    source=(Source("2401.01808", "aMUSEd: An Open MUSE Reproduction", code="huggingface/diffusers", at="section 3"), *MASKGIT.source),
    sizes={"256": {}, "512": {"shape": (3, 512, 512), "network.backbone.factor": 2, "conditions.numbers.0.usual": (512.0, 512.0, 0.0, 0.0, 6.0)}},
    tiny={
        "codec": MASKGIT.tiny["codec"],
        "shape": (1, 28, 28),
        "conditions": {
            "text": (TEXT.but({"width": 128, "features": 64, "length": 48, "pooled": 64}), ("cross", "modulate")),
            "numbers": (NUMBERS.but({"width": 128}), "modulate"),
        },
        "network.width": 96,
        "network.embed": Spec(Embed),
        "network.backbone.wide": 128,
        "network.backbone.depth": 1,
        "network.backbone.heads": 4,
        "network.backbone.inner.depth": 4,
        "network.backbone.inner.block.mixer.heads": 4,
        "network.backbone.inner.block.cross.heads": 4,
        "network.backbone.inner.block.mlp.hidden": 352,
        "guidance.scale": 2.0,
        "training": {"batch": 64, "lr": 2e-3, "steps": 3000},
    },
    facts=(
        Fact("parameters", "256", 603_537_664, 0, "official code and configuration, counted; paper: 603 M"),
        Fact("parameters", "512", 608_257_792, 0, "official code and configuration, counted; paper: 608 M"),
        Fact("tokens", "256", 256, 0, "256 pixels by 16"),
        Fact("tokens", "512", 1024, 0, "512 pixels by 16"),
        Fact("steps", "256", 12, 0, "official code"),
    ),
)
