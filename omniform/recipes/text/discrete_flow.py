"""Discrete flow matching: every token starts as a random one and jumps to what the network believes.

Gat et al. 2024, arXiv:2407.15595; mixture path of equation 9, sampler of equation 24, with the uniform source; network of MDLM, here told the time.
"""

from ...backbones.embed import TimeEmbedding
from ...core.spec import Spec
from ...processes.flow import DiscreteFlow
from ...system.recipe import Fact, Source
from .mdlm import RECIPE as MDLM

RECIPE = MDLM.but(
    {
        "process": Spec(DiscreteFlow, {"steps": 1024}),
        "network.time": Spec(TimeEmbedding, {"width": 128}),
        "network.backbone.constant": False,
        "network.embed.hidden": False,
    },
    name="discrete-flow",
    title="Discrete flow matching",
    family="flow",
    source=(Source("2407.15595", "Discrete Flow Matching", at="equations 9 and 24"), *MDLM.source),
    sizes={"170M": {}},
    tiny={**MDLM.tiny, "process": Spec(DiscreteFlow, {"steps": 64})},
    facts=(Fact("tokens", "170M", 1024, 0, "the shape of MDLM's network"),),
)
