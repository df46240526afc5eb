"""What leaves: its files; and whether what a configuration of somebody else's says is the very network that leaves: both as plain data, every default written
out, so that what they differ in can be named."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from omniform import recipes
from omniform.backbones.attention import Attention, CrossAttention
from omniform.backbones.blocks import PreNorm
from omniform.backbones.mlp import Mlp
from omniform.backbones.positions import Rotary
from omniform.backbones.selective import SelectiveScan
from omniform.backbones.uvit import UVit
from omniform.codecs.patched import PatchedConvolutions
from omniform.conditions.caption import Caption
from omniform.core.errors import CheckpointError, RecipeError
from omniform.core.spec import Spec
from omniform.interop.ties import Reading
from omniform.system.recipe import Recipe

OTHER = "write --to onnx or --to torch for one call of any network"
FREE = ("network.init", "network.head.small", "network.embed.std")
"""What two networks may differ in and be the same once they are trained."""
_UNHEARD = ("names", "std", "unsaid", "usual", "length", "codec")
"""Of conditions: what a network does not depend on."""
_READ_BY: Mapping[type, tuple[str, ...]] = {Caption: ("encoder", "digest")}
"""And of some, by class: whom a caption is read by. (A source's encoder is a part of the network.)"""


@dataclass(frozen=True)
class Left:
    """What is written: names and contents, and how it is opened there, as a line of Python."""

    files: Mapping[str, Any]
    opens: str


# ---- as plain data ---------------------------------------------------------------------------------------------------


def filled(value: Any) -> Any:
    """A Spec as a mapping: its class and all arguments, defaults too."""
    if isinstance(value, Spec):
        return {"make": value.make.__name__, **{k: filled(v) for k, v in _all(value).items()}}
    if isinstance(value, tuple | list):
        return [filled(v) for v in value]
    return value


def _all(spec: Spec) -> dict[str, Any]:
    given = {n: p.default for n, p in inspect.signature(spec.make).parameters.items() if p.default is not p.empty}
    return {**given, **spec.args}


def _attention(said: Mapping[str, Any], width: int, axes: int) -> dict[str, Any]:
    return {"kv_heads": said["kv_heads"] or said["heads"], "head_width": said["head_width"] or width // said["heads"]}


def _cross(said: Mapping[str, Any], width: int, axes: int) -> dict[str, Any]:
    return {"head_width": said["head_width"] or width // said["heads"], "context": said["context"] or width}


def _shared(said: Mapping[str, Any], width: int, axes: int) -> dict[str, Any]:
    each, more = divmod(said["head_width"] // 2, axes)
    powers = said["frequencies"]
    even = tuple(each + (i < more) for i in range(axes))
    return {"share": said["share"] or (even if said["axes"] is None else None), "frequencies": powers and tuple(round(f, 12) for f in powers)}


def _both_ways(said: Mapping[str, Any], width: int, axes: int) -> dict[str, Any]:
    made = PatchedConvolutions(**said)
    return {"back": made.back, "up": made.up}


_MEANT: Mapping[type, Callable[[Mapping[str, Any], int, int], dict[str, Any]]] = {
    Attention: _attention,
    CrossAttention: _cross,
    PatchedConvolutions: _both_ways,
    Mlp: lambda said, width, axes: {"hidden": said["hidden"] or int(said["ratio"] * width), "ratio": None},
    PreNorm: lambda said, width, axes: {"mlp_eps": said["mlp_eps"] or said["eps"]},
    Rotary: _shared,
    UVit: lambda said, width, axes: {"channels": said["channels"] or width},
    SelectiveScan: lambda said, width, axes: {"rank": said["rank"] or math.ceil(width / 16)},
}
"""What an argument that is not said takes from others, by class."""


def plain(value: Any, width: int = 0, axes: int = 1) -> Any:
    """As `filled`, with what an argument takes from others, and with parts in a row by their places. width: of the network around it; axes: of its tokens."""
    if isinstance(value, Spec):
        said = _all(value)
        if value.make in _MEANT:
            said |= _MEANT[value.make](said, width, axes)
        width = said.get("wide", width)  # the inside of a U-ViT
        return {"make": value.make.__name__, **{k: plain(v, width, axes) for k, v in said.items()}}
    if isinstance(value, tuple | list):
        made = [plain(v, width, axes) for v in value]
        return dict(enumerate(made)) if any(isinstance(v, dict) for v in made) else made
    return value


def network_of(recipe: Recipe, axes: int) -> Any:
    """The network of a recipe as plain data."""
    assert recipe.network is not None
    return plain(recipe.network, recipe.network.args["width"], axes)


def told_of(recipe: Recipe, axes: int = 1) -> dict[str, Any]:
    """Its conditions, without what a network does not depend on."""
    assert recipe.network is not None
    width = recipe.network.args["width"]
    made: dict[str, Any] = {}
    for name, (spec, place) in recipe.conditions.items():
        unheard = (*_UNHEARD, *_READ_BY.get(spec.make, ()))
        made[name] = {k: v for k, v in plain(spec, width, axes).items() if k not in unheard} | {"place": filled(place)}
    return made


def at(value: Any, path: str, default: Any = None) -> Any:
    """An argument of filled Specs by path (places of a list are numbers), or the default where there is none."""
    for name in path.split("."):
        if isinstance(value, list):
            value = value[int(name)] if name.isdigit() and int(name) < len(value) else None
        else:
            value = value.get(int(name) if name.isdigit() else name) if isinstance(value, dict) else None
    return default if value is None else value


def apart(one: Any, other: Any, path: str) -> dict[str, tuple[Any, Any]]:
    """Path -> (here, there) wherever plain data differs; another class is one difference, and so is a part that one has alone."""
    if not isinstance(one, dict) or not isinstance(other, dict) or one.get("make") != other.get("make"):
        return {} if one == other else {path: (one, other)}
    found: dict[str, tuple[Any, Any]] = {}
    for key in dict.fromkeys([*one, *other]):
        found |= apart(one.get(key), other.get(key), f"{path}.{key}")
    return found


# ---- what was read back ----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Fit:
    """What somebody's reader makes of a configuration that was written for a system. why: what is another there than here; nothing: it is the very network.
    far: in how many ways."""

    of: str
    config: Mapping[str, Any] = field(default_factory=dict)
    reading: Reading | None = None
    why: str = ""
    far: int = 0


def fitted(of: str, recipe: Recipe, axes: int, config: Mapping[str, Any], read: Callable[[Mapping[str, Any]], Reading], free: Sequence[str] = ()) -> Fit:
    """Reads a configuration back and compares. of: whose it is. free: paths that may differ besides those that training forgets."""
    try:
        reading = read(config)
    except CheckpointError as error:  # a number of ours is not to their reader
        return Fit(of, config, None, str(error), 1 << 10)
    kept = {k: v for k, v in reading.changes.items() if k.split(".")[0] in ("network", "conditions")}
    other = recipes.get(reading.recipe).but(kept)
    differs = apart(network_of(recipe, axes), network_of(other, axes), "network") | apart(told_of(recipe, axes), told_of(other, axes), "conditions")
    differs = {k: v for k, v in differs.items() if not k.startswith((*FREE, *free))}
    return Fit(reading.of, config, reading, difference(differs), len(differs))


def difference(differs: Mapping[str, tuple[Any, Any]]) -> str:
    """The first of them."""
    for path, both in differs.items():
        here, there = map(_named, both)
        return f"{path} is {here} here and {there} there"
    return ""


def _named(x: Any) -> str:
    """A part by its class."""
    if not isinstance(x, dict):
        return f"{x!r}"[:60]
    return x["make"] if "make" in x else f"[{', '.join(map(_named, x.values()))}]"


def nearest_of(recipe: Recipe, has: str, fits: Iterable[Fit]) -> Fit:
    """The one that is the network; else RecipeError with what is nearest to it, and what there is."""
    fit = min(fits, key=lambda fit: fit.far)
    if fit.why:
        raise RecipeError(f"{has}; {recipe.name} comes nearest to {fit.of}, but {fit.why}; {OTHER}")
    return fit
