"""STARFlow told texts: a caption stands before the picture in the deep map, read from left to right as the picture is.

Gu et al. 2025, arXiv:2506.06276; sizes of section 4.1, the rest from configs/starflow_3B_t2i_256x256.yaml and transformer_flow.py of the official code: 128
vectors of FLAN-T5-XL through one linear map, padded with zeros that are read; eight pairs of a head turn by places in the text, which is as long as the picture
is high; the deep map reads from the front. Latents are those of sd-vae-ft-ema (8 pixels, 4 channels). Where nothing is said there is an empty text, which is
zeros here unless their encoder reads it (`interop.papers`).
"""

from ...conditions.caption import Caption
from ...core.spec import Spec
from ...system.recipe import Fact, Source
from .starflow import RECIPE as STARFLOW

TEXT = Spec(Caption, {"features": 2048, "length": 128, "into": "linear", "mask": False, "step": 32 / 128})

RECIPE = STARFLOW.but(
    {
        "conditions": {"text": (TEXT, "ordered")},
        "network.width": 3072,
        "network.backbone.rotary.told": 8,
        "network.backbone.block.mixer.heads": 48,
        "network.towers.deep.backbone.rotary.told": 8,
        "network.towers.deep.backbone.block.mixer.heads": 48,
        "network.towers.deep.backbone.depth": 24,
        "process.backward": "even",
        "training": {"batch": 1024, "lr": 6.4e-5, "betas": (0.9, 0.95), "weight_decay": 1e-4, "steps": 390_000, "ema": 0.0},
    },
    name="starflow-text",
    title="STARFlow told texts",
    drop=0.1,
    source=(
        Source(
            "2506.06276",
            "STARFlow: Scaling Latent Normalizing Flows for High-resolution Image Synthesis",
            code="apple/ml-starflow",
            at="section 4.1 and the released configuration",
        ),
        *STARFLOW.source,
    ),
    sizes={"3B": {}},
    tiny={
        **STARFLOW.tiny,
        "conditions": {"text": (TEXT.but({"features": 64, "length": 48, "step": 7 / 48}), "ordered")},
        "network.backbone.rotary.told": 4,
        "network.towers": {"deep": STARFLOW.sized("tiny").network.args["towers"]["deep"].but({"backbone.rotary.told": 4})},
    },
    facts=(
        Fact("parameters", "3B", 3_858_281_544, 1e-5, "released configuration, counted, which its README calls 3B; section 4.1 prints 3.8 B"),
        Fact("tokens", "3B", 1024, 0, "256 pixels by 8"),
        Fact("steps", "3B", 6144, 0, "official code: 6 maps of 1024 turns"),
    ),
)
