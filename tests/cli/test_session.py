"""A real session from the first line to the last, on data that ships."""

from __future__ import annotations

import json
import time

import pytest
import torch
from PIL import Image

import omniform as of
from omniform.core.rng import Rng
from omniform.verbs import measuring


@pytest.fixture
def quick_judge(monkeypatch):
    monkeypatch.setattr(measuring, "JUDGE_STEPS", 15)


def test_a_run_says_what_it_did_and_holds_what_was_asked(omniform, trained):
    assert {p.name for p in trained.iterdir()} == {"run.json", "checkpoint", "codec", "log.csv", "tensorboard"}
    asked = json.loads((trained / "run.json").read_text())
    assert (asked["name"], asked["data"], asked["steps"], asked["batch"]) == ("image-gpt", "digits", 6, 16)
    system = of.load(trained)
    assert system.network.width == 32 and system.codec.space.length == 16


def test_the_codec_is_trained_first_and_a_line_says_so(omniform, tmp_path, small):
    words = ("train", "image-gpt", "--data", "digits", "--steps", 2, "--batch", 8, "--out", tmp_path / "r", *small)
    result = omniform(*words)
    assert result.exit_code == 0
    assert "the codec of image-gpt is fresh: it is trained first, for 2 steps" in result.stderr
    assert result.stdout.startswith(f"{tmp_path / 'r'}: 2 steps in ")


def test_a_trained_codec_is_used_and_stays_as_it_is(omniform, trained, tmp_path, small):
    result = omniform(
        "train",
        "maskgit",
        "--data",
        "digits",
        "--steps",
        2,
        "--batch",
        8,
        "--codec",
        trained,
        "--out",
        tmp_path / "r",
        *small[:-2],
    )
    assert result.exit_code == 0, result.stderr
    assert result.stderr == "" and not (tmp_path / "r" / "codec").exists()
    theirs, ours = of.load(trained).codec.state_dict(), of.load(tmp_path / "r").codec.state_dict()
    assert theirs.keys() == ours.keys() and all(torch.equal(theirs[k], ours[k]) for k in theirs)


def test_samples_become_a_grid(omniform, trained, tmp_path):
    result = omniform("sample", trained, "--label", 3, "--label", 5, "-n", 4, "--out", tmp_path / "p.png")
    assert result.exit_code == 0, result.stderr
    assert "4 of image-gpt, labels 3 5" in result.stdout
    with Image.open(tmp_path / "p.png") as picture:
        assert picture.size == (4 * 56 + 3 * 2, 56)  # four pictures of 8 x 8, enlarged seven times, with gaps of two


def test_samples_become_files_and_are_a_function_of_the_seed(omniform, trained, tmp_path):
    first, again, other = (tmp_path / n for n in "abc")
    for out, seed in ((first, 1), (again, 1), (other, 2)):
        words = ("sample", trained, "--label", 3, "-n", 3, "--seed", seed, "--out", out, "--json", "--temperature", 0.9)
        result = omniform(*words, "--top-k", 200)
        assert result.exit_code == 0, result.stderr
        answer = json.loads(result.stdout)
        assert answer["labels"] == ["3", "3", "3"] and len(answer["files"]) == 3
    names = sorted(p.name for p in first.iterdir())
    assert names == ["0000.png", "0001.png", "0002.png"]
    assert all((first / n).read_bytes() == (again / n).read_bytes() for n in names)
    assert any((first / n).read_bytes() != (other / n).read_bytes() for n in names)


def test_score_says_exact_and_per_what(omniform, trained):
    answer = json.loads(omniform("score", trained, "--data", "digits", "-n", 40, "--json").stdout)
    assert answer["kind"] == "exact" and answer["space"] == "code of a learned codec" and answer["dimensions"] == 16
    assert answer["nats"] == pytest.approx(16 * answer["nats_per_dimension"])
    said = omniform("score", trained, "--data", "digits", "-n", 40)
    assert (
        "40 held-out examples of digits" in said.stdout
        and f"{answer['nats_per_dimension']:.4f} nats a code" in said.stdout
    )


