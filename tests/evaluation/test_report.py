"""The page: complete, escaped, self-contained, honest about what is missing."""

from __future__ import annotations

import base64
import io
import re
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest
import torch
from PIL import Image

from omniform.core.errors import ShapeError
from omniform.evaluation.page.charts import log_ticks, short, smoothed, ticks
from omniform.evaluation.page.pictures import as_array, png, sheet
from omniform.evaluation.page.table import duration
from omniform.evaluation.report import FamilyResult, Report, write_report

FAMILIES = ("gpt", "maskgit", "dit", "var", "mar", "tarflow")


def pictures(num: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(-1, 1, (num, 1, 8, 8)).astype(np.float32)


def result(recipe: str, origin: str = "shipped", **changes) -> FamilyResult:
    scores = {
        "frechet": 2.5,
        "kernel": 0.01,
        "precision": 0.9,
        "recall": 0.8,
        "accuracy_on_conditions": 0.95,
        "nats_per_dim": 0.4,
        "nats_kind": "exact",
        "nats_space": "pixel",
        "calls": 64,
        "seconds_per_sample": 0.02,
        "parameters": 1_234_567,
        "train_seconds": 60.0,
        "train_steps": 300,
        "examples_seen": 19_200,
    }
    whole = FamilyResult(
        recipe,
        recipe,
        f"Family {recipe}",
        f"What {recipe} does.",
        origin,
        pictures(6),
        list("AABBCC"),
        scores,
        [(i, 3 / (i + 1)) for i in range(50)],
        [("turn 1 of 2", pictures(4)), ("turn 2 of 2", pictures(1)[0])],
    )
    return replace(whole, **changes)


def report(*results: FamilyResult, **changes) -> Report:
    whole = Report(
        "Six ways",
        "glyphs",
        "The data sentence.",
        "The budget sentence.",
        results,
        {"frechet": 0.5},
        {"frechet": 99.0},
        "The classifier sentence.",
        "The codec sentence.",
        {"Seed": "17", "Command": "omniform demo"},
        real=torch.zeros(3, 1, 8, 8),
        real_conditions=list("ABC"),
    )
    return replace(whole, **changes)


class Nesting(HTMLParser):
    """Checks that every element is closed where it should be, and keeps text and attributes."""

    def __init__(self, page: str):
        super().__init__()
        self.open, self.attributes, self.text, self.ids = [], [], [], []
        self.feed(page)
        assert self.open == []

    def handle_starttag(self, name, attrs):
        self.attributes += [(name, *pair) for pair in attrs]
        self.open.append(name)

    def handle_startendtag(self, name, attrs):
        self.attributes += [(name, *pair) for pair in attrs]

    def handle_endtag(self, name):
        assert self.open.pop() == name

    def handle_data(self, data):
        if "style" not in self.open:
            self.text.append(data)

    @property
    def words(self) -> str:
        return " ".join(" ".join(self.text).split())


def written(path, content: Report) -> tuple[str, Nesting]:
    page = write_report(path / "deep" / "report.html", content).read_text(encoding="utf-8")
    assert [p.name for p in (path / "deep").iterdir()] == ["report.html"]
    return page, Nesting(page)


def test_the_page_tells_everything(tmp_path):
    both = [result(name, origin) for name in FAMILIES for origin in ("shipped", "trained here")]
    page, parsed = written(tmp_path, report(*both, notes=["A note."]))
    for name in FAMILIES:
        assert f"Family {name}" in parsed.words and f"What {name} does." in parsed.words
    for sentence in (
        "Six families",
        "The data sentence.",
        "The budget sentence.",
        "The classifier sentence.",
        "A note.",
        "The codec sentence.",
        "cannot be compared with published FID",
        "only within the same space",
        "Shipped weights",
        "Trained here",
        "Other real data",
        "Noise pictures",
        "omniform demo",
        "turn 2 of 2",
        "2.50",
        "95.0%",
        "1.23M",
        "20 ms",
        "300 steps",
        "exact",
        "per pixel",
    ):
        assert sentence in parsed.words, sentence
    assert page.count('class="curve"') == 12 and page.count('class="dots"') == 1


def test_the_page_needs_nothing_from_outside_and_no_script(tmp_path):
    page, parsed = written(tmp_path, report(result("gpt")))
    assert not re.search(r"https?:|url\(|@import|<script|<link|<iframe", page)
    for _, name, value in parsed.attributes:
        if name in ("src", "href"):
            assert value.startswith(("data:image/png;base64,", "#"))
        assert not name.startswith("on")
    anchors = {value for _, name, value in parsed.attributes if name == "id"}
    assert {value[1:] for _, name, value in parsed.attributes if name == "href"} <= anchors


def test_pictures_have_words_and_their_pixels(tmp_path):
    page, parsed = written(tmp_path, report(result("gpt")))
    num_images = page.count("<img")
    alts = [value for element, name, value in parsed.attributes if (element, name) == ("img", "alt")]
    assert len(alts) == num_images and all(alts)
    sources = [value for element, name, value in parsed.attributes if (element, name) == ("img", "src")]
    real = np.asarray(Image.open(io.BytesIO(base64.b64decode(sources[0].split(",")[1]))))
    assert real.shape == (8, 8) and np.all(real == 128)


def test_what_others_wrote_is_escaped(tmp_path):
    evil = '<script>alert("1 & 2")</script>'
    texts = result(
        evil,
        samples=[evil, "x"],
        conditions=[evil, "y"],
        title=evil,
        sentence=evil,
        losses=[],
        scores={"calls": evil, "nats_per_dim": 1.0, "nats_space": evil},
        strip=[(evil, evil)],
    )
    page, parsed = written(
        tmp_path,
        report(
            texts,
            title=evil,
            data_name=evil,
            notes=[evil],
            environment={evil: evil},
            real=[evil],
            real_conditions=[evil],
        ),
    )
    assert "<script" not in page
    assert parsed.words.count(evil) > 10
    assert '"' not in re.search(r'title="([^>]*)">–', page)[1]


def test_texts_need_no_picture(tmp_path):
    one = result(
        "gpt",
        samples=["to be\n  or not", "b", "c", "unshown"],
        conditions=[],
        scores={"nats_per_dim": 1.5},
        strip=[("turn 1", "to")],
    )
    page, parsed = written(tmp_path, report(one, real=["real text"], real_conditions=[], floor={}, ceiling={}))
    assert "<pre>to be\n  or not</pre>" in page and "real text" in parsed.words and "<img" not in page
    assert (
        "unshown" not in parsed.words
        and "FID" not in parsed.words
        and "Not measured in this run: Fréchet" not in parsed.words
    )


def test_missing_numbers_say_why(tmp_path):
    partial = result(
        "mar",
        samples=None,
        conditions=[],
        losses=[],
        strip=[],
        scores={
            "frechet": "interrupted at step 210",
            "kernel": float("nan"),
            "precision": None,
            "parameters": np.float32(5e6),
        },
    )
    page, parsed = written(tmp_path, report(result("gpt"), partial))
    for reason in (
        "interrupted at step 210",
        "the value is not finite",
        "not measured in this run",
        "this family has no likelihood and no bound",
        "No losses were recorded for Family mar (shipped)",
    ):
        assert reason in parsed.words
    assert "nan" not in parsed.words.lower().split() and page.count("–<") >= 7


def test_an_empty_report_is_a_page(tmp_path):
    _, parsed = written(tmp_path, report(real=None, real_conditions=[], floor={}, ceiling={}, environment={}))
    assert "No family has finished yet." in parsed.words


def test_losses_that_are_not_finite_are_left_out_and_said(tmp_path):
    page, parsed = written(
        tmp_path, report(result("dit", losses=[(0, 2.0), (1, float("nan")), (2, 1.0), (3, float("inf"))]))
    )
    assert "2 values were not finite" in parsed.words
    for points in re.findall(r'points="([^"]*)"', page):
        assert "nan" not in points and "inf" not in points


@pytest.mark.parametrize(
    "losses", [[(0, 1.0), (1, 1.0)], [(0, -1.0), (10, -3.0)], [(5, 0.0), (5, 0.0)], [(0, 1e-9), (9, 1e9)]]
)
def test_every_curve_stays_in_its_panel(tmp_path, losses):
    page, _ = written(tmp_path, report(result("dit", losses=losses)))
    for points in re.findall(r'points="([^"]*)"', page):
        for point in points.split():
            x, y = map(float, point.split(","))
            assert 0 <= x <= 340 and 0 <= y <= 190


def test_the_best_of_each_training_is_marked(tmp_path):
    rows = [
        result("gpt", scores={"frechet": 2.0, "recall": 0.1}),
        result("dit", scores={"frechet": 1.0, "recall": 0.7}),
        result("var", "trained here", scores={"frechet": 0.5}),
    ]
    page, _ = written(tmp_path, report(*rows))
    assert re.findall(r"<b>([^<]*)</b>", page) == ["1.00", "0.70"]  # one alone is not a best


def test_wrong_samples_are_refused(tmp_path):
    with pytest.raises(ShapeError, match="Family gpt"):
        result("gpt", conditions=["A"])
    with pytest.raises(ShapeError):
        write_report(tmp_path / "report.html", report(result("gpt", samples=np.zeros((6, 2, 8, 8)))))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_a_png_is_read_back_by_pillow(channels):
    pixels = np.random.default_rng(0).integers(0, 256, (5, 7, channels), dtype=np.uint8)
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(png(pixels)))).reshape(5, 7, channels), pixels)


