"""CrossFlow: a flow from what a caption is made into to the picture itself; the network is told nothing but time and whether the two belong together.

Liu et al. 2024, arXiv:2412.15213, sections 4.1 to 4.3; dit_t2i.py and trans_autoencoder.py of the official code: DiT over folded latents, a variational
encoder of CLIP's 77 tokens (11 blocks, then 3 that halve the width), joint training, guidance by a learned indicator (of each token's kind here; the code adds
it to time). The text encoder (CLIP) and the contrast with an image encoder are not part of it. The paper's larger network (DiMR) is not here either.
"""

from ...backbones.embed import Embed
from ...backbones.positions import SinCosPositions
from ...backbones.source import TextSource, Unread
from ...conditions.caption import Caption
from ...core.spec import Spec
from ...heads.source import SourceHead
from ...processes.crossing import Crossing
from ...processes.paths import Linear
from ...system.network import Tower
from ...system.recipe import Fact, Source
from ..codec.kl import RECIPE as KL
from .dit import RECIPE as DIT

TEXT = Spec(Caption, {"features": 768, "length": 77, "into": "same"})
TOWER = Spec(Tower, {"width": 32, "embed": Spec(Unread), "backbone": Spec(TextSource, {"context": 768, "length": 77}), "head": Spec(SourceHead)})
BOTH = "official code: 673,665,424 of the network and 110,156,512 of the encoder, counted"

RECIPE = DIT.but(
    {
        "conditions": {"text": (TEXT, "cross")},
        "network.embed": Spec(Embed, {"positions": (Spec(SinCosPositions),), "hidden": False, "kinds": 2}),
        "network.towers": {"source": TOWER},
        "network.time.flip": False,
        "network.head.learned_variance": False,
        "process": Spec(Crossing, {"path": Spec(Linear), "steps": 50, "scale": 7.0}),
        "training": {"batch": 1024, "lr": 1e-4, "warmup": 5000, "betas": (0.9, 0.9), "weight_decay": 0.03, "ema": 0.9999, "steps": 600_000},
    },
    name="crossflow",
    title="CrossFlow",
    family="flow",
    guidance=None,
    drop=0.0,
    source=(
        Source(
            "2412.15213",
            "Flowing from Words to Pixels: A Framework for Cross-Modality Evolution",
            code="qihao067/CrossFlow",
            at="sections 4.1 to 4.3, appendix A",
        ),
        *DIT.source,
    ),
    sizes={
        "DiT-XL/2": {},
        "DiT-H/2": {"network.width": 1280, "network.backbone.depth": 36, "network.backbone.block.mixer.heads": 20},
    },
    tiny={
        "codec": KL.sized("tiny").codec,
        "shape": (1, 28, 28),
        "network.width": 128,
        "network.backbone.depth": 6,
        "network.backbone.block.mixer.heads": 4,
        "training": {"batch": 64, "lr": 2e-3, "steps": 3000},
        "conditions": {"text": (TEXT.but({"features": 64, "length": 48}), "cross")},
        "network.towers.source.width": 8,
        "network.towers.source.backbone": Spec(TextSource, {"context": 64, "length": 48, "depth": 2, "halvings": 2, "heads": 4, "hidden": 128}),
        "process": Spec(Crossing, {"path": Spec(Linear), "steps": 25, "scale": 2.0, "kl": 0.02}),
    },
    facts=(
        Fact("parameters", "DiT-XL/2", 673_665_424 + 110_156_512, 0, BOTH),
        Fact("parameters", "DiT-H/2", 1_067_667_216 + 110_156_512, 0, "official code: 1,067,667,216 and 110,156,512, counted"),
        Fact("tokens", "DiT-XL/2", 256, 0, "256 pixels by 16"),
        Fact("steps", "DiT-XL/2", 50, 0, "section 5.1"),
    ),
)
