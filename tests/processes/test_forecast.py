"""Series that go on: several horizons, and a window that rolls."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from omniform import recipes
from omniform.core.distribution import Content
from omniform.core.errors import BadArgument
from omniform.core.process import generate
from omniform.core.query import Answer
from omniform.core.rng import Rng
from omniform.core.tokens import Axis, Space
from omniform.heads.forecast import Forecasts
from omniform.heads.point import Point
from omniform.processes.forecast import Forecast, Rolling
from omniform.system.build import assemble
from omniform.system.system import Counted

SPACE = Space(axes=(Axis("time", 40),), channels=1, open=True)


class Counting:
    """Forecasts that the series rises by one a token; writes down what it is asked."""

    def __init__(self, horizons=(1, 2, 8)):
        self.horizons, self.asked = horizons, []

    def __call__(self, query, *, remember=False):
        self.asked.append((query.tokens.length, int(query.turn[0, 0]), remember))
        here = query.tokens.vec[:, :, None]
        return Answer(Forecasts([here + torch.arange(1.0, h + 1)[:, None] for h in self.horizons], 2.0))


def test_the_longest_horizons_first_each_asked_about_what_is_new():
    tokens = SPACE.blank(2, {"time": 24})
    tokens = tokens.put(slice(0, 5), Content(vec=torch.arange(5.0)[None, :, None].expand(2, -1, -1)))
    net, given = Counting(), (torch.arange(24) < 5).expand(2, -1)
    process = Forecast((8, 2, 1))
    made = generate(process, net, tokens, rng=Rng.seeded(0, 2), given=given)
    assert torch.equal(made.vec[0, :, 0], torch.arange(24.0))
    assert net.asked == [(5, 0, True), (8, 5, True), (8, 13, True), (2, 21, True)]           # 19 = 8 + 8 + 2 + 1
    assert [8, 8, 2, 1] == [process.longest(r) for r in (19, 11, 3, 1)]
    asks = process.asks(SPACE.blank(1, {"time": 20}))
    assert [(a.new, a.seen) for a in asks] == [(1, 0), (8, 1), (8, 9), (2, 17)] and sum(a.new for a in asks) == 19
    one = Counting()
    generate(process.but(horizons=(1,)), one, tokens, rng=Rng.seeded(0, 2), given=given)
    assert len(one.asked) == 19
    with pytest.raises(BadArgument, match="horizon of 1"):
        Forecast((2, 8))


def test_all_given_asks_nothing_and_nothing_given_begins_with_the_mean():
    net, tokens = Counting(), SPACE.blank(2, {"time": 6})
    generate(Forecast((1, 2)), net, tokens, rng=Rng.seeded(0, 2), given=torch.ones(2, 6, dtype=torch.bool))
    assert net.asked == []
    made = generate(Forecast((1, 2)), Counting((1, 2)), tokens, rng=Rng.seeded(0, 2))
    assert torch.equal(made.vec[0, :, 0], torch.arange(6.0))


class Chain:
    """Stage "a" says half of what it reads, stage "b" what it reads."""

    def __call__(self, query, *, remember=False):
        assert not remember
        return Answer(Point(query.tokens.vec * (0.5 if query.stage == "a" else 1.0)))


@pytest.mark.parametrize("scaled", [True, False])
def test_a_chain_by_hand(scaled):
    """Out 1 = x/2; rest = x - shift(x)/2; out 2 = rest: together 1.5 x - shift(x)/2, and the norm goes in and out without a trace of scale."""
    space = Space(axes=(Axis("time", 6),), channels=3, open=True)
    tokens = space.blank(2).put(slice(0, 6), Content(vec=torch.randn(2, 6, 3) * 4 + 7))
    process = Rolling(5, ("a", "b"), scaled=scaled)
    x = tokens.vec[:, :5]
    mean = x.mean((1, 2), keepdim=True) if scaled else 0.0
    z = x - mean
    want = 1.5 * z - 0.5 * F.pad(z[:, :-1], (0, 0, 1, 0)) + mean
    losses = process.loss(Chain(), tokens, rng=Rng.seeded(0))
    assert float(losses.mean()) == pytest.approx(float(0.5 * (want - tokens.vec[:, 1:]).square().sum(-1).mean()), rel=1e-5)
    assert [(a.new, a.seen) for a in process.asks(space.blank(1, {"time": 3}))] == [(1, 0), (1, 0), (2, 0), (2, 0)]


def test_a_window_forgets_what_is_before_it():
    recipe = recipes.get("gpht").sized("tiny").but({"process.context": 3})
    system = assemble(recipe).eval()
    data = torch.randn(2, 192)
    other = torch.cat([torch.randn(2, 24), data[:, 24:]], 1)
    keep, seen = torch.arange(8) < 4, []
    made = [system.generate(2, given=(d, keep), decode=False, wrap=lambda n: seen.append(Counted(n)) or seen[-1]).vec for d in (data, other)]
    assert torch.allclose(made[0][:, 4:], made[1][:, 4:], atol=1e-6) and seen[0].calls == 4 * 4
    third = system.generate(2, given=(torch.cat([data[:, :24], data[:, 24:48] + 1, data[:, 48:]], 1), keep), decode=False).vec
    assert float((third - made[0])[:, 4:].abs().max()) > 1e-4


def test_with_the_norm_held_fixed_a_forecast_hears_of_nothing_later():
    system = assemble(recipes.get("gpht").sized("tiny").but({"process.scaled": False})).eval()
    process, tokens = system.process, system.codec.encode(torch.randn(1, 192))
    net = system.network.open(system.conditioning.context({}, 1))
    ask = lambda t: process._forecast(net, t, torch.zeros(1)).value  # noqa: E731
    later = tokens.put(slice(5, 8), Content(vec=torch.randn(1, 3, 24)))
    before, after = ask(tokens), ask(later)
    assert torch.allclose(before[:, :5], after[:, :5], atol=1e-5) and not torch.allclose(before[:, 5:], after[:, 5:])
    normed = system.process.but(scaled=True)
    assert not torch.allclose(normed._forecast(net, tokens, torch.zeros(1)).value[:, :5], normed._forecast(net, later, torch.zeros(1)).value[:, :5], atol=1e-5)
