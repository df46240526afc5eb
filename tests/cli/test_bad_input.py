"""Whatever a person gets wrong: one clear line, exit status 2, nothing half written."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from PIL import Image

import omniform as of
from omniform.system import storage


def train(omniform, *words, out):
    return omniform("train", "--steps", 2, "--batch", 4, *words, "--out", out)


# ---- names, numbers, changes ----------------------------------------------------------------------------------------

ASKED = {
    "an unknown recipe": (("ditt", "--data", "digits"), ("'ditt'", "dit")),
    "an unknown size": (("dit", "--data", "digits", "--size", "XL/3"), ("XL/3", "XL/2")),
    "an unknown path": (("dit", "--data", "digits", "--set", "netwrk.width=3"), ("netwrk", "network")),
    "an unknown argument": (("dit", "--data", "digits", "--set", "network.widht=3"), ("widht", "width")),
    "a path into nothing": (("dit", "--data", "digits", "--set", "network.backbone.blok.mlp=3"), ("blok", "block")),
    "an unknown knob": (("dit", "--data", "digits", "--set", "training.lrr=3"), ("lrr", "lr")),
    "an unknown data set": (("dit", "--data", "digitz"), ("digitz", "digits")),
    "an unknown data option": (("dit", "--data", "digits", "--data-option", "sise=9"), ("sise",)),
    "no pair": (("dit", "--data", "digits", "--set", "network.width"), ("--set takes KEY=VALUE",)),
    "said twice": (("dit", "--data", "digits", "--set", "drop=0", "--set", "drop=1"), ("'drop' twice",)),
    "text for a number": (
        ("dit", "--data", "digits", "--set", "guidance.scale=much"),
        ("a number at guidance.scale", "'much'"),
    ),
    "a fraction for a count": (
        ("dit", "--data", "digits", "--set", "network.backbone.depth=1.5"),
        ("whole number", "1.5"),
    ),
    "a number for a part": (("dit", "--data", "digits", "--set", "network=3"), ("network is a whole part",)),
    "a number for an inner part": (
        ("dit", "--data", "digits", "--set", "network.backbone=3"),
        ("Stack", "network.backbone.NAME"),
    ),
    "a negative width": (("dit", "--data", "digits", "--set", "network.width=-3"), ("cannot be built so", "-3")),
    "no heads": (("dit", "--data", "digits", "--set", "network.backbone.block.mixer.heads=0"), ("heads",)),
    "a share above one": (("dit", "--data", "digits", "--set", "drop=2"), ("share from 0 to 1",)),
    "a shape that is none": (("dit", "--data", "digits", "--set", "shape=3"), ("list of whole numbers",)),
    "a negative rate": (("dit", "--data", "digits", "--lr", "-1"), ("--lr", "-1")),
    "negative minutes": (("dit", "--data", "digits", "--minutes", "-1"), ("--minutes",)),
    "a negative seed": (("dit", "--data", "digits", "--seed", "-1"), ("--seed",)),
    "an empty batch": (("dit", "--data", "digits", "--batch", "0"), ("--batch",)),
    "steps and minutes": (("dit", "--data", "digits", "--minutes", "1"), ("both",)),
    "pictures for a text recipe": (("gpt", "--data", "digits"), ("gpt is for text", "holds image")),
    "text for a picture recipe": (("dit", "--data", __file__), ("dit is for image", "holds text")),
    "a codec that is nowhere": (("dit", "--data", "digits", "--codec", "runs/nowhere"), ("no folder runs/nowhere",)),
    "no data": (("dit",), ("--data",)),
    "nothing at all": ((), ("omniform systems",)),
    "an unknown option": (("dit", "--data", "digits", "--lrr", "1"), ("--lrr", "--lr")),
}


@pytest.mark.parametrize("words,needed", ASKED.values(), ids=ASKED)
def test_a_training_that_cannot_be(omniform, refused, tmp_path, words, needed):
    refused(train(omniform, *words, out=tmp_path / "deep" / "r"), *needed)
    assert not any(tmp_path.iterdir())


LOOKED = {
    "an unknown verb": (("trian",), ("trian", "train")),
    "an unknown recipe": (("show", "ditt"), ("ditt", "dit")),
    "an unknown size": (("show", "dit", "--size", "XXL"), ("XXL", "XL/2")),
    "another without the size": (("show", "dit", "--size", "XL/2", "--against", "gpt"), ("gpt has no size",)),
    "an unknown family": (("systems", "--family", "diffuson"), ("diffuson", "diffusion")),
    "an unknown set": (("data", "show", "glyfs"), ("glyfs", "glyphs")),
    "an unknown set to fetch": (("data", "fetch", "fashion-minst"), ("fashion-mnist",)),
    "a wrong option": (("data", "show", "glyphs", "--data-option", "size=huge"), ("size", "huge")),
    "a picture of text": (("data", "show", __file__, "--out", "t.png"), ("holds text",)),
    "a run that is nowhere": (("sample", "runs/nowhere"), ("no folder runs/nowhere",)),
    "a shipped one that is not": (("sample", "shipped:ditt"), ("'ditt'",)),
    "a resume of nothing": (("train", "--resume", "--out", "runs/nowhere"), ("no run in runs/nowhere",)),
    "a resume without a place": (("train", "--resume"), ("--out",)),
}


@pytest.mark.parametrize("words,needed", LOOKED.values(), ids=LOOKED)
def test_what_is_not_there(omniform, refused, words, needed):
    refused(omniform(*words), *needed)


# ---- what a system does not take ------------------------------------------------------------------------------------

SAMPLED = {
    "an unknown class": (("--label", "x"), ("no class 'x'", "0")),
    "a condition that it does not take": (("--condition", "text=a red hat"), ("'text'", "this system takes label")),
    "a condition that is no pair": (("--condition", "label"), ("KEY=VALUE",)),
    "a label said twice": (("--label", "1", "--condition", "label=2"), ("once",)),
    "steps where there are none": (("--steps", "5"), ("no number of steps",)),
    "no samples": (("-n", "0"), ("-n",)),
    "fewer than none": (("-n", "-4"), ("-n",)),
    "a negative temperature": (("--temperature", "-1"), ("--temperature",)),
    "a share above one": (("--top-p", "1.5"), ("--top-p",)),
    "a prompt for pictures": (("--prompt", "hello"), ("takes no --prompt",)),
    "a length for pictures": (("--length", "5"), ("one size",)),
    "a moving picture of stills": (("--out", "still.gif"), (".png",)),
}


@pytest.mark.parametrize("words,needed", SAMPLED.values(), ids=SAMPLED)
def test_a_sample_that_cannot_be(omniform, refused, trained, tmp_path, monkeypatch, words, needed):
    monkeypatch.chdir(tmp_path)
    refused(omniform("sample", trained, *words), *needed)
    assert not any(tmp_path.iterdir())


def test_a_codec_alone_generates_nothing(omniform, refused, trained):
    refused(omniform("sample", trained / "codec"), "codec alone", "--codec")
    refused(omniform("score", trained / "codec", "--data", "digits"), "codec alone")


def test_data_of_another_shape_kind_or_classes(omniform, refused, trained, tmp_path):
    refused(omniform("evaluate", trained, "--data", __file__), "is for image", "holds text")
    for name in ("cat", "dog"):
        (tmp_path / name).mkdir()
        for i in range(3):
            Image.new("L", (8, 8), 40 * i).save(tmp_path / name / f"{i}.png")
    refused(omniform("score", trained, "--data", tmp_path, "--data-option", "size=8"), "10 classes", "cat, dog")
    refused(omniform("score", trained, "--data", tmp_path, "--data-option", "size=16"), "(1, 8, 8)", "(1, 16, 16)")


def test_a_codec_of_another_kind(omniform, refused, trained, tmp_path):
    line = refused(
        train(omniform, "dit", "--data", "digits", "--codec", trained, out=tmp_path / "r"), "continuous tokens"
    )
    assert "codes along y, x" in line and not any(tmp_path.iterdir())


def test_a_family_without_likelihood(omniform, refused, tmp_path):
    of.save(
        of.build("dit", data="digits", changes={"network.width": 32, "network.backbone.depth": 1}), tmp_path / "dit"
    )
    refused(omniform("score", tmp_path / "dit", "--data", "digits"), "no likelihood", "omniform evaluate")
    refused(omniform("sample", tmp_path / "dit", "--top-k", 3), "--top-k cannot choose")


# ---- data of one's own ----------------------------------------------------------------------------------------------


def test_an_empty_folder(omniform, refused, tmp_path):
    (tmp_path / "mine").mkdir()
    refused(train(omniform, "dit", "--data", tmp_path / "mine", out=tmp_path / "r"), "found neither")
    assert not (tmp_path / "r").exists()


def test_broken_pictures(omniform, refused, tmp_path):
    mine = tmp_path / "mine"
    mine.mkdir()
    for i in range(4):
        Image.new("L", (16, 16), 60 * i).save(mine / f"{i}.png")
    (mine / "1.png").write_bytes((mine / "1.png").read_bytes()[:30])
    (mine / "2.png").write_text("this is no picture")
    refused(train(omniform, "dit", "--data", mine, out=tmp_path / "r"), "2 of 4", "1.png, 2.png", "skip_broken")
    assert not (tmp_path / "r").exists()


def test_pictures_that_no_stride_divides(omniform, refused, tmp_path):
    mine = tmp_path / "mine"
    mine.mkdir()
    for i in range(4):
        Image.new("L", (27, 27), 60 * i).save(mine / f"{i}.png")
    words = ("dit", "--data", mine, "--data-option", "size=27")
    refused(train(omniform, *words, out=tmp_path / "r"), "divides 27 x 27", "resize")


# ---- places and disks -----------------------------------------------------------------------------------------------


def test_a_folder_that_holds_something(omniform, refused, trained, tmp_path):
    (tmp_path / "r").mkdir()
    (tmp_path / "r" / "thesis.tex").write_text("years")
    refused(train(omniform, "dit", "--data", "digits", out=tmp_path / "r"), "holds other files")
    refused(train(omniform, "dit", "--data", "digits", out=tmp_path / "r" / "thesis.tex"), "is a file")
    refused(omniform("sample", trained, "-n", 2, "--out", tmp_path / "r"), "holds something already")
    assert [p.name for p in tmp_path.rglob("*")] == ["r", "thesis.tex"] and (
        tmp_path / "r" / "thesis.tex"
    ).read_text() == "years"


def test_a_run_is_not_trained_over(omniform, refused, trained):
    before = {p: p.read_bytes() for p in trained.rglob("*") if p.is_file()}
    refused(train(omniform, "image-gpt", "--data", "digits", out=trained), "holds a run already", "--resume")
    refused(omniform("train", "--resume", "--out", trained, "--lr", 1), "leave out --lr")
    refused(omniform("train", "dit", "--resume", "--out", trained), "leave out dit")
    assert before == {p: p.read_bytes() for p in trained.rglob("*") if p.is_file()}


@pytest.fixture
def full_disk(tmp_path, monkeypatch):
    """A place with little room: a real one where one may be mounted, else one that says so."""
    place = tmp_path / "disk"
    place.mkdir()
    mounted = (
        subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=200k", "tmpfs", str(place)], capture_output=True, check=False
        ).returncode
        == 0
    )
    if not mounted:
        write = storage._write

        def full(path: Path, data: bytes) -> None:
            if len(data) > 100_000:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
            write(path, data)

        monkeypatch.setattr(storage, "_write", full)
    yield place
    if mounted:
        subprocess.run(["umount", "-l", str(place)], check=True)


def test_a_full_disk(omniform, refused, trained, full_disk, small):
    result = omniform(
        "-q", "train", "image-gpt", "--data", "digits", "--steps", 1, "--batch", 4, "--out", full_disk / "r", *small
    )
    refused(result, "disk is full")
    assert not [p for p in full_disk.rglob("*") if ".partial-" in p.name]
    for checkpoint in full_disk.rglob("checkpoint"):  # the codec's may have fitted
        assert of.load(checkpoint).recipe.name == "image-gpt-codec"
    refused(omniform("-q", "train", "--resume", "--out", full_disk / "r"), "disk is full")


# ---- checkpoints ----------------------------------------------------------------------------------------------------


def spoiled(run, change):
    file = run / "checkpoint" / "weights.safetensors"
    file.write_bytes(change(file.read_bytes()))


SPOILED = {
    "cut short": (lambda b: b[: len(b) // 2], "cut short"),
    "emptied": (lambda b: b"", "cut short"),
    "a flipped byte": (lambda b: b[:5000] + bytes([b[5000] ^ 1]) + b[5001:], "is altered"),
    "grown": (lambda b: b + b"x", "too long"),
}


@pytest.mark.parametrize("change,word", SPOILED.values(), ids=SPOILED)
def test_a_spoiled_checkpoint(omniform, refused, copied, change, word):
    spoiled(copied, change)
    for words in (
        ("sample", copied, "-n", 1, "--out", copied / "x.png"),
        ("score", copied, "--data", "digits"),
        ("train", "--resume", "--out", copied),
    ):
        refused(omniform(*words), "weights.safetensors", word)
    assert not (copied / "x.png").exists()


def test_a_folder_that_is_no_run(omniform, refused, tmp_path, copied):
    refused(omniform("sample", tmp_path), "manifest.json")
    refused(omniform("sample", copied / "run.json"), "is a file")
    refused(omniform("train", "--resume", "--out", tmp_path / "none"), "no run in")
    (copied / "run.json").write_text("{")
    refused(omniform("train", "--resume", "--out", copied), "run.json is altered")
    (copied / "checkpoint" / "recipe.json").write_text(json.dumps({"name": "os:system"}))
    refused(omniform("sample", copied), "recipe.json")


# ---- Ctrl-C ---------------------------------------------------------------------------------------------------------


def interrupted(words, ready, tmp_path):
    """A training in a process of its own, sent Ctrl-C once it is ready."""
    running = subprocess.Popen(
        [sys.executable, "-m", "omniform", *map(str, words)],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    deadline = time.monotonic() + 120
    while not ready() and running.poll() is None and time.monotonic() < deadline:
        time.sleep(0.05)
    running.send_signal(signal.SIGINT)
    said = running.communicate(timeout=120)
    return running.returncode, *said


def test_ctrl_c_leaves_a_run_that_loads_and_goes_on(omniform, tmp_path, small, trained):
    out = tmp_path / "r"
    words = (
        "train",
        "image-gpt",
        "--data",
        "digits",
        "--steps",
        100_000,
        "--batch",
        4,
        "--codec",
        trained,
        "--out",
        out,
        "--set",
        "training.checkpoint_every=5",
        *small[:-2],
    )
    state = out / "checkpoint" / "state.json"
    status, answer, said = interrupted(words, state.exists, tmp_path)
    assert status == 130 and answer == "" and "Traceback" not in said, said
    assert f"omniform train --resume --out {out} goes on" in said
    step = json.loads(state.read_text())["step"]
    assert f"stopped after step {step};" in said and step >= 5
    assert omniform("sample", out, "-n", 1, "--out", tmp_path / "p.png").exit_code == 0
    written = state.stat().st_ino
    further = lambda: state.exists() and state.stat().st_ino != written  # noqa: E731
    status, answer, said = interrupted(("train", "--resume", "--out", out), further, tmp_path)
    assert status == 130 and json.loads(state.read_text())["step"] > step, said


def test_ctrl_c_while_the_codec_learns(omniform, refused, tmp_path, small):
    out = tmp_path / "r"
    words = (
        "train",
        "image-gpt",
        "--data",
        "digits",
        "--steps",
        4000,
        "--batch",
        4,
        "--out",
        out,
        "--set",
        "training.checkpoint_every=5",
        *small,
    )
    status, answer, said = interrupted(words, (out / "codec" / "checkpoint" / "state.json").exists, tmp_path)
    assert status == 130 and answer == "" and "while its codec was learning" in said, said
    refused(omniform("sample", out), "trained only its codec so far", "--resume")
    assert of.load(out / "codec").recipe.name == "image-gpt-codec"
