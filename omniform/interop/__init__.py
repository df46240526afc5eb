"""Other people's formats, in and out: `adopt` makes a system of a live module; `omniform.load` reads folders and files."""

from __future__ import annotations

from typing import Any

__all__ = ["adopt"]  # noqa: F822


def __getattr__(name: str) -> Any:
    if name == "adopt":
        from .adopting import adopt

        return adopt
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
