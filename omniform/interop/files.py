"""Weights in other people's files, read with suspicion: names, shapes and sizes are known before anything is allocated, and nothing is ever executed."""

from __future__ import annotations

import argparse
import hashlib
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer
from torch import Tensor

from ..core.errors import CheckpointError, OmniformError

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_INSIDE = ("ema", "model_ema", "model", "module", "state_dict")
"""Where a training script keeps the weights of its checkpoint, in the order in which they are taken: averaged ones first."""
_JSON_MOST = 64 << 20
"""Bytes of a configuration, an index or a tokenizer that is believed (ours)."""


@dataclass(frozen=True)
class Weights:
    """Tensors that are not read yet. shapes: of each by name. read: one of them. where: for messages. files: that they lie in."""

    where: str
    shapes: Mapping[str, tuple[int, ...]]
    read: Callable[[str], Tensor]
    files: tuple[Path, ...] = ()


@dataclass(frozen=True)
class Waiting:
    """A reader of texts whose files fit it by names and shapes, and which is built (`opened`) when there is a text to read. features: numbers a token. pooled:
    numbers a text. longest: the most tokens."""

    features: int
    pooled: int
    longest: int
    opened: Callable[[], Any]


@contextmanager
def buildable(where: str) -> Iterator[None]:
    """What a configuration says that no network is, as one line."""
    try:
        yield
    except CheckpointError:
        raise
    except (OmniformError, RuntimeError, TypeError) as error:
        raise CheckpointError(f"{where} cannot be built here: {(str(error) or type(error).__name__).splitlines()[0]}") from error


def parsed_tokenizer(text: str, where: object) -> Tokenizer:
    """The tokenizer that a tokenizer.json says."""
    try:
        return Tokenizer.from_str(text)
    except Exception as error:  # the library raises bare Exception
        raise CheckpointError(f"{where}: its tokenizer.json is not one ({(str(error) or type(error).__name__).splitlines()[0]}); fetch it again") from error


def digest_of(weights: Mapping[str, Tensor], more: str = "") -> str:
    """What an encoder is known by: all its numbers by name, and its tokenizer."""
    found = hashlib.sha256(more.encode())
    for name, x in sorted(weights.items()):
        found.update(f"{name} {tuple(x.shape)}".encode())
        found.update(x.contiguous().numpy())
    return found.hexdigest()


def digest_of_files(said: str, files: Iterable[Path]) -> str:
    """What an encoder is known by that is not built yet: what is said of it, and all bytes of its files."""
    found = hashlib.sha256(said.encode())
    for path in files:
        try:
            with path.open("rb") as file:
                found.update(hashlib.file_digest(file, "sha256").digest())
        except OSError as error:
            raise CheckpointError(f"{path} cannot be read ({error.strerror}); copy the whole folder") from error
    return found.hexdigest()


def json_of(path: Path) -> dict[str, Any]:
    """A JSON object in a file."""
    try:
        size = path.stat().st_size
        if size > _JSON_MOST:
            raise CheckpointError(f"{path} has {size:,} bytes, more than any configuration; is it what its name says?")
        found = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise CheckpointError(f"{path} is missing; copy the whole folder") from error
    except (OSError, ValueError, RecursionError) as error:
        raise CheckpointError(f"{path} is not JSON ({str(error).splitlines()[0]}); fetch it again") from error
    if not isinstance(found, dict):
        raise CheckpointError(f"{path} holds a {type(found).__name__} where an object is expected; fetch it again")
    return found


def weights_of(folder: Path, stem: str = "model", *, pickled: bool = False) -> Weights:
    """The weights of a folder, of one file or in pieces: safetensors, or .bin where there is nothing else.

    stem: "model" (transformers), "diffusion_pytorch_model" (diffusers). pickled: whether a .bin may be read; PyTorch then builds tensors and nothing else.
    """
    for name in (f"{stem}.safetensors", f"{stem}.fp16.safetensors"):
        if (folder / name).is_file():
            return safetensors_of([folder / name])
    index = folder / f"{stem}.safetensors.index.json"
    if index.is_file():
        return _sharded(folder, index, safetensors_of)
    binary = "pytorch_model" if stem == "model" else stem
    if (folder / f"{binary}.bin").is_file() or (folder / f"{binary}.bin.index.json").is_file():
        if not pickled:
            raise CheckpointError(
                f"{folder} has its weights in a pickled .bin and none in safetensors; convert it, or say pickled=True (--pickled): tensors only are read"
            )
        one = folder / f"{binary}.bin"
        return pickled_of([one]) if one.is_file() else _sharded(folder, folder / f"{binary}.bin.index.json", pickled_of)
    raise CheckpointError(f"{folder} has no {stem}.safetensors and no index of pieces; copy the whole folder")


