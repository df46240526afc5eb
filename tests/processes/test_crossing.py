"""A flow between two kinds of data: its limit, what changes places, and that only the kind guides."""

from __future__ import annotations

import math
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
from omniform.heads.source import Source, SourceHead
from omniform.processes.crossing import Crossing
from omniform.processes.flow import Flow
from omniform.processes.paths import Linear
from omniform.processes.solvers import Euler

SPACE = Space(axes=(Axis("x", 3),), channels=2)
HERE = torch.tensor([[1.0, -2.0]] * 3)


class Teller:
    """Source: a given Gaussian. Main: kind 0 says z, kind 1 says 2 z."""

    def __init__(self, mean=HERE, log_var=-1.0):
        self.mean, self.log_var, self.asked = mean, log_var, []

    def __call__(self, query, *, remember=False):
        self.asked.append(query)
        vec = query.tokens.vec
        if query.stage == "source":
            return Answer(Source(self.mean.expand_as(vec), torch.full_like(vec, self.log_var)))
        return Answer(Point(vec * (1 + query.tokens.kind[..., None])))


def content(rows):
    return replace(SPACE.blank(rows), vec=torch.randn(rows, 3, 2, generator=torch.Generator().manual_seed(0)))


def made(**args):
    return Crossing(Spec(Linear), **{"steps": 4, "times": "uniform", "apart": 0.0, "scale": 1.0, **args})


def test_from_a_standard_gaussian_it_is_a_flow():
    tokens, noise = content(8), Teller(torch.zeros(3, 2), 0.0)
    flow = Flow(Spec(Linear), Spec(Euler), space=SPACE, steps=4)
    one, other = (p.loss(noise, tokens, rng=Rng.seeded(1)) for p in (made(), flow))
    assert torch.allclose(one.parts["main"], other.parts["main"]) and float(one.parts["source"]) == 0
    one, other = (generate(p, noise, SPACE.blank(2), rng=Rng.seeded(1, 2)) for p in (made(), flow))
    assert torch.allclose(one.vec, other.vec, atol=1e-6)


def test_it_begins_where_the_source_says():
    net = Teller()
    begun = []
    generate(made(), net, SPACE.blank(2000), rng=Rng.seeded(1, 2000))
    begun = net.asked[1].tokens.vec
    assert net.asked[0].stage == "source" and not net.asked[0].tokens.vec.any() and net.asked[0].time is None
    assert torch.allclose(begun.mean(0), HERE, atol=0.07) and torch.allclose(begun.std(0), torch.full((3, 2), math.exp(-0.5)), atol=0.05)


def test_rows_apart_have_each_other_s_targets():
    process, x = made(apart=0.5), content(40).vec
    moved, apart = process._moved(x, Rng.seeded(0))
    assert 10 < int(apart.sum()) < 30 and torch.equal(moved[~apart], x[~apart])
    assert not (moved[apart] == x[apart]).all((1, 2)).any()
    assert torch.equal(moved.flatten(1).sort(0).values, x.flatten(1).sort(0).values), "the set of targets is the same"
    assert not process._moved(x[:1], Rng.seeded(0))[1].any()
    net = Teller()
    process.loss(net, content(40), rng=Rng.seeded(2))
    kind = net.asked[1].tokens.kind
    assert torch.equal(kind, kind[:, :1].expand(-1, 3)) and 0 < int(kind[:, 0].sum()) < 40


@pytest.mark.parametrize("scale", [1.0, 2.5])
def test_guidance_is_by_kind_at_the_same_state(scale):
    net, process = Teller(), made(scale=scale, steps=1)
    tokens = generate(process, net, SPACE.blank(2), rng=Rng.seeded(1, 2))
    first, *main = net.asked
    z = main[0].tokens.vec
    assert torch.allclose(tokens.vec, z + 2 * z + scale * (z - 2 * z), atol=1e-5)
    assert [int(q.tokens.kind[0, 0]) for q in main] == ([0] if scale == 1 else [0, 1])
    assert sum(n for _, n in process.questions(SPACE.blank(1))) == len(net.asked)
    assert len(main) == 1 or torch.equal(main[1].tokens.vec, z)


def test_a_source_in_nats():
    mean, log_var, at = torch.randn(1, 3, 2), torch.randn(1, 3, 2), torch.randn(1, 3, 2)
    said = Source(mean, log_var)
    true = torch.distributions.Normal(mean, (0.5 * log_var).exp())
    assert torch.allclose(said.nll(replace(SPACE.blank(1), vec=at), rng=Rng.seeded(0)), -true.log_prob(at).sum(-1), atol=1e-5)
    kl = torch.distributions.kl_divergence(true, torch.distributions.Normal(0.0, 1.0)).sum(-1)
    assert torch.allclose(said.kl(), kl, atol=1e-5)
    assert Source.mix([said, Source(at, at)], [torch.tensor([3.0]), torch.tensor([-2.0])]) is said
    with pytest.raises(BadArgument, match="write width 4"):
        SourceHead(6, SPACE)
    with pytest.raises(BadArgument, match="a share of rows"):
        made(apart=1.0)
