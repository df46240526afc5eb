"""The filters of sampling, against a slow and literal reading of their definitions."""

from __future__ import annotations

import math

import pytest
import torch

from omniform.core.distribution import Sampling, weighted
from omniform.core.errors import BadArgument
from omniform.core.rng import Rng
from omniform.heads.categorical import Categorical


def literal(logits: list[float], how: Sampling) -> list[float]:
    """The probabilities after temperature, top-k, top-p and min-p, each renormalised before the next."""
    p = [math.exp(x / how.temperature) for x in logits]
    share = lambda q: [x / sum(q) for x in q]  # noqa: E731
    p = share(p)
    ranked = sorted(range(len(p)), key=lambda i: -p[i])
    if how.top_k:
        p = share([x if i in ranked[: how.top_k] else 0.0 for i, x in enumerate(p)])
    if how.top_p < 1:
        kept, total = [], 0.0
        for i in ranked:  # the smallest set that reaches top_p, at least one
            kept.append(i)
            total += p[i]
            if total >= how.top_p:
                break
        p = share([x if i in kept else 0.0 for i, x in enumerate(p)])
    if how.min_p > 0:
        p = share([x if x >= how.min_p * max(p) else 0.0 for x in p])
    return p


@pytest.mark.parametrize(
    "how",
    [
        Sampling(),
        Sampling(0.5),
        Sampling(2.0),
        Sampling(top_k=1),
        Sampling(top_k=3),
        Sampling(top_k=99),
        Sampling(top_p=0.7),
        Sampling(top_p=0.05),
        Sampling(top_p=0.0),
        Sampling(min_p=0.2),
        Sampling(1.3, 6, 0.8, 0.15),
        Sampling(0.7, 4, 0.99, 0.01),
    ],
    ids=str,
)
def test_filters_equal_their_definition(how):
    logits = torch.randn(40, 9, generator=torch.Generator().manual_seed(0)) * 2
    mine = how.filtered(logits).softmax(-1)
    slow = torch.tensor([literal(row, how) for row in logits.double().tolist()])
    assert torch.equal(mine > 0, slow > 0)
    assert torch.allclose(mine.double(), slow.double(), atol=1e-5)


def test_draws_follow_the_filtered_law():
    logits = torch.tensor([2.0, 1.0, 0.0, -1.0, 1.5])
    how = Sampling(0.8, top_k=4, top_p=0.95)
    drawn = Categorical(logits.expand(1, 20000, 1, 5)).sample(rng=Rng.seeded(0, 1), how=how).ids
    counts = torch.bincount(drawn.flatten(), minlength=5) / 20000
    assert torch.allclose(counts, torch.tensor(literal(logits.tolist(), how)), atol=5 * 0.5 / math.sqrt(20000))


def test_temperature_zero_is_the_mode():
    logits = torch.randn(2, 7, 3, 11, generator=torch.Generator().manual_seed(0))
    assert torch.equal(Categorical(logits).sample(rng=Rng.seeded(0, 2), how=Sampling(0.0)).ids, logits.argmax(-1))


def test_weights_are_row_by_row():
    x, y = torch.ones(2, 3, 4), 2 * torch.ones(2, 3, 4)
    mixed = weighted([x, y], [torch.tensor([3.0, 1.0]), torch.tensor([-2.0, 0.0])])
    assert torch.equal(mixed, torch.stack([torch.full((3, 4), -1.0), torch.ones(3, 4)]))


@pytest.mark.parametrize(
    "how, says",
    [({"temperature": -1.0}, "0 .the mode. or above"), ({"temperature": math.nan}, "temperature"), ({"top_k": -1}, "top_k"), ({"top_k": 1.5}, "top_k"),
     ({"top_p": -0.1}, "from 0"), ({"top_p": 1.1}, "top_p"), ({"min_p": -0.1}, "min_p"), ({"min_p": 2.0}, "min_p")],
)
def test_a_way_to_draw_that_means_nothing_is_refused(how, says):
    with pytest.raises(BadArgument, match=says):
        Sampling(**how)
