"""Unpacking of downloaded archives into a folder that no member may leave."""

from __future__ import annotations

import shutil
import tarfile
import zipfile
from pathlib import Path, PurePosixPath
from typing import IO

from omniform.core.errors import DataError


def unpack_zip(archive: Path, folder: Path) -> None:
    """The files of a zip (a wheel is one)."""
    with zipfile.ZipFile(archive) as opened:
        for member in opened.infolist():
            place = _inside(member.filename, folder)
            if not member.is_dir():
                with opened.open(member) as source:
                    _write(source, place)


def unpack_tar(archive: Path | IO[bytes], folder: Path) -> None:
    """The regular files of a tar, compressed or not. Links and devices are left out: no set needs one."""
    mode, name = ("r:*", archive) if isinstance(archive, Path) else ("r|*", None)
    with tarfile.open(name, mode, fileobj=None if name else archive) as opened:
        for member in opened:
            place = _inside(member.name, folder)
            if member.isfile() and (source := opened.extractfile(member)):
                _write(source, place)


def _inside(member: str, folder: Path) -> Path:
    path = PurePosixPath(member.replace("\\", "/"))
    if path.is_absolute() or ".." in path.parts or ":" in member.split("/")[0]:
        raise DataError(f"expected an archive whose files stay in their folder, found {member!r}; the archive is refused, fetch it again")
    return folder / path


def _write(source: IO[bytes], place: Path) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    with open(place, "wb") as target:
        shutil.copyfileobj(source, target)
