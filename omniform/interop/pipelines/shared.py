"""What pipelines share: the row that a kind of them is, and the tables of its folders beside each other."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ...core.errors import CheckpointError
from ..schedulers import SCHEDULERS
from ..ties import Reading, Table

Config = Mapping[str, Any]
Walk = Callable[[Config, int], dict[str, Any]]
"""Configuration of a scheduler and tokens of a sample -> changes of a recipe by path."""


@dataclass(frozen=True)
class Parts:
    """What a folder holds, read. pipeline: the name of its class. config: of "transformer", "scheduler" and the autoencoder by the name of its folder.
    network, codec: what the transformer and the autoencoder become by themselves. walk: what the scheduler becomes. index: model_index.json. shape: of a clip,
    as whoever loads it has said."""

    folder: Path
    pipeline: str
    config: Mapping[str, Config]
    network: Reading
    codec: Reading
    walk: Walk
    index: Config
    shape: tuple[int, ...] | None = None


@dataclass(frozen=True)
class Told:
    """How a pipeline's class reads a text, by the names of its folders ("text_encoder_2", whose tokenizer is "tokenizer_2").

    clips: whose vectors stand one after another. states: whether their penultimate states, side by side, are the first tokens. projected: whether their vectors
    are. t5: whose tokens come then. tokens: how many of those a caption has, where the transformer's part does not say how long captions are. padded: T5 reads
    its padding too, and so does the transformer; trimmed: which does not (LTX-Video). lowered: the text is made lower case and its ends are stripped (PixArt;
    its clean_caption does more where the libraries are installed that it needs). missing: what the transformer's configuration calls the width of T5's tokens,
    which are zeros where there is no T5.
    """

    clips: tuple[str, ...] = ()
    states: bool = False
    projected: bool = False
    t5: str = ""
    tokens: int | None = None
    padded: bool = False
    trimmed: bool = False
    lowered: bool = False
    missing: str = ""


@dataclass(frozen=True)
class Pipeline:
    """A kind of pipeline, by the class of its transformer.

    network: reads the transformer's configuration, for a codec that is an autoencoder. autoencoder: its class. codec: reads its configuration. folder: where it
    lies. joined: one reading of all parts, whose table is still the network's alone; a CheckpointError where they do not belong together. schedulers: by class.
    told: how captions are read, if text encoders are part of it. shaped: how large a sample is may be said by whoever loads it.
    """

    network: Callable[[Config], Reading]
    codec: Callable[[Config], Reading]
    joined: Callable[[Parts], Reading]
    autoencoder: str = "AutoencoderKL"
    folder: str = "vae"
    schedulers: Mapping[str, Walk] = field(default_factory=lambda: SCHEDULERS)
    told: Told | None = None
    shaped: bool = False


def belong(folder: Path, channels: object, asked: object) -> None:
    """An autoencoder and a transformer of as many channels."""
    if channels != asked:
        raise CheckpointError(f"{folder}: its autoencoder has {channels} channels and its transformer reads {asked}; they do not belong together")


def beside(of: str, **parts: Table) -> Table:
    """The tables of several folders as one, each under its name."""
    ties, ignored, fixed, cuts = [], [], {}, []
    for part, table in parts.items():
        ties += [replace(t, theirs=tuple(f"{part}.{n}" for n in t.theirs)) for t in table.ties]
        ignored += [(rf"{part}\.(?:{pattern})", why) for pattern, why in table.ignored]
        fixed |= table.fixed or {}
        cuts += [replace(c, theirs=f"{part}.{c.theirs}", pieces=tuple(f"{part}.{p}" for p in c.pieces)) for c in table.cuts]
    return Table(of, tuple(ties), tuple(ignored), fixed, tuple(cuts))


def named(index: Config, part: str, folder: Path) -> str:
    """The class of a part."""
    said = index.get(part)
    if not isinstance(said, list | tuple) or len(said) != 2 or not isinstance(said[1], str):
        raise CheckpointError(f"{folder} has no {part} in its model_index.json; pipelines of a transformer, an autoencoder and a scheduler are read here")
    return said[1]
