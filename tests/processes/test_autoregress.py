"""Set by set: feeds, orders, prompts, the end."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from omniform.core.distribution import Sampling
from omniform.core.errors import BadArgument, OrderError
from omniform.core.order import Along, Coarse, Delay, Order, Raster, Shuffle
from omniform.core.process import generate
from omniform.core.query import Answer
from omniform.core.rng import Rng
from omniform.core.spec import Spec
from omniform.core.tokens import Axis, Space
from omniform.heads.categorical import Categorical
from omniform.processes.autoregress import Autoregress
from omniform.processes.feeds import PyramidFeed, Shift

TEXT = Space(axes=(Axis("time", 6),), vocab=(9,))
SOUND = Space(axes=(Axis("time", 4), Axis("book", 3)), vocab=(9,))


class Echo:
    """Says with certainty the id it was fed plus one (0 where it was fed nothing), and writes down what it was asked."""

    def __init__(self, vocab=9):
        self.vocab, self.asked = vocab, []

    def __call__(self, query, *, remember=False):
        self.asked.append((query, remember))
        said = torch.where(query.known, (query.tokens.ids[..., 0] + 1) % self.vocab, 0)
        return Answer(Categorical(torch.nn.functional.one_hot(said, self.vocab).float()[:, :, None] * 100))


def filled(space, rows=2):
    blank = space.blank(rows)
    return replace(blank, ids=torch.arange(rows * blank.length).reshape(rows, -1, 1) % 9)


def test_a_raster_counts_up():
    net = Echo()
    made = generate(Autoregress(TEXT, Spec(Raster), Spec(Shift)), net, TEXT.blank(2), rng=Rng.seeded(0, 2))
    assert made.ids[..., 0].tolist() == [[0, 1, 2, 3, 4, 5]] * 2
    assert [(q.turn.tolist(), r) for q, r in net.asked] == [([[t], [t]], True) for t in range(6)]


def test_a_start_token_is_fed_first():
    space = replace(TEXT, start=7)
    made = generate(Autoregress(space, Spec(Raster), Spec(Shift)), Echo(), space.blank(1), rng=Rng.seeded(0, 1))
    assert made.ids[0, :, 0].tolist() == [8, 0, 1, 2, 3, 4]


@pytest.mark.parametrize(
    "order",
    [
        Spec(Raster, {"reverse": True}),
        Spec(Shuffle),
        Spec(Delay, {"time": "time", "book": "book"}),
        Spec(Coarse, {"time": "time", "book": "book"}),
        Spec(Along, {"axis": "time"}),
        Spec(Along, {"axis": "book"}),
    ],
    ids=lambda s: s.make.__name__,
)
@pytest.mark.parametrize("along", [None, "book"])
def test_a_slot_is_fed_the_last_token_of_strictly_lower_turn(order, along):
    process, tokens = Autoregress(SOUND, order, Spec(Shift, {"along": along})), filled(SOUND)
    turn = process.order.turns(tokens.coord, rng=Rng.seeded(3, 2))
    fed, known = process.feed.fed(tokens, process.feed.plan(tokens, turn, process.order), slice(None))
    for b in range(2):
        for slot in range(SOUND.length):
            before = [p for p in range(SOUND.length) if turn[b, p] < turn[b, slot] and (along is None or tokens.coord[b, p, 1] == tokens.coord[b, slot, 1])]
            assert bool(known[b, slot]) == bool(before)
            last = max(before, key=lambda p: (int(turn[b, p]), p), default=None)
            assert int(fed.ids[b, slot, 0]) == (0 if last is None else int(tokens.ids[b, last, 0]))
    assert torch.equal(fed.coord, tokens.coord)


def test_own_place_and_aim():
    process = Autoregress(TEXT, Spec(Shuffle), Spec(Shift, {"own_place": True}), aim=True)
    net, tokens = Echo(), filled(TEXT)
    process.loss(net, tokens, rng=Rng.seeded(0, 2))
    ((query, _),) = net.asked
    assert torch.equal(query.aim, tokens.coord) and not torch.equal(query.tokens.coord, tokens.coord)
    turn = process.order.turns(tokens.coord, rng=Rng.seeded(0, 2).split("order"))
    for b in range(2):
        for slot in range(6):
            if turn[b, slot]:
                source = int((turn[b] == turn[b, slot] - 1).nonzero()[0])
                assert float(query.tokens.coord[b, slot, 0]) == source


def test_a_prompt_is_asked_in_one_go():
    net, tokens = Echo(), filled(TEXT)
    given = (torch.arange(6) < 3)[None].expand(2, -1)
    made = generate(Autoregress(TEXT, Spec(Raster), Spec(Shift)), net, tokens, rng=Rng.seeded(0, 2), given=given)
    assert [q.turn.shape[1] for q, _ in net.asked] == [3, 1, 1, 1] and net.asked[0][0].pattern == "causal"
    assert made.ids[..., 0].tolist() == [[0, 1, 2, 3, 4, 5], [6, 7, 8, 0, 1, 2]]


def test_a_row_ends_at_its_stop_and_the_rest_is_padding():
    space = replace(TEXT, stop=3, start=8)
    tokens = filled(space)
    given = torch.tensor([[True] + [False] * 5] * 2)
    net = Echo()
    made = generate(
        Autoregress(space, Spec(Raster), Spec(Shift)),
        net,
        replace(tokens, ids=torch.tensor([[[1]] + [[0]] * 5, [[4]] + [[0]] * 5])),
        rng=Rng.seeded(0, 2),
        given=given,
    )
    assert made.real.tolist() == [[True, True] + [False] * 4, [True] * 6] and made.ids[1, :, 0].tolist() == [4, 5, 6, 7, 8, 0]
    both = generate(
        Autoregress(space, Spec(Raster), Spec(Shift)),
        net := Echo(),
        replace(tokens, ids=torch.tensor([[[1]] + [[0]] * 5] * 2)),
        rng=Rng.seeded(0, 2),
        given=given,
    )
    assert len(net.asked) == 3 and both.real.sum(1).tolist() == [2, 2], "nobody is asked when everybody is done"


def test_padding_costs_nothing():
    process = Autoregress(TEXT, Spec(Raster), Spec(Shift))
    tokens = filled(TEXT)
    short = replace(tokens, doc=torch.tensor([[0] * 6, [0] * 4 + [-1] * 2]))
    losses = process.loss(Echo(), short, rng=Rng.seeded(0))
    nll = process.bound(Echo(), tokens, rng=Rng.seeded(0, 2))
    assert int(losses.count) == 10
    assert float(process.bound(Echo(), short, rng=Rng.seeded(0, 2))[0]) == float(nll[0])


def test_the_sampling_that_is_set_is_used():
    class Flat:
        def __call__(self, query, *, remember=False):
            return Answer(Categorical(torch.linspace(0, 1, 9).expand(query.tokens.batch, query.tokens.length, 1, 9)))

    process = Autoregress(TEXT, Spec(Raster), Spec(Shift), sampling=Sampling(top_k=2))
    assert set(generate(process, Flat(), TEXT.blank(20), rng=Rng.seeded(0, 20)).ids.flatten().tolist()) == {7, 8}
    assert set(generate(process.but(sampling=Sampling(0.0)), Flat(), TEXT.blank(3), rng=Rng.seeded(0, 3)).ids.flatten().tolist()) == {8}


def test_refusals():
    class Ragged(Order):
        def turns(self, coord, *, rng):
            return torch.tensor([[0, 0, 1, 2, 3, 4], [0, 1, 2, 3, 4, 5]])

    process = Autoregress(TEXT, Spec(Raster), Spec(Shift))
    process.order = Ragged()
    with pytest.raises(OrderError, match="as many places at each turn"):
        process.init(TEXT.blank(2), rng=Rng.seeded(0, 2))
    with pytest.raises(BadArgument, match="PyramidFeed needs a codec"):
        Autoregress(TEXT, Spec(Raster), Spec(PyramidFeed), codec=None)
