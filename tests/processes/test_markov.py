"""Scales that see themselves alone, and drafts that are asked about again."""
from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from omniform import recipes
from omniform.core.errors import BadArgument
from omniform.core.process import generate
from omniform.core.rng import Rng
from omniform.processes.autoregress import Autoregress
from omniform.system.build import assemble

COUNTS = (1, 4, 9)


class Witness:
    """Writes down what is asked."""

    def __init__(self, net):
        self.net, self.seen = net, []

    def __call__(self, query, *, remember=False):
        answer = self.net(query, remember=remember)
        self.seen.append((query, answer, remember))
        return answer


@pytest.fixture(scope="module")
def system():
    small = {"network.width": 16, "network.backbone.depth": 2, "network.backbone.block.mixer.heads": 2, "network.towers.refine.backbone.depth": 1,
             "network.towers.refine.backbone.block.mixer.heads": 2, "codec.width": 8, "codec.bottleneck.scales": (1, 2, 3), "codec.bottleneck.codes": 8,
             "shape": (1, 12, 12)}
    made = assemble(recipes.get("hmar").sized("tiny").but(small)).eval()
    g = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for p in made.network.parameters():
            p.copy_(torch.randn(p.shape, generator=g) * 0.4)
    return made


def net(system, rows=2):
    return Witness(system.network.open(system.conditioning.context({}, rows)))


def tokens_of(system, seed=1):
    blank = system.codec.space.blank(2)
    return replace(blank, ids=torch.randint(0, 8, blank.ids.shape, generator=torch.Generator().manual_seed(seed)))


def test_rounds_are_hmar_s_schedule(system):
    assert [system.process.rounds(turn, size) for turn, size in enumerate(COUNTS)] == [[1], [1, 4], [1, 2, 4, 9]]
    assert system.process.rounds(3, 16) == [16] and system.process.rounds(2, 2) == [1, 2]


def test_an_answer_depends_on_its_own_scale_s_feed_alone(system):
    process, asked = system.process, net(system)
    process.loss(asked, tokens_of(system), rng=Rng.seeded(0))
    for query, _, _ in asked.seen:
        vec = query.tokens.vec.detach().requires_grad_()
        tower = system.network.open(system.conditioning.context({}, 2))
        said = tower(replace(query, tokens=replace(query.tokens, vec=vec))).distribution.logits
        first = 0
        for count in COUNTS:
            here = slice(first, first + count)
            (slope,) = torch.autograd.grad(said[:, here].sum(), vec, retain_graph=True)
            heard = slope.abs().sum((0, 2)) > 0
            assert not heard[:first].any() and not heard[first + count:].any()
            assert bool(heard[here].all()) or (count == 1 and query.stage == "main")               # the first scale is fed nothing
            first += count


def test_without_shares_it_is_next_scale_with_each_scale_alone(system):
    process = system.process.but(shares=())
    with torch.no_grad():
        mine = generate(process, net(system), system.codec.space.blank(2), rng=Rng.seeded(3, 2))
        asked = net(system)
        losses = process.loss(asked, mine, rng=Rng.seeded(0))
        assert set(losses.parts) == {"main"} and len(asked.seen) == 1
        order = Autoregress._course(process, mine, Rng.seeded(0))
        first, total = 0, 0.0
        for turn, count in enumerate(COUNTS):                                                      # a network that never saw another scale
            here = slice(first, first + count)
            fed, known = process.feed.fed(mine, order.plan, here)
            query = replace(asked.seen[0][0].at(here), tokens=fed, known=known, pattern="full")
            alone = system.network.open(system.conditioning.context({}, 2))(query).distribution
            total += float(alone.nll(mine.at(here), rng=Rng.seeded(0)).sum())
            drawn = alone.sample(rng=Rng.seeded(3, 2).split("step").fold(torch.full((2,), turn)), how=process.sampling)
            assert torch.equal(drawn.ids, mine.ids[:, here])
            first += count
        assert float(losses.parts["main"]) == pytest.approx(total, rel=1e-5)


def test_a_draft_keeps_its_surest_and_is_asked_again(system):
    asked = net(system)
    with torch.no_grad():
        generate(system.process, asked, system.codec.space.blank(2), rng=Rng.seeded(4, 2))
    stages = [query.stage for query, _, _ in asked.seen]
    assert stages == ["main", "main", "refine", "main", "refine", "refine", "refine"]
    assert not any(remember for _, _, remember in asked.seen)
    assert [query.known.sum(1).tolist() for query, _, _ in asked.seen if query.stage == "refine"] == [[1, 1], [1, 1], [2, 2], [4, 4]]
    again = [query.known for query, _, _ in asked.seen[4:]]
    assert all(bool((before <= after).all()) for before, after in zip(again, again[1:], strict=False)), "what is kept stays"


def test_the_second_question_is_told_the_known_and_not_the_hidden(system):
    process, tokens, other = system.process, tokens_of(system), tokens_of(system, 9)
    course = process._course(tokens, Rng.seeded(0))
    known = torch.arange(14)[None].expand(2, -1) % 3 == 0
    last = slice(5, 14)
    ask = lambda said: process._again(said, course, last, known[:, last], "full").tokens.vec
    coarse = tokens.where(course.turn < 2, other)                                                  # the same coarser scales
    mixed = tokens.where((course.turn < 2) | known, other)
    assert torch.allclose(ask(mixed)[~known[:, last]], ask(coarse)[~known[:, last]])
    assert not torch.allclose(ask(tokens)[known[:, last]], ask(coarse)[known[:, last]])


def test_given_places_are_kept_through_every_question(system):
    wanted, given = tokens_of(system, 5), torch.arange(14)[None].expand(2, -1) % 2 == 0
    blank = wanted.where(given, system.codec.space.blank(2))
    with torch.no_grad():
        made = generate(system.process, net(system), blank, rng=Rng.seeded(1, 2), given=given)
    assert torch.equal(made.ids[given], wanted.ids[given])


def test_shares_that_do_not_add_up_are_refused(system):
    spec = recipes.get("hmar").process.but({"shares": ((0.5, 0.6),)})
    with pytest.raises(BadArgument, match="add up to 1"):
        spec.build(space=system.codec.space, codec=system.codec)
