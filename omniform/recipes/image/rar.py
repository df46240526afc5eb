"""Random-order autoregression over image codes: each slot is told the place that it answers about.

Pannatier et al. 2024, arXiv:2404.09562 (sigma-GPT: the order drawn anew for each example, both places told) and Yu et al. 2024, arXiv:2411.00776, section
3.2, whose annealing
of the order toward raster is left to training.
"""

from ...core.order import Shuffle
from ...core.spec import Spec
from ...processes.feeds import Shift
from ...system.recipe import Fact, Source
from .image_gpt import RECIPE as IMAGE_GPT

RECIPE = IMAGE_GPT.but(
    {"process.order": Spec(Shuffle), "process.feed": Spec(Shift, {"own_place": True}), "process.aim": True, "network.embed.aim": True},
    name="rar",
    title="Random-order GPT over image codes",
    source=(
        Source("2404.09562", "sigma-GPTs: A New Approach to Autoregressive Models", at="section 2"),
        Source("2411.00776", "Randomized Autoregressive Visual Generation", code="bytedance/1d-tokenizer", at="section 3.2"),
        *IMAGE_GPT.source,
    ),
    facts=(Fact("tokens", "12x768", 256, 0, "RAR, section 4.1"),),
)
