"""Flows with perfect networks: what is asked, what is given, what is drawn."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from omniform.core.distribution import Content
from omniform.core.errors import BadArgument
from omniform.core.process import generate
from omniform.core.query import Answer
from omniform.core.rng import Rng
from omniform.core.spec import Spec
from omniform.core.tokens import Axis, Space
from omniform.heads.categorical import Categorical
from omniform.heads.point import Point
from omniform.processes.flow import DiscreteFlow, Flow
from omniform.processes.paths import Betas, Cosine, Linear
from omniform.processes.solvers import Ancestral, Ddim, Euler, Heun

SPACE = Space(axes=(Axis("frame", 3), Axis("x", 2)), channels=2)
X = torch.randn(4, 6, 2, generator=torch.Generator().manual_seed(0))


def flow(**settings):
    return Flow(**{"path": Spec(Linear), "solver": Spec(Euler), "space": SPACE, **settings})


class Knows:
    """The velocity (data, noise) that leads to x, whatever is asked. Writes down the questions."""

    def __init__(self, x, path, predict="velocity"):
        self.x, self.path, self.predict, self.asked = x, path, predict, []

    def __call__(self, query, *, remember=False):
        self.asked.append(query)
        z, t = query.tokens.vec, query.time[..., None]
        e = (z - self.path.a(t) * self.x) / self.path.b(t).clamp(min=1e-6)
        return Answer(Point(self.path.target(self.predict, self.x, e, t)))


@pytest.mark.parametrize("predict", ["data", "velocity"])  # not the noise: at t = 0 there is no data in z, so the noise alone cannot name it
@pytest.mark.parametrize("path", [Linear, Cosine])
def test_a_perfect_network_returns_the_data(path, predict):
    for steps in (1, 5):
        made = generate(flow(path=Spec(path), predict=predict, solver=Spec(Ddim), steps=steps), Knows(X, path(), predict), SPACE.blank(4), rng=Rng.seeded(0, 4))
        assert torch.allclose(made.vec, X, atol=1e-4)


def test_noise_prediction_on_a_path_that_keeps_some_data():
    net = Knows(X, Betas(), "noise")
    made = generate(flow(path=Spec(Betas), predict="noise", solver=Spec(Ddim), steps=10), net, SPACE.blank(4), rng=Rng.seeded(0, 4))
    assert torch.allclose(made.vec, X, atol=2e-2)


def test_training_asks_at_the_states_of_the_path():
    process, tokens = flow(), replace(SPACE.blank(4), vec=X)
    net = Knows(X, Linear())
    losses = process.loss(net, tokens, rng=Rng.seeded(0))
    assert float(losses.mean()) < 1e-4 and int(losses.count) == 24
    (query,) = net.asked
    e = Rng.seeded(0).split("noise").normal(X.shape)
    t = query.time[..., None]
    assert torch.allclose(query.tokens.vec, t * X + (1 - t) * e, atol=1e-6) and query.known.all()
    zero = Knows(torch.zeros_like(X), Linear())
    zero.__class__ = type("Zero", (Knows,), {"__call__": lambda self, query, *, remember=False: Answer(Point(torch.zeros_like(X)))})
    assert float(process.loss(zero, tokens, rng=Rng.seeded(0)).parts["main"]) == pytest.approx(float(0.5 * (X - e).square().sum()), rel=1e-5)


def test_times_by_row_token_and_axis():
    tokens = replace(SPACE.blank(4), vec=X)
    time = {}
    for per in ("row", "token", "frame"):
        net = Knows(X, Linear())
        flow(per=per).loss(net, tokens, rng=Rng.seeded(0))
        time[per] = net.asked[0].time.expand(4, 6).reshape(4, 3, 2)
    assert bool((time["row"] == time["row"][:, :1, :1]).all())
    assert bool((time["frame"][..., 0] == time["frame"][..., 1]).all()) and time["frame"].unique().numel() == 12
    assert time["token"].unique().numel() == 24


def test_given_places_follow_the_path_and_end_exact():
    given = torch.zeros(4, 6, dtype=torch.bool)
    given[:, 1::3] = True
    for path in (Linear, Cosine):
        net = Knows(torch.zeros_like(X), path())
        blank = replace(SPACE.blank(4), vec=torch.where(given[..., None], X, 0.0))
        made = generate(flow(path=Spec(path), solver=Spec(Ddim), steps=4), net, blank, rng=Rng.seeded(0, 4), given=given)
        assert torch.equal(made.vec[given], X[given]) and torch.allclose(made.vec[~given], torch.zeros_like(X)[~given], atol=1e-4)
        noise = Rng.seeded(0, 4).split("init").split("noise").normal(X.shape)
        for query in net.asked:
            t = query.time[..., None].double()
            assert torch.allclose(query.tokens.vec[given], path().mixed(X, noise, t).float()[given], atol=1e-5)


def test_steps_grids_and_calls():
    for solver, calls in ((Euler, 4), (Heun, 7), (Ancestral, 4)):
        net = Knows(X, Linear())
        generate(flow(solver=Spec(solver), steps=4, grid="cosine"), net, SPACE.blank(4), rng=Rng.seeded(0, 4))
        assert len(net.asked) == calls
    times = [float(q.time[0, 0]) for q in net.asked]
    assert times == pytest.approx([1 - math.cos(u * math.pi / 8) for u in range(4)], abs=1e-6)
    assert [float(q.progress[0]) for q in net.asked] == [0, 0.25, 0.5, 0.75]
    net = Knows(X, Linear())
    generate(flow(steps=2, grid="shifted", shift=3.0, first=0.5), net, SPACE.blank(4), rng=Rng.seeded(0, 4))
    assert [float(q.time[0, 0]) for q in net.asked] == pytest.approx([0.5, 0.5 + 0.5 * 0.25])


def test_temperature_cools_the_solvers_noise():
    class Nothing:
        def __call__(self, query, *, remember=False):
            return Answer(Point(torch.zeros_like(query.tokens.vec)))

    wide = Space(axes=(Axis("x", 5000),), channels=1)
    ends = []
    for temperature in (1.0, 0.5, 0.0):
        seen = []
        generate(
            flow(solver=Spec(Ancestral), predict="data", steps=3, temperature=temperature), Nothing(), wide.blank(1), rng=Rng.seeded(0, 1), watch=seen.append
        )
        ends.append(float(seen[0].tokens.vec.std()))
    assert ends[0] == pytest.approx(2 / 3, rel=0.05) and ends[1] == pytest.approx(1 / 3, rel=0.05) and ends[2] == 0


def test_a_learned_variance_is_best_at_the_true_posterior():
    """The variational term is smallest where the spread names the variance of the reverse step (data a point: the lower bound, -1)."""

    class Says(Knows):
        def __call__(self, query, *, remember=False):
            value = super().__call__(query).distribution.value
            return Answer(Point(value, torch.full_like(value, self.spread)))

    tokens, costs = replace(SPACE.blank(4), vec=X), []
    for spread in (-1.0, -0.5, 0.0, 1.0):
        net = Says(X, Betas(), "noise")
        net.spread = spread
        costs.append(float(flow(path=Spec(Betas), predict="noise", times="levels").loss(net, tokens, rng=Rng.seeded(0)).mean()))
    assert costs == sorted(costs) and costs[0] < 0.02


def test_refusals():
    for bad in ({"predict": "score"}, {"steps": 0}):
        with pytest.raises(BadArgument):
            flow(**bad)
    with pytest.raises(BadArgument, match="needs codes"):
        DiscreteFlow(SPACE)


# ---- discrete states -------------------------------------------------------------------------------------------------

V = 3
PAIR = Space(axes=(Axis("time", 2),), vocab=(V,))
JOINT = torch.tensor([[0.3, 0.02, 0.08], [0.05, 0.25, 0.0], [0.1, 0.05, 0.15]], dtype=torch.float64)


class Posterior:
    """p(x_1 | x_t) of each of two tokens, exactly: x_t is the data's with probability t, else uniform."""

    def __init__(self, joint):
        self.joint = joint

    def __call__(self, query, *, remember=False):
        t = query.time[:, :1].double()
        ids = query.tokens.ids[..., 0]
        seen = t[..., None] * torch.nn.functional.one_hot(ids, V) + (1 - t[..., None]) / V  # (B, 2, V): p(x_t | x_1 = v)
        weight = self.joint * seen[:, 0, :, None] * seen[:, 1, None, :]
        weight = weight / weight.sum((1, 2), keepdim=True)
        return Answer(Categorical(torch.stack([weight.sum(2), weight.sum(1)], 1).clamp(min=1e-30).log()[:, :, None]))


