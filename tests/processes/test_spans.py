"""Spans that are hidden together, books one after another, near places: counts beside simulation, laws that must hold at every question."""

from __future__ import annotations

import math

import pytest
import torch

from omniform.backbones.attention import Attention
from omniform.backbones.blocks import PreNorm
from omniform.backbones.embed import Embed
from omniform.backbones.mlp import Mlp
from omniform.backbones.positions import SinCosPositions
from omniform.backbones.stack import Stack
from omniform.core.errors import BadArgument
from omniform.core.net import Context
from omniform.core.process import generate
from omniform.core.query import Answer
from omniform.core.rng import Rng
from omniform.core.spec import Spec
from omniform.core.tokens import Axis, Space
from omniform.heads.categorical import Categorical, CategoricalHead
from omniform.processes.masked import Masked, asked
from omniform.processes.spans import Spans, starts_for
from omniform.system.near import Near
from omniform.system.network import Network

L, V, Q = 14, 5, 3
SPACE = Space(axes=(Axis("time", L),), vocab=(V,) * Q)
STACK = Spec(Stack, {"depth": 2, "block": Spec(PreNorm, {"mixer": Spec(Attention, {"heads": 2}), "mlp": Spec(Mlp)})})


def network(reach):
    torch.manual_seed(0)
    embed = Spec(Embed, {"hidden": False, "extra_ids": 1, "std": 1.0, "positions": (Spec(SinCosPositions),)})
    near = Spec(Near, {"axis": "time", "reach": reach})
    return Network(16, SPACE, embed, STACK, Spec(CategoricalHead, {"small": 5.0}), towers={"near": near})


def content(rows=2, seed=0):
    blank = SPACE.blank(rows)
    ids = torch.randint(0, V, blank.ids.shape, generator=torch.Generator().manual_seed(seed))
    return blank.put(slice(0, L), blank.__class__(ids, None, blank.coord, blank.kind, blank.doc))


class Witness:
    """Random logits by what was asked; it writes the questions down."""

    def __init__(self):
        self.seen = []

    def __call__(self, query, *, remember=False):
        self.seen.append(query)
        g = torch.Generator().manual_seed(len(self.seen))
        return Answer(Categorical(torch.randn(*query.tokens.doc.shape, Q, V, generator=g)))


def test_as_many_starts_as_hide_the_share():
    length, span = 60, 3
    for share in (0.01, 0.3, 0.7, 0.95, 1.0):
        k = int(starts_for(torch.tensor([share]), length, span))
        covered = lambda n: 1 - math.comb(length - span, n) / math.comb(length, n)  # noqa: E731
        assert covered(k) >= share - 1e-9 and (k == 1 or covered(k - 1) < share)
    assert starts_for(torch.tensor([0.5]), length, 1).item() == 30, "spans of one place: a share is that share of places"
    process, space = Spans(Space(axes=(Axis("time", 60),), vocab=(V,)), counts=(1,)), Space(axes=(Axis("time", 60),), vocab=(V,))
    hide = process.hidden(space.blank(4000), Rng.seeded(0, 4000))
    share = torch.cos(Rng.seeded(0, 4000).split("share").uniform((4000,)) * math.pi / 2)
    assert abs(float(hide[:, 3:].float().mean() - share.mean())) < 0.02
    runs = torch.nn.functional.pad(hide, (1, 1))
    inside = (runs[:, 1:-1] & ~runs[:, :-2])[:, :-2]  # a run begins and has three places
    assert bool((~inside | (hide[:, :-2] & hide[:, 1:-1] & hide[:, 2:])).all())


def test_books_come_one_after_another_and_what_is_shown_stays():
    process, net = Spans(SPACE, counts=(4, 2, 3)), Witness()
    states = []
    tokens = generate(process, net, SPACE.blank(2), rng=Rng.seeded(0, 2), watch=states.append)
    assert [q.stage for q in net.seen] == ["main"] * 4 + ["near"] * 5
    for number, query in enumerate(net.seen):
        book = 0 if number < 4 else 1 if number < 6 else 2
        ids, hidden = query.tokens.ids, ~query.known
        assert bool((ids[..., book + 1 :] == V).all()) and torch.equal(ids[..., book] == V, hidden)
        for other in (*range(book), book):  # fed what the end result says, wherever it is fed something
            fed = ids[..., other]
            assert torch.equal(fed[fed != V], tokens.ids[..., other][fed != V])
        if number in (0, 4, 6):
            assert bool(hidden.all()) and float(query.progress[0]) == 0
        else:
            assert bool((hidden <= ~net.seen[number - 1].known).all())
            whole = torch.stack([hidden[:, i : i + 3].all(1) | ~hidden[:, i : i + 3].any(1) for i in range(0, L, 3)])
            assert bool(whole.all()), "spans lie side by side and are hidden as a whole"
    assert float(net.seen[3].progress[0]) == pytest.approx(1) and int((~net.seen[3].known)[0].sum()) <= 3
    assert bool((tokens.ids < V).all()) and bool(states[-1].done.all()) and states[-1].progress.tolist() == [1, 1]


