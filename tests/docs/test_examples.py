"""Every script in examples/ runs as a person would call it, on a small budget."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

import pytest
from PIL import Image

EXAMPLES = Path(__file__).parents[2] / "examples"
CALLS = {
    "sample_shipped": ["--word", "AB", "--out", "word.png"],
    "train_on_folder": [
        "my/pictures",
        "--recipe",
        "maskgit",
        "--size",
        "16",
        "--steps",
        "3",
        "--batch",
        "8",
        "--out",
        "runs/mine",
    ],
    "compare_families": ["--minutes", "0.003", "--num", "8"],
    "complete_picture": ["shipped:maskgit", "--num", "2", "--tries", "2", "--out", "completed.png"],
    "write_text": ["my/texts", "--steps", "2", "--prompt", "The cat", "--length", "24"],
    "own_recipe": ["--steps", "2", "--num", "8"],
}
"""What each is called with here."""


def called(name: str, monkeypatch, capsys) -> str:
    """Runs a script; what it printed."""
    monkeypatch.setattr(sys, "argv", [f"{name}.py", *CALLS[name]])
    runpy.run_path(str(EXAMPLES / f"{name}.py"), run_name="__main__")
    return capsys.readouterr().out


def size_of(path: str) -> tuple[int, int]:
    """Width and height of a picture."""
    with Image.open(path) as picture:
        return picture.size


def test_every_example_is_called():
    assert {p.stem for p in EXAMPLES.glob("*.py")} == set(CALLS)


def test_a_word_in_every_family(desk, monkeypatch, capsys):
    said = called("sample_shipped", monkeypatch, capsys)
    assert size_of("word.png") == (2 * 28, 6 * 28)
    assert [line.split(":")[0] for line in said.splitlines()[:-1]] == [
        "image-gpt",
        "maskgit",
        "dit",
        "var",
        "mar",
        "tarflow",
    ]


def test_a_folder_and_going_on(desk, monkeypatch, capsys):
    assert "classes: circles, squares" in called("train_on_folder", monkeypatch, capsys)
    first = (desk / "runs/mine/drawn.png").read_bytes()
    assert size_of("runs/mine/drawn.png") == (8 * 16, 16)
    (desk / "runs/mine/drawn.png").unlink()
    assert "3 steps" in called("train_on_folder", monkeypatch, capsys)
    assert (desk / "runs/mine/drawn.png").read_bytes() == first


def test_two_families_on_one_codec(desk, monkeypatch, capsys):
    rows = [line for line in called("compare_families", monkeypatch, capsys).splitlines() if "nats a code" in line]
    assert len(rows) == 2 and "(exact)" in rows[0] and "(bound)" in rows[1]


@pytest.mark.parametrize("more", [[], ["--untold"]])
def test_completing_keeps_the_left_half(desk, monkeypatch, capsys, more):
    monkeypatch.setitem(CALLS, "complete_picture", [*CALLS["complete_picture"], *more])
    called("complete_picture", monkeypatch, capsys)
    assert size_of("completed.png") == (2 * 28, 3 * 28)


def test_text_goes_on_with_the_prompt(desk, monkeypatch, capsys):
    said = called("write_text", monkeypatch, capsys)
    assert "bits" in said and said.split("bits\n", 1)[1].startswith("The cat")


def test_a_recipe_of_ones_own(desk, monkeypatch, capsys):
    said = called("own_recipe", monkeypatch, capsys)
    assert "network.backbone.rotary" in said and "maskgit-modern: at most" in said
