"""Small systems of our own, so that every part of the engine is under every contract, whatever recipes there are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from omniform.backbones.attention import Attention, CrossAttention
from omniform.backbones.blocks import PreNorm
from omniform.backbones.embed import Embed, TimeEmbedding
from omniform.backbones.mlp import Experts, Mlp
from omniform.backbones.positions import LearnedPositions, Rotary
from omniform.backbones.stack import Stack
from omniform.codecs.autoencoder import Autoencoder
from omniform.codecs.bottleneck import LFQ
from omniform.codecs.ids import Ids
from omniform.codecs.patch import Patches
from omniform.conditions.conditioning import ClassLabel
from omniform.conditions.guidance import ClassifierFree
from omniform.core.order import Along, BlocksOf, Raster, Shuffle
from omniform.core.spec import Spec
from omniform.heads.affine import AffineHead
from omniform.heads.bits import BitsHead
from omniform.heads.categorical import CategoricalHead
from omniform.heads.denoised import DenoisedHead
from omniform.heads.mixture import MixtureHead
from omniform.heads.point import EnergyHead, PointHead
from omniform.processes.adversarial import Adversarial
from omniform.processes.autoregress import Autoregress
from omniform.processes.bijective import Bijective
from omniform.processes.blocks import Blocks
from omniform.processes.energy import Energy
from omniform.processes.feeds import Shift
from omniform.processes.flow import DiscreteFlow, Flow
from omniform.processes.masked import Masked
from omniform.processes.paths import Linear
from omniform.processes.solvers import Euler, Heun
from omniform.system.network import Network, Tower
from omniform.system.recipe import Recipe, Source


def _probe(
    name: str,
    codec: Spec,
    shape: tuple[int, ...],
    process: Spec,
    head: Spec,
    *,
    place: str | None = "modulate",
    mixer: Mapping[str, Any] | None = None,
    block: Mapping[str, Any] | None = None,
    stack: Mapping[str, Any] | None = None,
    embed: Mapping[str, Any] | None = None,
    ungraded: Mapping[str, str] | None = None,
    told: Mapping[str, Any] | None = None,
    **network: Any,
) -> Recipe:
    heads = {"heads": 4, **(mixer or {})}
    inner = Spec(PreNorm, {"mixer": Spec(Attention, heads), "mlp": Spec(Mlp), **(block or {})})
    return Recipe(
        name=name,
        title="A probe of the engine (2025)",
        family="probe",
        modality="text" if len(shape) == 1 else "image",
        source=(Source(None, "Ours (2025)"),),
        ungraded=ungraded or {},
        codec=codec,
        shape=shape,
        process=process,
        conditions={} if place is None else {"label": (Spec(ClassLabel, {"classes": 5, **(told or {})}), place)},
        guidance=None if place is None else Spec(ClassifierFree, {"scale": 2.0}),
        network=Spec(
            Network,
            {
                "width": 32,
                "embed": Spec(Embed, embed or {"positions": (Spec(LearnedPositions),)}),
                "backbone": Spec(Stack, {"depth": 2, "block": inner, **(stack or {})}),
                "head": head,
                **network,
            },
        ),
    )


IDS, PATCHES = Spec(Ids, {"vocab": 32}), Spec(Patches, {"patch": 4})
SEEN = {"positions": (Spec(LearnedPositions),), "hidden": False}
ZERO, TIME = {"modulate": "zero"}, Spec(TimeEmbedding)
FLOW = Spec(Flow, {"path": Spec(Linear), "solver": Spec(Heun), "steps": 3})
RASTER = {"order": Spec(Raster), "feed": Spec(Shift)}
CLIP = (3, 1, 16, 16)
_LAST = "network.towers.main.backbone.blocks.1."
UNREAD = {_LAST + n: "nobody reads the prefix after the last block" for n in ("mixer.out.each.1.", "mlp.feed.each.1.")}
UNREAD_NORM = {**UNREAD, _LAST + "mixer.norm.q.1.": "nor do its queries"}
FLAT = {"network.towers.main.backbone.final.bias": "a constant has no slope"}
_PROBES = (
    _probe(
        "probe-mdlm",
        IDS,
        (16,),
        Spec(Masked, {"steps": 5, "schedule": "linear", "choose": "independent", "weight": "bound"}),
        Spec(CategoricalHead),
        place=None,
        embed={},
        stack={"rotary": Spec(Rotary, {"head_width": 8})},
    ),
    _probe(
        "probe-block-diffusion",
        IDS,
        (16,),
        Spec(
            Blocks,
            {
                "order": Spec(BlocksOf, {"size": 4}),
                "inner": Spec(Masked, {"steps": 4, "schedule": "linear", "choose": "independent", "weight": "bound", "run": 4}),
            },
        ),
        Spec(CategoricalHead),
        place="prefix",
    ),
    _probe(
        "probe-next-frame",
        PATCHES,
        CLIP,
        Spec(Blocks, {"order": Spec(Along, {"axis": "frame"}), "inner": FLOW}),
        Spec(PointHead),
        block=ZERO,
        time=TIME,
        embed=SEEN,
    ),
    _probe(
        "probe-joint-frames",
        PATCHES,
        CLIP,
        Spec(Blocks, {"order": Spec(Along, {"axis": "frame"}), "inner": FLOW}),
        Spec(PointHead),
        place="joint",
        block={**ZERO, "streams": 2},
        time=TIME,
        embed=SEEN,
        mixer={"qk_norm": "rms"},
        ungraded=UNREAD_NORM,
    ),
    _probe(
        "probe-mmdit",
        PATCHES,
        (1, 16, 16),
        FLOW,
        Spec(PointHead),
        place="joint",
        block={**ZERO, "streams": 2, "norm": "rms"},
        time=TIME,
        embed=SEEN,
        ungraded=UNREAD,
    ),
    _probe(
        "probe-pixart",
        PATCHES,
        (1, 16, 16),
        FLOW,
        Spec(PointHead),
        place="cross",
        block={"modulate": "single", "cross": Spec(CrossAttention, {"heads": 4})},
        stack={"shared": True, "final": "adaln"},
        time=TIME,
        embed=SEEN,
    ),
    _probe("probe-u-vit", PATCHES, (1, 16, 16), FLOW, Spec(PointHead), place="prefix", stack={"skips": True}, block=ZERO, time=TIME, embed=SEEN),
    _probe(
        "probe-cross-gpt",
        IDS,
        (16,),
        Spec(Autoregress, RASTER),
        Spec(CategoricalHead),
        place="cross",
        mixer={"slopes": True, "kv_heads": 2},
        block={"cross": Spec(CrossAttention, {"heads": 4, "qk_norm": "cosine"})},
    ),
    _probe(
        "probe-prefix-gpt",
        IDS,
        (16,),
        Spec(Autoregress, RASTER),
        Spec(CategoricalHead),
        place="prefix",
        mixer={"biases": "qv"},
        block={"mlp": Spec(Experts, {"num": 3, "top": 2, "mlp": Spec(Mlp, {"activation": "swiglu"}), "shared": 1})},
    ),
    _probe(
        "probe-random-order",
        IDS,
        (16,),
        Spec(Autoregress, {"order": Spec(Shuffle), "feed": Spec(Shift, {"own_place": True}), "aim": True}),
        Spec(CategoricalHead),
        place="prefix",
        embed={"positions": (Spec(LearnedPositions),), "aim": True},
    ),
    _probe(
        "probe-reversed", IDS, (16,), Spec(Autoregress, {"order": Spec(Raster, {"reverse": True}), "feed": Spec(Shift)}), Spec(CategoricalHead), place="start"
    ),
    _probe(
        "probe-mixture",
        PATCHES,
        (1, 16, 16),
        Spec(Autoregress, RASTER),
        Spec(MixtureHead, {"components": 3, "floor": 1.0}),
        place="add",
        mixer={"slopes": True},
    ),
    _probe(
        "probe-causal-mar",
        PATCHES,
        (1, 16, 16),
        Spec(Autoregress, RASTER),
        Spec(DenoisedHead, {"hidden": 32, "depth": 1, "inner": Spec(Flow, {"path": Spec(Linear), "solver": Spec(Euler), "steps": 3, "per": "token"})}),
        place="add",
    ),
    _probe(
        "probe-bits",
        Spec(Autoencoder, {"bottleneck": Spec(LFQ, {"bits": 5}), "width": 8}),
        (1, 16, 16),
        Spec(Masked, {"steps": 5, "choose": "random"}),
        Spec(BitsHead),
        place="add",
    ),
    _probe("probe-discrete-flow", IDS, (16,), Spec(DiscreteFlow, {"steps": 5}), Spec(CategoricalHead), block=ZERO, time=TIME, embed=SEEN),
    _probe(
        "probe-discrete-blocks",
        IDS,
        (16,),
        Spec(Blocks, {"order": Spec(BlocksOf, {"size": 4}), "inner": Spec(DiscreteFlow, {"steps": 3})}),
        Spec(CategoricalHead),
        block=ZERO,
        time=TIME,
        embed=SEEN,
    ),
    _probe("probe-energy", PATCHES, (1, 16, 16), Spec(Energy, {"steps": 2, "rate": 1.0}), Spec(EnergyHead), place="add", embed=SEEN, ungraded=FLAT),
    _probe(
        "probe-energy-blocks",
        PATCHES,
        (1, 16, 16),
        Spec(Blocks, {"order": Spec(BlocksOf, {"size": 4}), "inner": Spec(Energy, {"steps": 2, "rate": 1.0})}),
        Spec(EnergyHead),
        place="prefix",
        embed=SEEN,
        ungraded=FLAT,
    ),
    _probe(
        "probe-kept-first",
        PATCHES,
        (1, 16, 16),
        Spec(Bijective, {"maps": 2, "noise": 0.1, "first": "kept"}),
        Spec(AffineHead, {"bound": 1.0}),
        place="add",
        told={"mean": True, "stages": 2},
        embed=SEEN,
        stages=2,
    ),
    _probe(
        "probe-prefixed-maps",
        PATCHES,
        (1, 16, 16),
        Spec(Bijective, {"maps": 2, "noise": 0.1, "places": "turns"}),
        Spec(AffineHead, {"bound": 1.0}),
        place="prefix",
        embed={**SEEN, "hidden": "content"},
        stages=2,
    ),
    _probe(
        "probe-adversarial",
        PATCHES,
        (1, 16, 16),
        Spec(Adversarial),
        Spec(PointHead, {"small": 1.0}),
        embed=SEEN,
        block=ZERO,
        towers={
            "critic": Spec(
                Tower,
                {
                    "width": 32,
                    "embed": Spec(Embed, SEEN),
                    "backbone": Spec(Stack, {"depth": 1, "block": Spec(PreNorm, {"mixer": Spec(Attention, {"heads": 4}), "mlp": Spec(Mlp)})}),
                    "head": Spec(PointHead, {"channels": 1, "small": 1.0}),
                    "player": "critic",
                },
            )
        },
    ),
)
PROBES = {probe.name: probe for probe in _PROBES}
"""Combinations of parts that no recipe may have yet, under the same contracts: every part of the engine is in one."""
