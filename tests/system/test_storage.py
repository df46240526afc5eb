"""Folders are written whole or not at all, and believed only after a check."""
from __future__ import annotations

import errno
import json
import os

import pytest
import torch

from omniform.core.errors import CheckpointError
from omniform.system import storage
from omniform.system.storage import find_folder, read_folder, write_file, write_folder

FILES = {"weights.safetensors": {"a": torch.arange(6.0).reshape(2, 3), "b": torch.ones(2, dtype=torch.bfloat16)},
         "recipe.json": {"name": "toy", "sizes": [1, 2.5, None, True]}, "card.md": "# Grüße\n"}


@pytest.fixture
def place(tmp_path):
    write_folder(tmp_path / "box", FILES)
    return tmp_path / "box"


def test_what_is_written_is_read(place):
    read = read_folder(place)
    assert set(read) == set(FILES)
    assert read["recipe.json"] == FILES["recipe.json"] and read["card.md"] == FILES["card.md"]
    for name, x in FILES["weights.safetensors"].items():
        assert read["weights.safetensors"][name].dtype == x.dtype and torch.equal(read["weights.safetensors"][name], x)
    assert set(read_folder(place, ["card.md"])) == {"card.md"}
    assert os.listdir(place.parent) == ["box"]


def test_tied_and_strided_tensors_come_back_under_every_name(tmp_path):
    x = torch.arange(12.0).reshape(3, 4)
    tensors = {"whole": x, "same": x, "view": x[1], "turned": x.t(), "empty": x[:0], "one": torch.tensor(3)}
    write_folder(tmp_path / "box", {"x.safetensors": tensors})
    read = read_folder(tmp_path / "box")["x.safetensors"]
    assert all(torch.equal(read[n], t) for n, t in tensors.items())


def test_a_later_folder_replaces_the_earlier_one_whole(place):
    write_folder(place, {"other.json": [1]})
    assert read_folder(place) == {"other.json": [1]}
    assert sorted(os.listdir(place)) == ["manifest.json", "other.json"] and os.listdir(place.parent) == ["box"]


def _flip(file, at):
    data = bytearray(file.read_bytes())
    data[at] ^= 1
    file.write_bytes(data)


@pytest.mark.parametrize("name", list(FILES))
@pytest.mark.parametrize("harm, word", [
    (lambda f: _flip(f, 3), "altered"), (lambda f: _flip(f, -1), "altered"), (lambda f: f.unlink(), "missing"),
    (lambda f: os.truncate(f, f.stat().st_size - 1), "cut short"),
    (lambda f: f.write_bytes(f.read_bytes() + b"x"), "too long")])
def test_a_harmed_file_is_named(place, name, harm, word):
    harm(place / name)
    with pytest.raises(CheckpointError, match=word) as caught:
        read_folder(place)
    assert name in str(caught.value) and "\n" not in str(caught.value)


def test_no_flipped_byte_of_the_manifest_passes_for_something_else(place):
    manifest = place / "manifest.json"
    good = manifest.read_bytes()
    for at in range(len(good)):
        for bit in (0, 5):
            bad = bytearray(good)
            bad[at] ^= 1 << bit
            manifest.write_bytes(bad)
            try:
                read = read_folder(place)
            except CheckpointError as error:
                assert "\n" not in str(error)
            else:       # white space may change
                assert set(read) == set(FILES)


@pytest.mark.parametrize("changes, word", [
    ({"format": 2}, "format 2"), ({"writer": "somebody"}, "not a manifest"), ({"files": []}, "not a manifest"),
    ({"files": {"../secret.json": {"bytes": 2, "sha256": "0"}}}, "no name for a file"),
    ({"files": {"/etc/passwd": {"bytes": 2, "sha256": "0"}}}, "no name for a file"),
    ({"files": {"a.json": {"bytes": "2", "sha256": "0"}}}, "altered at 'a.json'")])
def test_a_foreign_manifest_is_refused(place, changes, word):
    manifest = json.loads((place / "manifest.json").read_text())
    (place / "manifest.json").write_text(json.dumps({**manifest, **changes}))
    with pytest.raises(CheckpointError, match=word):
        read_folder(place)


def test_a_file_that_only_claims_to_be_safetensors_is_refused_in_a_line(tmp_path, monkeypatch):
    monkeypatch.setattr(storage, "_to_bytes", lambda name, value: value)
    write_folder(tmp_path / "box", {"x.safetensors": b"\x80\x04garbage", "y.json": b"{", "z.txt": b"\xff"})
    for name, word in (("x.safetensors", "not a safetensors file"), ("y.json", "not JSON"), ("z.txt", "not text")):
        with pytest.raises(CheckpointError, match=word) as caught:
            read_folder(tmp_path / "box", [name])
        assert "\n" not in str(caught.value)


