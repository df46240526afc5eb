"""LaVin-DiT: pairs of pictures say what the task is, a query what to do it to, and a flow of the answer attends to all of them in a joint transformer.

Wang et al. 2024, arXiv:2411.11505, section 3; dit.py, blocks.py, transport and inference.py of the official code: two roles with weights of their own, grouped
queries, norms of queries and keys over all heads, a norm on either side of each branch and a tanh at its gate, rotary positions in three axes, 20 times of its
solver. Its pairs of a head's channels lie side by side within an axis, ours across the head: the same up to their order. The causal autoencoder (8 x 8 x 4,
16 channels, pictures one by one) is not part of it: the shape is that of the latents of 256 pixels. Shapes of 0.1B and 1.0B are not published: ours.
"""

from ...backbones.attention import Attention
from ...backbones.blocks import Sandwich
from ...backbones.embed import Bare, TimeEmbedding
from ...backbones.mlp import Mlp
from ...backbones.positions import Rotary
from ...backbones.roles import ByRole
from ...backbones.stack import Stack
from ...codecs.patch import Patches
from ...core.spec import Spec
from ...heads.point import PointHead
from ...processes.flow import Flow
from ...processes.grids import Curve
from ...processes.in_context import InContext
from ...processes.paths import Linear
from ...processes.shown import Shown
from ...processes.solvers import Euler
from ...system.recipe import Fact, Source
from ..image.dit import RECIPE as DIT

MIXER = Spec(Attention, {"heads": 32, "kv_heads": 8, "biases": "", "qk_norm": "rms_wide"})
BLOCK = Spec(Sandwich, {"kinds": 2, "mixer": MIXER, "mlp": Spec(Mlp, {"hidden": 6144, "activation": "swiglu", "bias": False})})
STACK = Spec(Stack, {"depth": 22, "final": None, "rotary": Spec(Rotary, {"head_width": 72}), "block": BLOCK, "last": BLOCK})
FLOW = {"path": Spec(Linear), "solver": Spec(Euler), "times": "logit_normal", "shown": Spec(Shown, {"kinds": ("all_but_last",)})}
CURVE = Spec(Curve, {"times": (0.0, 0.0056, 0.0111, 0.0167, 0.0222, 0.0278, 0.0333, 0.0389, 0.0444, 0.05, 0.0524, 0.073, 0.1148, 0.1777, 0.2618, 0.3671,
                               0.4936, 0.6412, 0.81, 1.0)})  # fmt: skip
AT = "network.backbone.stack."
OF16 = BLOCK.but({"mixer.heads": 16, "mixer.kv_heads": 4, "mlp.hidden": 3072})
OF8 = BLOCK.but({"mixer.heads": 8, "mixer.kv_heads": 2, "mlp.hidden": 1536})
OF4 = BLOCK.but({"mixer.heads": 4, "mixer.kv_heads": 2, "mlp.hidden": 256})
UNREAD = "what the context says last is not read"
OURS = "abstract and scaling study; the shape is not published, ours is chosen for the number"

RECIPE = DIT.but(
    {
        "codec": Spec(Patches, {"patch": 2, "scale": 1.08936170213, "shift": 0.032470703125, "bounded": False}),
        "shape": (10, 16, 32, 32),
        "conditions": {},
        "network.width": 2304,
        "network.embed": Spec(Bare),
        "network.time": Spec(TimeEmbedding, {"scale": 1.0}),
        "network.backbone": Spec(ByRole, {"stack": STACK}),
        "network.head": Spec(PointHead),
        "process": Spec(InContext, {"inner": Spec(Flow, {**FLOW, "grid": CURVE, "steps": 19}), "scale": 1.5}),
        "training": {**DIT.training, "batch": 640, "steps": 120_000},
    },
    name="lavin-dit",
    title="LaVin-DiT",
    family="flow",
    modality="video",
    guidance=None,
    source=(
        Source("2411.11505", "LaVin-DiT: Large Vision Diffusion Transformer", code="DerrickWang005/LaVin-DiT", at="section 3; dit.py, blocks.py"),
        *DIT.source,
    ),
    ungraded={
        "network.towers.main.backbone.stack.last.mixer.out.each.0": UNREAD,
        "network.towers.main.backbone.stack.last.mixer.norm.q.each.0": UNREAD,
        "network.towers.main.backbone.stack.last.mlp.feed.each.0": UNREAD,
    },
    sizes={
        "3.4B": {},
        "3.4B-512": {"shape": (10, 16, 64, 64)},
        "1.0B": {"network.width": 1152, AT + "depth": 26, AT + "block": OF16, AT + "last": OF16},
        "0.1B": {"network.width": 576, AT + "depth": 10, AT + "block": OF8, AT + "last": OF8},
    },
    tiny={
        "codec": Spec(Patches, {"patch": 4, "scale": 1.4, "shift": -0.4}),
        "shape": (10, 1, 16, 16),
        "network.width": 96,
        AT + "depth": 4,
        AT + "rotary.head_width": 24,
        AT + "block": OF4,
        AT + "last": OF4,
        "process.inner.grid": "uniform",
        "process.inner.steps": 20,
        "training": {"batch": 32, "lr": 2e-3, "steps": 3000},
    },
    facts=(
        Fact("parameters", "3.4B", 3_398_976_064, 0, "official code, counted by formula; its comment and the abstract: 3.4B"),
        Fact("parameters", "1.0B", 1.0e9, 0.01, OURS),
        Fact("parameters", "0.1B", 0.1e9, 0.05, OURS),
        Fact("tokens", "3.4B", 2560, 0, "ten pictures of 256 pixels (four pairs, query, answer), 8 x 8 by the autoencoder and 2 x 2 by the patch"),
        Fact("tokens", "3.4B-512", 10240, 0, "the same at 512 pixels, as in inference.py"),
        Fact("steps", "3.4B", 19, 0, "inference.py: 20 times"),
    ),
)
