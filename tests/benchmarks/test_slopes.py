"""The arithmetic of slopes: exponents, crossings and bytes alive, where they are known."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
import torch

from omniform.backbones import attention
from omniform.core.net import Block

PLACE = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def slopes(monkeypatch):
    monkeypatch.syspath_prepend(str(PLACE))
    spec = importlib.util.spec_from_file_location("slopes_under_test", PLACE / "slopes.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


LENGTHS = [256, 1024, 4096]


def test_powers_are_found(slopes):
    assert slopes.exponent(LENGTHS, [3.0 * n**1.5 for n in LENGTHS]) == (pytest.approx(1.5), pytest.approx(1.0986, abs=1e-3))


def test_lines_cross_where_they_cross(slopes):
    full = [float(n * n) for n in LENGTHS]
    assert slopes.crossing(LENGTHS, [600.0 * n for n in LENGTHS], full) == "600"
    assert slopes.crossing(LENGTHS, [n / 2 for n in LENGTHS], full) == "under 256"
    assert slopes.crossing(LENGTHS, [10_000.0 * n for n in LENGTHS], full) == "about 10,000 (fitted)"
    assert slopes.crossing(LENGTHS, [2 * n for n in full], full).startswith("never")


def test_bytes_alive_are_those_of_storages_at_once(slopes):
    def one_after_another():
        for _ in range(3):
            torch.zeros(1000).view(10, 100)

    def together():
        return [torch.zeros(1000) for _ in range(3)]

    assert slopes.peak(one_after_another) == 4000 and slopes.peak(together) == 12000


def test_every_mixer_is_measured_against_full_attention(slopes):
    for case in slopes.CASES.values():
        found = slopes.measured(case, (8,), 1, 0)
        assert all(len(values) == 1 and values[0] > 0 for values in found.values())


FULL = {"CrossAttention", "ToldAttention"}
"""Attention whose pairs are all computed; Attention itself is what the others are measured against."""


def test_no_attention_is_left_out(slopes):
    """A new class of the attention room is measured, or said to be full here."""
    made = [case.make(case.space(8)) for case in slopes.CASES.values()]
    there = {type(part).__name__ for mixer in made if isinstance(mixer, torch.nn.Module) for part in mixer.modules()}
    assert {part.__name__ for part in vars(attention).values() if isinstance(part, type) and issubclass(part, Block)} - there == FULL
