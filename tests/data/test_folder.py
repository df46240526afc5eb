from __future__ import annotations

from pathlib import Path

import numpy
import pytest
import torch
from PIL import Image

from omniform.core.errors import BadArgument, DataError, UnknownName
from omniform.data import open_data

RED = (200, 30, 40)


def put(path: Path, colour: object = RED, size: tuple[int, int] = (40, 20), mode: str = "RGB") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, size, colour).save(path)


def all_of(dataset) -> torch.Tensor:
    return torch.cat([split.batch(range(len(split))).data for split in (dataset.train, dataset.test)])


def test_subfolders_are_classes(tmp_path: Path) -> None:
    for name, colour in (("cat", RED), ("dog", (0, 0, 255))):
        for i, suffix in enumerate(["png", "jpg", "webp", "bmp", "gif", "jpeg", "PNG"]):
            put(tmp_path / name / f"{i}.{suffix}", colour)
    dataset = open_data(tmp_path, size=16)
    assert dataset.classes == ("cat", "dog") and dataset.shape == (3, 16, 16) and dataset.modality == "image"
    assert len(dataset.train) == 13 and len(dataset.test) == 1
    for split in (dataset.train, dataset.test):
        batch = split.batch(range(len(split)))
        assert ((batch.data[:, 2, 8, 8] > 0).long() == batch.condition["label"]).all()  # blue is a dog


def test_a_flat_folder_has_no_labels_and_one_subfolder_is_one_class(tmp_path: Path) -> None:
    for i in range(5):
        put(tmp_path / "flat" / f"{i}.png")
        put(tmp_path / "one" / "only" / f"{i}.png")
    assert open_data(tmp_path / "flat").train.batch([0]).condition == {}
    one = open_data(tmp_path / "one")
    assert one.classes == ("only",) and one.train.batch([0, 1]).condition["label"].tolist() == [0, 0]


def test_grey_pictures_have_one_channel_unless_asked(tmp_path: Path) -> None:
    for i in range(3):
        put(tmp_path / f"{i}.png", 51, mode="L")
    grey = open_data(tmp_path)
    assert grey.shape == (1, 32, 32) and torch.allclose(all_of(grey), torch.tensor(-0.6))
    assert open_data(tmp_path, channels=3).shape == (3, 32, 32)
    put(tmp_path / "colour.png")
    assert open_data(tmp_path).shape == (3, 32, 32)
    luma = all_of(open_data(tmp_path, channels=1))
    assert luma.shape == (4, 1, 32, 32) and any(
        torch.allclose(x, torch.tensor(82 / 127.5 - 1), atol=0.005) for x in luma
    )


def test_transparency_is_white_and_sixteen_bits_keep_their_scale(tmp_path: Path) -> None:
    for i in range(2):
        put(tmp_path / "clear" / f"{i}.png", (0, 0, 0, 0), mode="RGBA")
    assert (all_of(open_data(tmp_path / "clear")) == 1).all()
    (tmp_path / "deep").mkdir()
    for i in range(2):
        Image.fromarray(numpy.full((8, 8), 128 * 256, numpy.uint16)).save(tmp_path / "deep" / f"{i}.png")
    assert torch.allclose(all_of(open_data(tmp_path / "deep", size=8)), torch.tensor(128 / 127.5 - 1), atol=1e-6)


def test_the_middle_is_cut_out_of_a_wide_picture(tmp_path: Path) -> None:
    wide = numpy.zeros((10, 30), numpy.uint8)
    wide[:, 10:20] = 255
    for i in range(2):
        Image.fromarray(wide).save(tmp_path / f"{i}.png")
    picture = all_of(open_data(tmp_path, size=10))
    assert (picture[0, 0] == 1).all()
    squashed = all_of(open_data(tmp_path, program="resize(10, 30)"))
    assert squashed.shape[1:] == (1, 10, 30) and (squashed[0, 0, :, 0] == -1).all()


