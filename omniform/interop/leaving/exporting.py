"""Systems in other people's formats, with a card that says what they are and how they are opened."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from omniform.core.errors import BadArgument, RecipeError, nearest
from omniform.interop.leaving.calls import as_onnx, as_program
from omniform.interop.leaving.card import card
from omniform.interop.leaving.comparing import Left
from omniform.interop.leaving.departing import to_diffusers
from omniform.interop.leaving.speaking import to_transformers
from omniform.system.system import CodecSystem, System


def exported(system: System | CodecSystem, to: str, notes: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """The files of a system in somebody's format, by name: "transformers", "diffusers", "torch" (a .pt2 of one network call) or "onnx" (the same call).

    notes: what is known of its training, for the model card. RecipeError where that format has no such architecture, naming what it has.
    """
    if to not in TARGETS:
        raise BadArgument(f"there is no export to {to!r}; {nearest(to, TARGETS)}")
    left = TARGETS[to](system)
    return {**left.files, "README.md": card(system, notes or {}, opens=left.opens, library=_LIBRARY[to])}


def _call(make: Callable[[System], tuple[Mapping[str, Any], str]]) -> Callable[[System | CodecSystem], Left]:
    """What is one call of a network."""

    def left(system: System | CodecSystem) -> Left:
        if not isinstance(system, System):
            raise RecipeError(f"{system.recipe.name} is a codec alone, and one call of a network is written; export a system over it, or --to diffusers")
        return Left(*make(system))

    return left


TARGETS: dict[str, Callable[[System | CodecSystem], Left]] = {
    "transformers": to_transformers,
    "diffusers": to_diffusers,
    "torch": _call(as_program),
    "onnx": _call(as_onnx),
}
"""Where a system can go."""
_LIBRARY = {"transformers": "transformers", "diffusers": "diffusers", "torch": "pytorch", "onnx": "onnx"}
"""How the hub calls what opens it."""
