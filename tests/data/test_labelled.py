from __future__ import annotations

import gzip
from pathlib import Path

import numpy
import pytest

from omniform.core.errors import DataError
from omniform.data import open_data
from omniform.data.labelled import _idx, mnist_arrays


def test_mnist_has_ten_thousand_digits_of_known_shares() -> None:
    pixels, labels = mnist_arrays()
    counts = numpy.bincount(labels)
    assert pixels.shape == (10_000, 28, 28) and counts.sum() == 10_000
    assert (counts.min(), counts.max()) == (863, 1_127)  # counted by hand in the package
    assert pixels.min() == 0 and pixels.max() >= 254


def test_fashion_has_equal_classes_in_both_parts() -> None:
    dataset = open_data("fashion-mnist")
    for split, num in ((dataset.train, 6_000), (dataset.test, 1_000)):
        labels = split.batch(range(len(split))).condition["label"] if num == 1_000 else split._labels
        assert labels.bincount().tolist() == [num] * 10


def test_digits_match_their_labels() -> None:
    """The mean picture of each training class recognises most of the held-out part."""
    dataset = open_data("digits")
    train, test = dataset.train.batch(range(len(dataset.train))), dataset.test.batch(range(len(dataset.test)))
    means = [train.data[train.condition["label"] == digit].mean(0).flatten() for digit in range(10)]
    far = numpy.array([[float((x.flatten() - mean).square().sum()) for mean in means] for x in test.data])
    assert (far.argmin(1) == test.condition["label"].numpy()).mean() > 0.8


@pytest.mark.parametrize("raw", [b"", b"\0\0\x08\x01", b"\0\0\x08\x01\0\0\0\x05abcd", b"\0\0\x0d\x01\0\0\0\x01abcd"])
def test_an_idx_file_that_is_not_one_is_refused(tmp_path: Path, raw: bytes) -> None:
    path = tmp_path / "labels.gz"
    path.write_bytes(gzip.compress(raw))
    with pytest.raises(DataError, match="expected an IDX file"):
        _idx(path, 1)
    path.write_bytes(gzip.compress(raw)[:-3])
    with pytest.raises(DataError, match="cannot read"):
        _idx(path, 1)


def test_an_idx_file_is_read(tmp_path: Path) -> None:
    path = tmp_path / "x.gz"
    path.write_bytes(gzip.compress(b"\0\0\x08\x02" + (2).to_bytes(4, "big") + (3).to_bytes(4, "big") + bytes(range(6))))
    assert _idx(path, 2).tolist() == [[0, 1, 2], [3, 4, 5]]