def test_evaluate_and_compare(omniform, trained, quick_judge):
    answer = json.loads(omniform("evaluate", trained, "--data", "digits", "-n", 24, "--json").stdout)
    assert answer["samples"] == 24 and answer["floor"]["frechet"] < answer["frechet"]
    assert (
        0 <= answer["accuracy_on_conditions"] <= 1
        and answer["calls"] > 0
        and "classifier of 10 classes" in answer["judge"]
    )
    said = omniform("evaluate", trained, "--data", "digits", "-n", 24)
    assert said.exit_code == 0 and "held-out real" in said.stdout and "noise" in said.stdout
    rows = json.loads(omniform("compare", trained, trained, "--data", "digits", "-n", 24, "--json").stdout)
    same = [{k: v for k, v in row.items() if k != "seconds_per_sample"} for row in rows]
    assert same[0] == same[1] and rows[0]["kind"] == "exact" and rows[0]["frechet"] == pytest.approx(answer["frechet"])
    assert (
        "a dimension is a code of a learned codec" in omniform("compare", trained, "--data", "digits", "-n", 24).stdout
    )


def test_a_finished_run_is_not_trained_again(omniform, copied):
    before = (copied / "checkpoint" / "weights.safetensors").read_bytes()
    result = omniform("train", "--resume", "--out", copied)
    assert result.exit_code == 0 and ": 6 steps in " in result.stdout
    assert (copied / "checkpoint" / "weights.safetensors").read_bytes() == before


def test_a_codec_by_itself(omniform, tmp_path):
    out = tmp_path / "kl"
    result = omniform(
        "train", "kl", "--data", "digits", "--steps", 3, "--batch", 8, "--out", out, "--set", "codec.width=8"
    )
    assert result.exit_code == 0, result.stderr
    codec = of.load(out).codec
    with torch.no_grad():
        vec = codec.encode(of.data.open_data("digits").train.batch(range(1024)).data, rng=Rng.seeded(0)).vec.flatten(
            0, 1
        )
    assert vec.std(0).tolist() == pytest.approx([1.0] * 4, abs=0.05)  # settled on the average of the weights
    assert vec.mean(0).tolist() == pytest.approx([0.0] * 4, abs=0.05)


def test_text_is_streamed_as_it_grows_and_goes_on_from_a_prompt(omniform, tmp_path, small):
    text = tmp_path / "words.txt"
    text.write_text("the cat sat on the mat. " * 400)
    out = tmp_path / "gpt"
    words = (
        "-q",
        "train",
        "gpt",
        "--data",
        text,
        "--data-option",
        "characters=32",
        "--steps",
        3,
        "--batch",
        8,
        "--out",
        out,
    )
    assert omniform(*words, *small[:-2]).exit_code == 0
    streamed = omniform("sample", out, "--prompt", "the ", "--length", 20, "--seed", 4)
    whole = json.loads(omniform("sample", out, "--prompt", "the ", "--length", 20, "--seed", 4, "--json").stdout)
    assert streamed.exit_code == 0 and whole["texts"][0].startswith("the ") and len(whole["texts"][0]) > 4
    assert streamed.stdout_bytes == (whole["texts"][0] + "\n").encode()
    assert "nats a byte (exact)" in omniform("score", out, "--data", text, "--data-option", "characters=32").stdout


def test_a_folder_of_ones_own_pictures(omniform, tmp_path, small):
    """Three channels, other sides, classes from subfolders: everything is fitted."""
    for name, colour in (("red", (255, 0, 0)), ("blue", (0, 0, 255))):
        (tmp_path / "mine" / name).mkdir(parents=True)
        for i in range(6):
            Image.new("RGB", (20 + i, 24), colour).save(tmp_path / "mine" / name / f"{i}.png")
    out = tmp_path / "var"
    words = ("-q", "train", "var", "--data", tmp_path / "mine", "--data-option", "size=16", "--steps", 2, "--batch", 4)
    assert omniform(*words, "--out", out, *small).exit_code == 0
    result = omniform("sample", out, "--label", "red", "--label", "blue", "--out", tmp_path / "two.png")
    assert result.exit_code == 0, result.stderr
    assert "labels red blue" in result.stdout
    assert tuple(of.load(out).codec.shape) == (3, 16, 16)


