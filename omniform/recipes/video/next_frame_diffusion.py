"""Next-frame diffusion: frames one after another, each by a flow over all its tokens at once, the finished ones remembered.

Cheng et al. 2025, arXiv:2506.01380, section 3: attention full within a frame and causal across, a time for each frame, velocity. Depth, width and tokenizer
of the paper are not
published: ours are chosen for its count, over patches of 32 pixels. Actions are left out.
"""

from ...backbones.attention import Attention
from ...backbones.blocks import PreNorm
from ...backbones.embed import Embed, TimeEmbedding
from ...backbones.mlp import Mlp
from ...backbones.positions import Rotary
from ...backbones.stack import Stack
from ...codecs.patch import Patches
from ...core.order import Along
from ...core.spec import Spec
from ...heads.point import PointHead
from ...processes.blocks import Blocks
from ...processes.flow import Flow
from ...processes.paths import Linear
from ...processes.solvers import Euler
from ...system.network import Network
from ...system.recipe import Fact, Recipe, Source

RECIPE = Recipe(
    name="next-frame-diffusion",
    title="Next-frame diffusion",
    family="block",
    modality="video",
    source=(Source("2506.01380", "Playing with Transformer at 30+ FPS via Next-Frame Diffusion", at="section 3"),),
    codec=Spec(Patches, {"patch": 32}),
    shape=(16, 3, 224, 384),
    network=Spec(
        Network,
        {
            "width": 1024,
            "embed": Spec(Embed, {"hidden": False}),
            "time": Spec(TimeEmbedding),
            "backbone": Spec(
                Stack,
                {
                    "depth": 16,
                    "final": "adaln",
                    "rotary": Spec(Rotary, {"head_width": 64}),
                    "block": Spec(PreNorm, {"mixer": Spec(Attention, {"heads": 16}), "mlp": Spec(Mlp), "modulate": "zero"}),
                },
            ),
            "head": Spec(PointHead),
        },
    ),
    process=Spec(
        Blocks,
        {
            "order": Spec(Along, {"axis": "frame"}),
            "inner": Spec(Flow, {"path": Spec(Linear), "predict": "velocity", "per": "frame", "solver": Spec(Euler), "steps": 50}),
        },
    ),
    training={"batch": 64, "lr": 1e-4, "ema": 0.9999, "steps": 500_000},
    sizes={"310M": {}, "4-step": {"process.inner.steps": 4}},
    tiny={
        "codec": Spec(Patches, {"patch": 8}),
        "shape": (8, 1, 32, 32),
        "network.width": 128,
        "network.backbone.depth": 6,
        "network.backbone.rotary.head_width": 32,
        "network.backbone.block.mixer.heads": 4,
        "process.inner.steps": 12,
        "training": {"batch": 16, "lr": 2e-3, "steps": 3000},
    },
    facts=(
        Fact("parameters", "310M", 310e6, 0.01, "section 4 (with a depth and a width of our choice)"),
        Fact("steps", "4-step", 64, 0, "section 3: 4 steps a frame"),
    ),
)