def _sharded(folder: Path, index: Path, read: Callable[[list[Path]], Weights]) -> Weights:
    """Pieces that an index names; no name leads out of the folder, and every tensor is where the index says."""
    listed = json_of(index).get("weight_map")
    if not isinstance(listed, dict) or not all(isinstance(k, str) and isinstance(v, str) for k, v in listed.items()):
        raise CheckpointError(f"{index} has no weight_map of names; fetch it again")
    files = sorted(set(listed.values()))
    for name in files:
        if not _NAME.fullmatch(name):
            raise CheckpointError(f"{index} names {name!r}, which is not a file of the folder; fetch it again from somebody you trust")
        if not (folder / name).is_file():
            raise CheckpointError(f"{folder / name} is missing; copy the whole folder")
    found = read([folder / name for name in files])
    stray = sorted(set(listed) ^ set(found.shapes))
    if stray:
        raise CheckpointError(f"{index} and its pieces disagree on {stray[0]!r}; fetch the folder again")
    return found


def safetensors_of(files: list[Path]) -> Weights:
    """Tensors of some safetensors files, each read when it is asked for. The library checks the header against the length of the file."""
    from safetensors import SafetensorError, safe_open

    shapes: dict[str, tuple[int, ...]] = {}
    where: dict[str, Any] = {}
    for file in files:
        try:
            opened = safe_open(str(file), framework="pt")
            for name in opened.keys():
                if name in shapes:
                    raise CheckpointError(f"{file} holds {name!r}, which another piece holds as well; fetch the folder again")
                shapes[name], where[name] = tuple(opened.get_slice(name).get_shape()), opened
        except (SafetensorError, OSError, ValueError, KeyError) as error:
            raise CheckpointError(f"{file} is not a safetensors file: {str(error).splitlines()[0]}; fetch it again") from error

    def read(name: str) -> Tensor:
        try:
            return where[name].get_tensor(name)
        except (SafetensorError, OSError, ValueError, KeyError, TypeError) as error:
            raise CheckpointError(f"{files[0].parent}: {name!r} cannot be read: {str(error).splitlines()[0]}; fetch it again") from error

    return Weights(str(files[0]), shapes, read, tuple(files))


def bare(file: Path, *, pickled: bool = False) -> Weights:
    """One file of weights and nothing else: safetensors, or PyTorch's own, with the averaged weights of a training checkpoint where it has some."""
    if not file.is_file():
        raise CheckpointError(f"{file} is no file; write the path of the checkpoint")
    if file.suffix == ".safetensors":
        return safetensors_of([file])
    if not pickled:
        raise CheckpointError(f"{file} is a pickled file; convert it to safetensors, or say pickled=True (--pickled): tensors only are read")
    return pickled_of([file], inside=True)


def pickled_of(files: list[Path], *, inside: bool = False) -> Weights:
    """Tensors of PyTorch's own files, by its reader that builds tensors and nothing else (weights_only); mapped, not copied.

    inside: the tensors may be those of a training checkpoint, which holds its options (an argparse.Namespace, whose values are read as strictly) besides.
    """
    import torch

    found: dict[str, Tensor] = {}
    for file in files:
        try:
            with torch.serialization.safe_globals([argparse.Namespace] if inside else []):
                loaded = torch.load(file, map_location="cpu", weights_only=True, mmap=True)
        except Exception as error:  # whatever a hostile stream makes its reader stumble over
            reason = (str(error) or type(error).__name__).splitlines()[0][:160]
            raise CheckpointError(f"{file} is not a file of tensors alone: {reason}; convert it to safetensors where you trust it") from error
        if inside and isinstance(loaded, dict):
            loaded = next((loaded[name] for name in _INSIDE if isinstance(loaded.get(name), dict)), loaded)
        if not isinstance(loaded, dict) or not all(isinstance(k, str) and isinstance(v, Tensor) for k, v in loaded.items()):
            raise CheckpointError(f"{file} holds something besides named tensors; convert it to safetensors")
        found.update(loaded)
    return Weights(str(files[0]), {n: tuple(x.shape) for n, x in found.items()}, found.__getitem__, tuple(files))
