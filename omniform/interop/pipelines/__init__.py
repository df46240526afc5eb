"""Pipelines of the `diffusers` library: a transformer, the autoencoder of its tokens and a scheduler, as one system. A kind of them is a row of a table."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from ...core.errors import CheckpointError
from ..files import Weights, json_of
from ..ties import Reading
from .masked import AMUSED
from .pictures import DIT, FLUX, PIXART, SD3
from .shared import Parts, Pipeline, beside

PIPELINES: dict[str, Pipeline] = {
    "DiTTransformer2DModel": DIT,
    "PixArtTransformer2DModel": PIXART,
    "SD3Transformer2DModel": SD3,
    "FluxTransformer2DModel": FLUX,
    "UVit2DModel": AMUSED,
}
"""By the class of the transformer."""


def reading(folder: Path) -> Reading:
    """What a folder with model_index.json becomes."""
    index = json_of(folder / "model_index.json")
    row = _row(folder, index)
    kinds = {part: _kind(index, part, folder) for part in ("transformer", row.folder, "scheduler")}
    transformer, autoencoder, scheduler = kinds.values()
    if autoencoder != row.autoencoder or scheduler not in row.schedulers:
        raise CheckpointError(
            f"{folder} is a {transformer} over a {autoencoder} with a {scheduler}, and over a {row.autoencoder} with {' or '.join(row.schedulers)} "
            "is built here; load its transformer's folder"
        )
    config = {part: json_of(folder / part / f"{'scheduler_' if part == 'scheduler' else ''}config.json") for part in kinds}
    network, codec = row.network(config["transformer"]), row.codec(config[row.folder])
    joined = row.joined(Parts(folder, str(index.get("_class_name")), config, network, codec, row.schedulers[scheduler]))
    return replace(joined, table=beside(joined.of, **{"transformer": joined.table, row.folder: codec.table}))


def weighed(folder: Path) -> tuple[str, str]:
    """The parts whose weights are read."""
    return "transformer", _row(folder, json_of(folder / "model_index.json")).folder


def _row(folder: Path, index: Mapping[str, Any]) -> Pipeline:
    kind = _kind(index, "transformer", folder)
    if kind not in PIPELINES:
        raise CheckpointError(f"{folder} is a pipeline of a {kind}, and those of {', '.join(PIPELINES)} are built here; load its transformer's folder")
    return PIPELINES[kind]


def _kind(index: Mapping[str, Any], part: str, folder: Path) -> str:
    said = index.get(part)
    if not isinstance(said, list | tuple) or len(said) != 2 or not isinstance(said[1], str):
        raise CheckpointError(f"{folder} has no {part} in its model_index.json; pipelines of a transformer, an autoencoder and a scheduler are read here")
    return said[1]


def both(parts: Mapping[str, Weights], where: str) -> Weights:
    """The weights of several folders, each under its name."""
    shapes = {f"{part}.{n}": s for part, weights in parts.items() for n, s in weights.shapes.items()}

    def read(name: str) -> Any:
        part, _, rest = name.partition(".")
        return parts[part].read(rest)

    return Weights(where, shapes, read)
