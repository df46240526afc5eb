"""Pairs of examples, a query, and a flow of the answer."""

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
from omniform.processes.grids import Curve, grid
from omniform.processes.in_context import InContext
from omniform.processes.paths import Linear
from omniform.processes.shown import Shown
from omniform.processes.solvers import Euler

EACH, FRAMES = 3, 8  # three pairs, a query, an answer
SPACE = Space(axes=(Axis("frame", FRAMES), Axis("y", EACH)), channels=2)
INNER = Spec(Flow, {"path": Spec(Linear), "solver": Spec(Euler), "steps": 4, "shown": Spec(Shown, {"kinds": ("all_but_last",)})})


class Listener:
    """Answers with a number a row that tells questions apart, and writes down what was asked."""

    def __init__(self):
        self.asked = []

    def __call__(self, query, *, remember=False):
        self.asked.append(query)
        vec = query.tokens.vec
        said = (vec * query.known[..., None]).sum((1, 2), keepdim=True) + vec.shape[1]
        return Answer(Point(said.expand_as(vec)))


def content(rows=5, frames=FRAMES):
    space = replace(SPACE, axes=(Axis("frame", frames), Axis("y", EACH)))
    return replace(space.blank(rows), vec=torch.randn(rows, frames * EACH, 2, generator=torch.Generator().manual_seed(0)))


def test_training_asks_for_the_answer_behind_pairs_that_vary():
    process, tokens = InContext(INNER, SPACE, alone=0.3), content()
    lengths, alone = set(), 0
    for seed in range(60):
        net = Listener()
        loss = process.loss(net, tokens, rng=Rng.seeded(seed))
        (query,) = net.asked
        length = query.tokens.length
        assert torch.equal(query.known[0], torch.arange(length) < length - EACH) and int(loss.count) == 5 * EACH
        assert torch.equal(query.tokens.coord[0, :, 0], tokens.coord[0, -length:, 0])
        shown = query.tokens.vec[:, : length - EACH]
        if length == 3 * EACH:
            alone += 1
            assert not bool(shown[:, :EACH].any()) and torch.equal(shown[:, EACH:], tokens.vec[:, -2 * EACH : -EACH])
            continue
        lengths.add(length // EACH)
        assert torch.equal(shown, tokens.vec[:, -length:-EACH]) and not torch.equal(query.tokens.vec[:, -EACH:], tokens.vec[:, -EACH:])
    assert lengths == {4, 6, 8} and 8 <= alone <= 30


def test_guidance_is_away_from_the_question_without_pairs():
    process, tokens = InContext(INNER, SPACE, scale=3.0), content()
    given = (torch.arange(tokens.length) < tokens.length - EACH).expand(5, -1)
    net = Listener()
    made = generate(process, net, tokens, rng=Rng.seeded(1, 5), given=given)
    assert torch.equal(made.vec[given], tokens.vec[given]) and len(net.asked) == 8
    said, untold = net.asked[:2]
    assert said.tokens.length == FRAMES * EACH and untold.tokens.length == 3 * EACH
    assert bool(untold.known[:, : 2 * EACH].all()) and not bool(untold.tokens.vec[:, :EACH].any())
    assert torch.equal(untold.tokens.vec[:, EACH:], said.tokens.vec[:, -2 * EACH :])
    v = lambda *vecs: sum((x.sum((1, 2)) for x in vecs), torch.zeros(5))  # noqa: E731
    full, none = v(tokens.vec[:, :-EACH]) + FRAMES * EACH, v(tokens.vec[:, -2 * EACH : -EACH]) + 3 * EACH
    noise = said.tokens.vec[:, -EACH:]
    assert torch.allclose(made.vec[:, -EACH:], noise + (none + 3 * (full - none))[:, None, None], atol=1e-4)


@pytest.mark.parametrize("pairs", [1, 2])
def test_fewer_pairs_are_a_shorter_sequence(pairs):
    process, tokens = InContext(INNER, SPACE, pairs=pairs), content()
    given = (torch.arange(tokens.length) < tokens.length - EACH).expand(5, -1)
    net = Listener()
    made = generate(process, net, tokens, rng=Rng.seeded(1, 5), given=given)
    assert {q.tokens.length for q in net.asked} == {(2 * pairs + 2) * EACH} and torch.equal(made.vec[given], tokens.vec[given])


def test_with_all_pairs_and_no_guidance_it_is_the_flow_inside():
    tokens = content(frames=4)
    process, flow = InContext(INNER, SPACE, alone=0.0), INNER.build(space=SPACE)
    one, other = (p.loss(Listener(), tokens, rng=Rng.seeded(3)).mean() for p in (process, flow))
    assert torch.equal(one, other)
    given = (torch.arange(tokens.length) < 3 * EACH).expand(5, -1)
    one, other = (generate(p, Listener(), tokens, rng=Rng.seeded(3, 5), given=given).vec for p in (process, flow))
    assert torch.equal(one, other)


def test_it_says_what_it_costs():
    short, whole = (3 * EACH, FRAMES * EACH)
    assert [(a.new, a.times) for a in InContext(INNER, SPACE, scale=2.0).asks(content(1))] == [(whole, 4), (short, 4)]
    assert [(a.new, a.times) for a in InContext(INNER, SPACE, pairs=1).asks(content(1))] == [(4 * EACH, 4)]


def test_a_grid_that_is_written_down():
    curve = Curve((0.0, 0.1, 0.4, 1.0))
    assert grid(curve, 3) == pytest.approx([0, 0.1, 0.4, 1]) and grid(curve, 6) == pytest.approx([0, 0.05, 0.1, 0.25, 0.4, 0.7, 1])
    assert grid(curve, 1) == [0.0, 1.0]
    with pytest.raises(BadArgument, match="rises from 0 to 1"):
        grid(Curve((0.0, 0.5, 0.4, 1.0)), 3)


def test_what_does_not_fit_is_refused():
    with pytest.raises(BadArgument, match="all_but_last"):
        InContext(INNER.but({"shown": None}), SPACE)
    with pytest.raises(BadArgument, match="a query and an answer"):
        InContext(INNER, SPACE, alone=1.0)
