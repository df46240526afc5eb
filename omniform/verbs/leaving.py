"""Systems that go elsewhere: into another library's format, onto the hub, with a card that says what they are."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from omniform.core.errors import CheckpointError
from omniform.interop.hub import repository_of, send
from omniform.interop.leaving.card import card
from omniform.interop.leaving.exporting import exported
from omniform.system import build as system_build
from omniform.system.storage import find_folder, read_folder, write_folder
from omniform.system.system import CodecSystem, System
from omniform.verbs.building import place_of, system_at


def export(system: System | CodecSystem | str | Path, to: str, out: str | Path) -> Path:
    """A system in another library's format, as a folder that is written whole or not at all; where it lies.

    to: "transformers" (config.json, model.safetensors and the tokenizer: GPT-2, LLaMA with its relatives, Mamba, BERT, T5), "diffusers" (transformer/,
    scheduler/, and the autoencoder with model_index.json where that is one of theirs: DiT, PixArt, SD3, FLUX, LTX-Video, Wan, aMUSEd; or a codec by itself),
    "torch" (network.pt2) or "onnx" (network.onnx): one call of the network, for any number of rows, and call.json with what goes in and comes out.
    """
    made, notes = _known(system)
    write_folder(out, exported(made, to, notes))
    return Path(out)


def push(system: System | CodecSystem | str | Path, where: str | Path, *, private: bool = False) -> str:
    """A system with a model card, into a folder or as one commit of a repository of the hub; its place, which `load` reads.

    where: "hf:OWNER/NAME", or OWNER/NAME as it is, where no folder OWNER is here; else a folder.
    """
    made, notes = _known(system)
    name = repository_of(where)
    place = f"hf:{name}" if name else str(where)
    said = card(made, notes, opens=f'import omniform as of\nsystem = of.load("{place if name else "FOLDER"}")')
    if name is None:
        system_build.save(made, where, notes=notes, beside={"README.md": said})
        return str(where)
    with tempfile.TemporaryDirectory() as folder:
        system_build.save(made, Path(folder) / "system", notes=notes, beside={"README.md": said})
        send(Path(folder) / "system", name, private=private)
    return place


def _known(system: System | CodecSystem | str | Path) -> tuple[System | CodecSystem, Mapping[str, Any]]:
    """The system, and what lies beside it about its training."""
    if not isinstance(system, str | Path):
        return system, {}
    made = system_at(system)
    folder = place_of(system)
    for place, name in ((folder, "notes.json"), (folder / "checkpoint", "state.json")):
        try:
            if find_folder(place) is not None:
                return made, _told(read_folder(place, [name])[name])
        except CheckpointError:  # there is none, which a card can do without
            continue
    return made, {}


def _told(said: Any) -> Mapping[str, Any]:
    """Notes as they are; of a run's state, what a card says of it."""
    if not isinstance(said, Mapping):
        return {}
    if "losses" not in said:
        return said
    data, seconds, losses = said.get("data"), said.get("seconds"), said.get("losses")
    return {
        "data": data.get("name") if isinstance(data, Mapping) else None,
        "steps": said.get("step"),
        "hours": round(seconds / 3600, 3) if isinstance(seconds, int | float) else None,
        "training": said.get("training"),
        **({"loss": losses[-1][1]} if losses else {}),
    }
