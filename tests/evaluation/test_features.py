"""The classifier that judges pictures: it learns, repeats, is saved whole, and its scores order good before bad."""

from __future__ import annotations

import json
import subprocess
import sys
from types import SimpleNamespace

import pytest
import torch
from sklearn.datasets import load_digits
from torch.nn.functional import interpolate

from omniform.core.batch import Batch
from omniform.core.errors import BadArgument, CheckpointError, DataError, ShapeError
from omniform.evaluation.features import (
    CARD,
    WEIGHTS,
    Classifier,
    evaluate_images,
    floor_and_ceiling,
    held_out_accuracy,
    load,
    random_features,
    save,
    train_classifier,
)


class Digits:
    """Some of scikit-learn's 8x8 digits, as a split of a data set."""

    def __init__(self, rows: slice, *, labelled: bool = True):
        digits = load_digits()
        self.images = torch.from_numpy(digits.images[rows]).float()[:, None] / 8 - 1
        self.labels = torch.from_numpy(digits.target[rows]).long()
        self.labelled = labelled

    def __len__(self) -> int:
        return len(self.images)

    def batch(self, indices):
        return Batch(self.images[indices], {"label": self.labels[indices]} if self.labelled else {})


def digits(**how) -> SimpleNamespace:
    return SimpleNamespace(
        train=Digits(slice(0, 1300), **how), test=Digits(slice(1300, None), **how), classes=tuple("0123456789")
    )


@pytest.fixture(scope="module")
def judge() -> Classifier:
    return train_classifier(digits(), steps=40)


def test_it_learns_the_digits(judge):
    assert judge.accuracy > 0.9
    assert judge.accuracy == held_out_accuracy(judge, digits().test) and judge.num_held_out == 497
    assert judge.kind == "trained classifier" and f"{judge.accuracy:.1%}" in judge.sentence()


def test_training_by_steps_repeats_exactly_and_leaves_the_global_stream_alone():
    before, told = torch.random.get_rng_state(), []
    a = train_classifier(digits(), steps=2, seed=5, on_progress=lambda share, words: told.append((share, words)))
    b = train_classifier(digits(), steps=2, seed=5)
    assert torch.equal(before, torch.random.get_rng_state())
    assert all(torch.equal(x, y) for x, y in zip(a.state_dict().values(), b.state_dict().values(), strict=True))
    assert [share for share, _ in told] == [0.5, 1.0] and "step 2" in told[1][1]


def test_training_by_seconds_ends():
    told = []
    assert train_classifier(digits(), seconds=0.2, on_progress=lambda share, _: told.append(share)).accuracy is not None
    assert told == sorted(told) and told[-1] == 1.0


def test_what_is_saved_is_loaded(judge, tmp_path):
    again = load(save(judge, tmp_path / "judge"))
    images = digits().test.images
    assert torch.equal(again.features(images), judge.features(images))
    assert torch.equal(again.predict(images), judge.predict(images))
    for fact in ("shape", "classes", "seed", "kind", "accuracy", "num_held_out"):
        assert getattr(again, fact) == getattr(judge, fact)
    assert sorted(path.name for path in (tmp_path / "judge").iterdir()) == [CARD, WEIGHTS]  # nothing left beside


@pytest.mark.parametrize(
    "harm", ["no card", "no weights", "cut short", "not json", "another format", "a fact too many"]
)
def test_a_harmed_checkpoint_is_refused(harm, tmp_path):
    save(random_features((1, 8, 8)), tmp_path)
    card, weights = tmp_path / CARD, tmp_path / WEIGHTS
    match harm:
        case "no card":
            card.unlink()
        case "no weights":
            weights.unlink()
        case "cut short":
            weights.write_bytes(weights.read_bytes()[:-4])
        case "not json":
            card.write_text("{")
        case "another format":
            card.write_text(json.dumps(json.loads(card.read_text()) | {"format": 2}))
        case "a fact too many":
            card.write_text(json.dumps(json.loads(card.read_text()) | {"surprise": 1}))
    with pytest.raises(CheckpointError):
        load(tmp_path)


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 8, 12), (1, 28, 28), (3, 32, 32), (1, 64, 64)])
def test_every_size_gives_128_features_row_by_row(shape):
    judge = Classifier(shape, "abc").eval()
    images = torch.rand(5, *shape, generator=torch.Generator().manual_seed(0)) * 2 - 1
    assert judge.features(images).shape == (5, 128) and judge(images).shape == (5, 3)
    assert torch.allclose(judge.features(images, batch=2), judge.features(images), atol=1e-5)
    changed = images.clone()
    changed[2] *= -1
    moved = (judge.features(changed) - judge.features(images)).abs().amax(1) > 1e-3
    assert moved.tolist() == [False, False, True, False, False]


