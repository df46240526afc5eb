"""Pipelines of clips: Wan 2.1 over an AutoencoderKLWan and LTX-Video over an AutoencoderKLLTXVideo, told texts alone. Whoever loads them chooses how long and
how large clips are, else the class of the pipeline."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from ...codecs.folded import Folded
from ...core.errors import CheckpointError
from ...core.spec import Spec
from .. import clips, streams
from ..schedulers import SCHEDULERS
from ..ties import Reading
from .shared import Parts, Pipeline, Told, belong


@dataclass(frozen=True)
class Clips:
    """How a transformer over the latents of clips and their autoencoder become one.

    pipeline: its class. reader: of the transformer's configuration, over given latents. codec: of the autoencoder's, for a shape of clips. usual: frames, rows
    and columns; with steps, scale of guidance and tokens of a caption as its class has them if nobody says otherwise. factors: what the autoencoder's
    configuration calls the pixels and the frames of a latent, and what the class takes where it is not said. folded: latents are read in patches. even: it
    walks in even shares of noise down to 1 / steps. spans: frames (at 25 a second, of 20 seconds) and pixels of which positions are fractions. without: what
    its index may ask for and is not built here.
    """

    pipeline: str
    reader: Callable[..., Reading]
    codec: Callable[..., Reading]
    usual: tuple[int, int, int]
    steps: int
    scale: float
    captions: int
    factors: Mapping[str, int | None]
    folded: bool = False
    even: bool = False
    spans: tuple[int, int] | None = None
    without: tuple[str, ...] = ()

    def __call__(self, parts: Parts) -> Reading:
        if parts.pipeline != self.pipeline:
            raise CheckpointError(f"{parts.folder} is a {parts.pipeline}, and of its transformer {self.pipeline} is built here; load its transformer's folder")
        for name in self.without:
            if parts.index.get(name) not in (None, False, [None, None]):
                raise CheckpointError(f"{parts.folder} has {name}={parts.index[name]!r}, which is not built here; use a pipeline without it")
        alone: Any = parts.codec.changes
        spec, colours, changes = alone["codec"], alone["shape"][1], dict(parts.network.changes)
        asked: Any = self.reader(parts.config["transformer"]).changes["shape"]
        belong(parts.folder, spec.args["bottleneck"].args["channels"], asked[1])
        network, patch = spec.args["network"].build(), int(str(changes.pop("codec.patch", 1)))
        for (name, otherwise), ours in zip(self.factors.items(), (network.stride, network.span), strict=True):
            if (said := parts.config["vae"].get(name) or otherwise or ours) != ours:
                raise CheckpointError(f"{parts.folder}: its autoencoder says {name}={said!r} and makes a latent of {ours}; its configuration is another's")
        frames, rows, columns = self.usual
        shape: Any = self.codec(parts.config["vae"], parts.shape or (frames, colours, rows, columns)).changes["shape"]
        if any(n % (network.stride * patch) for n in shape[2:]):
            large, side = " x ".join(map(str, shape[2:])), network.stride * patch
            raise CheckpointError(f"{parts.folder} makes clips whose sides {side} divides, not of {large}; give shape= so, (frames, {colours}, rows, columns)")
        tokens = (1 + (shape[0] - 1) // network.span) * math.prod(n // (network.stride * patch) for n in shape[2:])
        walk = parts.walk(parts.config["scheduler"], tokens)
        if self.even:
            walk["process.grid"] = walk["process.grid"].but({"least": 0.0})
        if self.spans is not None:
            time, space = self.spans
            changes["network.backbone.rotary.scale"] = (network.span / time, network.stride / space, network.stride / space)
        usual = {"process.steps": self.steps, "guidance.scale": self.scale, "conditions.text.0.length": self.captions}
        codec = {"codec": Spec(Folded, {"inner": spec, "patch": patch}) if self.folded else spec, "shape": shape}
        kept = {name: x for name, x in (parts.network.table.fixed or {}).items() if not name.startswith("codec.")}  # those of given latents
        return replace(parts.network, changes={**changes, **usual, **codec, **walk}, table=replace(parts.network.table, fixed=kept))


FLOWS = {name: SCHEDULERS[name] for name in ("FlowMatchEulerDiscreteScheduler", "UniPCMultistepScheduler")}
_WAN = partial(clips.wan, prefix="codec.inner.")
WAN = Pipeline(
    partial(streams.wan, folded=True),
    _WAN,
    Clips(
        "WanPipeline",
        streams.wan,
        _WAN,
        usual=(81, 480, 832),
        steps=50,
        scale=5.0,
        captions=512,
        factors={"scale_factor_spatial": 8, "scale_factor_temporal": 4},
        folded=True,
        without=("transformer_2", "boundary_ratio", "expand_timesteps"),
    ),
    "AutoencoderKLWan",
    schedulers=FLOWS,
    shaped=True,
)
LTX = Pipeline(
    streams.ltx_video,
    clips.ltx,
    Clips(
        "LTXPipeline",
        streams.ltx_video,
        clips.ltx,
        usual=(161, 512, 704),
        steps=50,
        scale=3.0,
        captions=128,
        factors={"spatial_compression_ratio": None, "temporal_compression_ratio": None},
        even=True,
        spans=(500, 2048),
    ),
    "AutoencoderKLLTXVideo",
    schedulers={"FlowMatchEulerDiscreteScheduler": SCHEDULERS["FlowMatchEulerDiscreteScheduler"]},
    told=Told(t5="text_encoder", padded=True, trimmed=True),
    shaped=True,
)
