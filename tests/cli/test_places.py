"""Every verb that takes a system takes a folder of transformers: somebody else's network, shown, scored, taught and written again."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

import omniform as of
from omniform.cli import PROGRAM
from omniform.codecs.pretrained import Pretrained

SHORT = ["--data", "stdlib", "--data-option", "characters=64"]


def typed(*words):
    return CliRunner().invoke(PROGRAM, ["-q", *map(str, words)])


@pytest.fixture(scope="module")
def theirs(tmp_path_factory):
    """A small LLaMA as transformers has it, with a tokenizer of bytes."""
    return of.export(of.build("llama"), "transformers", tmp_path_factory.mktemp("theirs") / "llama")


def test_it_is_shown_as_what_it_was_built_as(theirs):
    said = typed("show", theirs, "--json")
    assert said.exit_code == 0, said.stderr
    answer, own = json.loads(said.stdout), of.load(theirs)
    assert answer["name"] == "llama" and answer["size"] == str(theirs) and answer["sizes"] == []
    assert answer["parameters"] == sum(p.numel() for p in own.network.parameters())
    page = typed("show", theirs)
    assert page.exit_code == 0 and f"at {theirs}:" in page.stdout and "verdict" not in page.stdout
    wrong = typed("show", theirs, "--size", "7B")
    assert wrong.exit_code == 2 and "leave out --size" in wrong.stderr


def test_it_is_scored_sampled_compared_and_written_again(theirs, tmp_path):
    for words in (
        ["score", theirs, *SHORT, "-n", 4],
        ["sample", theirs, "--prompt", "def ", "--length", 8],
        ["export", theirs, "--to", "transformers", "--out", tmp_path / "again"],
        ["push", theirs, tmp_path / "pushed"],
    ):
        done = typed(*words)
        assert done.exit_code == 0, (words[0], done.output, done.stderr)
    assert (tmp_path / "again" / "model.safetensors").read_bytes() == (theirs / "model.safetensors").read_bytes()


def test_it_learns_on_by_the_knobs_of_one_that_has_learnt(theirs, tmp_path):
    done = typed("train", theirs, *SHORT, "--steps", 2, "--batch", 2, "--out", tmp_path / "run")
    assert done.exit_code == 0, done.stderr
    assert of.load(theirs).recipe.training == {"batch": 16, "lr": 2e-5, "steps": 1000}
    scored = typed("score", tmp_path / "run", *SHORT, "-n", 4)
    assert scored.exit_code == 0, scored.stderr


def test_data_that_do_not_fit_leave_nothing_behind(theirs, tmp_path):
    done = typed("train", theirs, "--data", "stdlib", "--steps", 2, "--out", tmp_path / "run")
    assert done.exit_code == 2 and "has 257; give shape more length" in done.stderr and not (tmp_path / "run").exists()
    done = typed("train", "shipped:dit", "--data", "emoji", "--steps", 2, "--out", tmp_path / "run")
    assert done.exit_code == 2 and "was built for examples of shape" in done.stderr and not (tmp_path / "run").exists()


def test_texts_are_as_long_as_the_longest(theirs):
    codec = of.load(theirs).codec
    assert isinstance(codec, Pretrained) and codec.space.length == 256
    tokens = codec.encode(["a few", "a few more letters"])
    assert tokens.length == int(tokens.real.sum(1).max()) < 25 and codec.decode(tokens) == ["a few", "a few more letters"]
