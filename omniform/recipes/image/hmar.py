"""HMAR: next-scale prediction in which a scale sees itself alone, and coarse scales that are asked about again under masks.

Kumbong et al. 2025, arXiv:2506.04421, section 3; towers, sizes and the schedule of questions of the official code: the second tower shares all but VAR's
last eight blocks. Both questions are learned together here; the paper learns the second after the first, and weighs scales.
"""

from ...core.order import Along
from ...core.spec import Spec
from ...processes.feeds import PyramidFeed
from ...processes.markov import Markov
from ...system.network import Branch
from ...system.recipe import Fact, Source
from .var import RECIPE as VAR

HEADS = "network.towers.refine.backbone.block.mixer.heads"

RECIPE = VAR.but(
    {
        "process": Spec(
            Markov, {"order": Spec(Along, {"axis": "scale"}), "feed": Spec(PyramidFeed), "shares": ((1.0,), (1 / 4, 3 / 4), (1 / 9, 1 / 9, 2 / 9, 5 / 9))}
        ),
        "network.towers": {
            "refine": Spec(Branch, {"backbone": VAR.network.args["backbone"].but({"depth": 8}), "head": VAR.network.args["head"]})
        },
        "guidance.scale": 1.7,
    },
    name="hmar",
    title="HMAR",
    source=(
        Source("2506.04421", "HMAR: Efficient Hierarchical Masked Auto-Regressive Image Generation", code="NVlabs/HMAR", at="section 3"),
        *VAR.source,
    ),
    sizes={
        "d16": {},
        "d20": {**VAR.sizes["d20"], HEADS: 20},
        "d24": {**VAR.sizes["d24"], HEADS: 24},
        "d30": {**VAR.sizes["d30"], HEADS: 30},
    },
    tiny={**VAR.tiny, "network.towers.refine.backbone.depth": 3, HEADS: 4},
    facts=(
        Fact("parameters", "d16", 467.7e6, 0.001, "official code, counted, both towers; paper: 465 M"),
        Fact("parameters", "d20", 845.5e6, 0.001, "official code, counted, both towers"),
        Fact("parameters", "d24", 1384.3e6, 0.001, "official code, counted, both towers; paper: 1.3 B"),
        Fact("parameters", "d30", 2556.3e6, 0.001, "official code, counted, both towers; paper: 2.4 B"),
        Fact("tokens", "d16", 680, 0, "official code: VAR's scales"),
        Fact("steps", "d16", 10, 0, "official code: ten scales"),
        Fact("questions", "d16", 14, 0, "table 4: 14 steps; the code's schedule asks scale 2 twice and scale 3 four times"),
    ),
)
