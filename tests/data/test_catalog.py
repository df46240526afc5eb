from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from omniform.core.errors import BadArgument, DataError, UnknownName
from omniform.data import describe, names, open_data


@pytest.mark.parametrize("name", names())
def test_the_catalog_tells_the_truth(name: str) -> None:
    """Opens every set (fetching what is missing) and compares it with its row."""
    row = next(row for row in describe() if row["name"] == name)
    dataset = open_data(name)
    assert dataset.name == name and dataset.modality == row["modality"] and dataset.shape == row["shape"]
    assert len(dataset.classes) == row["classes"] and dataset.licence == row["licence"]
    if row["train"] is not None:
        assert (len(dataset.train), len(dataset.test)) == (row["train"], row["test"])
    assert next(row for row in describe() if row["name"] == name)["fetched"]
    for split in (dataset.train, dataset.test):
        last = len(split) - 1
        batch, again = split.batch([last, 0, last // 2]), split.batch(torch.tensor([last // 2, last, 0]))
        if dataset.modality == "text":
            assert all(isinstance(text, str) and 0 < len(text) <= dataset.shape[0] for text in batch.data)
            assert [batch.data[i] for i in (2, 0, 1)] == again.data
        else:
            assert batch.data.shape == (3, *dataset.shape) and batch.data.dtype == torch.float32
            assert batch.data.std() > 0.1 and batch.data.abs().max() <= (1 if dataset.name not in ("traffic", "atoms", "hands") else 10)
            assert batch.data[[2, 0, 1]].equal(again.data)
        for key, value in batch.condition.items():
            assert len(value) == 3 and (key != "label" or 0 <= value.min() <= value.max() < len(dataset.classes))
        assert ("label" in batch.condition) == bool(dataset.classes)


def test_names_and_rows_need_no_torch() -> None:
    heavy = ("torch", "numpy", "matplotlib", "PIL")
    code = f"import sys, omniform.data as d; d.names(); d.describe(); print([m for m in {heavy} if m in sys.modules])"
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=root, check=True)
    assert done.stdout.strip() == "[]"


def test_an_unknown_name_gets_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(UnknownName, match="did you mean glyphs"):
        open_data("glyph")
    with pytest.raises(UnknownName, match="fashion-mnist"):
        open_data("fashion_mnist")
    with pytest.raises(UnknownName, match="known: "):
        open_data(tmp_path / "nowhere")


@pytest.mark.parametrize("where", ["", 3, None])
def test_what_is_no_name_is_refused(where: object) -> None:
    with pytest.raises(BadArgument, match="glyphs"):
        open_data(where)


def test_an_unknown_option_names_those_that_exist(tmp_path: Path) -> None:
    with pytest.raises(
        BadArgument, match="no option 'colour'; the options are size, charset, variants, faces, captions"
    ):
        open_data("glyphs", colour=True)
    with pytest.raises(BadArgument, match="it takes none"):
        open_data("digits", size=16)
    (tmp_path / "a.txt").write_text("a" * 1000)
    with pytest.raises(BadArgument, match="characters"):
        open_data(tmp_path, size=16)


def test_a_folder_without_anything_to_read_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="neither"):
        open_data(tmp_path)
    (tmp_path / "a.csv").write_text("1,2")
    with pytest.raises(DataError, match="neither"):
        open_data(str(tmp_path))
