"""Frozen encoders of other people at work: what a system is aligned with, and what its samples are compared in."""

from __future__ import annotations

import json

import pytest
import torch
from click.testing import CliRunner
from transformers import Dinov2Config, Dinov2Model, ViTImageProcessor

import omniform as of
from omniform.cli import PROGRAM
from omniform.core.errors import BadArgument
from omniform.core.spec import Spec
from omniform.data import open_data
from omniform.evaluation.features import random_features
from omniform.evaluation.metrics import frechet
from omniform.training.objectives.align import Align

SMALL = {"network.width": 32, "network.backbone.depth": 3, "network.backbone.block.mixer.heads": 2}


@pytest.fixture(scope="module")
def eye(tmp_path_factory):
    """The folder of a DINOv2 that sees 28 pixels in patches of 7."""
    torch.manual_seed(0)
    place = tmp_path_factory.mktemp("dino")
    Dinov2Model(Dinov2Config(hidden_size=16, num_hidden_layers=1, num_attention_heads=2, image_size=28, patch_size=7)).save_pretrained(place)
    ViTImageProcessor(size={"height": 28, "width": 28}, resample=3).save_pretrained(place)
    return place


@pytest.fixture(scope="module")
def small():
    return of.build("dit", data="digits", changes=SMALL)


def weights(system):
    return {n: p.clone() for n, p in system.network.named_parameters()}


def test_a_system_is_aligned_with_a_folder_of_transformers(eye, tmp_path):
    """The run says the folder, goes on with it, and learns what it learns from the encoder itself."""
    spec, how = Spec(Align, {"encoder": str(eye), "hidden": 16, "weight": 5.0}), {"steps": 2, "batch": 4, "progress": False}
    first, second, plain = (of.build("dit", data="digits", changes=SMALL) for _ in range(3))
    of.train(first, "digits", objective=spec, out=tmp_path / "run", **how)
    of.train(second, "digits", objective=Align(second, of.load(eye), hidden=16, weight=5.0), **how)
    of.train(plain, "digits", **how)
    a, b, c = weights(first), weights(second), weights(plain)
    assert all(torch.equal(a[n], b[n]) for n in a) and not all(torch.equal(a[n], c[n]) for n in a)
    said = json.loads((tmp_path / "run" / "checkpoint" / "state.json").read_text())["training"]["objective"]["args"]
    assert said["encoder"] == str(eye)
    run = of.train(of.load(tmp_path / "run"), "digits", objective=spec, out=tmp_path / "run", resume=True, **how)
    assert run.steps == 2 and all(torch.equal(p, a[n]) for n, p in weights(run.system).items())


def test_samples_are_compared_in_the_features_of_an_encoder(eye, small):
    data, encoder = open_data("digits"), of.load(eye)
    answer = of.evaluate(small, data, 6, encoder=eye, progress=False)
    assert answer["accuracy_on_conditions"] is None and str(eye) in answer["judge"]
    again = of.evaluate(small, data, 6, encoder=encoder, progress=False)
    assert again["frechet"] == answer["frechet"] and answer["floor"]["frechet"] < answer["ceiling"]["frechet"]
    from omniform.data import order

    real, unseen = (rows.batch(order(len(rows), 0, 0, 6)).data for rows in (data.train, data.test))
    assert answer["floor"]["frechet"] == frechet(encoder.whole(real), encoder.whole(unseen))


def test_the_command_line_takes_a_folder(eye, small, tmp_path):
    of.save(small, tmp_path / "dit")
    run = lambda *words: CliRunner().invoke(PROGRAM, [str(w) for w in words], catch_exceptions=False)  # noqa: E731
    answer = run("--quiet", "evaluate", tmp_path / "dit", "--data", "digits", "-n", 6, "--features", eye, "--json")
    assert json.loads(answer.stdout)["frechet"] > 0


def test_each_is_refused_in_the_place_of_the_other(eye, small, tmp_path):
    of.save(small, tmp_path / "dit")
    with pytest.raises(BadArgument, match="an encoder of pictures is expected"):
        of.evaluate(small, "digits", 6, encoder=tmp_path / "dit")
    with pytest.raises(BadArgument, match="which generates nothing"):
        of.evaluate(eye, "digits", 6)
    with pytest.raises(BadArgument, match="both were given"):
        of.evaluate(small, "digits", 6, random_features((1, 8, 8)), encoder=eye)
