from __future__ import annotations

import time
import unicodedata
from pathlib import Path

import numpy
import pytest
import torch

from omniform.core.errors import BadArgument
from omniform.data import Dataset, open_data
from omniform.data import glyphs as room


@pytest.fixture(scope="module")
def drawn() -> room.Drawn:
    return room._draw(28, "alnum", 4, "dejavu")


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    return open_data("glyphs")


def test_counts_shape_and_range(dataset: Dataset) -> None:
    assert (len(dataset.train), len(dataset.test)) == (36 * 10 * 64, 36 * 2 * 64)
    assert dataset.shape == (1, 28, 28) and "".join(dataset.classes) == room.DIGITS + room.CAPITALS
    batch = dataset.train.batch(range(0, len(dataset.train), 97))
    assert batch.data.dtype == torch.float32 and batch.data.shape[1:] == (1, 28, 28)
    assert batch.data.min() == -1 and batch.data.max() == 1
    assert set(batch.condition["label"].tolist()) == set(range(36))
    assert batch.condition["label"].dtype == torch.long and set(batch.condition) == {"label"}


def test_held_out_cells_and_their_drawings_are_never_trained_on(drawn: room.Drawn) -> None:
    train, test = ({drawn.cells[i] for i in cells} for cells in (drawn.train_cells.tolist(), drawn.test_cells.tolist()))
    assert not train & test and len(train | test) == 36 * 12
    for character in room.DIGITS + room.CAPITALS:
        assert sum(cell.character == character for cell in test) == 2
    assert len({cell.face for cell in test}) > 6  # faces are drawn per character, not once for all
    pictures = {picture.tobytes() for picture in drawn.train}
    assert not any(picture.tobytes() in pictures for picture in drawn.test)


def test_equal_drawings_stay_on_one_side() -> None:
    cells = [room.Cell(c, face) for c in "ab" for face in "123456"]
    train, test = room._held_out(cells, [b"same"] * 12, by_face=True)
    assert len(train) == 12 and test == []
    train, test = room._held_out(cells, [bytes([i]) for i in range(12)], by_face=True)
    assert len(test) == 2 and sorted(train + test) == list(range(12))


def test_drawing_twice_gives_the_same_bytes_and_variants_differ(drawn: room.Drawn) -> None:
    again = room._draw(28, "alnum", 4, "dejavu")
    assert (again.train == drawn.train).all() and (again.test == drawn.test).all()
    of_one = drawn.train[drawn.train_cells == drawn.train_cells[0]]
    assert len({picture.tobytes() for picture in of_one}) == 4


def test_ink_is_centred_fills_the_box_and_is_never_cut(drawn: room.Drawn) -> None:
    plain = drawn.train[: 36 * 10] > 32
    rows, columns = numpy.nonzero(plain.any(2)), numpy.nonzero(plain.any(1))
    for i in range(len(plain)):
        y, x = rows[1][rows[0] == i], columns[1][columns[0] == i]
        assert max(y.max() - y.min(), x.max() - x.min()) + 1 >= 17  # at least 0.6 of 28
        assert abs(x.min() + x.max() - 27) <= 2 and abs(y.min() + y.max() - 27) <= 7  # Q and J hang below the line
    every = numpy.concatenate([drawn.train, drawn.test])
    frame = numpy.concatenate(
        [every[:, [0, -1]].reshape(len(every), -1), every[:, :, [0, -1]].reshape(len(every), -1)], 1
    )
    assert (frame.max(1) > 127).mean() < 0.005


def test_plain_classes_are_told_apart_by_their_nearest_neighbour(drawn: room.Drawn) -> None:
    """A held-out cell is recognised from the faces seen in training: the labels fit (0/O/Q, 8/B, 5/S... are alike)."""
    train, test = (torch.from_numpy(x).float().flatten(1) for x in (drawn.train, drawn.test))
    found = torch.cdist(test, train).argmin(1).numpy()
    said = [drawn.cells[i].character for i in drawn.train_cells[found]]
    right = [drawn.cells[i].character for i in drawn.test_cells]
    assert numpy.mean([a == b for a, b in zip(said, right, strict=True)]) > 0.7


def test_another_opening_gives_the_same_pictures_also_without_a_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = {"charset": "digits", "variants": 2, "size": 16}
    monkeypatch.setenv("OMNIFORM_CACHE", str(tmp_path / "cache"))
    first = open_data("glyphs", **options).train.batch(range(200)).data
    (kept,) = (tmp_path / "cache" / "glyphs").iterdir()
    start = time.perf_counter()
    assert open_data("glyphs", **options).train.batch(range(200)).data.equal(first)
    assert time.perf_counter() - start < 1
    kept.write_bytes(kept.read_bytes()[:1000])  # cut short: drawn again
    assert open_data("glyphs", **options).train.batch(range(200)).data.equal(first)
    (tmp_path / "file").write_text("not a folder")
    monkeypatch.setenv("OMNIFORM_CACHE", str(tmp_path / "file"))
    assert open_data("glyphs", **options).train.batch(range(200)).data.equal(first)


def test_captions_name_character_and_style() -> None:
    assert (
        room.caption(room.Cell("A", "DejaVuSansMono-BoldOblique")) == "latin capital letter a, sans mono bold oblique"
    )
    assert room.caption(room.Cell("7", "DejaVuSerif-BoldItalic")) == "digit seven, serif bold italic"
    assert room.caption(room.Cell("7", "STIXGeneralBolIta")) == "digit seven, times bold italic"
    assert room.caption(room.Cell("7", "STIXGeneral")) == "digit seven, times"
    batch = open_data("glyphs", charset="digits", variants=1, size=8, captions=True).test.batch([0, 1])
    words = "zero one two three four five six seven eight nine".split()
    said = [f"digit {words[i]}" for i in batch.condition["label"].tolist()]
    assert [text.split(",")[0] for text in batch.condition["text"]] == said


def test_every_named_glyph_is_labelled_by_category(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMNIFORM_CACHE", str(tmp_path))
    monkeypatch.setitem(room.FACES, "dejavu", ("DejaVuSansDisplay", "DejaVuSerifDisplay"))  # the two small ones
    dataset = open_data("glyphs", charset="all", size=16, variants=1)
    assert len(dataset.train) + len(dataset.test) == 47 + 20  # every named glyph of the two, counted with FreeType
    batch = dataset.train.batch(range(len(dataset.train)))
    for label, text in zip(batch.condition["label"].tolist(), batch.condition["text"], strict=True):
        assert dataset.classes[label] == unicodedata.category(unicodedata.lookup(text.split(",")[0]))
    assert not set(batch.condition["text"]) & set(dataset.test.batch(range(len(dataset.test))).condition["text"])


@pytest.mark.parametrize(
    "options",
    [
        {"size": 4},
        {"size": "28"},
        {"charset": "digit"},
        {"variants": -1},
        {"captions": 1},
        {"faces": "dejavu sans"},
        {"sise": 28},
    ],
)
def test_bad_options_are_refused_in_one_line(options: dict) -> None:
    with pytest.raises(BadArgument) as caught:
        open_data("glyphs", **options)
    assert "\n" not in str(caught.value) and next(iter(options)) in str(caught.value)
