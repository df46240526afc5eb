"""SpecMaskGIT: MaskGIT over codes of a mel spectrogram, the condition in place of the mask vector.

Comunita et al. 2024, arXiv:2406.17672: 80 mel bands by 848 frames (ten seconds) as 5 x 53 codes of 16 x 16 patches, sixteen questions. The paper's body could
not be read: depth and width are fitted to its count, schedule and guidance are MaskGIT's. CLAP and the vocoder are not here: a class stands at the place of
CLAP's vector, and a spectrogram is what comes out.
"""

from ...backbones.attention import Attention
from ...backbones.blocks import PreNorm
from ...backbones.mlp import Mlp
from ...backbones.stack import Stack
from ...conditions.conditioning import ClassLabel
from ...core.spec import Spec
from ...system.recipe import Fact, Source
from ..image.maskgit import RECIPE as MASKGIT

RECIPE = MASKGIT.but(
    {
        "shape": (1, 80, 848),
        "conditions": {"label": (Spec(ClassLabel, {"classes": 1000}), "start")},
        "process.steps": 16,
        "process.smoothing": 0.0,
        "guidance.scale": 3.0,
        "drop": 0.1,
    },
    name="specmaskgit",
    title="SpecMaskGIT",
    modality="audio",
    source=(
        Source(
            "2406.17672",
            "SpecMaskGIT: Masked Generative Modeling of Audio Spectrograms for Efficient Audio Synthesis and Beyond",
            at="abstract; demonstration page",
        ),
        *MASKGIT.source,
    ),
    sizes={"10s": {}},
    tiny={
        **MASKGIT.tiny,
        "conditions": {"label": (Spec(ClassLabel, {"classes": 1000}), "start")},
        "network.backbone": Spec(Stack, {"depth": 6, "block": Spec(PreNorm, {"mixer": Spec(Attention, {"heads": 4}), "mlp": Spec(Mlp)})}),
    },
    facts=(
        Fact("parameters", "10s", 172.1e6, 0.01, "24 blocks of 768 (a table of 1,000 classes in place of a map of 512); secondary: about 170 M"),
        Fact("tokens", "10s", 265, 0, "5 x 53 patches of 80 x 848: over 800 times fewer numbers than samples (abstract)"),
        Fact("steps", "10s", 16, 0, "abstract: less than 16 iterations; the most"),
    ),
)
