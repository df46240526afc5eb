"""A terminal to type into, and one small run that many tests look at."""

from __future__ import annotations

import os
import shutil

import pytest
import torch
from click.testing import CliRunner

from omniform.cli import PROGRAM

SMALL = (
    "--set",
    "network.width=32",
    "--set",
    "network.backbone.depth=1",
    "--set",
    "network.backbone.block.mixer.heads=2",
    "--set",
    "codec.width=8",
)


@pytest.fixture(autouse=True, scope="session")
def own_cache(tmp_path_factory):
    """Nothing is kept where the user keeps things."""
    torch.set_num_threads(1)
    before = os.environ.get("OMNIFORM_CACHE")
    os.environ["OMNIFORM_CACHE"] = str(tmp_path_factory.mktemp("cache"))
    yield
    os.environ.pop("OMNIFORM_CACHE") if before is None else os.environ.__setitem__("OMNIFORM_CACHE", before)


def typed(*words):
    """What the terminal shows after a line is typed."""
    return CliRunner().invoke(PROGRAM, [str(w) for w in words])


@pytest.fixture(scope="session")
def omniform():
    return typed


@pytest.fixture(scope="session")
def small():
    return SMALL


@pytest.fixture(scope="session")
def trained(tmp_path_factory):
    """A run of image-gpt on digits, a few steps long. Not to be written to."""
    out = tmp_path_factory.mktemp("runs") / "ig"
    result = typed("-q", "train", "image-gpt", "--data", "digits", "--steps", 6, "--batch", 16, "--out", out, *SMALL)
    assert result.exit_code == 0, result.output
    return out


@pytest.fixture
def copied(trained, tmp_path):
    """A copy of that run, to be spoiled."""
    return shutil.copytree(trained, tmp_path / "run")


@pytest.fixture(scope="session")
def refused():
    """One clear line on the error stream and exit status 2, and nothing on the other; gives the line."""

    def refused(result, *needed):
        assert result.exit_code == 2, (result.exit_code, result.output, result.exception)
        assert result.stdout == ""
        lines = result.stderr.strip().split("\n")
        assert len(lines) == 1 and lines[0].startswith("omniform: "), result.stderr
        assert "Traceback" not in lines[0]
        for word in needed:
            assert word in lines[0], f"{word!r} is not in: {lines[0]}"
        return lines[0]

    return refused
