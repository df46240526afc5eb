"""Folders that are written whole or not at all and read with suspicion: safetensors, JSON, text and a manifest."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import re
import shutil
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from omniform.core.errors import CheckpointError, nearest

MANIFEST = "manifest.json"
FORMAT = 1
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")  # one plain name: nothing that could lead out of the folder
_CHUNK = 1 << 20


def write_folder(path: str | os.PathLike[str], files: Mapping[str, Any]) -> None:
    """A folder with these files, or what was there before: never a mixture.

    files: the ending of a name says what its value is: .safetensors a dict of tensors, .json plain data, else text; bytes are written as they are. A name may
    stand in a folder (transformer/config.json).
    An earlier folder of this function's is replaced; at every instant read_folder(path) finds the old or the new one.
    """
    path = Path(path).resolve()
    for name in files:
        _plain(name, path)
    _replaceable(path)
    partial = _beside(path, "partial")
    try:
        for stale in (*_siblings(path, "partial"), *(_siblings(path, "old") if path.exists() else ())):
            shutil.rmtree(stale)  # of earlier crashes; but an `old` that stands in for a missing folder is kept
        partial.mkdir(parents=True)
        manifest = {}
        for name, value in files.items():
            data = _to_bytes(name, value)
            if "/" in name:
                (partial / name).parent.mkdir(exist_ok=True)
            _write(partial / name, data)
            manifest[name] = {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
        _write(partial / MANIFEST, _json({"format": FORMAT, "writer": "omniform", "files": manifest}))
        for inner in {partial, *((partial / name).parent for name in files)}:
            _sync_folder(inner)
        _swap_in(partial, path)
    except OSError as error:
        raise _refused(path, error) from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)  # gone already if all went well


def read_folder(path: str | os.PathLike[str], names: Iterable[str] | None = None) -> dict[str, Any]:
    """The files (or some) of a folder that write_folder wrote, each checked against the manifest before it is read."""
    folder = find_folder(path)
    if folder is None:
        raise CheckpointError(f"there is no folder {path}; write the path of a folder that omniform saved")
    known = _manifest(folder)
    wanted = list(known) if names is None else list(names)
    for name in wanted:
        if name not in known:
            raise CheckpointError(f"{folder} has no file {name!r}; {nearest(name, known)}")
    return {name: _checked(folder / name, known[name]) for name in wanted}


def listed(path: str | os.PathLike[str]) -> list[str]:
    """The names of the files of a folder that write_folder wrote, whether they are there or not."""
    folder = find_folder(path)
    if folder is None:
        raise CheckpointError(f"there is no folder {path}; write the path of a folder that omniform saved")
    return list(_manifest(folder))


def find_folder(path: str | os.PathLike[str]) -> Path | None:
    """Where to read the folder `path`: there, or beside it if a crash came between two renames; else None."""
    path = Path(path).resolve()
    if path.exists():
        return path
    return next(iter(_siblings(path, "old")), None)


def write_file(path: str | os.PathLike[str], content: str | bytes) -> None:
    """One file, whole or not at all."""
    path = Path(path).resolve()
    partial = _beside(path, "partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        for stale in path.parent.glob(f"{_escaped(path.name)}.partial-*"):
            stale.unlink()  # of an earlier crash
        _write(partial, content.encode() if isinstance(content, str) else content)
        os.replace(partial, path)
        _sync_folder(path.parent)
    except OSError as error:
        raise _refused(path, error) from error
    finally:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)


# ---- writing ------------------------------------------------------------------------------------------------------


def _beside(path: Path, what: str) -> Path:
    return path.with_name(f"{path.name}.{what}-{os.getpid()}")


def _siblings(path: Path, what: str) -> Iterator[Path]:
    """Folders that a replacement of `path` left behind."""
    return iter(sorted(s for s in path.parent.glob(f"{_escaped(path.name)}.{what}-*") if s.is_dir()))


def _escaped(name: str) -> str:
    return re.sub(r"([*?[])", r"[\1]", name)


def _replaceable(path: Path) -> None:
    """Refuses to replace what write_folder has not written."""
    if not path.exists():
        return
    if not path.is_dir():
        raise CheckpointError(f"{path} is a file where a folder should be written; choose another place or move it away")
    if any(path.iterdir()) and not (path / MANIFEST).is_file():
        raise CheckpointError(f"{path} holds files that omniform did not write and will not replace; choose another place or an empty folder")


def _swap_in(partial: Path, path: Path) -> None:
    """The finished folder takes its place; a crash between the renames leaves `path.old-*`, which find_folder knows."""
    old = _beside(path, "old")
    replacing = path.exists()
    if replacing:
        os.rename(path, old)
    try:
        os.rename(partial, path)
    except OSError:
        if replacing:
            os.rename(old, path)
        raise
    _sync_folder(path.parent)
    for left in _siblings(path, "old"):
        shutil.rmtree(left)


def _write(path: Path, data: bytes) -> None:
    with open(path, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _sync_folder(path: Path) -> None:
    """Makes renames in it durable, where the system knows that for folders."""
    if not hasattr(os, "O_DIRECTORY"):
        return
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _to_bytes(name: str, value: Any) -> bytes:
    if isinstance(value, bytes):
        return value
    if name.endswith(".safetensors"):
        return _tensor_bytes(value)
    if name.endswith(".json"):
        try:
            return _json(value)
        except (TypeError, ValueError) as error:
            raise CheckpointError(f"{name} holds numbers, strings, lists and mappings only: {error}") from error
    if not isinstance(value, str):
        raise CheckpointError(f"{name} is a text file and was given a {type(value).__name__}; end its name in .json or .safetensors")
    return value.encode()


def _tensor_bytes(tensors: Mapping[str, Any]) -> bytes:
    """safetensors; tensors that share memory (tied weights) are written once a name: any reader finds every name."""
    import safetensors.torch
    import torch

    seen: set[int] = set()
    apart = {}
    for name, tensor in tensors.items():
        tensor = tensor.detach().cpu()
        memory = tensor.untyped_storage().data_ptr()
        whole = tensor.is_contiguous() and tensor.untyped_storage().nbytes() == tensor.nbytes
        apart[name] = tensor if whole and memory not in seen else tensor.clone(memory_format=torch.contiguous_format)
        seen.add(memory)
    return safetensors.torch.save(apart)


def _json(value: Any) -> bytes:
    return (json.dumps(value, indent=1, allow_nan=False) + "\n").encode()


def _refused(path: Path, error: OSError) -> CheckpointError:
    """A system's refusal as one line."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return CheckpointError(f"the disk is full: {path} was not written and what was there before is untouched; free some space and go on")
    return CheckpointError(f"cannot write {path}: {error.strerror or error}; choose a place that can be written")


