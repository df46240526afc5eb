"""Changes to a recipe by path, checked before anything is built."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from omniform.core.errors import BadArgument
from omniform.core.spec import Spec
from omniform.system.recipe import Recipe

_SPECS = ("codec", "network", "process", "guidance")


def changed(recipe: Recipe, changes: Mapping[str, Any] | None) -> Recipe:
    """`recipe.but(changes)`, refusing values of another type than those that they replace."""
    for path, value in (changes or {}).items():
        _check(recipe, path, value)
    return recipe.but(changes)


def _check(recipe: Recipe, path: str, value: Any) -> None:
    head, *rest = path.split(".")
    if path in _SPECS and not isinstance(value, Spec) and not (path == "guidance" and value is None):
        raise BadArgument(f"{path} is a whole part and cannot become {value!r}; change something in it ({path}.NAME=VALUE; omniform show {recipe.name} --json)")
    if path == "shape" and not (isinstance(value, tuple | list) and value and all(_whole(v) and v > 0 for v in value)):
        raise BadArgument(f"expected shape to be a list of whole numbers above 0, found {value!r}; write for instance [1,28,28]")
    if path in ("training", "conditions") and not isinstance(value, Mapping):
        raise BadArgument(f"{path} holds several things and cannot become {value!r}; change one of them ({path}.NAME=VALUE)")
    if path == "drop" and not (_number(value) and 0 <= value <= 1):
        raise BadArgument(f"expected drop to be a share from 0 to 1, found {value!r}")
    now = _current(getattr(recipe, head, None), rest)
    if _number(now) and not _number(value):
        raise BadArgument(f"expected a number at {path} (now {now!r}), found {value!r}")
    if _whole(now) and not _whole(value):
        raise BadArgument(f"expected a whole number at {path} (now {now!r}), found {value!r}")
    if isinstance(now, bool) and not isinstance(value, bool):
        raise BadArgument(f"expected true or false at {path} (now {str(now).lower()}), found {value!r}")
    if isinstance(now, Spec) and rest and not isinstance(value, Spec | None):
        raise BadArgument(f"{path} is a part ({now.make.__name__}) and cannot become {value!r}; change something in it ({path}.NAME=VALUE)")


def _current(holder: Any, rest: list[str]) -> Any:
    """What stands at a path, a default of the signature included; None where nothing does."""
    for name in rest:
        if isinstance(holder, Spec):
            parameter = inspect.signature(holder.make).parameters.get(name)
            default = None if parameter is None or parameter.default is parameter.empty else parameter.default
            holder = holder.args.get(name, default)
        elif isinstance(holder, Mapping):
            holder = holder.get(name)
        elif isinstance(holder, tuple | list) and name.isdigit() and int(name) < len(holder):
            holder = holder[int(name)]
        else:
            return None
    return holder


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)
