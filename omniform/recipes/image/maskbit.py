"""MaskBit: a masked model over binary codes, each bit answered by itself.

Weber et al. 2024, arXiv:2409.16211, with the lookup-free quantiser of MAGVIT-v2 (arXiv:2310.05737) and bits as independent answers (Infinity,
arXiv:2412.04431, section 3.2).
The paper hides and answers groups of bits; here a token's bits are hidden together.
"""

from ...codecs.bottleneck import LFQ
from ...core.spec import Spec
from ...heads.bits import BitsHead
from ...system.recipe import Fact, Source
from ..codec.kl import RECIPE as KL
from .maskgit import RECIPE as MASKGIT

RECIPE = MASKGIT.but(
    {
        "codec": KL.codec.but({"stride": 16, "bottleneck": Spec(LFQ, {"bits": 12})}),
        "network.head": Spec(BitsHead),
        "network.width": 1024,
        "process.smoothing": 0.0,
        "process.steps": 64,
        "process.schedule": "arccos",
        "guidance.scale": 7.0,
        "guidance.ramp": "power_cosine",
        "drop": 0.1,
    },
    name="maskbit",
    title="MaskBit",
    source=(
        Source("2409.16211", "MaskBit: Embedding-free Image Generation via Bit Tokens", code="markweberdev/maskbit", at="section 4"),
        Source("2310.05737", "Language Model Beats Diffusion: Tokenizer is Key to Visual Generation", at="section 3.1"),
        Source(
            "2412.04431",
            "Infinity: Scaling Bitwise AutoRegressive Modeling for High-Resolution Image Synthesis",
            code="FoundationVision/Infinity",
            at="section 3.2",
        ),
    ),
    sizes={"12-bit": {}},
    tiny={**MASKGIT.tiny, "codec": KL.sized("tiny").codec.but({"bottleneck": Spec(LFQ, {"bits": 8})}), "network.head": Spec(BitsHead), "process.steps": 12},
    facts=(
        Fact("parameters", "12-bit", 305e6, 0.02, "abstract (ours reads codes by a table of 4096 rows and has no projection of bits)"),
        Fact("tokens", "12-bit", 256, 0, "section 5"),
        Fact("steps", "12-bit", 64, 0, "section 5"),
    ),
)