# ---- reading ------------------------------------------------------------------------------------------------------


def _plain(name: str, folder: Path) -> None:
    parts = name.split("/") if isinstance(name, str) else []
    if not 1 <= len(parts) <= 2 or not all(_NAME.fullmatch(part) for part in parts) or parts[0] == MANIFEST:
        raise CheckpointError(f"{folder}: {name!r} is no name for a file here; use letters, digits, dots and dashes only")


def _manifest(folder: Path) -> dict[str, dict[str, Any]]:
    """Name -> size and hash, itself checked."""
    if not folder.is_dir():
        raise CheckpointError(f"{folder} is not a folder; write the path of a folder that omniform saved")
    place = folder / MANIFEST
    if not place.is_file():
        raise CheckpointError(f"{folder} has no {MANIFEST}, so omniform did not write it; write the path of a folder that it saved")
    manifest = _parsed_json(place)
    ours = isinstance(manifest, dict) and manifest.get("writer") == "omniform"
    if not ours or not isinstance(manifest.get("files"), dict):
        raise CheckpointError(f"{place} is not a manifest of omniform (altered, or another program's); take a copy or the checkpoint before")
    if manifest.get("format") != FORMAT:
        raise CheckpointError(f"{place} says format {manifest.get('format')!r} and this version reads {FORMAT}; install the omniform that wrote it")
    files = manifest["files"]
    for name, entry in files.items():
        _plain(name, folder)
        whole = isinstance(entry, dict) and isinstance(entry.get("bytes"), int) and isinstance(entry.get("sha256"), str)
        if not whole:
            raise CheckpointError(f"{place} is altered at {name!r}; take a copy or the checkpoint before")
    return files


def _checked(file: Path, entry: Mapping[str, Any]) -> Any:
    """A file's content, if it is the one that was written."""
    if not file.is_file():
        raise CheckpointError(f"{file} is missing; take a copy or the checkpoint before")
    try:
        size = file.stat().st_size
        if size != entry["bytes"]:
            kind = "cut short" if size < entry["bytes"] else "too long"
            raise CheckpointError(f"{file} is {kind} ({size} bytes of {entry['bytes']}); take a copy or the checkpoint before")
        sha = hashlib.sha256()
        with open(file, "rb") as stream:
            while chunk := stream.read(_CHUNK):
                sha.update(chunk)
    except OSError as error:
        raise CheckpointError(f"cannot read {file}: {error.strerror or error}; check the disk and the permissions") from error
    if sha.hexdigest() != entry["sha256"]:
        raise CheckpointError(f"{file} is altered (its sha256 is not the manifest's); take a copy or the checkpoint before")
    return _parsed(file)


def _parsed(file: Path) -> Any:
    if file.suffix == ".json":
        return _parsed_json(file)
    if file.suffix == ".safetensors":
        import safetensors
        import safetensors.torch

        try:
            return safetensors.torch.load_file(file)
        except (safetensors.SafetensorError, OSError, ValueError, KeyError) as error:
            raise CheckpointError(f"{file} is not a safetensors file: {str(error).splitlines()[0]}; take a copy or the checkpoint before") from error
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{file} is not text: {error}; take a copy or the checkpoint before") from error


def _parsed_json(file: Path) -> Any:
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise CheckpointError(f"{file} is not JSON ({str(error).splitlines()[0]}); take a copy or the checkpoint before") from error
