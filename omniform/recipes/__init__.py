"""Systems as data: one file a system, which is its name. The files are the registry."""

from __future__ import annotations

import importlib
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from ..core.errors import UnknownName, nearest

if TYPE_CHECKING:
    from ..system.recipe import Recipe


@lru_cache(maxsize=1)
def modules() -> dict[str, str]:
    """Name -> module, of every recipe; reads file names only."""
    here = Path(__file__).parent
    found = {}
    for path in sorted(here.glob("*/*.py")):
        if path.stem != "__init__":
            found[path.stem.replace("_", "-")] = f"{__name__}.{path.parent.name}.{path.stem}"
    return found


def names() -> list[str]:
    """Every recipe's name."""
    return sorted(modules())


def get(name: str) -> Recipe:
    """The recipe of that name."""
    found = modules()
    if name not in found:
        raise UnknownName(f"there is no recipe {name!r}; {nearest(name, found)} (omniform systems lists them all)")
    return importlib.import_module(found[name]).RECIPE
