"""Looking around: help, lists, descriptions; fast, and JSON where the answer is data."""

from __future__ import annotations

import json
import subprocess
import sys
import time

import pytest
import torch
from PIL import Image

from omniform import recipes
from omniform.cli import omniform as group
from omniform.cli.differing import page, short
from omniform.cli.pictures import writer
from omniform.cli.words import counted, pairs, table, value_of
from omniform.core.errors import UnknownName
from omniform.training import Training
from omniform.verbs import systems

HELPED = [(), *((n,) for n in group.commands), *(("data", n) for n in group.commands["data"].commands)]


@pytest.mark.parametrize("verb", HELPED, ids=" ".join)
def test_help_fits_a_screen(omniform, verb):
    result = omniform(*verb, "--help")
    assert result.exit_code == 0
    lines = result.stdout.split("\n")
    assert len(lines) <= 30 and max(map(len, lines)) <= 80


def test_every_verb_has_help_and_the_main_ones_an_example():
    for name, command in group.commands.items():
        assert command.help and f"omniform {name}" in command.help, name


def test_help_is_fast_and_imports_no_torch():
    """Half a second on a quiet machine; the best of a few, since this one may not be."""
    best = 9.0
    for _ in range(4):
        began = time.monotonic()
        said = subprocess.run(
            [sys.executable, "-X", "importtime", "-m", "omniform", "--help"], capture_output=True, text=True, check=True
        )
        best = min(best, time.monotonic() - began)
        if best < 0.8:
            break
    assert "torch" not in said.stderr and "numpy" not in said.stderr and "Commands:" in said.stdout
    assert best < 2.0


def test_systems_are_listed_and_narrowed(omniform):
    rows = json.loads(omniform("systems", "--json").stdout)
    assert rows == systems() and {"dit", "gpt", "var"} <= {r["name"] for r in rows}
    text = json.loads(omniform("systems", "--modality", "text", "--json").stdout)
    assert {"gpt", "mdlm"} <= {r["name"] for r in text} and all("text" in r["modality"].split(", ") for r in text)
    said = omniform("systems", "--status", "nothing").stdout
    assert "a survey" in said and "not built yet" not in said
    said = omniform("systems", "--family", "diffusion").stdout
    assert "builds, sized" in said and "2212.09748" in said and "maskgit  " not in said and "not built yet" in said
    with pytest.raises(UnknownName, match="did you mean masked"):
        systems(family="maskd")
    with pytest.raises(UnknownName, match="did you mean sized"):
        systems(status="size")


def test_show_prints_published_figures_beside_ours(omniform):
    answer = json.loads(omniform("show", "maskgit", "--size", "tiny", "--json").stdout)
    assert answer["size"] == "tiny" and answer["tokens"] == 49 and answer["parameters"] > 1e6
    said = omniform("show", "maskgit").stdout
    assert "multiply-adds a question" in said and "published:" in said and "section 4.1" in said and "holds" in said


def test_show_against_another(omniform):
    said = omniform("show", "sit", "--against", "dit").stdout
    assert said.startswith("dit -> sit\n") and "; predict noise -> velocity; solver Ancestral -> Heun;" in said
    answer = json.loads(omniform("show", "sit", "--against", "dit", "--json").stdout)
    assert answer["process.predict"] == {"sit": "velocity", "dit": "noise"}
    assert omniform("show", "dit", "--against", "dit").stdout == "dit and dit are the same\n"


@pytest.mark.parametrize("name, other", [("sit", "dit"), ("pixart", "dit"), ("mdlm", "maskgit"), ("llama", "gpt"), ("wan", "dit"), ("transfusion", "gpt")])
def test_a_recipe_as_a_change_of_another_fits_on_a_screen(name, other):
    """Every change is on the page, by its last name; what is replaced as a whole is one change."""
    one, two = (recipes.get(n).sized(None) for n in (name, other))
    said = page(one, two)
    assert len(said.splitlines()) <= 20 and max(map(len, said.splitlines())) <= 120
    for path, (here, there) in one.against(two).items():
        if not path.startswith("training."):  # what one leaves to the trainer may be what the other says
            change = f"{short(there)} -> {short(here)}"
            assert change in " ".join(said.split()), path


def test_what_the_trainer_does_of_itself_is_no_change():
    dit = recipes.get("dit")
    assert page(dit.but({"training": {**dit.training, "clip": Training(steps=1).clip}}, name="mine"), dit) == "dit and mine are the same"
    assert page(dit.but(shape=(1, 32, 32), name="mine"), dit) == "dit -> mine\ndata        shape 3 x 256 x 256 -> 1 x 32 x 32"


def test_data_is_listed_described_and_drawn(omniform, tmp_path):
    rows = json.loads(omniform("data", "list", "--json").stdout)
    assert {"glyphs", "digits", "stdlib"} <= {r["name"] for r in rows}
    assert "glyphs" in omniform("data", "list").stdout
    answer = json.loads(omniform("data", "show", "digits", "--out", tmp_path / "d.png", "--json").stdout)
    assert answer["shape"] == [1, 8, 8] and answer["classes"] == list("0123456789")
    with Image.open(tmp_path / "d.png") as picture:
        assert picture.size == (8 * 58 - 2, 10 * 58 - 2)  # a row of eight for each of ten classes
    assert "1,497 + 300 examples are here" in omniform("data", "fetch", "digits").stdout


def test_quiet_is_quiet(omniform, tmp_path, small):
    result = omniform(
        "-q", "train", "image-gpt", "--data", "digits", "--steps", 1, "--batch", 4, "--out", tmp_path / "r", *small
    )
    assert result.exit_code == 0 and result.stderr == ""


def test_values_and_tables():
    assert [value_of(t) for t in ("3", "0.5", "true", "False", "null", "[1,[2]]", "word")] == [
        3,
        0.5,
        True,
        False,
        None,
        (1, (2,)),
        "word",
    ]
    assert pairs(["a.b=1", "c=x=y"], "--set") == {"a.b": 1, "c": "x=y"}
    assert table([("a", 1, None), ("bb", 22, 0.5)], ("n", "x", "y")) == "n    x    y\na    1    -\nbb  22  0.5"
    assert [counted(n) for n in (None, 7, 675e6, 118.64e9, 29.7e12)] == ["-", "7", "675 M", "118.6 G", "29.7 T"]


def test_clips_become_a_moving_grid(tmp_path):
    clips = torch.linspace(-1, 1, 8)[None, :, None, None, None].expand(3, 8, 1, 16, 16)
    assert writer(tmp_path / "v.gif", "video")(clips) == [str(tmp_path / "v.gif")]
    with Image.open(tmp_path / "v.gif") as moving:
        assert moving.n_frames == 8 and moving.size == (3 * 48 + 2 * 2, 48)     # 16 enlarged three times
