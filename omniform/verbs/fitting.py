"""Recipes fitted to data, and whether a built system suits it."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from omniform.codecs.text import TextCodec
from omniform.conditions.conditioning import ClassLabel
from omniform.core.errors import BadArgument, ConditionError, DataError, ShapeError
from omniform.core.spec import Spec
from omniform.data import Dataset
from omniform.system.recipe import Recipe
from omniform.system.system import CodecSystem, System

LEAST = 4
"""Places a side that a codec leaves of a picture at the least (ours)."""


def fit_codec(recipe: Recipe, shape: tuple[int, ...]) -> Recipe:
    """The recipe with a codec that divides pictures (..., H, W); what fits already stays as it is.

    Strides and patches: the recipe's own, else 4, else 2 (else 1 for patches of another codec's latents), whichever
    first divides both sides and leaves four places a side (so 4 from 16 pixels on and 2 below). Scales of a pyramid: if
    they do not end at the grid, 1, 2, 3 and on, each about half as large again as the last, up to the grid. Channels
    follow from the shape when the codec is built. Text needs nothing.
    """
    if len(shape) < 3:
        return recipe
    changes: dict[str, Any] = {}
    _fit(recipe.codec, "codec", (shape[-2], shape[-1]), changes)
    return recipe.but(changes)


def _fit(spec: Spec, path: str, size: tuple[int, int], changes: dict[str, Any]) -> tuple[int, int]:
    """Notes what must change below a Spec for pictures of this size; the size of its grid."""
    inner, bottleneck = spec.args.get("inner"), spec.args.get("bottleneck")
    if isinstance(inner, Spec):
        size = _fit(inner, f"{path}.inner", size, changes)
    for name in ("stride", "patch"):
        if spec.takes(name):
            own = spec.args.get(name, inspect.signature(spec.make).parameters[name].default)
            step = _step(own, size, name, finest=1 if isinstance(inner, Spec) else 2)
            if step != own:
                changes[f"{path}.{name}"] = step
            size = (size[0] // step, size[1] // step)
    if isinstance(bottleneck, Spec) and bottleneck.takes("scales") and _square(bottleneck.args["scales"][-1]) != size:
        changes[f"{path}.bottleneck.scales"] = scales_to(size)
    return size


def _step(own: int, size: tuple[int, int], name: str, *, finest: int) -> int:
    """The first of own, 4, 2 and the finest that divides both sides and leaves enough."""
    if own == 1:
        return own
    for step in (own, 4, 2, finest):
        if isinstance(step, int) and step > 0 and not any(side % step or side // step < LEAST for side in size):
            return step
    raise BadArgument(
        f"no {name} (of {own}, 4 and 2) divides {size[0]} x {size[1]} and leaves {LEAST} places a side; resize the pictures, to 32 x 32 for instance"
    )


def _square(scale: Any) -> tuple[int, int]:
    return (scale, scale) if isinstance(scale, int) else (scale[0], scale[1])


def fit_patch(spec: Spec, inner: Spec, grid: tuple[int, int]) -> Spec:
    """A codec that folds another's latents, around another codec with this grid."""
    return spec.but({"inner": inner, "patch": _step(spec.args["patch"], grid, "patch", finest=1)})


def scales_to(size: tuple[int, int]) -> tuple[Any, ...]:
    """Rising scales that end at a grid: whole numbers where it is square, (rows, columns) else."""
    side, longer = 1, max(size)
    sides = []
    while side < longer:
        sides.append(side)
        side = max(side + 1, round(side * 1.5 - 0.5))
    sides.append(longer)
    if size[0] == size[1]:
        return tuple(sides)
    return tuple((max(1, round(s * size[0] / longer)), max(1, round(s * size[1] / longer))) for s in sides)


def fit_head(recipe: Recipe, channels: int | None) -> Recipe:
    """The recipe with an embedding for the latents of another pyramid, where it embeds latents."""
    embed = recipe.network.args.get("embed") if recipe.network is not None else None
    if channels is not None and isinstance(embed, Spec) and embed.args.get("channels") not in (None, channels):
        return recipe.but({"network.embed.channels": channels})
    return recipe


def suits(system: System | CodecSystem, dataset: Dataset) -> None:
    """Refuses data that a system was not built for."""
    recipe, known = system.recipe, ("image", "text", "video")
    if recipe.modality in known and recipe.modality != dataset.modality:
        raise DataError(
            f"{recipe.name} is for {recipe.modality} and {dataset.name} holds {dataset.modality}; choose other data or another recipe (omniform systems)"
        )
    if dataset.modality != "text" and tuple(system.codec.shape) != tuple(dataset.shape):
        raise ShapeError(
            f"this {recipe.name} was built for examples of shape {tuple(system.codec.shape)} and {dataset.name} has "
            f"{tuple(dataset.shape)}; "
            "use the data that it was built for, or build one for this"
        )
    if dataset.modality == "text" and isinstance(system.codec, TextCodec) and len(dataset.train):
        system.codec.encode(dataset.train.batch([0]).data)  # too long, or in letters that it does not know
    if isinstance(system, System):
        _same_classes(system.conditioning.parts, dataset)


def _same_classes(parts: Mapping[str, Any], dataset: Dataset) -> None:
    for name, part in parts.items():
        if not isinstance(part, ClassLabel):
            continue
        num, names = part.classes, part.names
        if not dataset.classes:
            raise ConditionError(
                f"this system is told {name!r} and {dataset.name} has no classes; sort the pictures into subfolders, one a class, or build it for this data"
            )
        if num != len(dataset.classes) or (names and names != tuple(dataset.classes)):
            raise ConditionError(
                f"this system knows {num} classes ({_some(names)}) and {dataset.name} has "
                f"{len(dataset.classes)} ({_some(dataset.classes)}); build one for this data"
            )


def _some(names: tuple[str, ...]) -> str:
    return ", ".join(names[:4]) + (", ..." if len(names) > 4 else "") if names else "unnamed"
