"""Pipelines of the `diffusers` library: a transformer, the autoencoder of its latents and a scheduler, as one system."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..core.errors import CheckpointError
from . import autoencoders, masked, pictures, streams
from .files import Weights, json_of
from .language import Asked
from .schedulers import scheduled
from .ties import Reading, Table, negated

TRANSFORMERS: dict[str, Callable[..., Reading]] = {
    "DiTTransformer2DModel": pictures.dit,
    "PixArtTransformer2DModel": pictures.pixart,
    "SD3Transformer2DModel": streams.sd3,
    "FluxTransformer2DModel": streams.flux,
}
_CODEC = "codec.inner."


def reading(folder: Path) -> Reading:
    """What a folder with model_index.json becomes. Text encoders and tokenizers are not read: captions are given as features."""
    index = json_of(folder / "model_index.json")
    if "vqvae" in index:
        return _masked(folder, index)
    kinds = {part: _kind(index, part, folder) for part in ("transformer", "vae", "scheduler")}
    if kinds["transformer"] not in TRANSFORMERS or kinds["vae"] != "AutoencoderKL":
        known = " or ".join(TRANSFORMERS)
        raise CheckpointError(
            f"{folder} is a {kinds['transformer']} over a {kinds['vae']}, and {known} over an AutoencoderKL is built here; load its transformer's folder"
        )
    config = {part: json_of(folder / part / f"{'scheduler_' if part == 'scheduler' else ''}config.json") for part in kinds}
    network, codec = TRANSFORMERS[kinds["transformer"]](config["transformer"], folded=True), autoencoders.kl(config["vae"], _CODEC)
    if kinds["scheduler"].startswith("FlowMatch") and "network.time.levels" in network.changes:
        network = _straight(network)
    spec: Any = codec.changes["codec"]
    colours, picture = codec.changes["shape"][:2]  # type: ignore[index]
    stride, patch = spec.args["stride"], int(str(network.changes["codec.patch"]))
    channels, asked = spec.args["bottleneck"].args["channels"], config["transformer"].get("in_channels", 16 if network.recipe == "sd3" else 4)
    side = int(config["transformer"].get("sample_size", 128))
    if network.recipe == "flux":  # it does not say how large its latents are, and counts the channels of a patch
        side, asked = picture // stride, config["transformer"].get("in_channels", 64) // 4
        if side % patch:
            raise CheckpointError(f"{folder}: its autoencoder makes {side} x {side} latents, which patches of 2 do not fill; change its sample_size")
    if channels != asked:
        raise CheckpointError(f"{folder}: its autoencoder has {channels} channels and its transformer reads {asked}; they do not belong together")
    tokens = math.prod((side // patch,) * 2)
    changes = {
        **network.changes,
        "codec.inner": spec,
        "shape": (colours, side * stride, side * stride),
        **scheduled({**config["scheduler"], "_class_name": kinds["scheduler"]}, tokens),
    }
    if network.recipe == "flux" and "process.grid" in changes:
        changes["process.grid"] = changes["process.grid"].but({"least": 0.0})
    variance = config["scheduler"].get("variance_type", "fixed_small")
    if kinds["scheduler"] == "DDPMScheduler" and (variance == "learned_range") != bool(changes.get("network.head.learned_variance")):
        raise CheckpointError(f"{folder}: its scheduler has variance_type={variance!r}, and its transformer says otherwise; one of the two is another's")
    return replace(network, changes=changes, table=_beside(network.of, transformer=network.table, vae=codec.table))


def weighed(folder: Path) -> tuple[str, str]:
    """The parts whose weights are read."""
    return "transformer", "vqvae" if "vqvae" in json_of(folder / "model_index.json") else "vae"


def _masked(folder: Path, index: Mapping[str, Any]) -> Reading:
    """An AmusedPipeline: codes of a VQModel whose pictures are from 0 to 1, 12 steps, guidance 10."""
    kinds = {part: _kind(index, part, folder) for part in ("transformer", "vqvae", "scheduler")}
    if tuple(kinds.values()) != ("UVit2DModel", "VQModel", "AmusedScheduler"):
        found = ", ".join(kinds.values())
        raise CheckpointError(f"{folder} is of {found}, and UVit2DModel, VQModel, AmusedScheduler is built here; load its transformer's folder")
    config = {part: json_of(folder / part / f"{'scheduler_' if part == 'scheduler' else ''}config.json") for part in kinds}
    Asked(config["vqvae"], "VQModel").only("lookup_from_codebook", (True,), False)
    network, codec, asked = masked.amused(config["transformer"], coded=True), autoencoders.vq(config["vqvae"]), Asked(config["scheduler"], "AmusedScheduler")
    spec: Any = codec.changes["codec"]
    codes, spoken = spec.args["bottleneck"].args["codes"], config["transformer"].get("codebook_size", 8192)
    if codes != spoken:
        raise CheckpointError(f"{folder}: its autoencoder has {codes} codes and its transformer speaks of {spoken}; they do not belong together")
    rows = int(config["transformer"].get("vocab_size", 8256))
    hidden = asked("mask_token_id", int, rows - 1)
    if not codes <= hidden < rows:
        raise CheckpointError(f"{folder}: its scheduler hides by code {hidden}, and its transformer has rows {codes} to {rows - 1} for that; fetch it again")
    side = int(config["transformer"].get("sample_size", 64)) * spec.args["stride"]
    changes = {
        **network.changes,
        "codec": spec.but({"network.unit": True}),
        "shape": (codec.changes["shape"][0], side, side),  # type: ignore[index]
        "conditions.numbers.0.usual": (float(side), float(side), 0.0, 0.0, 6.0),
        "network.embed.mask_id": hidden,
        "process.schedule": asked.only("masking_schedule", ("cosine", "linear"), "cosine"),
    }
    return replace(network, changes=changes, table=_beside(network.of, transformer=network.table, vqvae=codec.table))


def _straight(network: Reading) -> Reading:
    """A network that is usually told the numbers of noise levels, as a flow: 1000 times the share of noise, and a velocity, whose sign is another here."""
    last = pictures.MAIN + "head.out."
    ties = tuple(negated([t])[0] if t.ours.startswith(last) else t for t in network.table.ties)
    return replace(network, changes={**network.changes, "network.time.levels": 0}, table=replace(network.table, ties=ties))


def _kind(index: Mapping[str, Any], part: str, folder: Path) -> str:
    said = index.get(part)
    if not isinstance(said, list | tuple) or len(said) != 2 or not isinstance(said[1], str):
        raise CheckpointError(f"{folder} has no {part} in its model_index.json; a pipeline of a transformer, a vae and a scheduler is what is read here")
    return said[1]


def _beside(of: str, **parts: Table) -> Table:
    """The tables of several folders as one, each under its name."""
    ties, ignored, fixed, cuts = [], [], {}, []
    for part, table in parts.items():
        ties += [replace(t, theirs=tuple(f"{part}.{n}" for n in t.theirs)) for t in table.ties]
        ignored += [(rf"{part}\.(?:{pattern})", why) for pattern, why in table.ignored]
        fixed |= table.fixed or {}
        cuts += [replace(c, theirs=f"{part}.{c.theirs}", pieces=tuple(f"{part}.{p}" for p in c.pieces)) for c in table.cuts]
    return Table(of, tuple(ties), tuple(ignored), fixed, tuple(cuts))


def both(parts: Mapping[str, Weights], where: str) -> Weights:
    """The weights of several folders, each under its name."""
    shapes = {f"{part}.{n}": s for part, weights in parts.items() for n, s in weights.shapes.items()}

    def read(name: str) -> Any:
        part, _, rest = name.partition(".")
        return parts[part].read(rest)

    return Weights(where, shapes, read)