def test_minutes_are_shared_with_the_codec(omniform, tmp_path, small):
    began = time.monotonic()
    result = omniform(
        "train", "image-gpt", "--data", "digits", "--minutes", 0.02, "--batch", 8, "--out", tmp_path / "r", *small
    )
    assert result.exit_code == 0, result.stderr
    assert "it is trained first, for 0 s" in result.stderr and time.monotonic() - began < 20
    state = json.loads((tmp_path / "r" / "checkpoint" / "state.json").read_text())
    assert state["training"]["seconds"] == pytest.approx(0.9)


def test_a_run_is_made_longer_where_its_schedule_allows(omniform, copied, tmp_path):
    out = tmp_path / "r"
    words = ("train", "gpt", "--data", "stdlib", "--batch", 4, "--out", out, "--set", "network.width=32", "--set", "network.backbone.depth=1")
    words += ("--set", "network.backbone.block.mixer.heads=2", "--set", "training.shape=constant", "--set", "training.warmup=1")
    assert omniform(*words, "--steps", 2).exit_code == 0
    longer = omniform("train", "--resume", "--out", out, "--steps", 4)
    assert longer.exit_code == 0 and ": 4 steps in " in longer.stdout
    assert ": 4 steps in " in omniform("train", "--resume", "--out", out).stdout                # it is remembered
    refused = omniform("train", "--resume", "--out", copied, "--steps", 9)                       # a cosine's first steps would have been others
    assert refused.exit_code == 2 and "steps=9 (the run has 6)" in refused.stderr and "into a new folder" in refused.stderr


def test_a_trained_system_is_trained_on(omniform, trained, tmp_path):
    out = tmp_path / "on"
    result = omniform("-q", "train", trained, "--data", "digits", "--steps", 2, "--batch", 16, "--out", out)
    assert result.exit_code == 0 and ": 2 steps in " in result.stdout, result.output
    first, then = of.load(trained), of.load(out)
    assert all(torch.equal(x, then.codec.state_dict()[n]) for n, x in first.codec.state_dict().items())     # its codec stays
    assert ": 2 steps in " in omniform("train", "--resume", "--out", out).stdout
    refused = omniform("train", trained, "--data", "digits", "--set", "network.width=8", "--out", tmp_path / "other")
    assert refused.exit_code == 2 and "leave out network.width" in refused.stderr
    assert not (tmp_path / "other").exists()


def test_an_objective_is_learnt_by_name_and_the_run_goes_on_with_it(omniform, small, tmp_path):
    words = ("-q", "train", "image-gpt", "--data", "digits", "--batch", 8, "--out", tmp_path / "run", *small)
    result = omniform(*words, "--steps", 2, "--objective", "nested", "--set", "objective.shares=[1.0, 0.5]")
    assert result.exit_code == 0, result.output
    plan = json.loads((tmp_path / "run" / "checkpoint" / "state.json").read_text())["training"]["objective"]
    assert plan["make"].endswith("nested:Nested") and plan["args"] == {"shares": [1.0, 0.5]}
    assert omniform("-q", "train", "--resume", "--out", tmp_path / "run", "--steps", 2).exit_code == 0
    refused = omniform("train", "image-gpt", "--data", "digits", "--out", tmp_path / "other", "--steps", 2, "--objective", "nestd")
    assert refused.exit_code == 2 and "did you mean nested" in refused.stderr
    refused = omniform("train", "image-gpt", "--data", "digits", "--out", tmp_path / "other", "--steps", 2, "--set", "objective.shares=1")
    assert refused.exit_code == 2 and "--objective NAME" in refused.stderr
