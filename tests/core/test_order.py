"""Orders, and the rule of who sees whom."""

from __future__ import annotations

import pytest
import torch

from omniform.core.errors import BadArgument, ShapeError
from omniform.core.order import Along, BlocksOf, Coarse, Delay, Raster, Shuffle
from omniform.core.query import visible
from omniform.core.rng import Rng
from omniform.core.tokens import Axis, Space

SOUND = Space(axes=(Axis("time", 4), Axis("book", 3)), vocab=(8,))
PYRAMID = Space(
    axes=(Axis("scale", 3), Axis("y", 3), Axis("x", 3)),
    vocab=(8,),
    coord=torch.cat([torch.cartesian_prod(torch.tensor([k]), torch.arange(k + 1), torch.arange(k + 1)) for k in range(3)]).float(),
)


def turns(order, space=SOUND, rows=2):
    turn = order.turns(space.blank(rows).coord, rng=Rng.seeded(0, rows))
    assert turn.shape == (rows, space.length) and turn.dtype == torch.long
    for row in turn:  # from 0, without gaps
        assert row.unique().tolist() == list(range(int(row.max()) + 1))
    return turn


def test_orders_are_what_they_say():
    t, q = SOUND.places.long().T
    assert torch.equal(turns(Raster())[0], torch.arange(12))
    assert torch.equal(turns(Raster(reverse=True))[0], torch.arange(11, -1, -1))
    assert torch.equal(turns(Delay("time", "book", SOUND))[0], t + q)
    assert torch.equal(turns(Coarse("time", "book", SOUND))[0], q * 4 + t)
    assert torch.equal(turns(Along("time", SOUND))[0], t)
    assert torch.equal(turns(Along("scale", PYRAMID), PYRAMID)[0], torch.tensor([0] + [1] * 4 + [2] * 9))
    assert torch.equal(turns(BlocksOf(5))[0], torch.tensor([0] * 5 + [1] * 5 + [2] * 2))


def test_a_shuffle_is_another_in_every_row_and_uniform():
    turn = turns(Shuffle(), rows=400)
    assert torch.equal(turn.sort(-1).values, torch.arange(12).expand(400, -1))
    assert len({tuple(r) for r in turn.tolist()}) == 400
    assert float((turn.double().mean(0) - 5.5).abs().max()) < 5 * 3.45 / 20


@pytest.mark.parametrize(
    "order",
    [Raster(), Raster(True), Shuffle(), BlocksOf(5), Delay("time", "book", SOUND), Along("time", SOUND), Along("book", SOUND)],
    ids=lambda o: type(o).__name__,
)
def test_the_pattern_is_a_promise_kept(order):
    turn = turns(order)
    step = turn.diff(dim=-1)
    holds = {"causal": bool((step == 1).all()), "blocks": bool((step >= 0).all()), "full": not turn.any(), "any": True}
    assert holds[order.pattern]


def test_refusals():
    with pytest.raises(BadArgument):
        BlocksOf(0)
    with pytest.raises(ShapeError, match="no axis 'scale' here; the axes are time, book"):
        Along("scale", SOUND)


def test_visible_is_the_rule_read_aloud():
    g = torch.Generator().manual_seed(0)
    rows, asked, before = 3, 7, 5
    draw = lambda n, high, low=0: torch.randint(low, high, (rows, n), generator=g)  # noqa: E731
    turn, lane, doc = draw(asked, 4), draw(asked, 3), draw(asked, 2, -1)
    past = draw(before, 4), torch.zeros(rows, before, dtype=torch.long), draw(before, 2, -1)
    see = visible(turn, lane, doc, past)
    keys = [torch.cat([p, q], 1) for p, q in zip(past, (turn, lane, doc), strict=True)]
    for b in range(rows):
        for q in range(asked):
            for k in range(before + asked):
                rule = (keys[2][b, k] == doc[b, q] != -1) and keys[0][b, k] <= turn[b, q] and int(keys[1][b, k]) in (0, int(lane[b, q]))
                assert bool(see[b, q, k]) == bool(rule or k == before + q)


def test_visible_of_shared_rows_is_one_row():
    turn = torch.arange(5)[None].expand(4, -1)
    zero = torch.zeros_like(turn[:1]).expand(4, -1)
    assert visible(turn, zero, zero).shape == (1, 5, 5)
    assert torch.equal(visible(turn, zero, zero)[0], torch.ones(5, 5).tril().bool())
