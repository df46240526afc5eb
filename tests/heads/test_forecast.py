"""Forecasts over several horizons."""

from __future__ import annotations

import pytest
import torch

from omniform.core.distribution import Content, Sampling
from omniform.core.errors import BadArgument
from omniform.core.rng import Rng
from omniform.core.tokens import Axis, Space
from omniform.heads.forecast import ForecastHead, Forecasts

SPACE = Space(axes=(Axis("time", 9),), channels=2)


def huber(x, delta):
    x = abs(x)
    return 0.5 * x * x if x <= delta else delta * (x - 0.5 * delta)


def test_the_error_by_loops():
    head = ForecastHead(4, SPACE, horizons=(1, 3), delta=0.7)
    h, series = torch.randn(2, 6, 4), torch.randn(2, 7, 2)
    real = torch.ones(2, 7, dtype=torch.bool)
    real[1, 5:] = False
    said = head(h)
    total = 0.0
    for number, horizon in enumerate((1, 3)):
        value = (h @ head.outs[number].weight.T).detach().reshape(2, 6, horizon, 2)
        each = [
            huber(float(value[b, i, k, c] - series[b, i + 1 + k, c]), 0.7)
            for b in range(2) for i in range(6) for k in range(horizon) for c in range(2)
            if i + 1 + k < 7 and real[b, i + 1 + k]
        ]  # fmt: skip
        total += sum(each) / len(each) / 2
    assert float(said.error(series, real).detach()) == pytest.approx(total, rel=1e-5)


def test_within_delta_it_is_half_the_squared_error_and_its_own_forecast_costs_nothing():
    said = Forecasts([torch.zeros(1, 4, 1, 2)], delta=10.0)
    series = torch.randn(1, 5, 2)
    assert torch.allclose(said.nll(Content(vec=series[:, 1:]), rng=Rng.seeded(0)), 0.5 * series[:, 1:].square().sum(-1))
    drawn = said.sample(rng=Rng.seeded(0), how=Sampling())
    assert float(said.nll(drawn, rng=Rng.seeded(0)).sum()) == 0 == float(said.confidence(drawn).sum())


def test_mixtures_places_and_horizons():
    one, two = (ForecastHead(4, SPACE, horizons=(1, 3))(torch.randn(2, 6, 4)) for _ in range(2))
    weights = (torch.full((2,), 3.0), torch.full((2,), -2.0))
    assert torch.allclose(Forecasts.mix([one, two], weights).ahead(3), 3 * one.ahead(3) - 2 * two.ahead(3))
    assert torch.equal(one.at(slice(2, 4)).ahead(3), one.ahead(3)[:, 2:4]) and one.horizons == (1, 3)
    with pytest.raises(BadArgument, match="only of 1, 3"):
        one.ahead(2)
    with pytest.raises(BadArgument, match="different horizons"):
        ForecastHead(4, SPACE, horizons=(1, 1))