def test_what_is_no_folder_of_ours_is_refused(place, tmp_path):
    (tmp_path / "file").write_text("x")
    (tmp_path / "foreign").mkdir()
    (tmp_path / "foreign" / "thesis.tex").write_text("x")
    for name, word in (("nothing", "no folder"), ("file", "not a folder"), ("foreign", "no manifest.json")):
        with pytest.raises(CheckpointError, match=word):
            read_folder(tmp_path / name)
    with pytest.raises(CheckpointError, match="did you mean recipe.json"):
        read_folder(place, ["recip.json"])
    for name in ("file", "foreign"):
        with pytest.raises(CheckpointError, match=name):
            write_folder(tmp_path / name, FILES)
    assert (tmp_path / "foreign" / "thesis.tex").read_text() == "x" and (tmp_path / "file").read_text() == "x"


@pytest.mark.parametrize("name", ["../x.json", "a/b/c.json", "../a.json", "a/../b.json", ".hidden", "", "manifest.json", "x\n.json"])
def test_a_name_that_leaves_the_folder_is_not_written(tmp_path, name):
    with pytest.raises(CheckpointError, match="no name for a file"):
        write_folder(tmp_path / "box", {name: {}})
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("files, word", [
    ({"a.json": {"x": float("nan")}}, "numbers"), ({"a.json": object()}, "numbers"), ({"a.txt": [1]}, "text file")])
def test_what_cannot_be_said_is_not_written(place, files, word):
    with pytest.raises(CheckpointError, match=word):
        write_folder(place, files)
    assert set(read_folder(place)) == set(FILES) and os.listdir(place.parent) == ["box"]


class _Crash(BaseException):
    """The power is cut."""


def _counted(monkeypatch, stop_at, error):
    """Every call that changes the disk fails from number stop_at on, and everything after it, cleaning up included."""
    count = 0

    def watch(module, name):
        original = getattr(module, name)

        def call(*args, **kwargs):
            nonlocal count
            count += 1
            if count >= stop_at:
                raise error
            return original(*args, **kwargs)
        monkeypatch.setattr(module, name, call)
    for name in ("rename", "fsync", "mkdir", "unlink", "rmdir"):
        watch(os, name)
    watch(storage.shutil, "rmtree")
    return lambda: count


def test_a_crash_at_any_call_leaves_the_old_or_the_new(tmp_path, monkeypatch):
    seen = set()
    for stop_at in range(1, 100):
        place = tmp_path / str(stop_at) / "box"
        write_folder(place, {"x.json": "old", "y.json": "old"})
        with monkeypatch.context() as patch:
            count = _counted(patch, stop_at, _Crash())
            try:
                write_folder(place, {"x.json": "new", "y.json": "new"})
            except _Crash:
                pass
        read = read_folder(place)
        assert read["x.json"] == read["y.json"] and find_folder(place) is not None
        seen.add((read["x.json"], place.exists()))
        write_folder(place, {"x.json": "next"})             # life goes on, and nothing is left lying about
        assert read_folder(place) == {"x.json": "next"} and os.listdir(place.parent) == ["box"]
        if count() < stop_at:
            break
    assert seen == {("old", True), ("old", False), ("new", True)}


@pytest.mark.parametrize("replacing", [False, True])
def test_a_full_disk_is_one_line_and_leaves_nothing(tmp_path, monkeypatch, replacing):
    place = tmp_path / "box"
    if replacing:
        write_folder(place, {"x.json": "old"})
    for call in ("fsync", "mkdir", "rename"):
        with monkeypatch.context() as patch:
            def full(*args, **kwargs):
                raise OSError(errno.ENOSPC, "No space left on device")
            patch.setattr(os, call, full)
            with pytest.raises(CheckpointError, match="disk is full") as caught:
                write_folder(place, {"x.json": "new"})
        assert "\n" not in str(caught.value)
        assert os.listdir(tmp_path) == (["box"] if replacing else [])
    if replacing:
        assert read_folder(place) == {"x.json": "old"}


def test_a_place_that_cannot_be_written_is_one_line(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(CheckpointError, match="cannot write"):
        write_folder(tmp_path / "file" / "box", FILES)


def test_a_folder_reached_by_a_link_is_replaced_where_it_is(place, tmp_path):
    (tmp_path / "latest").symlink_to(place)
    write_folder(tmp_path / "latest", {"x.json": "new"})
    assert read_folder(place) == read_folder(tmp_path / "latest") == {"x.json": "new"}


def test_a_single_file_is_whole_or_old(tmp_path, monkeypatch):
    place = tmp_path / "deep" / "log.csv"
    write_file(place, "one\n")
    write_file(place, b"two\n")

    def full(*args, **kwargs):
        raise OSError(errno.ENOSPC, "No space left on device")
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(CheckpointError, match="disk is full"):
            write_file(place, "three\n")
    assert place.read_text() == "two\n" and os.listdir(place.parent) == ["log.csv"]


def test_nothing_is_pickled(place):
    for file in place.iterdir():
        assert not file.read_bytes().startswith((b"\x80", b"PK"))
