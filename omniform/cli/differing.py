"""One recipe as a change of another, room by room: the paper in a few lines."""

from __future__ import annotations

import textwrap
from dataclasses import fields, replace
from typing import Any

from omniform.core.spec import Spec
from omniform.system.recipe import Recipe
from omniform.training import Training

ROOMS = {"drop": "training"}
"""Of parts that are not called as the room is, where their line stands."""
WIDE, LONG = 120, 64
_TIED = "\N{NO-BREAK SPACE}"  # lines break between changes


def page(one: Recipe, other: Recipe) -> str:
    """`other -> one`: a line for each part in which something changed, what is replaced as a whole in one change."""
    changes = {path: (there, here) for path, (here, there) in _spoken(one).against(_spoken(other)).items()}
    if one.shape != other.shape:
        changes = {"data.shape": tuple(" x ".join(map(str, r.shape)) for r in (other, one)), **changes}  # type: ignore[dict-item]
    if not changes:
        return f"{other.name} and {one.name} are the same"
    parts: dict[tuple[str, str], list[str]] = {}
    for path, (there, here) in changes.items():
        room, *rest = path.split(".")
        rest = rest[1:] if rest[:1] == ["backbone"] and len(rest) > 2 else rest  # where most of a network lies
        where = (ROOMS.get(room, room), ".".join(rest[:-1]))
        name = rest[-1] if rest else room if room in ROOMS else ""
        parts.setdefault(where, []).append(f"{name} {short(there)} -> {short(here)}".lstrip())
    order = list(dict.fromkeys(room for room, _ in parts))
    lines, last = [f"{other.name} -> {one.name}"], ""
    for (room, part), said in sorted(parts.items(), key=lambda item: (order.index(item[0][0]), bool(item[0][1]))):
        held = [change.replace(" ", _TIED) if len(change) < WIDE - 20 else change for change in said]
        text = (f"{part}: " if part else "") + "; ".join(held)
        first = f"{'' if room == last else room:12}"
        lines += textwrap.wrap(text, WIDE, initial_indent=first, subsequent_indent=" " * 16, break_on_hyphens=False, break_long_words=False)
        last = room
    return "\n".join(lines).replace(_TIED, " ")


def _spoken(recipe: Recipe) -> Recipe:
    """With what its training leaves to the trainer."""
    unsaid = {f.name: getattr(Training(steps=1), f.name) for f in fields(Training)} | {"steps": None}
    return replace(recipe, training={**unsaid, **recipe.training})


def written(value: Any, inside: bool = True) -> str:
    """A part as a person would write it: Flow(path=Linear, steps=25). inside: with what parts inside are told."""
    if isinstance(value, Spec):
        told = ", ".join(f"{k}={written(v, inside) if inside or not isinstance(v, Spec) else v.make.__name__}" for k, v in value.args.items())
        return f"{value.make.__name__}({told})" if told else value.make.__name__
    if isinstance(value, dict):
        return "{" + ", ".join(f"{k}: {written(v, inside)}" for k, v in value.items()) + "}"
    if isinstance(value, list | tuple) and len(value) == 1:
        return written(value[0], inside)
    if isinstance(value, list | tuple):
        return "(" + ", ".join(written(v, inside) for v in value) + ")" if value else "none"
    return "none" if value is None or value == "" else str(value)


def short(value: Any) -> str:
    """The same in a few words: parts inside by their names where it is long, and then no more than fits."""
    said = next((text for text in (written(value), written(value, inside=False)) if len(text) <= LONG), None)
    if said is not None:
        return said
    return textwrap.shorten(written(value, inside=False), LONG, placeholder=" ...)")
