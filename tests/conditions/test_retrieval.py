"""What relatives say of a sequence's places: frequencies by their definition, and the limits of the mixture."""
from __future__ import annotations

import math

import pytest
import torch

from omniform import recipes
from omniform.conditions.retrieval import Retrieved, profile
from omniform.core.errors import BadArgument
from omniform.core.rng import Rng
from omniform.system.build import assemble

ROWS = torch.tensor([[0, 1, 2, 3, 0], [0, 1, 2, 3, -1], [0, 1, 3, 2, -1], [1, 0, 0, -1, -1]])


@pytest.fixture(scope="module")
def system():
    small = {"network.width": 16, "network.backbone.depth": 1, "network.backbone.block.mixer.heads": 4, "shape": (8,)}
    return assemble(recipes.get("tranception").sized("tiny").but(small)).eval()


def by_hand(rows, vocab, count, alike, least):
    """Sequence by sequence, with whole lists."""
    rows = [row.tolist() for row in rows]
    equal = lambda a, b: sum(x == y for x, y in zip(a, b, strict=True) if x >= 0) / max(sum(x >= 0 for x in a), 1)  # noqa: E731
    kept = [row for i, row in enumerate(rows) if i == 0 or equal(row, rows[0]) >= least]
    weight = [1 / sum(a is b or equal(a, b) > alike for b in kept) for a in kept]
    found = []
    for place in range(len(rows[0])):
        here = [(row[place], w) for row, w in zip(kept, weight, strict=True) if row[place] >= 0]
        total = [sum(w * ((code == c) + count) for code, w in here) for c in range(vocab)]
        found.append([math.log(t / sum(total)) if here else math.nan for t in total])
    return torch.tensor(found)


@pytest.mark.parametrize("alike, least", [(0.8, 0.2), (0.55, 0.0), (1.0, 0.9)])
def test_a_profile_is_what_counting_by_hand_gives(alike, least):
    for rows in (ROWS, torch.cat([ROWS[1:2], ROWS])):
        assert torch.allclose(profile(rows, 5, 1e-3, alike, least), by_hand(rows, 5, 1e-3, alike, least), atol=1e-5, equal_nan=True)


def test_copies_of_a_relative_change_nothing_and_strangers_are_left_out():
    two, many = profile(ROWS[[0, 2]], 5), profile(ROWS[[0, 2, 2, 2]], 5)
    assert torch.allclose(two, many, atol=1e-5)
    assert torch.allclose(profile(ROWS[[0, 3]], 5), profile(ROWS[:1], 5))
    assert bool(profile(ROWS[1:3], 5)[4].isnan().all()) and not bool(profile(ROWS, 5).isnan().any())


@torch.no_grad()
@pytest.mark.parametrize("share", [0.0, 0.6, 1.0])
def test_the_mixture_is_of_logarithms_and_has_both_limits(system, share):
    tokens = system.codec.encode(["ACDEF", "MKVLW"])
    told = profile(torch.tensor([[0, 1, 2, 3, 4, -1, -1, -1], [0, 1, 2, 4, 4, -1, -1, -1]]), system.codec.space.vocab[0])
    net = system.network.open(system.conditioning.context({}, 2))
    query = system.process.pose(tokens, rng=Rng.seeded(0)).query
    alone, both = net(query).distribution.logits[:, :, 0], Retrieved(net, told, share)(query).distribution.logits[:, :, 0]
    for place in range(tokens.length):
        log = alone[:, place].log_softmax(-1)
        wanted = log if place >= 5 else (1 - share) * log + share * told[place]
        assert torch.allclose(both[:, place], wanted, atol=1e-5)
    assert torch.allclose(system.process.bound(Retrieved(net, told, 0.0), tokens, rng=Rng.seeded(0)), system.score(["ACDEF", "MKVLW"]), atol=1e-4)


@torch.no_grad()
def test_a_sample_follows_its_relatives(system):
    """Of a profile alone, with a code for every place, the sample is that sequence."""
    wanted = torch.tensor([[3, 1, 4, 1, 5, 9, 2, 6]])
    told = profile(wanted, system.codec.space.vocab[0])
    tokens = system.generate(2, decode=False, wrap=lambda net: Retrieved(net, told, 1.0))
    assert torch.equal(tokens.ids[..., 0], wanted.expand(2, -1))


def test_what_cannot_be_meant_is_refused(system):
    net = system.network.open(system.conditioning.context({}, 1))
    query = system.process.pose(system.codec.encode(["ACDEF"]), rng=Rng.seeded(0)).query
    with pytest.raises(BadArgument, match="from 0 to 1"):
        Retrieved(net, profile(ROWS, 5), 1.5)
    with pytest.raises(BadArgument, match="profile is of 5 places"):
        Retrieved(net, profile(ROWS, 22))(query)
    with pytest.raises(BadArgument, match="codec's vocabulary"):
        Retrieved(net, profile(ROWS[:, [0] * 8], 5))(query)
    with pytest.raises(BadArgument, match="codes"):
        profile(ROWS, 3)
