"""Block diffusion: autoregressive over blocks of tokens, masked diffusion inside each.

Arriola et al. 2025, arXiv:2503.09573; training on noisy blocks beside the clean text in section 3.2; network of MDLM. Inside a block one place, chosen
evenly, is shown at
a time: the first-hitting sampler of the official code.
"""

from ...core.order import BlocksOf
from ...core.spec import Spec
from ...processes.blocks import Blocks
from ...processes.masked import Masked
from ...system.recipe import Fact, Source
from .mdlm import RECIPE as MDLM

RECIPE = MDLM.but(
    {
        "process": Spec(
            Blocks,
            {"order": Spec(BlocksOf, {"size": 4}), "inner": Spec(Masked, {"steps": 4, "run": 4, "schedule": "linear", "choose": "random", "weight": "bound"})},
        )
    },
    name="block-diffusion",
    title="Block diffusion (BD3-LM)",
    family="block",
    source=(
        Source(
            "2503.09573", "Block Diffusion: Interpolating Between Autoregressive and Diffusion Language Models", code="kuleshov-group/bd3lms", at="section 3"
        ),
        *MDLM.source,
    ),
    sizes={
        "4": {},
        "8": {"process.order.size": 8, "process.inner.steps": 8, "process.inner.run": 8},
        "16": {"process.order.size": 16, "process.inner.steps": 16, "process.inner.run": 16},
        "LM1B-4": MDLM.sizes["LM1B"],
    },
    tiny={
        **MDLM.tiny,
        "process": Spec(
            Blocks,
            {"order": Spec(BlocksOf, {"size": 8}), "inner": Spec(Masked, {"steps": 8, "run": 8, "schedule": "linear", "choose": "random", "weight": "bound"})},
        ),
    },
    facts=(
        Fact("parameters", "4", 169.6e6, 0.001, "official code, counted; hub 170 M"),
        Fact("parameters", "LM1B-4", 139.3e6, 0.001, "official code, counted"),
        Fact("tokens", "4", 1024, 0, "section 5"),
        Fact("steps", "4", 1024, 0, "one place a question, official code"),
    ),
)
