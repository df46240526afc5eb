"""Random numbers that are a function of who asks: uniform, independent, the same in any batch."""

from __future__ import annotations

import math

import pytest
import torch
from scipy import stats

from omniform.core.errors import ShapeError
from omniform.core.rng import Rng

WAYS = {
    "along a row": lambda n: Rng.seeded(3).uniform((1, n)),
    "over rows": lambda n: Rng.seeded(3, n).uniform((n, 1)),
    "over rows of one stream": lambda n: Rng.seeded(3).uniform((n, 1)),
    "over splits": lambda n: torch.stack([Rng.seeded(3).split(i).uniform((1,)) for i in range(n // 8)]),
    "over folds": lambda n: torch.stack([Rng.seeded(3).fold(i).uniform((1,)) for i in range(n // 8)]),
    "over seeds": lambda n: torch.stack([Rng.seeded(i).uniform((1,)) for i in range(n // 8)]),
    "over row folds": lambda n: Rng.seeded(3, n).fold(torch.arange(n)).uniform((n, 1)),
}


@pytest.mark.parametrize("way", WAYS)
def test_uniform(way):
    u = WAYS[way](16000).flatten().double()
    assert 0 < float(u.min()) and float(u.max()) < 1
    counts = torch.histc(u, 40, 0, 1)
    assert stats.chisquare(counts.numpy()).pvalue > 1e-3
    assert abs(float(torch.corrcoef(torch.stack([u[:-1], u[1:]]))[0, 1])) < 4 / math.sqrt(len(u))


def test_every_bit_is_fair():
    x = Rng.seeded(11).integers64((1, 20000))[0]
    bits = ((x[:, None] >> torch.arange(64)) & 1).double()
    assert float((bits.mean(0) - 0.5).abs().max()) < 5 * 0.5 / math.sqrt(20000)
    corr = torch.corrcoef(bits.T) - torch.eye(64)
    assert float(corr.abs().max()) < 5.5 / math.sqrt(20000)


def test_the_ends_are_never_reached(monkeypatch):
    for bits in (-1, 0):  # all ones, all zeros
        monkeypatch.setattr(Rng, "integers64", lambda self, shape, bits=bits: torch.full(tuple(shape), bits, dtype=torch.int64))
        rng = Rng.seeded(0)
        assert 0 < float(rng.uniform((1, 1))) < 1
        assert bool(torch.isfinite(rng.normal((1, 1)))) and 6 < abs(float(rng.normal((1, 1)))) < 7
        assert bool(torch.isfinite(rng.gumbel((1, 1))))
        assert 0 <= int(rng.integers(7, (1, 1))) < 7


@pytest.mark.parametrize("kind", ["normal", "gumbel"])
def test_other_laws(kind):
    x = getattr(Rng.seeded(5), kind)((1, 20000))[0].double().numpy()
    law = {"normal": stats.norm(), "gumbel": stats.gumbel_r()}[kind]
    assert stats.kstest(x, law.cdf).pvalue > 1e-3


def test_integers_and_permutations():
    x = Rng.seeded(5).integers(7, (1, 14000))[0]
    assert stats.chisquare(torch.bincount(x, minlength=7).numpy()).pvalue > 1e-3 and int(x.max()) == 6
    orders = Rng.seeded(6).permutation(12000, 3)
    assert bool((orders.sort(-1).values == torch.arange(3)).all())
    assert stats.chisquare(torch.bincount((orders * torch.tensor([9, 3, 1])).sum(-1), minlength=27).numpy()[[5, 7, 11, 15, 19, 21]]).pvalue > 1e-3


def test_a_row_is_the_same_in_every_batch():
    whole = Rng.seeded(7, 5).normal((5, 3, 2))
    assert torch.equal(Rng.seeded(7, [4, 1]).normal((2, 3, 2)), whole[[4, 1]])
    assert torch.equal(Rng.seeded(7, 5).take(torch.tensor([4, 1])).normal((2, 3, 2)), whole[[4, 1]])
    assert torch.equal(
        Rng.seeded(7, 5).split("a").fold(torch.arange(5)).uniform((5, 2))[3:4], Rng.seeded(7, [3]).split("a").fold(torch.tensor([3])).uniform((1, 2))
    )
    assert not torch.equal(Rng.seeded(8, 5).normal((5, 3, 2)), whole)


def test_a_shorter_draw_is_the_beginning_of_a_longer_one():
    assert torch.equal(Rng.seeded(7, 2).uniform((2, 3)), Rng.seeded(7, 2).uniform((2, 9))[:, :3])


def test_streams_do_not_repeat_each_other():
    rng = Rng.seeded(9)
    streams = [
        rng.split("a"),
        rng.split("b"),
        rng.split(1),
        rng.split(2),
        rng.fold(0),
        rng.fold(1),
        rng.split("a").split("b"),
        rng.split("b").split("a"),
        rng.split("a").fold(1),
        rng.fold(1).split("a"),
        Rng.seeded(10),
        Rng.seeded(9),
    ]
    draws = torch.stack([s.uniform((1, 4000))[0].double() for s in streams])
    corr = torch.corrcoef(draws) - torch.eye(len(streams))
    assert float(corr.abs().max()) < 5 / math.sqrt(4000)
    rows = Rng.seeded(9, 8).uniform((8, 4000)).double()
    assert float((torch.corrcoef(rows) - torch.eye(8)).abs().max()) < 5 / math.sqrt(4000)


def test_drawing_moves_on_and_splitting_does_not():
    rng = Rng.seeded(1)
    before = rng.split("x").uniform((1, 4))
    one, two = rng.uniform((1, 4)), rng.uniform((1, 4))
    assert not torch.equal(one, two)
    assert torch.equal(rng.split("x").uniform((1, 4)), before)
    assert torch.equal(torch.cat([one, two], 1), Rng.seeded(1).uniform((1, 8)))


def test_another_number_of_rows_is_refused():
    with pytest.raises(ShapeError, match="3 rows and was asked for 2"):
        Rng.seeded(0, 3).uniform((2, 4))


@pytest.mark.parametrize("numbers", [range(40), [0, 1, 2, 7, 8, 3, 3, 4, 5, 6, 7], [5, 5, 5]])
def test_noise_drawn_ahead_is_what_each_stream_draws(numbers):
    stream = Rng.seeded(3, 2).split("step")
    for n in numbers:
        at = torch.tensor([n, n + 2])
        mine, alone = stream.fold(at), Rng.seeded(3, 2).split("step").fold(at)
        assert torch.equal(mine.gumbel((2, 1, 5)), _first(alone, (2, 1, 5)))
        assert torch.equal(mine.gumbel((2, 3)), alone.gumbel((2, 3))), "the second draw goes on where the first ended"
    assert torch.equal(stream.fold(at).split("a").gumbel((2, 4)), Rng.seeded(3, 2).split("step").fold(at).split("a").gumbel((2, 4)))


def _first(stream, shape):
    """The first draw, by the definition: minus the logarithm of minus the logarithm of 52 bits in (0, 1)."""
    bits = stream.integers64(shape)
    share = (((bits >> 12) & ((1 << 52) - 1)).double() + 0.5) / (1 << 52)
    return (-(-share.log()).log()).float()