def drawn_pairs(joint, steps, rows=20000):
    ids = generate(DiscreteFlow(PAIR, steps=steps), Posterior(joint), PAIR.blank(rows), rng=Rng.seeded(0, rows)).ids[..., 0]
    return torch.bincount(ids[:, 0] * V + ids[:, 1], minlength=V * V).reshape(V, V).double() / rows


def distance(p, q):
    return float((p - q).abs().sum()) / 2


def test_a_discrete_flow_draws_independent_tokens_exactly_in_any_number_of_steps():
    apart = JOINT.sum(1, keepdim=True) * JOINT.sum(0, keepdim=True)
    for steps in (1, 3):
        assert distance(drawn_pairs(apart, steps), apart) < 0.015


def test_a_discrete_flow_draws_the_joint_law_in_many_steps():
    gaps = [distance(drawn_pairs(JOINT, steps), JOINT) for steps in (1, 8, 64)]
    assert gaps[0] > 0.15 and gaps[0] > gaps[1] > gaps[2] and gaps[2] < 0.02


def test_a_discrete_flow_is_trained_on_the_nll_of_the_data():
    ids = torch.randint(0, V, (5, 2, 1), generator=torch.Generator().manual_seed(0))
    net = Posterior(torch.full((V, V), 1 / 9, dtype=torch.float64))
    losses = DiscreteFlow(PAIR).loss(net, replace(PAIR.blank(5), ids=ids), rng=Rng.seeded(0))
    assert float(losses.mean()) == pytest.approx(math.log(V), rel=0.7)
    seen = []
    spy = lambda query, remember=False: (seen.append(query), net(query))[1]  # noqa: E731
    again = DiscreteFlow(PAIR).loss(spy, replace(PAIR.blank(5), ids=ids), rng=Rng.seeded(0))
    by_hand = net(seen[0]).distribution.nll(Content(ids=ids), rng=Rng.seeded(0)).sum()
    assert float(again.parts["main"]) == pytest.approx(float(by_hand)) and int(again.count) == 10
