"""What a data set is, and which of its examples a training step sees."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Literal, final

from omniform.core.batch import Batch
from omniform.core.errors import BadArgument

if TYPE_CHECKING:
    import numpy
    from torch import Tensor


class Split(ABC):
    """The training or the held-out part of a data set: a numbered collection of examples."""

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def batch(self, indices: Sequence[int] | Tensor) -> Batch:
        """The examples with these numbers: a pure function of them, so that an interrupted run goes on exactly."""


@dataclass(frozen=True)
class Dataset:
    """Named examples in two parts, with the licence they come under and where they come from.

    shape: (C, H, W) of a picture, (T, C, H, W) of a clip, (characters,) of a text, (points, 3) of a cloud, (T,) of a series, (1, C, T) of a motion.
    classes: the label names, if any.
    """

    name: str
    modality: Literal["image", "text", "video", "three_d", "timeseries", "motion"]
    shape: tuple[int, ...]
    classes: tuple[str, ...]
    train: Split
    test: Split
    licence: str
    origin: str


@final
class Pictures(Split):
    """Pictures held in memory as bytes.

    pixels: (N, C, H, W) uint8, 0 is -1 and 255 is +1. labels: (N,) long. captions: what caption_of (N,) points into.
    """

    def __init__(
        self,
        pixels: Tensor,
        labels: Tensor | None = None,
        captions: Sequence[str] = (),
        caption_of: Tensor | None = None,
    ):
        self._pixels, self._labels, self._captions, self._caption_of = pixels, labels, tuple(captions), caption_of

    def __len__(self) -> int:
        return len(self._pixels)

    def batch(self, indices: Sequence[int] | Tensor) -> Batch:
        index = indexed(indices, len(self))
        condition: dict[str, object] = {}
        if self._labels is not None:
            condition["label"] = self._labels[index]
        if self._caption_of is not None:
            condition["text"] = [self._captions[i] for i in self._caption_of[index].tolist()]
        return Batch(to_signed(self._pixels[index]), condition)


def to_signed(pixels: Tensor) -> Tensor:
    """Bytes 0..255 as float32 -1..1."""
    return pixels.float().div_(127.5).sub_(1.0)


def indexed(indices: Sequence[int] | Tensor, num: int) -> Tensor:
    """The indices as a (B,) long tensor, each checked to be in 0..num-1."""
    import torch

    index = torch.as_tensor(indices)
    if index.numel() == 0:
        index = index.long()
    if index.ndim != 1 or index.is_floating_point() or index.dtype == torch.bool:
        found = f"{index.dtype} of shape {tuple(index.shape)}"
        raise BadArgument(f"expected a flat list of whole numbers as indices, found {found}; write for example batch(range(16))")
    if index.numel() and not (0 <= int(index.min()) and int(index.max()) < num):
        raise BadArgument(f"expected indices in 0..{num - 1}, found {int(index.min())}..{int(index.max())}; len(split) says how many there are")
    return index.long()


def order(num: int, seed: int, step: int, batch: int) -> Tensor:
    """The indices that a training step sees: a pure function of its arguments.

    The steps read one endless list, a fresh permutation of 0..num-1 for each epoch; a batch may run across the end of
    an epoch, so nothing is dropped and nothing is seen twice in an epoch.
    """
    import numpy
    import torch

    for name, value, low in (("num", num, 1), ("seed", seed, 0), ("step", step, 0), ("batch", batch, 1)):
        if isinstance(value, bool) or not isinstance(value, int) or value < low:
            raise BadArgument(f"expected {name} to be a whole number of at least {low}, found {value!r}")
    first, last = step * batch, (step + 1) * batch
    pieces = []
    for epoch in range(first // num, (last - 1) // num + 1):
        start = epoch * num
        pieces.append(_permutation(num, seed, epoch)[max(first - start, 0) : last - start])
    return torch.from_numpy(numpy.concatenate(pieces))


@lru_cache(maxsize=4)  # a run reads one epoch for many steps; a permutation of a million takes 20 ms
def _permutation(num: int, seed: int, epoch: int) -> numpy.ndarray:
    import numpy

    permutation = numpy.random.default_rng([seed, epoch]).permutation(num)
    permutation.flags.writeable = False
    return permutation


def hold_out(num: int, share: float, seed: int) -> tuple[list[int], list[int]]:
    """The numbers 0..num-1 in two sorted parts, the second a seeded draw of about this share: at least 1, never all."""
    import numpy

    if num < 2:
        raise BadArgument(f"expected at least 2 things to hold one of them out, found {num}")
    num_held = min(max(1, round(num * share)), num - 1)
    permutation = numpy.random.default_rng(seed).permutation(num).tolist()
    return sorted(permutation[num_held:]), sorted(permutation[:num_held])
