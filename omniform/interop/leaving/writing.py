"""Folders as `diffusers` lays them out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from omniform.interop.leaving.comparing import at, filled
from omniform.system.system import System


def model(folder: str, config: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> dict[str, Any]:
    """A configuration and its weights, in a folder or ("") at the top."""
    import safetensors.torch

    place = f"{folder}/" if folder else ""
    kept = {n: x.clone().contiguous() for n, x in tensors.items()}
    return {place + "config.json": config, place + "diffusion_pytorch_model.safetensors": safetensors.torch.save(kept, metadata={"format": "pt"})}


def pipeline(name: str, parts: Mapping[str, Mapping[str, Any]], system: System) -> dict[str, Any]:
    """What a pipeline is made of, from the configurations of its parts, and the names of its classes where labels have some."""
    names = at(filled(system.recipe.conditions), "label.0.names", [])
    index = {"_class_name": name, **{part: ["diffusers", config["_class_name"]] for part, config in parts.items()}}
    return {"model_index.json": {**index, **({"id2label": dict(enumerate(names))} if names else {})}}
