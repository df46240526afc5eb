"""LiT: DiT with linear attention of few heads and a depthwise convolution in place of softmax attention.

Wang et al. 2025, arXiv:2501.12976; guidelines 1 (depthwise convolution of kernel 5) and 2 (few heads) of section 3. The paper starts from a trained DiT, all
of whose weights but the attention's are taken over, and lets it teach noise and variance. It prints no parameters: the facts are counts by hand, with a
convolution as wide as the stream.
"""

from ...backbones.attention import LinearAttention
from ...core.spec import Spec
from ...system.recipe import Fact, Source
from .dit import RECIPE as DIT

HAND = "by hand from DiT's count: 26 D more a block"

RECIPE = DIT.but(
    {"network.backbone.block.mixer": Spec(LinearAttention, {"heads": 4})},
    name="lit",
    title="LiT",
    source=(
        Source("2501.12976", "LiT: Delving into a Simplified Linear Diffusion Transformer for Image Generation", at="section 3, guidelines 1 to 5"),
        *DIT.source,
    ),
    sizes={
        "XL/2": {},
        "XL/2-512": {"shape": (3, 512, 512)},
        "L/2": {"network.width": 1024, "network.backbone.depth": 24},
        "B/2": {"network.width": 768, "network.backbone.depth": 12, "network.backbone.block.mixer.heads": 2},
        "S/2": {"network.width": 384, "network.backbone.depth": 12, "network.backbone.block.mixer.heads": 2},
    },
    tiny={**DIT.tiny, "network.backbone.block.mixer.heads": 2},
    facts=(
        Fact("parameters", "XL/2", 675_673_376, 0, HAND),
        Fact("parameters", "L/2", 458_479_648, 0, HAND),
        Fact("parameters", "B/2", 130_555_424, 0, HAND),
        Fact("parameters", "S/2", 32_984_864, 0, HAND),
        Fact("multiply_adds", "XL/2", 119.36e9, 0.001, "by hand: - 2 L^2 D + 2 L D^2 / heads + 25 L D a block"),
        Fact("multiply_adds", "S/2", 5.94e9, 0.001, "by hand, as above"),
        Fact("tokens", "XL/2-512", 1024, 0, "section 4"),
        Fact("steps", "XL/2", 250, 0, "section 4, as DiT"),
    ),
)
