"""Pipelines of the `diffusers` library: a transformer, the autoencoder of its tokens, a scheduler and what reads its captions, as one system. A kind of them is
a row of a table."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from ... import recipes
from ...core.errors import CheckpointError
from ..files import Weights, json_of
from ..ties import Reading
from .clips import LTX, WAN
from .masked import AMUSED
from .pictures import DIT, FLUX, PIXART, SD3
from .prompts import Prompted, present, prompted
from .shared import Parts, Pipeline, beside, named

log = logging.getLogger("omniform.interop")
PIPELINES: dict[str, Pipeline] = {
    "DiTTransformer2DModel": DIT,
    "PixArtTransformer2DModel": PIXART,
    "SD3Transformer2DModel": SD3,
    "FluxTransformer2DModel": FLUX,
    "UVit2DModel": AMUSED,
    "WanTransformer3DModel": WAN,
    "LTXVideoTransformer3DModel": LTX,
}
"""By the class of the transformer."""


def reading(folder: Path, reader: Prompted | None = None, shape: tuple[int, ...] | None = None) -> Reading:
    """What a folder with model_index.json becomes. reader: of its captions; without one they are given as features. shape: of a clip, else its class's own."""
    index = json_of(folder / "model_index.json")
    row = _row(folder, index)
    if shape is not None and not row.shaped:
        raise CheckpointError(f"{folder}: its configurations say how large its pictures are; give no shape")
    kinds = {part: named(index, part, folder) for part in ("transformer", row.folder, "scheduler")}
    transformer, autoencoder, scheduler = kinds.values()
    if autoencoder != row.autoencoder or scheduler not in row.schedulers:
        raise CheckpointError(
            f"{folder} is a {transformer} over a {autoencoder} with a {scheduler}, and over a {row.autoencoder} with {' or '.join(row.schedulers)} "
            "is built here; load its transformer's folder"
        )
    config = {part: json_of(folder / part / f"{'scheduler_' if part == 'scheduler' else ''}config.json") for part in kinds}
    network, codec = row.network(config["transformer"]), row.codec(config[row.folder])
    joined = row.joined(Parts(folder, str(index.get("_class_name")), config, network, codec, row.schedulers[scheduler], index, shape))
    changes = joined.changes if reader is None else {**joined.changes, **_read_by(reader, joined)}
    return replace(joined, changes=changes, table=beside(joined.of, **{"transformer": joined.table, row.folder: codec.table}))


def _read_by(reader: Prompted, joined: Reading) -> dict[str, Any]:
    """The caption with its encoder; what is unsaid is the empty text, as in every one of these classes."""
    caption = recipes.get(joined.recipe).but(joined.changes).conditions["text"][0].args
    for what, its, asked in (("numbers a token", reader.features, caption["features"]), ("numbers a text", reader.pooled, caption.get("pooled", 0))):
        if its != asked:
            raise CheckpointError(f"{reader.name}: its text encoders say {its} {what} and its transformer reads {asked}; they do not belong together")
    said = {"encoder": reader.name, "digest": reader.digest, "unsaid": "empty", **({} if reader.usual is None else {"length": reader.usual})}
    return {f"conditions.text.0.{leaf}": value for leaf, value in said.items()}


def reader_of(folder: Path, name: str, *, pickled: bool = False) -> Prompted | None:
    """What reads the captions of a pipeline; None where its text encoders are not beside it. name: what the system is to know it by."""
    index = json_of(folder / "model_index.json")
    told = _row(folder, index).told
    if told is None:
        return None
    if not present(folder, told, index):
        log.warning("%s: its text encoders and tokenizers are not all beside it, so its captions are features; a text would only be spelled", folder)
        return None
    return prompted(name, folder, told, index, pickled=pickled)


def weighed(folder: Path) -> tuple[str, str]:
    """The parts whose weights are read."""
    return "transformer", _row(folder, json_of(folder / "model_index.json")).folder


def _row(folder: Path, index: Mapping[str, Any]) -> Pipeline:
    kind = named(index, "transformer", folder)
    if kind not in PIPELINES:
        raise CheckpointError(f"{folder} is a pipeline of a {kind}, and those of {', '.join(PIPELINES)} are built here; load its transformer's folder")
    return PIPELINES[kind]


def both(parts: Mapping[str, Weights], where: str) -> Weights:
    """The weights of several folders, each under its name."""
    shapes = {f"{part}.{n}": s for part, weights in parts.items() for n, s in weights.shapes.items()}

    def read(name: str) -> Any:
        part, _, rest = name.partition(".")
        return parts[part].read(rest)

    return Weights(where, shapes, read)
