from __future__ import annotations

from pathlib import Path

import pytest

from omniform.core.errors import BadArgument, DataError
from omniform.data import open_data
from omniform.data.text import Windows


def everything(split: Windows) -> str:
    return "".join(split.batch(range(len(split))).data)


def test_stdlib_is_source_and_no_held_out_file_is_trained_on() -> None:
    dataset = open_data("stdlib", characters=100)
    train, test = everything(dataset.train), everything(dataset.test)
    assert len(train) > 5_000_000 and train.count("def ") > 10_000
    assert 0.03 < len(test) / len(train) < 0.3
    long = [
        line for line in test.splitlines() if len(line) > 70 and line.lstrip().startswith(("raise", "return", "if"))
    ]
    assert len(long) > 100 and sum(line in train for line in long[:100]) < 20  # a little boilerplate recurs
    assert all(len(text) == 100 for text in dataset.train.batch(range(50)).data)


def test_windows_lie_side_by_side() -> None:
    split = Windows("abcdefghij", 3)
    assert len(split) == 3 and split.batch([2, 0]).data == ["ghi", "abc"]


def test_a_single_text_holds_out_its_end(tmp_path: Path) -> None:
    path = tmp_path / "story.txt"
    path.write_text("é" * 900 + "b" * 100, encoding="utf-8")
    dataset = open_data(path, characters=10)
    assert dataset.name == "story" and dataset.modality == "text" and dataset.shape == (10,) and dataset.classes == ()
    assert everything(dataset.train) == "é" * 900 and everything(dataset.test) == "b" * 100


def test_a_folder_of_texts_holds_out_whole_files(tmp_path: Path) -> None:
    for i in range(20):
        (tmp_path / f"{i:02}.txt").write_text(chr(65 + i) * 62)
    dataset = open_data(str(tmp_path), characters=32)
    train, test = set(everything(dataset.train)) - {"\n"}, set(everything(dataset.test)) - {"\n"}
    assert len(train) == 18 and len(test) == 2 and not train & test


def test_texts_that_cannot_be_read_or_are_too_short_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("short")
    with pytest.raises(DataError, match="too short"):
        open_data(tmp_path)
    (tmp_path / "b.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DataError, match=r"1 of 2 that are not \(b.txt\)"):
        open_data(tmp_path)
    (tmp_path / "empty.txt").write_text("")
    with pytest.raises(DataError, match="too short"):
        open_data(tmp_path / "empty.txt")
    with pytest.raises(BadArgument, match="characters"):
        open_data(tmp_path / "a.txt", characters=0)


def test_smiles_are_single_fragments_of_bounded_length_and_disjoint() -> None:
    dataset = open_data("smiles", characters=20)
    train, test = (set(split.batch(range(len(split))).data) for split in (dataset.train, dataset.test))
    assert not train & test and len(train) > 10_000
    assert all(len(line) <= 20 and "." not in line and " " not in line for line in train | test)
    assert {"CCO", "C1=CC=CC=C1"} <= train | test  # ethanol and benzene
