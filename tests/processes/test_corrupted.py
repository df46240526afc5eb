"""Wrong codes among those that are shown, all places priced, and codes fed as the codec means them."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from omniform.core.errors import BadArgument
from omniform.core.process import generate
from omniform.core.query import Answer
from omniform.core.rng import Rng
from omniform.core.tokens import Axis, Space
from omniform.heads.categorical import Categorical
from omniform.processes.corrupted import Corrupted
from omniform.processes.masked import Masked

L, V = 40, 10
SPACE = Space(axes=(Axis("time", L),), vocab=(V,))
BOOK = torch.randn(V, 3, generator=torch.Generator().manual_seed(0))


class Book:
    @staticmethod
    def alone(tokens):
        return BOOK[tokens.ids[..., 0]]


class Heard:
    def __init__(self):
        self.queries = []
        self.logits = torch.randn(1, L, 1, V, generator=torch.Generator().manual_seed(1))

    def __call__(self, query, *, remember=False):
        self.queries.append(query)
        return Answer(Categorical(self.logits.expand(query.tokens.batch, -1, -1, -1)))


def said(rows=50):
    return replace(SPACE.blank(rows), ids=torch.randint(0, V, (rows, L, 1), generator=torch.Generator().manual_seed(2)))


def test_half_of_the_codes_are_random_and_every_place_is_priced():
    net, tokens = Heard(), said()
    losses = Corrupted(SPACE, Book()).loss(net, tokens, rng=Rng.seeded(0))
    query = net.queries[0]
    kept = float((query.tokens.ids == tokens.ids).float().mean())
    assert kept == pytest.approx(0.5 + 0.5 / V, abs=0.03) and torch.equal(query.tokens.vec, BOOK[query.tokens.ids[..., 0]])
    hidden = (~query.known).float().mean(1)
    assert 0.5 <= float(hidden.min()) < 0.56 and float(hidden.max()) > 0.94
    nll = -net.logits.log_softmax(-1).expand(50, -1, -1, -1).gather(-1, tokens.ids[..., None]).sum()
    assert float(losses.parts["main"]) == pytest.approx(float(nll), rel=1e-5) and int(losses.count) == 50 * L


def test_without_wrong_codes_the_hidden_cost_what_they_cost_a_masked_model():
    tokens, ratio = said(), ("uniform", 0.2, 0.8)
    one, other = Corrupted(SPACE, Book(), share=0.0, ratio=ratio).pose(tokens, rng=Rng.seeded(3)), Masked(ratio=ratio).pose(tokens, rng=Rng.seeded(3))
    assert torch.equal(one.query.known, other.query.known) and torch.equal(one.query.tokens.ids, tokens.ids)
    answer = Heard()(one.query)
    (all_of_them, _), (hidden, count) = one.price(answer), other.price(answer)
    assert torch.equal(all_of_them * count, hidden)


def test_what_is_shown_stays_and_the_questions_are_few():
    net, states = Heard(), []
    made = generate(Corrupted(SPACE, Book(), steps=5), net, SPACE.blank(2), rng=Rng.seeded(0, 2), watch=states.append)
    assert len(net.queries) == 5 and all(torch.equal(q.tokens.vec, BOOK[q.tokens.ids[..., 0]]) for q in net.queries)
    for state in states:
        assert torch.equal(state.tokens.ids[state.known], made.ids[state.known])


def test_refusals():
    with pytest.raises(BadArgument, match="one book"):
        Corrupted(Space(axes=(Axis("time", L),), vocab=(V, V)), Book())
    with pytest.raises(BadArgument, match="share"):
        Corrupted(SPACE, Book(), share=1.0)
