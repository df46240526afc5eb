"""Ways to learn besides what a process asks: each wraps the system's loss, its learning rates or what its blocks see. No torch is imported here."""

from __future__ import annotations

import importlib
from typing import Any

from omniform.core.errors import UnknownName, nearest

NAMED = {
    "align": "align:Align",
    "self-align": "self_align:SelfAlign",
    "subsampled": "subsampled:Subsampled",
    "nested": "nested:Nested",
    "line": "line:Line",
    "mup": "widths:MaximalUpdate",
}
"""What `omniform train --objective` takes."""


def named(name: str) -> Any:
    """The class of an objective."""
    if name not in NAMED:
        raise UnknownName(f"there is no objective {name!r}; {nearest(name, NAMED)}")
    module, _, inside = NAMED[name].partition(":")
    return getattr(importlib.import_module(f"{__name__}.{module}"), inside)
