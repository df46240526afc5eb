"""A flow that is shown clean places: what is drawn, what counts, and that given places are heard clean."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from omniform.core.errors import BadArgument
from omniform.core.process import generate
from omniform.core.query import Answer
from omniform.core.rng import Rng
from omniform.core.spec import Spec
from omniform.core.tokens import Axis, Space
from omniform.heads.point import Point
from omniform.processes.flow import Flow
from omniform.processes.paths import Linear
from omniform.processes.shown import KINDS, Shown
from omniform.processes.solvers import Euler

SPACE = Space(axes=(Axis("frame", 8), Axis("y", 3)), channels=2)


class Listener:
    """Answers zero and writes down what was asked."""

    def __init__(self):
        self.asked = []

    def __call__(self, query, *, remember=False):
        self.asked.append(query)
        return Answer(Point(torch.zeros_like(query.tokens.vec)))


def flow(*kinds, told=False, **more):
    return Flow(Spec(Linear), Spec(Euler), space=SPACE, steps=4, shown=Spec(Shown, {"kinds": kinds, "told": told}) if kinds else None, **more)


def content(rows=64):
    return replace(SPACE.blank(rows), vec=torch.randn(rows, 24, 2, generator=torch.Generator().manual_seed(0)))


FRAMES = {"nothing": [], "first": [0], "past": [0, 1, 2, 3], "future": [4, 5, 6, 7], "every_fourth": [0, 4], "all_but_last": [0, 1, 2, 3, 4, 5, 6]}


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_shown(kind):
    known = Shown((kind,), space=SPACE).drawn(content().coord, Rng.seeded(0)).unflatten(1, (8, 3))
    assert torch.equal(known[..., 0], known[..., 1]) and torch.equal(known[..., 0], known[..., 2]), "frames are shown whole"
    frames = known[..., 0]
    if kind in FRAMES:
        assert all(row.nonzero().flatten().tolist() == FRAMES[kind] for row in frames)
    elif kind == "one":
        assert bool((frames.sum(1) == 1).all()) and len(frames.int().argmax(1).unique()) == 8
    elif kind == "few":
        assert 0.05 < float(frames.float().mean()) < 0.15
    elif kind == "some":
        assert 0.1 < float(frames.float().mean()) < 0.3
    else:
        hidden = (~frames).int()
        assert 2 <= int(hidden.sum(1).min()) and int(hidden.sum(1).max()) == 8 and int(hidden.diff(dim=1).clamp(min=0).sum(1).max()) == 1, "one span"


def test_kinds_come_in_their_shares():
    known = Shown(("first", "nothing"), (0.25, 0.75), space=SPACE).drawn(SPACE.blank(4000).coord, Rng.seeded(0))
    assert float(known[:, 0].float().mean()) == pytest.approx(0.25, abs=0.03) and not known[:, 3:].any()
    with pytest.raises(BadArgument, match="what is shown is any of"):
        Shown(("first", "last"))
    with pytest.raises(BadArgument, match="a share for each"):
        Shown(("first",), (0.5, 0.5))


def test_shown_nothing_it_is_a_plain_flow():
    tokens = content()
    one, other = (f.loss(Listener(), tokens, rng=Rng.seeded(3)) for f in (flow(), flow("nothing")))
    assert torch.equal(one.parts["main"], other.parts["main"]) and torch.equal(one.count, other.count)


@pytest.mark.parametrize("told", [False, True])
def test_what_is_shown_is_clean_and_counts_nothing(told):
    net, tokens = Listener(), content()
    losses = flow("past", told=told).loss(net, tokens, rng=Rng.seeded(0))
    (query,) = net.asked
    known = query.known
    assert torch.equal(query.tokens.vec[known], tokens.vec[known]) and not torch.allclose(query.tokens.vec[~known], tokens.vec[~known])
    assert float(losses.count) == 64 * 12 == float((~known).sum())
    assert query.time.shape == (64, 24 if told else 1)
    assert not told or (bool((query.time[known] == 1).all()) and bool((query.time[~known] < 1).all()))


@pytest.mark.parametrize("told", [False, True])
def test_what_is_given_stays_clean_on_the_way(told):
    net, wanted = Listener(), content(2)
    given = (SPACE.blank(2).coord[..., 0] < 1)
    made = generate(flow("first", told=told), net, wanted, rng=Rng.seeded(0, 2), given=given)
    assert torch.equal(made.vec[given], wanted.vec[given]) and len(net.asked) == 4
    for query in net.asked:
        assert torch.equal(query.tokens.vec[given], wanted.vec[given]) and torch.equal(query.known, given)
        assert not told or (bool((query.time[given] == 1).all()) and bool((query.time[~given] < 1).all()))


def test_a_direction_is_a_cosine_a_token():
    """Half the weight, times the channels, times 1 - cos: beside half the squared error, what two means are to each other."""

    class Ones(Listener):
        def __call__(self, query, *, remember=False):
            super().__call__(query)
            return Answer(Point(torch.ones_like(query.tokens.vec)))

    tokens = content(6)
    plain, more = (flow(direction=w).loss(Ones(), tokens, rng=Rng.seeded(3)).parts["main"] for w in (0.0, 2.0))
    noise = Rng.seeded(3).split("noise").normal(tokens.vec.shape)
    v = tokens.vec - noise
    cos = v.sum(-1) / v.norm(dim=-1) / 2**0.5
    assert float(more - plain) == pytest.approx(float((2.0 * (1 - cos)).sum()), rel=1e-4)
