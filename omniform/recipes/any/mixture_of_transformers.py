"""Mixture of transformers: Transfusion with weights of their own for text and for pictures in everything but the tables; attention is over both.

Liang et al. 2024, arXiv:2411.04996; weights by kind of algorithm 1 (tokens are gathered by kind, mapped and put back), a norm after each branch of equation 2,
Transfusion setting of section 3.4 and its sizes (figure 11): named by the parameters that one token meets, which are the dense model's. Heads, tables, the
embedding of time and the last norm are shared machinery (section 2). Their pictures go through 0.27 B of U-Net blocks; ours are linear patches.
"""

from ...backbones.attention import Attention
from ...backbones.blocks import BranchNorm
from ...backbones.mlp import Mlp
from ...core.spec import Spec
from ...system.recipe import Fact, Source
from .transfusion import RECIPE as TRANSFUSION

ACTIVE = "section 3.4.1: Transfusion's sizes; what a token meets is the dense model (Llama's blocks, two tables of 32,000, counted)"
STORED = "section 6.1: each further kind stores 4 d^2 + 3 d hidden + 2 d more a layer, counted"

RECIPE = TRANSFUSION.but(
    {
        "network.backbone.block": Spec(
            BranchNorm,
            {
                "kinds": 2,
                "mixer": Spec(Attention, {"heads": 32, "biases": ""}),
                "mlp": Spec(Mlp, {"hidden": 11008, "activation": "swiglu", "bias": False}),
            },
        ),
    },
    name="mixture-of-transformers",
    title="Mixture of transformers",
    source=(
        Source(
            "2411.04996",
            "Mixture-of-Transformers: A Sparse and Scalable Architecture for Multi-Modal Foundation Models",
            code="facebookresearch/Mixture-of-Transformers",
            at="section 2, algorithm 1, section 3.4",
        ),
        *TRANSFUSION.source,
    ),
    sizes={
        "7B": {},
        "1.4B": TRANSFUSION.sizes["1.4B"],
        "760M": TRANSFUSION.sizes["0.76B"],
        "163M": TRANSFUSION.sizes["0.16B"],
    },
    facts=(
        Fact("active_parameters", "7B", 6738.4e6, 0.01, ACTIVE),
        Fact("active_parameters", "1.4B", 1364.3e6, 0.01, ACTIVE),
        Fact("active_parameters", "760M", 777.9e6, 0.01, ACTIVE),
        Fact("active_parameters", "163M", 162.4e6, 0.01, ACTIVE),
        Fact("parameters", "7B", 6738.4e6 + 32 * (4 * 4096**2 + 3 * 4096 * 11008 + 2 * 4096), 0.01, STORED),
        Fact("parameters", "163M", 162.4e6 + 16 * (4 * 768**2 + 3 * 768 * 2048 + 2 * 768), 0.01, STORED),
    ),
)
