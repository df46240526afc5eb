"""Pipelines of latents of a picture: DiT, PixArt-alpha and -Sigma, Stable Diffusion 3 and FLUX.1 over an AutoencoderKL."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from ...core.errors import CheckpointError
from .. import autoencoders, streams
from .. import pictures as networks
from ..schedulers import SCHEDULERS
from ..ties import Reading, negated
from .shared import Parts, Pipeline, Told, Walk, belong


@dataclass(frozen=True)
class Latents:
    """How a transformer over latents and their autoencoder become one.

    reader: of the transformer's configuration; what it reads by itself are its latents (channels, rows, columns). sized: the transformer says how large they
    are; else the autoencoder's pictures do. levels: it is told the numbers of noise levels, and a scheduler of flows makes it one that is told shares of noise
    and answers with a velocity. even: its pipeline walks from noise alone in even shares down to 1 / steps, by the scheduler's shift. captions: tokens of a
    caption, by the class of the pipeline, where no part says it. steps, scale: of the process and of guidance, as its class has them if nobody says otherwise.
    """

    reader: Callable[..., Reading]
    steps: int
    scale: float
    sized: bool = True
    levels: bool = False
    even: bool = False
    captions: Mapping[str, int] = field(default_factory=dict)

    def __call__(self, parts: Parts) -> Reading:
        network, codec = parts.network, parts.codec
        spec: Any = codec.changes["codec"]
        colours, picture = codec.changes["shape"][:2]  # type: ignore[index]
        stride, patch = spec.args["stride"], int(str(network.changes["codec.patch"]))
        asked, *_, side = self.reader(parts.config["transformer"]).changes["shape"]  # type: ignore[misc]
        if not self.sized:
            side = picture // stride
            if side % patch:
                raise CheckpointError(
                    f"{parts.folder}: its autoencoder makes {side} x {side} latents, which patches of {patch} do not fill; change its sample_size"
                )
        belong(parts.folder, spec.args["bottleneck"].args["channels"], asked)
        walk = parts.walk(parts.config["scheduler"], math.prod((side // patch,) * 2))
        ties, usual = network.table.ties, {"process.steps": self.steps, "guidance.scale": self.scale}
        changes = {**usual, **network.changes, "codec.inner": spec, "shape": (colours, side * stride, side * stride)}
        for path in set(walk) & set(changes):
            if walk[path] != changes[path]:
                raise CheckpointError(f"{parts.folder}: its scheduler says {path}={walk[path]!r}, and its transformer otherwise; one of the two is another's")
        if self.levels and walk["process.predict"] == "velocity":
            changes["network.time.levels"] = 0
            ties = tuple(negated([t])[0] if t.ours.startswith(networks.MAIN + "head.out.") else t for t in ties)
        if self.even:
            walk["process.grid"] = walk["process.grid"].but({"least": 0.0})
        if parts.pipeline in self.captions:
            changes["conditions.text.0.length"] = self.captions[parts.pipeline]
        return replace(network, changes={**changes, **walk}, table=replace(network.table, ties=ties))


def _row(reader: Callable[..., Reading], told: Told | None, schedulers: Mapping[str, Walk] = SCHEDULERS, **said: Any) -> Pipeline:
    codec = partial(autoencoders.kl, prefix="codec.inner.")
    return Pipeline(partial(reader, folded=True), codec, Latents(reader, **said), schedulers=schedulers, told=told)


FLOWS = {"FlowMatchEulerDiscreteScheduler": SCHEDULERS["FlowMatchEulerDiscreteScheduler"]}
DIT = _row(networks.dit, None, steps=50, scale=4.0, levels=True)
PIXART = _row(
    networks.pixart,
    Told(t5="text_encoder", lowered=True),
    steps=20,
    scale=4.5,
    levels=True,
    captions={"PixArtAlphaPipeline": 120, "PixArtSigmaPipeline": 300},
)
SD3 = _row(
    streams.sd3,
    Told(("text_encoder", "text_encoder_2"), states=True, projected=True, t5="text_encoder_3", tokens=256, padded=True, missing="joint_attention_dim"),
    FLOWS,
    steps=28,
    scale=7.0,
)
FLUX = _row(streams.flux, Told(("text_encoder",), t5="text_encoder_2", padded=True), FLOWS, steps=28, scale=1.0, sized=False, even=True)
