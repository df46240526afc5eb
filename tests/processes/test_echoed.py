"""A flow that is told what it saw."""

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
from omniform.processes.echoed import SelfConditioned
from omniform.processes.flow import Flow
from omniform.processes.paths import Linear
from omniform.processes.solvers import Euler

SPACE = Space(axes=(Axis("atom", 6),), channels=4)
PARTS = {"path": Spec(Linear), "solver": Spec(Euler), "predict": "data", "steps": 5, "space": SPACE}


class Hears:
    """A net that sees `seen` in everything, or a share of what it is told."""

    def __init__(self, seen: torch.Tensor | None = None):
        self.seen, self.heard = seen, []

    def __call__(self, query, *, remember=False):
        self.heard.append(query.tokens.vec)
        z, told = query.tokens.vec.chunk(2, -1)
        return Answer(Point(0.5 * z + 0.25 * told + 1 if self.seen is None else self.seen))


def test_an_oracle_is_believed_and_heard_at_the_next_step():
    data = torch.randn(2, 6, 4, generator=torch.Generator().manual_seed(0))
    net = Hears(data)
    made = generate(SelfConditioned(**PARTS), net, SPACE.blank(2), rng=Rng.seeded(1, 2))
    assert torch.allclose(made.vec, data, atol=1e-5) and len(net.heard) == 5
    assert not net.heard[0][..., 4:].any() and all(torch.equal(x[..., 4:], data) for x in net.heard[1:])


def test_training_tells_half_of_the_rows_what_was_seen_with_zeros():
    tokens = replace(SPACE.blank(64), vec=torch.randn(64, 6, 4, generator=torch.Generator().manual_seed(0)))
    net = Hears()
    SelfConditioned(**PARTS).loss(net, tokens, rng=Rng.seeded(2))
    first, second = net.heard
    assert torch.equal(first[..., :4], second[..., :4]) and not first[..., 4:].any()
    told = second[..., 4:].flatten(1).any(1)
    assert 16 < int(told.sum()) < 48
    assert torch.allclose(second[told][..., 4:], 0.5 * first[told][..., :4] + 1)


def test_deaf_it_is_the_flow_under_it():
    class Deaf(Hears):
        def __call__(self, query, *, remember=False):
            return Answer(Point(query.tokens.vec[..., :4] * 0.3 + 1))

    tokens = replace(SPACE.blank(8), vec=torch.randn(8, 6, 4, generator=torch.Generator().manual_seed(0)))
    for one, other in ((SelfConditioned(**PARTS), Flow(**PARTS)),):
        assert float(one.loss(Deaf(), tokens, rng=Rng.seeded(2)).mean()) == pytest.approx(float(other.loss(Deaf(), tokens, rng=Rng.seeded(2)).mean()))
        assert torch.equal(*(generate(p, Deaf(), SPACE.blank(2), rng=Rng.seeded(1, 2)).vec for p in (one, other)))


def test_centred_noise_has_no_mean_and_a_capped_error_is_that_of_the_velocity():
    tokens = replace(SPACE.blank(32), vec=torch.zeros(32, 6, 4))
    flow = Flow(**PARTS, centred=True)
    state = flow.init(SPACE.blank(32), rng=Rng.seeded(1, 32))
    assert float(state.tokens.vec.mean(1).abs().max()) < 1e-6
    seen: list = []

    class Says:
        def __call__(self, query, *, remember=False):
            seen.append(query)
            return Answer(Point(torch.ones_like(query.tokens.vec)))

    for cap in (0.0, 0.5, 0.9):
        loss = Flow(**PARTS, capped=cap).loss(Says(), tokens, rng=Rng.seeded(2))
        by_hand = 0.5 * 4 * 6 / (1 - seen[-1].time.clamp(max=cap)).square()  # |0 - 1|^2 of 4 channels and 6 places
        assert float(loss.parts["main"]) == pytest.approx(float(by_hand.sum()), rel=1e-5)
    with pytest.raises(BadArgument, match="cap"):
        Flow(**{**PARTS, "predict": "velocity"}, capped=0.9)
