"""GGUF: one file that holds weights (plain or in blocks of few bits), the shape of the network, the tokenizer and the chat template.

The header is walked here with every count checked against the length of the file, so that one that claims a petabyte allocates nothing; what blocks of bits
mean is the `gguf` package's business (specification: ggml's docs/gguf.md).
"""

from __future__ import annotations

import mmap
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..core.errors import CheckpointError
from .files import Weights

_FIXED = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
_STRING, _ARRAY = 8, 9
TYPES = ("F32", "F16", "BF16", "Q8_0", "Q4_0", "Q4_1", "Q4_K", "Q6_K")
"""Kinds of numbers that are read, by their names in the specification."""


@dataclass(frozen=True)
class Gguf:
    """What a file says of itself, and its weights, unread."""

    where: str
    said: Mapping[str, Any]
    weights: Weights

    def get(self, key: str, kind: type | tuple[type, ...], default: Any = None) -> Any:
        """A value of the header by its name, "{arch}" standing for the architecture's; refused where it is of another kind or missing."""
        key = key.replace("{arch}", str(self.said.get("general.architecture")))
        value = self.said.get(key, default)
        if value is None:
            raise CheckpointError(f"{self.where} does not say {key}; was it converted to the end?")
        if not isinstance(value, kind) or isinstance(value, bool) and kind is int:
            raise CheckpointError(f"{self.where} says {key} is {str(value)[:40]!r}, which is not what is expected there; fetch the file again")
        return value


class _Walk:
    """A cursor over the header that never goes beyond the file."""

    def __init__(self, data: mmap.mmap, where: str):
        self.data, self.at, self.where = data, 0, where

    def take(self, num: int) -> bytes:
        if num < 0 or num > len(self.data) - self.at:
            there = f"{num:,} bytes at {self.at:,} of {len(self.data):,}"
            raise CheckpointError(f"{self.where} is cut short or altered: its header asks for {there}; fetch it again")
        self.at += num
        return self.data[self.at - num : self.at]

    def number(self, code: str) -> Any:
        return struct.unpack("<" + code, self.take(struct.calcsize("<" + code)))[0]

    def text(self) -> str:
        try:
            return self.take(self.number("Q")).decode()
        except UnicodeDecodeError as error:
            raise CheckpointError(f"{self.where} holds a name or a text that is not UTF-8; fetch it again") from error

    def value(self, kind: int, inside: bool = False) -> Any:
        if kind in _FIXED:
            return self.number(_FIXED[kind])
        if kind == _STRING:
            return self.text()
        if kind != _ARRAY or inside:
            raise CheckpointError(f"{self.where} holds a value of kind {kind}{' inside a list' if inside else ''}, which GGUF does not know; fetch it again")
        of, num = self.number("I"), self.number("Q")
        if of in _FIXED:
            size = struct.calcsize("<" + _FIXED[of])
            return list(struct.unpack(f"<{num}{_FIXED[of]}", self.take(num * size))) if num else []
        if num > (len(self.data) - self.at) // 8:  # a text has eight bytes at the least
            raise CheckpointError(f"{self.where} is cut short or altered: its header lists {num:,} texts; fetch it again")
        return [self.value(of, inside=True) for _ in range(num)]


def open_gguf(path: Path) -> Gguf:
    """A file's header and its weights by name. Dimensions come in PyTorch's order."""
    where = str(path)
    try:
        with open(path, "rb") as file:
            data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except (OSError, ValueError) as error:
        raise CheckpointError(f"cannot read {where} ({error}); name a .gguf file") from error
    walk = _Walk(data, where)
    if walk.take(4) != b"GGUF":
        raise CheckpointError(f"{where} is not a GGUF file; its first four bytes say so")
    version, tensors, pairs = walk.number("I"), walk.number("Q"), walk.number("Q")
    if version not in (2, 3):
        raise CheckpointError(f"{where} is of GGUF version {version} and versions 2 and 3 are read; convert it again")
    if max(tensors, pairs) > len(data) // 12:  # the shortest entry
        raise CheckpointError(f"{where} is cut short or altered: its header promises {tensors:,} tensors and {pairs:,} values; fetch it again")
    said: dict[str, Any] = {}
    for _ in range(pairs):
        key = walk.text()
        said[key] = walk.value(walk.number("I"))
    return Gguf(where, said, _weights(walk, tensors, said))


def _weights(walk: _Walk, tensors: int, said: Mapping[str, Any]) -> Weights:
    """Where each tensor lies, checked to be inside the file."""
    try:
        from gguf import GGML_QUANT_SIZES, GGMLQuantizationType
    except ImportError as error:
        raise CheckpointError("reading GGUF needs the package gguf; pip install 'omniform[interop]'") from error
    names = {t.value: t.name for t in GGMLQuantizationType}
    infos: dict[str, tuple[tuple[int, ...], str, int, int]] = {}
    for _ in range(tensors):
        name, dims = walk.text(), walk.number("I")
        if not 1 <= dims <= 4 or name in infos:
            raise CheckpointError(f"{walk.where}: the tensor {name[:60]!r} has {dims} dimensions or comes twice; fetch it again")
        shape = tuple(walk.number("Q") for _ in range(dims))[::-1]
        kind, offset = names.get(walk.number("I"), "?"), walk.number("Q")
        if kind not in TYPES:
            raise CheckpointError(f"{walk.where}: {name[:60]!r} is of the kind {kind}, and {', '.join(TYPES)} are read; convert it to one of them")
        block, size = GGML_QUANT_SIZES[GGMLQuantizationType[kind]]
        count = 1
        for n in shape:
            count *= n  # Python's whole numbers do not overflow
        if not count or shape[-1] % block:
            raise CheckpointError(f"{walk.where}: {name[:60]!r} has shape {shape}, of which {kind} cannot be; fetch it again")
        infos[name] = shape, kind, offset, count // block * size
    alignment = said.get("general.alignment", 32)
    if not isinstance(alignment, int) or not 0 < alignment <= 1 << 20:
        raise CheckpointError(f"{walk.where} says an alignment of {str(alignment)[:20]}; fetch it again")
    begin = -(-walk.at // alignment) * alignment
    for name, (_, _, offset, size) in infos.items():
        if begin + offset + size > len(walk.data):
            raise CheckpointError(f"{walk.where} is cut short: {name[:60]!r} would end at byte {begin + offset + size:,} of {len(walk.data):,}; fetch it again")

    def read(name: str) -> Tensor:
        from gguf.quants import dequantize

        shape, kind, offset, size = infos[name]
        raw = np.frombuffer(walk.data, np.uint8, size, begin + offset)
        if kind in ("F32", "F16"):
            values = raw.view(np.float32 if kind == "F32" else np.float16).astype(np.float32)
        else:
            values = dequantize(raw.reshape(int(np.prod(shape[:-1], dtype=np.int64)), -1), GGMLQuantizationType[kind])
        return torch.from_numpy(np.ascontiguousarray(values, np.float32).reshape(shape).copy())

    return Weights(walk.where, {name: info[0] for name, info in infos.items()}, read)
