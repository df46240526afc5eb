"""E-CAR: scales one after another, each over its own piece of one flow from noise to data.

Yuan et al. 2024, arXiv:2412.14170, section 3: a causal transformer over the scales asked once a scale, a flow network told by it. Shapes and constants of
the paper could not be read and no code is published: the networks are FlowAR's of size S, the pieces those of pyramidal flow matching, arXiv:2410.05954.
"""

from ...codecs.resized import Resized
from ...core.order import Along
from ...core.spec import Spec
from ...processes.feeds import PyramidFeed
from ...processes.staged import Staged
from ...system.recipe import Fact, Source
from ..codec.kl import RECIPE as KL
from .flowar import RECIPE as FLOWAR

RECIPE = FLOWAR.but(
    {
        "codec.bottleneck.scales": (4, 8, 16),
        "process": Spec(Staged, {"order": Spec(Along, {"axis": "scale"}), "feed": Spec(PyramidFeed), "starts": (0.0, 1 / 3, 2 / 3), "steps": 8}),
    },
    name="ecar",
    title="E-CAR",
    source=(
        Source("2412.14170", "E-CAR: Efficient Continuous Autoregressive Image Generation via Multistage Modeling", at="section 3"),
        Source("2410.05954", "Pyramidal Flow Matching for Efficient Video Generative Modeling", code="jy0205/Pyramid-Flow", at="section 3.2"),
        *FLOWAR.source,
    ),
    sizes={"S": {}},
    tiny={
        **FLOWAR.tiny,
        "codec": KL.sized("tiny").codec.but({"bottleneck": Spec(Resized, {"scales": (2, 4, 8), "channels": 4})}),
        "shape": (1, 32, 32),
        "process.steps": 6,
    },
    facts=(Fact("tokens", "S", 336, 0, "ours: the maps of 4, 8 and 16 a side (section 3: resolutions grow to the full map)"),),
)
