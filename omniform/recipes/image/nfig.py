"""NFIG: VAR's network over bands of frequency, from low to high.

Huang et al. 2025, arXiv:2503.07076, sections 3.1 and 3.2: a band a question, all its tokens at once, as many tokens and steps as VAR.
"""

from ...conditions.guidance import ClassifierFree
from ...core.spec import Spec
from ...system.recipe import Fact, Source
from ..codec.bands import RECIPE as BANDS
from .var import RECIPE as VAR

RECIPE = VAR.but(
    {"codec": BANDS.codec, "guidance": Spec(ClassifierFree, {"scale": 4.5})},
    name="nfig",
    title="NFIG",
    source=(
        Source("2503.07076", "NFIG: Autoregressive Image Generation with Next-Frequency Prediction", at="sections 3.1 and 3.2, table 1"),
        *VAR.source,
    ),
    sizes={"310M": {}, "600M": VAR.sizes["d20"]},
    tiny={**VAR.tiny, "codec": BANDS.sized("tiny").codec, "guidance.scale": 2.0},
    facts=(
        Fact("parameters", "310M", 310e6, 0.01, "table 1: 310 M"),
        Fact("parameters", "600M", 600e6, 0.01, "table 1: 600 M"),
        Fact("tokens", "310M", 680, 0, "section 4.1: scales 1 to 16 as VAR's"),
        Fact("steps", "310M", 10, 0, "table 1"),
    ),
)