def test_broken_files_are_counted_named_and_skipped_on_request(tmp_path: Path) -> None:
    for i in range(4):
        put(tmp_path / f"good{i}.png")
    put(tmp_path / "cut.png", size=(200, 200))
    (tmp_path / "cut.png").write_bytes((tmp_path / "cut.png").read_bytes()[:60])
    (tmp_path / "empty.jpg").write_bytes(b"")
    with pytest.raises(
        DataError, match=r"2 of 6 pictures .*\(cut.png, empty.jpg\); remove them or write skip_broken=True"
    ):
        open_data(tmp_path)
    dataset = open_data(tmp_path, skip_broken=True)
    assert len(dataset.train) + len(dataset.test) == 4


def test_too_few_and_misplaced_pictures_are_refused(tmp_path: Path) -> None:
    put(tmp_path / "one" / "a.png")
    with pytest.raises(DataError, match="at least 2 pictures"):
        open_data(tmp_path / "one")
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "a.png").write_bytes(b"nothing")
    with pytest.raises(DataError, match="at least 2 pictures .* found 0"):
        open_data(tmp_path / "bad", skip_broken=True)
    put(tmp_path / "mixed" / "a.png")
    put(tmp_path / "mixed" / "sub" / "b.png")
    with pytest.raises(DataError, match="1 of 2 outside"):
        open_data(tmp_path / "mixed")


def test_captions_lie_beside_the_pictures(tmp_path: Path) -> None:
    for i in range(4):
        put(tmp_path / f"{i}.png", (i * 60, i * 60, i * 60))
        (tmp_path / f"{i}.txt").write_text(f"shade {i * 60}\n")
    batch = open_data(tmp_path).train.batch([0, 1, 2])
    for picture, text in zip(batch.data, batch.condition["text"], strict=True):
        assert round((float(picture.mean()) + 1) * 127.5) == int(text.split()[1])
    (tmp_path / "2.txt").unlink()
    with pytest.raises(DataError, match=r"1 without \(2.png\)"):
        open_data(tmp_path)


def test_hidden_files_are_passed_over(tmp_path: Path) -> None:
    put(tmp_path / "a.png")
    put(tmp_path / "b.png")
    (tmp_path / "._a.png").write_bytes(b"resource fork")
    (tmp_path / ".thumbs").mkdir()
    (tmp_path / ".thumbs" / "a.png").write_bytes(b"")
    assert len(all_of(open_data(tmp_path))) == 2


@pytest.mark.parametrize(
    ("program", "error", "said"),
    [
        ("central_cop(8)", UnknownName, "did you mean central_crop"),
        ("resize_small", BadArgument, r"write for example resize_small\(64\)"),
        ("resize(8)", BadArgument, r"resize\(64, 64\)"),
        ("resize_small(0)", BadArgument, "from 1 to"),
        ("resize_small(8)||grey", BadArgument, "joined by"),
        ("resize_small(-8)", BadArgument, "expected a step"),
        ("grey(1)", BadArgument, "expected 0 numbers"),
        ("   ", BadArgument, "expected a program"),
    ],
)
def test_a_program_that_means_nothing_is_refused(tmp_path: Path, program: str, error: type, said: str) -> None:
    put(tmp_path / "a.png")
    put(tmp_path / "b.png")
    with pytest.raises(error, match=said):
        open_data(tmp_path, program=program)


def test_a_program_must_make_pictures_equally_large(tmp_path: Path) -> None:
    put(tmp_path / "a.png", size=(20, 20))
    put(tmp_path / "b.png", size=(20, 40))
    with pytest.raises(DataError, match="8x8, 16x8"):
        open_data(tmp_path, program="resize_small(8)")
    grey = open_data(tmp_path, program="resize_small(8)|central_crop(8)|grey")
    assert grey.shape == (1, 8, 8)


@pytest.mark.parametrize(
    "options", [{"size": 0}, {"channels": 2}, {"channels": True}, {"skip_broken": "yes"}, {"colour": 1}, {"program": 3}]
)
def test_bad_options_are_refused(tmp_path: Path, options: dict) -> None:
    put(tmp_path / "a.png")
    put(tmp_path / "b.png")
    with pytest.raises(BadArgument):
        open_data(tmp_path, **options)
