"""Labels of clusters first, then all codes at once: what the two stages are fed and add up to, and their limits."""
from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from omniform import recipes
from omniform.core.distribution import Sampling
from omniform.core.errors import BadArgument
from omniform.core.process import generate
from omniform.core.rng import Rng
from omniform.core.spec import Spec
from omniform.processes.clustered import Clustered
from omniform.system.build import assemble

SMALL = {
    "shape": (1, 12, 12), "codec.width": 8, "codec.bottleneck.codes": 12, "network.width": 16, "network.backbone.depth": 1,
    "network.backbone.rotary.head_width": 8, "network.backbone.block.mixer.heads": 2, "network.backbone.block.mlp.hidden": 16,
    "network.towers.fine.width": 24, "network.towers.fine.backbone.depth": 1, "network.towers.fine.backbone.rotary.head_width": 12,
    "network.towers.fine.backbone.block.mixer.heads": 2, "network.towers.fine.backbone.block.mlp.hidden": 16,
}


def made(clusters=4, **more):
    changes = {**SMALL, "process.clusters": clusters, "network.embed.vocab": (clusters,), "network.head.vocab": clusters, **more}
    system = assemble(recipes.get("ctf").sized("tiny").but(changes)).eval()
    g = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for p in system.network.parameters():
            p.copy_(torch.randn(p.shape, generator=g) * 0.4)
    return system


@pytest.fixture(scope="module")
def system():
    return made()


def tokens_of(system, seed=1, rows=3):
    blank = system.codec.space.blank(rows)
    return replace(blank, ids=torch.randint(0, 12, blank.ids.shape, generator=torch.Generator().manual_seed(seed)))


def net(system, rows=3):
    return system.network.open(system.conditioning.context({}, rows))


class Witness:
    """Writes down what is asked."""

    def __init__(self, net):
        self.net, self.seen = net, []

    def __call__(self, query, *, remember=False):
        answer = self.net(query, remember=remember)
        self.seen.append((query, answer))
        return answer


@torch.no_grad()
def test_nats_are_those_of_both_factors_written_out(system):
    tokens, process, asked = tokens_of(system), system.process, Witness(net(system))
    found = process.bound(asked, tokens, rng=Rng.seeded(0))
    (first, coarse), (second, fine) = asked.seen
    assert (first.stage, second.stage) == ("main", "fine") and second.pattern == "full"
    total = torch.zeros(3, dtype=torch.float64)
    for row in range(3):
        for place in range(tokens.length):
            code = int(tokens.ids[row, place, 0])
            label = int(process.label[code])
            total[row] -= coarse.distribution.logits[row, place, 0].double().log_softmax(-1)[label]
            members = [c for c in range(12) if int(process.label[c]) == label]
            each = fine.distribution.logits[row, place, 0].double()[members].log_softmax(-1)
            total[row] -= each[members.index(code)]
    assert torch.allclose(found.double(), total, rtol=1e-5)


@torch.no_grad()
def test_the_second_stage_sees_labels_and_no_codes(system):
    """Codes exchanged within their clusters change nothing that is asked."""
    process, tokens = system.process, tokens_of(system)
    mates = torch.stack([(process.label == process.label[c]).nonzero()[-1, 0] for c in range(12)])
    other = replace(tokens, ids=mates[tokens.ids])
    assert not torch.equal(other.ids, tokens.ids)
    asked = [Witness(net(system)) for _ in range(2)]
    for one, said in zip(asked, (tokens, other), strict=True):
        process.loss(one, said, rng=Rng.seeded(0))
    for (one, a), (two, b) in zip(asked[0].seen, asked[1].seen, strict=True):
        assert torch.equal(one.tokens.ids, two.tokens.ids) and torch.equal(a.distribution.logits, b.distribution.logits)
    read = asked[0].seen[1][0].tokens.ids
    assert torch.equal(process.label[read], process.label[tokens.ids]) and torch.equal(process.nearest[process.label[tokens.ids]], read)


@torch.no_grad()
def test_with_as_many_clusters_as_codes_the_labels_say_it_all():
    system = made(12)
    assert sorted(system.process.label.tolist()) == list(range(12))
    losses = system.process.loss(net(system), tokens_of(system), rng=Rng.seeded(0))
    assert float(losses.parts["fine"]) == 0.0 < float(losses.parts["main"])


@torch.no_grad()
def test_with_one_cluster_the_labels_say_nothing():
    """Then every code is drawn independently, with the same probabilities at every place's own question."""
    system = made(1)
    tokens, asked = tokens_of(system), Witness(net(system))
    losses = system.process.loss(asked, tokens, rng=Rng.seeded(0))
    logits = asked.seen[1][1].distribution.logits
    alone = torch.nn.functional.cross_entropy(logits.flatten(0, 2), tokens.ids.flatten(), reduction="sum")
    assert float(losses.parts["main"]) == 0.0 and torch.allclose(losses.parts["fine"], alone)


@torch.no_grad()
def test_what_is_drawn_is_of_the_cluster_that_was_drawn(system):
    process, states = system.process, []
    tokens = generate(process, system.net(3), system.codec.space.blank(3), rng=Rng.seeded(1, 3), watch=states.append)
    assert len(states) == tokens.length + 1
    drawn = states[-2].coarse.tokens.ids
    assert torch.equal(process.label[tokens.ids], drawn) and torch.equal(states[-2].tokens.ids, process.nearest[drawn])
    half = states[3]
    assert half.spoken()[0].tolist() == [True] * 4 + [False] * (tokens.length - 4) and float(half.progress[0]) < float(states[-2].progress[0]) < 1


@torch.no_grad()
def test_a_free_second_stage_may_leave_its_cluster():
    free = made(**{"process.within": False})
    tokens = generate(free.process.but(sampling=Sampling(3.0)), free.net(3), free.codec.space.blank(3), rng=Rng.seeded(1, 3))
    labels = []
    generate(free.process.but(sampling=Sampling(3.0)), free.net(3), free.codec.space.blank(3), rng=Rng.seeded(1, 3), watch=labels.append)
    assert not torch.equal(free.process.label[tokens.ids], labels[-1].coarse.tokens.ids)


@torch.no_grad()
def test_given_codes_stay_and_give_their_labels(system):
    wanted = tokens_of(system, 5)
    keep = (torch.arange(wanted.length) % 2 == 0).expand(3, -1)
    states = []
    made = generate(system.process, system.net(3), wanted, rng=Rng.seeded(2, 3), given=keep, watch=states.append)
    assert torch.equal(made.ids[keep], wanted.ids[keep]) and torch.equal(states[-1].coarse.tokens.ids[keep], system.process.label[wanted.ids[keep]])


def test_it_asks_for_codes_with_vectors(system):
    spec = Spec(Clustered, {"order": system.recipe.process.args["order"], "feed": system.recipe.process.args["feed"], "clusters": 2})
    with pytest.raises(BadArgument, match="one book of codes"):
        spec.build(space=system.codec.space, codec=None)
