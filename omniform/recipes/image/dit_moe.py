"""DiT-MoE: DiT with every MLP replaced by experts, two of which a token meets, and one that all meet.

Fei et al. 2024, arXiv:2407.11633; block of section 2.2 and of the official code (gates not renormalised, shared expert half as wide), sizes of table 1.
"""

from ...backbones.mlp import Experts, Mlp
from ...core.spec import Spec
from ...system.recipe import Fact, Source
from .dit import RECIPE as DIT

EXPERT = Spec(Mlp, {"ratio": 4.0, "activation": "swiglu", "bias": False})
APART = "the paper's count leaves out the two products of attention"

RECIPE = DIT.but(
    {"network.backbone.block.mlp": Spec(Experts, {"num": 8, "top": 2, "shared": 1, "balance": 0.005, "mlp": EXPERT, "shared_mlp": EXPERT.but({"ratio": 2.0})})},
    name="dit-moe",
    title="DiT-MoE",
    source=(Source("2407.11633", "Scaling Diffusion Transformers to 16 Billion Parameters", code="feizc/DiT-MoE", at="section 2.2, table 1"), *DIT.source),
    sizes={
        "S/2-8E2A": DIT.sizes["S/2"],
        "S/2-16E2A": {**DIT.sizes["S/2"], "network.backbone.block.mlp.num": 16},
        "B/2-8E2A": DIT.sizes["B/2"],
        "L/2-8E2A": DIT.sizes["L/2"],
        "XL/2-8E2A": {},
        "G/2-16E2A": {"network.width": 1408, "network.backbone.depth": 40, "network.backbone.block.mlp.num": 16},
    },
    tiny={**DIT.tiny, "network.backbone.block.mlp.num": 4, "network.backbone.block.mlp.mlp.ratio": 1.0, "network.backbone.block.mlp.shared_mlp.ratio": 1.0},
    facts=(
        Fact("parameters", "S/2-8E2A", 199_209_248, 0, "official code, counted; table 1: 199 M"),
        Fact("parameters", "S/2-16E2A", 369_115_424, 0, "official code, counted; table 1: 369 M"),
        Fact("parameters", "B/2-8E2A", 795_664_928, 0, "official code, counted; table 1: 795 M"),
        Fact("parameters", "L/2-8E2A", 2_823_501_856, 0, "official code, counted; table 1: 2.8 B"),
        Fact("parameters", "XL/2-8E2A", 4_167_869_216, 0, "official code, counted; table 1: 4.1 B"),
        Fact("parameters", "G/2-16E2A", 16_503_356_704, 0, "official code; table 1: 16.5 B"),
        Fact("active_parameters", "S/2-8E2A", 71_807_264, 0, "table 1: 71 M"),
        Fact("active_parameters", "G/2-16E2A", 3_181_198_624, 0, "table 1: 3.1 B"),
        Fact("multiply_adds", "S/2-8E2A", 15.43e9, 0.001, "table 1", differs=APART),
        Fact("multiply_adds", "S/2-8E2A", 16.03e9, 0.001, "table 1 and 0.60 G of attention"),
        Fact("multiply_adds", "XL/2-8E2A", 323.74e9, 0.001, "table 1", differs=APART),
        Fact("multiply_adds", "XL/2-8E2A", 327.97e9, 0.001, "table 1 and 4.23 G of attention"),
    ),
)
