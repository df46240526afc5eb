"""A stranger's machine: a folder with some pictures and texts of their own, and what they type, on small budgets."""

from __future__ import annotations

import random
import re
import shlex
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, ImageDraw

from omniform.cli import PROGRAM
from omniform.verbs import measuring

ROOT = Path(__file__).parents[2]
STEPS, BATCH, NUM = 3, 8, 8
"""What a training, a batch and a number of samples become here."""


@pytest.fixture(scope="session")
def root() -> Path:
    """The repository."""
    return ROOT


@pytest.fixture(scope="session")
def _cache(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def desk(tmp_path, monkeypatch, _cache) -> Path:
    """Where a stranger works, with my/pictures (two classes) and my/texts; a cache of its own, a hasty judge."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OMNIFORM_CACHE", str(_cache))
    monkeypatch.setattr(measuring, "JUDGE_STEPS", 10)
    draw_pictures(tmp_path / "my" / "pictures")
    write_texts(tmp_path / "my" / "texts")
    draw_pictures(tmp_path / "my" / "captioned", flat=True)
    write_encoder(tmp_path / "my" / "encoder")
    return tmp_path


def draw_pictures(where: Path, flat: bool = False) -> None:
    """Twenty-four discs and as many boxes, as files; flat: in one folder, with a caption beside each."""
    dice = random.Random(0)
    for kind in ("circles", "squares"):
        (where if flat else where / kind).mkdir(parents=True, exist_ok=True)
        for number in range(24):
            picture = Image.new("RGB", (40, 36), "white")
            x, y, r = dice.randint(10, 30), dice.randint(10, 26), dice.randint(4, 9)
            colour = (dice.randint(0, 180), dice.randint(0, 180), dice.randint(0, 180))
            pen = ImageDraw.Draw(picture)
            (pen.ellipse if kind == "circles" else pen.rectangle)((x - r, y - r, x + r, y + r), fill=colour)
            if flat:
                (where / f"{kind}{number:02}.txt").write_text(f"a {'red' if colour[0] > colour[2] else 'blue'} {kind[:-1]}")
            picture.save(where / f"{kind}{number:02}.png" if flat else where / kind / f"{number:02}.png")


def write_texts(where: Path) -> None:
    """Three files of plain sentences."""
    where.mkdir(parents=True)
    for number in range(3):
        animals = [(beast, birds) for birds in range(40) for beast in ("cat", "dog")]
        lines = [f"The {beast} number {number} sat on the mat and looked at {birds} birds." for beast, birds in animals]
        (where / f"{number}.txt").write_text("\n".join(lines))


def write_encoder(where: Path) -> None:
    """A BERT of two blocks in the place of MiniLM, as transformers would leave it; its weights are random."""
    import importlib.util

    from transformers import BertConfig, BertModel

    spec = importlib.util.spec_from_file_location("berts", ROOT / "tests" / "interop" / "berts.py")
    assert spec is not None and spec.loader is not None
    berts = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(berts)
    where.mkdir(parents=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        berts.folder(where, BertModel(BertConfig(**berts.LITTLE)))


# ---- what a stranger types ------------------------------------------------------------------------------------------


@pytest.fixture
def typed(capsys) -> Callable[[str], str]:
    """Runs one `omniform ...` line of a document in this process, on a small budget; its output."""

    def run(line: str) -> str:
        program, *words = shlex.split(line)
        assert program == "omniform", f"documents run omniform only, not {program!r}"
        with pytest.raises(SystemExit) as end:
            PROGRAM.main(smaller(words))
        said = capsys.readouterr()
        assert end.value.code == 0, f"{line}\n{said.out}{said.err}"
        return said.out

    return run


def smaller(words: list[str]) -> list[str]:
    """The same command with fewer steps, examples and samples."""
    words = list(words)
    if words[:1] == ["train"] and "--resume" not in words:
        words = without(without(words, "--steps"), "--minutes")
        words += ["--steps", str(STEPS)] + ([] if "--batch" in words else ["--batch", str(BATCH)])
    if words[:1] in (["score"], ["evaluate"], ["compare"]):
        words = [*without(words, "-n"), "-n", str(NUM)]
    if words[:1] == ["sample"] and "--steps" in words:
        words[words.index("--steps") + 1] = "2"
    return words


def without(words: list[str], option: str) -> list[str]:
    """Words without an option and its value."""
    if option not in words:
        return words
    place = words.index(option)
    return words[:place] + words[place + 2 :]


def hastened(code: str) -> str:
    """Python with a small budget: of.train(...) for three steps, no more than eight examples elsewhere."""
    code = re.sub(r"(of\.train\([^\n]*?)(steps|minutes)=[\d_.]+", rf"\1steps={STEPS}, batch={BATCH}", code)
    return re.sub(r"\bnum=(\d+)", lambda found: f"num={min(int(found[1]), NUM)}", code)


@pytest.fixture
def executed() -> Callable[[str, str, dict[str, Any]], None]:
    """Runs a Python block of a document in the page's namespace."""

    def run(code: str, where: str, namespace: dict[str, Any]) -> None:
        exec(compile(hastened(code), where, "exec"), namespace)

    return run
