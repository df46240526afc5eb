"""Pipelines of codes: aMUSEd over a VQModel, whose pictures are from 0 to 1; 12 steps, guidance 10."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

from ...core.errors import CheckpointError
from .. import autoencoders, masked
from ..language import Asked
from ..ties import Reading
from .shared import Config, Parts, Pipeline, Told


def _walk(config: Config, rows: int) -> dict[str, Any]:
    """AmusedScheduler, over a table of so many rows, the last of which is the mask where it does not say it."""
    asked = Asked(config, "AmusedScheduler")
    hidden = asked("mask_token_id", int, rows - 1)
    return {"network.embed.mask_id": hidden, "process.schedule": asked.only("masking_schedule", ("cosine", "linear"), "cosine")}


def _codes(config: Config) -> Reading:
    Asked(config, "VQModel").only("lookup_from_codebook", (True,), False)
    return autoencoders.vq(config)


def _joined(parts: Parts) -> Reading:
    network, codec = parts.network, parts.codec
    alone, spec = masked.amused(parts.config["transformer"]).changes, codec.changes["codec"]
    said: Any = (alone["codec"], alone["shape"], alone["network.embed.mask_id"])
    spoken, side, last = said[0].args["vocab"], said[1][0] * spec.args["stride"], said[2]  # type: ignore[attr-defined]
    codes = spec.args["bottleneck"].args["codes"]  # type: ignore[attr-defined]
    if codes != spoken:
        raise CheckpointError(f"{parts.folder}: its autoencoder has {codes} codes and its transformer speaks of {spoken}; they do not belong together")
    walk = parts.walk(parts.config["scheduler"], last + 1)
    hidden = walk["network.embed.mask_id"]
    if not codes <= hidden <= last:
        raise CheckpointError(f"{parts.folder}: its scheduler hides by code {hidden}, and its transformer has rows {codes} to {last} for that; fetch it again")
    changes = {
        "codec": spec.but({"network.unit": True}),  # type: ignore[attr-defined]
        "shape": (codec.changes["shape"][0], side, side),  # type: ignore[index]
        "conditions.numbers.0.usual": (float(side), float(side), 0.0, 0.0, 6.0),
    }
    return replace(network, changes={**network.changes, **changes, **walk})


_TOLD = Told(("text_encoder",), states=True, projected=True, tokens=0)
AMUSED = Pipeline(partial(masked.amused, coded=True), _codes, _joined, "VQModel", "vqvae", {"AmusedScheduler": _walk}, _TOLD)
