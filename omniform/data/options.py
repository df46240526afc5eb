"""Checks of the options that a data source takes: each returns the value or says in one line what is wrong with it."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Mapping
from typing import Any

from omniform.core.errors import BadArgument, nearest


def whole(name: str, value: object, low: int, high: int) -> int:
    """A whole number in low..high."""
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise BadArgument(f"expected {name} to be a whole number from {low} to {high}, found {value!r}; write for example {name}={low}")
    return value


def flag(name: str, value: object) -> bool:
    """True or False."""
    if not isinstance(value, bool):
        raise BadArgument(f"expected {name} to be True or False, found {value!r}")
    return value


def one_of(name: str, value: object, allowed: Collection[str]) -> str:
    """One of a few words."""
    if not isinstance(value, str) or value not in allowed:
        hint = nearest(value, allowed) if isinstance(value, str) else "known: " + ", ".join(allowed)
        raise BadArgument(f"expected {name} to be one of {', '.join(allowed)}, found {value!r}; {hint}")
    return value


def accepted(source: str, function: Callable[..., Any], options: Mapping[str, object]) -> None:
    """Refuses an option that the source's function does not take."""
    known = [name for name, parameter in inspect.signature(function).parameters.items() if parameter.kind is parameter.KEYWORD_ONLY]
    for name in options:
        if name not in known:
            there = "the options are " + ", ".join(known) if known else "it takes none"
            raise BadArgument(f"{source} has no option {name!r}; {there}")