def test_the_surest_spans_are_shown():
    process, hidden = Spans(SPACE, counts=(3, 1, 1)), torch.ones(1, L, dtype=torch.bool)
    belief = -torch.arange(L).float()[None]  # later places are less sure
    again = process._again(belief, hidden, hidden, 1, 3)
    assert again[0].tolist() == [i >= 6 for i in range(L)], "floor(5 cos(pi / 4)) = 3 of five spans, the last ones"


def test_one_book_and_spans_of_one_place_are_a_masked_model():
    space = Space(axes=(Axis("time", L),), vocab=(V,))
    one, other = Spans(space, counts=(1,), span=1, later="main"), Masked(steps=1)
    torch.manual_seed(0)
    net = Network(16, space, Spec(Embed, {"hidden": False, "extra_ids": 1}), STACK, Spec(CategoricalHead)).open(Context(2))
    tokens, hide = space.blank(2), torch.arange(L)[None].expand(2, -1) % 2 == 0
    fed = tokens.ids.masked_fill(hide[..., None], V)
    want = net(asked(tokens.put(slice(0, L), type(tokens)(fed, None, tokens.coord, tokens.kind, tokens.doc)), ~hide, torch.zeros(2)))
    got = net(one._query(tokens, 0, hide, torch.zeros(2)))
    assert torch.equal(got.distribution.logits, want.distribution.logits)
    assert one.likelihood == other.likelihood == "bound"


@torch.no_grad()
def test_later_books_say_nothing_to_the_present_one():
    net, process = network(2).open(Context(2)), Spans(SPACE, counts=(1, 1, 1))
    hide = torch.zeros(2, L, dtype=torch.bool)
    hide[:, 3:6] = True
    one, other = content(seed=0), content(seed=1)
    mixed = one.put(slice(0, L), type(one)(torch.cat([one.ids[..., :1], other.ids[..., 1:]], -1), None, one.coord, one.kind, one.doc))
    ask = lambda tokens, book: net(process._query(tokens, book, hide, torch.zeros(2))).distribution.book(book).logits  # noqa: E731
    assert torch.equal(ask(one, 0), ask(mixed, 0)) and not torch.equal(ask(one, 1), ask(mixed, 1))


@torch.no_grad()
def test_near_places_alone_are_seen():
    tokens, process, hide = content(), Spans(SPACE, counts=(1, 1, 1)), torch.zeros(2, L, dtype=torch.bool)
    far = content(seed=1)
    reach, depth = 2, 2
    changed = tokens.put(slice(0, 1), far.at(slice(0, 1)))
    ask = lambda net, said: net.open(Context(2))(process._query(said, 1, hide, torch.zeros(2))).distribution.logits  # noqa: E731
    one, other = ask(network(reach), tokens), ask(network(reach), changed)
    assert torch.equal(one[:, reach * depth + 1 :], other[:, reach * depth + 1 :]) and not torch.equal(one[:, : reach * depth], other[:, : reach * depth])
    whole = network(L).open(Context(2))
    query = process._query(tokens, 1, hide, torch.zeros(2))
    import dataclasses

    plain = whole(dataclasses.replace(query, stage="main")).distribution.logits
    assert torch.allclose(whole(query).distribution.logits, plain, atol=1e-5), "a reach of the whole length is full attention"


def test_the_bound_of_independent_places_is_exact():
    table = torch.randn(L, Q, V, generator=torch.Generator().manual_seed(0))
    net = lambda query, remember=False: Answer(Categorical(table.expand(2, -1, -1, -1)))  # noqa: E731
    tokens = content()
    want = Categorical(table.expand(2, -1, -1, -1)).nll(tokens, rng=Rng.seeded(0)).sum(1)
    got = Spans(SPACE, counts=(1, 1, 1)).bound(net, tokens, rng=Rng.seeded(0, 2), draws=400)
    assert torch.allclose(got, want, rtol=0.05)


def test_what_cannot_be_is_refused():
    with pytest.raises(BadArgument, match="a number a book"):
        Spans(SPACE, counts=(1, 1))
    with pytest.raises(BadArgument, match="span of one or more"):
        Spans(SPACE, counts=(1, 1, 1), span=0)
    assert Spans(SPACE, counts=(4, 2, 2)).but(steps=4).by_book() == [2, 1, 1]