def test_a_sheet_keeps_reading_order_and_clear_gaps():
    page = sheet(np.stack([np.full((3, 2, 2), v) for v in (-1, 0, 1)]), 2)
    assert page.shape == (5, 5, 4)
    assert [page[0, 0, 0], page[0, 3, 0], page[3, 0, 0]] == [0, 128, 255]
    assert (page[..., 3] == 0).sum() == 5 + 4 + 4  # the cross between the tiles, and the empty fourth tile
    assert as_array(torch.zeros(3, 4, 4, dtype=torch.bfloat16, requires_grad=True)).shape == (1, 3, 4, 4)


def test_numbers_as_people_write_them():
    assert [short(v) for v in (0, 0.01234, 12.345, 1234, 999_600, 12_345, 7_891_234)] == [
        "0",
        "0.0123",
        "12.3",
        "1,234",
        "1M",
        "12.3k",
        "7.89M",
    ]
    assert [duration(v) for v in (0.0042, 0.25, 3.21, 42.4, 60, 320, 7500)] == [
        "4.2 ms",
        "250 ms",
        "3.2 s",
        "42 s",
        "1 min",
        "5 min 20 s",
        "2 h 5 min",
    ]
    assert ticks(0, 1, most=5) == pytest.approx([0, 0.2, 0.4, 0.6, 0.8, 1.0]) and ticks(3, 3)
    assert log_ticks(0.5, 20) == pytest.approx([0.5, 1, 2, 5, 10, 20])


def test_the_running_mean_keeps_a_constant_and_starts_where_the_loss_does():
    assert smoothed([2.0] * 100) == pytest.approx([2.0] * 100)
    values = list(np.random.default_rng(0).normal(size=200))
    reach = 200 // 40
    assert smoothed(values)[0] == pytest.approx(values[0])
    assert smoothed(values)[100] == pytest.approx(np.mean(values[100 - reach : 101 + reach]))
    assert smoothed(values)[-1] == pytest.approx(np.mean(values[-1 - reach :]))
