"""What leaves: its files; and two networks as plain data, every default written out, so that what they differ in can be named."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from omniform.core.spec import Spec


@dataclass(frozen=True)
class Left:
    """What is written: names and contents, and how it is opened there, as a line of Python."""

    files: Mapping[str, Any]
    opens: str


def filled(value: Any) -> Any:
    """A Spec as a mapping: its class and all arguments, defaults too."""
    if isinstance(value, Spec):
        given = {n: p.default for n, p in inspect.signature(value.make).parameters.items() if p.default is not p.empty}
        return {"make": value.make.__name__, **{k: filled(v) for k, v in {**given, **value.args}.items()}}
    if isinstance(value, tuple | list):
        return [filled(v) for v in value]
    return value


def at(value: Any, path: str, default: Any = None) -> Any:
    """An argument of filled Specs by path (places of a list are numbers), or the default where there is none."""
    for name in path.split("."):
        if isinstance(value, list):
            value = value[int(name)] if name.isdigit() and int(name) < len(value) else None
        else:
            value = value.get(int(name) if name.isdigit() else name) if isinstance(value, dict) else None
    return default if value is None else value
