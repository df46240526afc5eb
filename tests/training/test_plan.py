"""Knobs and the learning rate."""
from __future__ import annotations

import math
import subprocess
import sys

import pytest

from omniform.core.errors import BadArgument
from omniform.training.plan import Training


def test_the_learning_rate_rises_linearly_and_falls_like_a_cosine():
    t = Training(steps=2000, warmup=100)
    assert t.factor(0, 0.0) == pytest.approx(0.01)
    assert t.factor(49, 49 / 2000) == pytest.approx(0.5 * 0.5 * (1 + math.cos(math.pi * 49 / 2000)))
    assert t.factor(1000, 0.5) == pytest.approx(0.5)
    assert t.factor(2000, 1.0) == pytest.approx(0)
    values = [t.factor(s, s / 2000) for s in range(2000)]
    top = values.index(max(values))
    assert values[:top + 1] == sorted(values[:top + 1]) and values[top:] == sorted(values[top:], reverse=True)


def test_a_constant_rate_stays_and_a_run_without_warmup_starts_at_the_top():
    assert {Training(steps=50, shape="constant", warmup=0).factor(s, s / 50) for s in range(50)} == {1.0}


def test_a_linear_rate_falls_evenly():
    t = Training(steps=100, shape="linear", warmup=0)
    assert [t.factor(s, s / 100) for s in (25, 50, 100)] == pytest.approx([0.75, 0.5, 0.0])


def test_warmup_takes_a_tenth_of_a_short_run_at_most():
    t = Training(steps=50, warmup=100, shape="constant")
    assert t.factor(0, 0) == 0.01 and t.factor(4, 4 / 50) < 1 and t.factor(5, 5 / 50) == 1


@pytest.mark.parametrize("wrong", [
    {}, {"steps": 0}, {"steps": 2.5}, {"steps": True}, {"seconds": -1}, {"seconds": float("nan")},
    {"batch": 0}, {"lr": 0}, {"lr": "1"}, {"shape": "round"}, {"precision": "fp16"}, {"ema": 1.5}, {"betas": (0.9,)},
    {"clip": -1}, {"seed": -1}, {"lrs": {"critic": -1}}, {"log_every": 0}])
def test_a_wrong_knob_is_named_in_one_line(wrong):
    with pytest.raises(BadArgument, match="an end" if not wrong else list(wrong)[-1]) as caught:
        Training(**({"steps": 5, **wrong} if wrong and "seconds" not in wrong else wrong))
    assert "\n" not in str(caught.value)


def test_json_and_back():
    t = Training(seconds=30, lrs={"critic": 1e-4}, betas=[0.8, 0.9])
    assert Training(**t.json()) == t


def test_what_may_change_between_the_parts_of_a_run():
    t = Training(steps=2000)
    assert t.changes(Training(steps=2000, checkpoint_every=1, log_every=1, validate_every=0, seconds=5), 500) == []
    assert t.changes(Training(steps=2000, lr=1, seed=3), 500) == ["lr", "seed"]
    assert t.changes(Training(steps=1000), 500) == ["steps"] and t.changes(Training(steps=1000), 0) == []
    assert t.changes(Training(seconds=30), 500) == ["steps"]
    assert Training(seconds=60).changes(Training(seconds=30), 500) == []
    constant = Training(steps=2000, shape="constant", warmup=10)
    assert constant.changes(Training(steps=1000, shape="constant", warmup=10), 500) == []
    assert constant.changes(Training(steps=5000, shape="constant", warmup=10), 3000) == ["steps"]
    assert constant.changes(Training(steps=20, shape="constant", warmup=10), 20) == ["steps"]  # a shorter warm-up


def test_the_room_opens_without_torch():
    code = ("import sys, omniform.training as room; room.Training(steps=1); assert 'torch' not in sys.modules; "
            "assert callable(room.train) and 'torch' in sys.modules")
    subprocess.run([sys.executable, "-c", code], check=True)