def test_features_clamp_and_do_not_depend_on_the_mode(judge):
    images = digits().test.images[:16] * 3
    still = judge.features(images)
    judge.train()
    assert torch.equal(judge.features(images), still) and judge.training
    judge.eval()
    assert torch.equal(judge.features(images.clamp(-1, 1)), still)


def test_scores_put_reals_before_blurred_before_noise(judge):
    data = digits()
    real, held_out, labels = data.train.images[:400], data.test.images[:400], data.test.labels[:400]
    floor, ceiling = floor_and_ceiling(judge, real, held_out, labels)
    soft = (held_out + interpolate(interpolate(held_out, size=4, mode="area"), size=8, mode="bilinear")) / 2
    middle = evaluate_images(judge, real, soft, labels)
    for name in ("frechet", "kernel"):
        assert floor[name] < middle[name] < ceiling[name]
    for name in ("precision", "recall", "accuracy_on_conditions"):
        assert floor[name] > middle[name] >= ceiling[name] - 0.15
    assert floor["accuracy_on_conditions"] > 0.9 and floor["n_real"] == floor["n_fake"] == 400
    assert ceiling["precision"] < 0.1


def test_conditions_are_judged_only_if_asked_and_known(judge):
    data = digits().test
    wrong = evaluate_images(judge, data.images, data.images, (data.labels + 1) % 10)
    assert wrong["accuracy_on_conditions"] < 0.1 and wrong["frechet"] == pytest.approx(0, abs=1e-3)
    assert evaluate_images(judge, data.images, data.images)["accuracy_on_conditions"] is None
    eye = random_features((1, 8, 8))
    assert evaluate_images(eye, data.images, data.images, data.labels)["accuracy_on_conditions"] is None


def test_without_labels_the_judge_says_that_it_is_untrained():
    with pytest.raises(DataError, match="random_features"):
        train_classifier(digits(labelled=False), steps=1)
    eye, data = random_features((1, 8, 8), seed=3), digits()
    assert eye.kind == "random convolutions" and eye.accuracy is None and "untrained" in eye.sentence()
    floor, ceiling = floor_and_ceiling(eye, data.train.images[:400], data.test.images[:400])
    assert 5 * floor["frechet"] < ceiling["frechet"]
    with pytest.raises(BadArgument, match="no classes"):
        eye.predict(data.test.images)


def test_text_has_no_classifier():
    text = type("Text", (), {"__len__": lambda self: 2, "batch": lambda self, indices: Batch(["to be", "or not"])})()
    with pytest.raises(DataError, match="text"):
        train_classifier(SimpleNamespace(train=text, test=text, classes=()), steps=1)


@pytest.mark.parametrize("how", [{}, {"steps": 1, "seconds": 1}, {"steps": 0}, {"seconds": -1}])
def test_the_budget_is_one_positive_number(how):
    with pytest.raises(BadArgument):
        train_classifier(digits(), **how)


def test_other_shapes_are_refused(judge):
    for bad in (torch.zeros(4, 1, 28, 28), torch.zeros(1, 8, 8), torch.zeros(0, 1, 8, 8), [1]):
        with pytest.raises(ShapeError):
            judge.features(bad)
    for shape in ((1, 4, 4), (2, 8, 8), (1, 128, 128), (8, 8)):
        with pytest.raises(ShapeError):
            Classifier(shape, "ab")
    with pytest.raises(ShapeError, match="labels"):
        evaluate_images(judge, digits().test.images, digits().test.images, torch.zeros(3).long())


def test_the_package_imports_without_torch():
    code = "import sys, omniform.evaluation, omniform.evaluation.report; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
