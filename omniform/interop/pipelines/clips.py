"""Pipelines of clips: Wan 2.1 over an AutoencoderKLWan and LTX-Video over an AutoencoderKLLTXVideo, told texts alone. How long clips are and how large is chosen
by whoever loads them; else it is what the pipeline does by itself."""

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
from ..language import Asked
from ..schedulers import SCHEDULERS
from ..ties import Reading
from .shared import Config, Parts, Pipeline, Walk, belong


@dataclass(frozen=True)
class Clips:
    """How a transformer over the latents of clips and their autoencoder become one.

    pipeline: its class. codec: reads the autoencoder's configuration, for a shape of clips. usual: frames, rows and columns of the pipeline's own. factors:
    what the autoencoder's configuration calls the pixels and the frames of a latent, and what its pipeline takes where it is not said. steps, captions: of the
    pipeline: its steps, and the tokens of a caption. guidance: its scale. even: it walks in even shares of noise down to 1 / steps. without: what its index may
    ask for and is not built here. spanned: positions are fractions of 20 seconds at 25 frames a second, and of 2048 pixels.
    """

    pipeline: str
    codec: Callable[..., Reading]
    usual: tuple[int, int, int]
    factors: tuple[tuple[str, int | None], tuple[str, int | None]]
    captions: int
    guidance: float
    steps: int = 50
    even: bool = False
    without: tuple[str, ...] = ()
    spanned: bool = False

    def __call__(self, parts: Parts) -> Reading:
        if parts.pipeline != self.pipeline:
            raise CheckpointError(f"{parts.folder} is a {parts.pipeline}, and of this transformer {self.pipeline} is built here; load its transformer's folder")
        for name in self.without:
            if parts.index.get(name) not in (None, False, [None, None]):
                raise CheckpointError(f"{parts.folder} has {name}={parts.index[name]!r} (Wan 2.2), which is not built here; use a pipeline without it")
        config = parts.config["vae"]
        codec = self.codec(config, parts.shape)
        spec: Any = codec.changes["codec"]
        network = spec.args["network"].build()
        if parts.shape is None:
            frames, rows, columns = self.usual
            codec = self.codec(config, (frames, codec.changes["shape"][1], rows, columns))  # type: ignore[index]
        for (name, otherwise), ours in zip(self.factors, (network.stride, network.span), strict=True):
            if (said := config.get(name) or otherwise or ours) != ours:
                raise CheckpointError(f"{parts.folder}: its autoencoder has {name}={said} and makes latents of {ours}; its configuration is another's")
        changes = dict(parts.network.changes)
        asked, patch = changes.pop("shape", None), changes.pop("codec.patch", 1)
        channels = asked[1] if asked else parts.config["transformer"].get("in_channels", 16)  # type: ignore[index]
        belong(parts.folder, spec.args["bottleneck"].args["channels"], channels)
        frames, _, rows, columns = shape = codec.changes["shape"]  # type: ignore[misc]
        if rows // network.stride % patch or columns // network.stride % patch:  # type: ignore[operator]
            raise CheckpointError(
                f"{parts.folder}: clips of {rows} x {columns} have {rows // network.stride} x {columns // network.stride} latents, which patches of {patch} do "
                f"not fill; give sides that {network.stride * patch} divides"  # type: ignore[operator]
            )
        tokens = (1 + (frames - 1) // network.span) * math.prod(n // network.stride // patch for n in (rows, columns))  # type: ignore[operator]
        walk = parts.walk(parts.config["scheduler"], tokens)
        if self.even:
            walk["process.grid"] = walk["process.grid"].but({"least": 0.0})
        text, place = changes["conditions"]["text"]  # type: ignore[index]
        positions = {"network.backbone.rotary.scale": (network.span / 500, network.stride / 2048, network.stride / 2048)} if self.spanned else {}
        made = {
            **changes,
            "codec": spec if self.spanned else Spec(Folded, {"inner": spec, "patch": patch}),
            "shape": shape,
            "conditions": {**changes["conditions"], "text": (text.but({"length": self.captions}), place)},  # type: ignore[dict-item]
            "guidance.scale": self.guidance,
            "process.steps": self.steps,
            **positions,
            **walk,
        }
        table = parts.network.table
        given = [n for n in table.fixed or {} if n.startswith("codec.")]  # scale and shift of latents that were given
        return replace(parts.network, changes=made, table=replace(table, fixed={n: x for n, x in (table.fixed or {}).items() if n not in given}))
