"""SiT: DiT's network under a linear interpolant, predicting velocity.

Ma et al. 2024, arXiv:2401.08740; interpolants of section 3; the backbone is DiT's, learned variance dropped.
"""

from ...core.spec import Spec
from ...processes.flow import Flow
from ...processes.paths import Cosine, Linear, VariancePreserving
from ...processes.solvers import Heun
from ...system.recipe import Fact, Source
from .dit import RECIPE as DIT

HALF = "official module, which keeps DiT's variance half of the last map and throws it away (ours has none); table 1: "

RECIPE = DIT.but(
    {
        "process": Spec(Flow, {"path": Spec(Linear), "predict": "velocity", "solver": Spec(Heun), "steps": 125}),
        "network.head.learned_variance": False,
        "network.time.flip": False,
        "guidance.scale": 1.5,
    },
    name="sit",
    title="SiT",
    family="flow",
    source=(
        Source(
            "2401.08740",
            "SiT: Exploring Flow and Diffusion-based Generative Models with Scalable Interpolant Transformers",
            code="willisma/SiT",
            at="sections 2 and 3",
        ),
        *DIT.source,
    ),
    sizes={**DIT.sizes, "XL/2-GVP": {"process.path": Spec(Cosine)}, "XL/2-VP": {"process.path": Spec(VariancePreserving)}},
    tiny={**DIT.tiny, "process": Spec(Flow, {"path": Spec(Linear), "predict": "velocity", "solver": Spec(Heun), "steps": 12})},
    facts=(
        Fact("parameters", "XL/2", 674_834_720, 0.001, HALF + "675 M"),
        Fact("parameters", "L/2", 457_840_672, 0.001, HALF + "458 M"),
        Fact("parameters", "B/2", 130_315_808, 0.001, HALF + "130 M"),
        Fact("parameters", "S/2", 32_865_056, 0.001, HALF + "33 M"),
        Fact("multiply_adds", "XL/2", 118.64e9, 0.01, "README: 119 G"),
        Fact("tokens", "XL/2", 256, 0, "section 4"),
        Fact("steps", "XL/2", 125, 0, "table 10: 250 evaluations"),
    ),
)
