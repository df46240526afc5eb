"""From a recipe to a system, and to and from a folder."""
from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from ..core.codec import Codec
from ..core.errors import CheckpointError, OmniformError, RecipeError
from ..core.spec import Spec
from .recipe import Recipe
from .system import CodecSystem, System


def fitted(recipe: Recipe, *, shape: tuple[int, ...] | None = None, classes: tuple[str, ...] | None = None) -> Recipe:
    """The recipe for data of this shape and these classes; conditions on a label go where the data has none."""
    if shape is not None:
        recipe = replace(recipe, shape=tuple(shape))
    if classes is None:
        return recipe
    conditions: dict[str, Any] = {}
    for name, (spec, place) in recipe.conditions.items():
        if spec.takes("classes"):
            if not classes:
                continue
            spec = Spec(spec.make, {**spec.args, "classes": len(classes), "names": tuple(classes)})
        conditions[name] = (spec, place)
    return replace(recipe, conditions=conditions)


def assemble(recipe: Recipe, codec: Codec | None = None, *, seed: int = 0) -> System | CodecSystem:
    """The modules. codec: a trained one to use instead of a fresh one of the recipe's Spec."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        try:
            codec = codec or recipe.codec.build(shape=recipe.shape)
            if recipe.network is None:
                return CodecSystem(recipe, codec)
            return System(recipe, codec)
        except OmniformError:
            raise
        except (TypeError, ValueError) as error:
            raise RecipeError(f"{recipe.name} cannot be built so: {error}") from error


def save(system: System | CodecSystem, folder: str | Path, *, notes: Mapping[str, Any] | None = None, dtype: torch.dtype | None = None) -> None:
    """safetensors and JSON, written atomically. dtype: of the saved floating weights (bfloat16 halves a file)."""
    from .storage import write_folder
    weights = {k: (v.to(dtype) if dtype is not None and v.is_floating_point() else v).contiguous().cpu() for k, v in system.state_dict().items()}
    write_folder(Path(folder), {"weights.safetensors": weights, "recipe.json": system.recipe_json(), "notes.json": dict(notes or {})})


def load(folder: str | Path) -> System | CodecSystem:
    """A system from a folder that `save` or a training run wrote (a run's averaged weights where it has them)."""
    from .storage import read_folder
    folder = Path(folder)
    if (folder / "checkpoint").is_dir():
        folder = folder / "checkpoint"
    files = read_folder(folder)
    if "recipe.json" not in files:
        raise CheckpointError(f"{folder} holds no recipe.json: it was not written by omniform's save or train")
    recipe = Recipe.from_json(files["recipe.json"])
    system = assemble(recipe)
    weights = dict(files.get("weights.safetensors", {}))
    weights.update(files.get("ema.safetensors", {}))
    own = system.state_dict()
    missing, extra = sorted(set(own) - set(weights)), sorted(set(weights) - set(own))
    if missing or extra:
        raise CheckpointError(f"{folder} does not fit its own recipe: " + (f"{missing[0]!r} is missing" if missing else f"{extra[0]!r} is not part of it")
                              + f" ({len(missing)} missing, {len(extra)} extra); was it written by another version?")
    for name, tensor in weights.items():
        if tensor.shape != own[name].shape:
            raise CheckpointError(f"{folder}: {name!r} has shape {tuple(tensor.shape)} and the recipe needs {tuple(own[name].shape)}")
    system.load_state_dict({k: v.to(own[k].dtype) for k, v in weights.items()})
    return system.eval()
