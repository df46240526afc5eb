"""Frozen text encoders: a recipe that fits one, and captions that are read once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from omniform.conditions.caption import Caption
from omniform.core.encoder import FrozenEncoder
from omniform.core.errors import BadArgument, RecipeError
from omniform.core.spec import Spec
from omniform.data import Split
from omniform.interop.encoders import open_encoder
from omniform.system.recipe import Recipe
from omniform.system.system import System
from omniform.verbs.progress import Bar

_CHUNK = 256


def heard_by(recipe: Recipe, encoder: str | None, changes: Mapping[str, Any] | None = None) -> Recipe:
    """The recipe with its captions read by a frozen encoder (or by the one that it names already), and fitted to it: how many numbers a token and the pooled
    vector have, and who reads them as they are. changes: what the user has said by path, which is not overruled but refused."""
    captions = {name: spec for name, (spec, _) in recipe.conditions.items() if issubclass(spec.make, Caption)}
    if encoder is not None and not captions:
        told = f"it is told {', '.join(recipe.conditions)}" if recipe.conditions else "it is told nothing"
        raise RecipeError(f"{recipe.name} has no caption that {encoder} could read ({told}); choose one that is told text, such as pixart")
    for name, spec in captions.items():
        named = encoder or spec.args.get("encoder")
        if named:
            recipe = _fitted(recipe, name, spec, open_encoder(named), changes or {})
    return recipe


def _fitted(recipe: Recipe, name: str, spec: Spec, reader: FrozenEncoder, changes: Mapping[str, Any]) -> Recipe:
    """One caption, fitted."""
    at = f"conditions.{name}.0."
    wanted: dict[str, Any] = {"encoder": reader.name, "digest": reader.digest, "features": reader.features}
    if spec.args.get("pool") in ("given", "linear"):
        if not reader.pooled:
            raise BadArgument(f"{recipe.name} is told one vector for a whole caption besides, and {reader.name} has none; give an encoder with a pooled vector")
        wanted["pooled"] = reader.pooled
    for leaf, value in wanted.items():
        said = changes.get(at + leaf, value)
        if said != value and (leaf != "encoder"):
            raise BadArgument(f"{at}{leaf} is to be {said!r} and {reader.name} says {value!r}; leave {at}{leaf} out")
    paths = {at + leaf: value for leaf, value in wanted.items()}
    if spec.args.get("into") == "same" and recipe.network is not None:  # whoever reads them reads them as they are
        was = spec.args["features"]
        paths |= {f"network.{path}": reader.features for path, value in recipe.network.walk() if path.endswith("context") and value == was}
    return recipe.but(paths)


def heard(system: Any, split: Split, *, progress: bool | None = None) -> None:
    """Every caption of a split, read once before the first step; the encoder remembers what it said."""
    if not isinstance(system, System):
        return
    captions = {name: part for name, part in system.conditioning.parts.items() if isinstance(part, Caption) and part.reader is not None}
    if not captions:
        return
    with Bar(len(split), "reading captions", progress) as bar:
        for first in range(0, len(split), _CHUNK):
            rows = range(first, min(first + _CHUNK, len(split)))
            said = split.batch(rows).condition
            for name, part in captions.items():
                for text in said.get(name, ()):
                    if isinstance(text, str):
                        part.reader.one(text, part.length)
            bar.add(len(rows))
