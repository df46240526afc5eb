"""From a recipe to a system, and to and from a folder."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

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


def save(
    system: System | CodecSystem, folder: str | Path, *, notes: Mapping[str, Any] | None = None, compact: bool = False, beside: Mapping[str, str] | None = None
) -> None:
    """safetensors and JSON, written atomically, and texts beside them by name.

    compact: matrices as 8-bit integers with a scale a row, everything else as bfloat16 (a quarter of the size, lossy).
    """
    from .storage import write_folder

    weights = {k: v.contiguous().cpu() for k, v in system.state_dict().items()}
    if compact:
        weights = compacted(weights)
    write_folder(Path(folder), {"weights.safetensors": weights, "recipe.json": system.recipe_json(), "notes.json": dict(notes or {}), **(beside or {})})


_CODES, _SCALE = ".int8", ".int8_scale"
_LEAST = 4096
"""Numbers of a matrix that is worth codes (ours)."""


def compacted(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The same in a quarter of the bytes: rows w of large matrices as round(127 w / max|w|) and the scale, other floats as bfloat16."""
    small: dict[str, Tensor] = {}
    for name, w in weights.items():
        if not w.is_floating_point():
            small[name] = w
        elif w.dim() < 2 or w.numel() < _LEAST:
            small[name] = w.to(torch.bfloat16)
        else:
            scale = w.flatten(1).abs().amax(1).clamp(min=1e-12) / 127
            small[name + _CODES] = (w / scale.reshape(-1, *(1,) * (w.dim() - 1))).round().to(torch.int8)
            small[name + _SCALE] = scale.float()
    return small


def expanded(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The inverse of `compacted`; weights that are not compact come back as they are."""
    full: dict[str, Tensor] = {}
    for name, w in weights.items():
        if name.endswith(_CODES):
            plain = name.removesuffix(_CODES)
            scale = weights.get(plain + _SCALE)
            if scale is None or scale.shape != w.shape[:1]:
                raise CheckpointError(f"{name!r} has no scale that fits it; the weights are damaged, fetch them again")
            full[plain] = w.float() * scale.reshape(-1, *(1,) * (w.dim() - 1))
        elif not name.endswith(_SCALE):
            full[name] = w
    return full


def load(folder: str | Path) -> System | CodecSystem:
    """A system from a folder that `save` or a training run wrote (a run's averaged weights where it has them). Its learned codec counts as trained."""
    from .storage import find_folder, listed, read_folder

    folder = Path(folder)
    if find_folder(folder / "checkpoint") is not None:
        folder = folder / "checkpoint"
    files = read_folder(folder, [n for n in ("recipe.json", "weights.safetensors", "ema.safetensors") if n in listed(folder)])
    if "recipe.json" not in files:
        raise CheckpointError(f"{folder} holds no recipe.json: it was not written by omniform's save or train")
    recipe = Recipe.from_json(files["recipe.json"])
    system = assemble(recipe)
    weights = expanded({**files.get("weights.safetensors", {}), **files.get("ema.safetensors", {})})
    own = system.state_dict()
    missing, extra = sorted(set(own) - set(weights)), sorted(set(weights) - set(own))
    if missing or extra:
        raise CheckpointError(
            f"{folder} does not fit its own recipe: "
            + (f"{missing[0]!r} is missing" if missing else f"{extra[0]!r} is not part of it")
            + f" ({len(missing)} missing, {len(extra)} extra); was it written by another version?"
        )
    for name, tensor in weights.items():
        if tensor.shape != own[name].shape:
            raise CheckpointError(f"{folder}: {name!r} has shape {tuple(tensor.shape)} and the recipe needs {tuple(own[name].shape)}")
    system.load_state_dict({k: v.to(own[k].dtype) for k, v in weights.items()})
    if isinstance(system, System):
        system.codec.requires_grad_(False)
    return system.eval()
