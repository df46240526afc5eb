from __future__ import annotations

import pytest
import torch

from omniform.core.errors import BadArgument
from omniform.data import open_data
from omniform.data.series import _filled


def test_traffic_is_scaled_by_what_is_trained_on_and_nothing_held_out_is_in_it() -> None:
    dataset = open_data("traffic", steps=48)
    assert len(dataset.train) == 14_016 - 47 and len(dataset.test) == 3_504 // 48
    train = torch.cat([dataset.train.batch(range(0, len(dataset.train), 48)).data.flatten()])
    assert abs(float(train.mean())) < 0.01 and abs(float(train.std()) - 1) < 0.01
    here, later = dataset.train.batch([5, 6]).data
    assert torch.equal(here[1:], later[:-1])
    held = dataset.test.batch(range(len(dataset.test))).data
    assert not any(torch.equal(held[0], row) for row in dataset.train.batch(range(len(dataset.train) - 200, len(dataset.train))).data)
    day = dataset.test.batch(range(40)).data
    assert float((day[:, 24:] * day[:, :24]).mean()) > 0.5, "a day resembles the day before"


def test_other_series_and_options() -> None:
    warm = open_data("traffic", steps=48, series="temp").train.batch(range(0, 8_000, 400)).data
    assert float(warm.std()) > 0.3
    with pytest.raises(BadArgument, match="series to be one of"):
        open_data("traffic", series="snow")


def test_what_is_missing_is_as_a_week_before() -> None:
    said = [str(i) for i in range(200)]
    said[3], said[170] = "", ""
    values = _filled(said)
    assert values[3] == 2 and values[170] == 2 and values[171] == 171


def test_proteins_are_of_amino_acids_and_disjoint() -> None:
    dataset = open_data("proteins", characters=60)
    train, test = (set(split.batch(range(len(split))).data) for split in (dataset.train, dataset.test))
    assert not train & test and len(train) > 150
    assert all(len(line) <= 60 and line.isalpha() and line.isupper() for line in train | test)
