"""Bands: a spectrum cut without loss, and the limit in which they are a Pyramid."""
from __future__ import annotations

import pytest
import torch

from omniform.codecs.bands import Bands
from omniform.codecs.pyramid import Pyramid
from omniform.core.errors import BadArgument
from omniform.core.rng import Rng

SCALES, SIZE = (1, 2, 3, 5, 7), (7, 7)


def made(kind=Bands, **more):
    torch.manual_seed(0)
    return kind(SCALES, codes=32, channels=4, size=SIZE, **more).eval()


def test_bands_add_up_and_so_do_their_energies():
    part, f = made(), Rng.seeded(1).normal((3, 4, *SIZE))
    lows = [torch.zeros_like(f), *(part.low(f, k) for k in range(len(SCALES)))]
    bands = [b - a for a, b in zip(lows, lows[1:], strict=False)]
    assert torch.allclose(sum(bands), f, atol=1e-5)
    assert torch.allclose(sum(b.square().sum() for b in bands), f.square().sum(), rtol=1e-5)        # Parseval: they share no frequency
    assert torch.allclose(lows[1], f.mean((-1, -2), keepdim=True).expand_as(f), atol=1e-5)          # the first edge lets the mean through, no more


def test_a_cut_by_hand():
    """A plane wave passes whole or not at all, by its radius."""
    part = made(edges=(0.0, 0.3, 0.5, 0.8, 1.0))
    y, x = torch.meshgrid(torch.arange(7.0), torch.arange(7.0), indexing="ij")
    for a, b in ((1, 0), (0, 2), (2, 3), (3, 3), (1, 3)):
        wave = torch.cos(2 * torch.pi * (a * y + b * x) / 7)[None, None]
        share = (a * a + b * b) ** 0.5 / 18 ** 0.5
        for k, edge in enumerate(part.edges):
            assert torch.allclose(part.low(wave, k), wave * (share <= edge), atol=1e-5)


def test_edges_follow_the_tokens():
    assert made().edges == pytest.approx([1 / 88, 5 / 88, 14 / 88, 39 / 88, 1])


def test_a_scale_codes_what_is_due_up_to_its_edge():
    part, f = made(), Rng.seeded(2).normal((2, 4, *SIZE))
    ids, rest, first = part.encode(f, None).ids, f, 0
    for k, side in enumerate(SCALES):
        due = part.low(f, k) - (f - rest)
        wanted = torch.nn.functional.adaptive_avg_pool2d(due, side).flatten(2).transpose(1, 2)
        mine = ids[:, first:first + side * side, 0]
        distance = torch.cdist(wanted, part.book.vectors)
        assert torch.allclose(distance.gather(-1, mine[..., None])[..., 0], distance.min(-1).values, atol=1e-4)
        rest, first = rest - part.said(mine, k), first + side * side


def test_with_all_edges_open_it_is_a_pyramid():
    open_, plain, f = made(edges=(1.0,) * 5), made(Pyramid), Rng.seeded(3).normal((2, 4, *SIZE))
    assert torch.equal(open_.encode(f, None).ids, plain.encode(f, None).ids)
    assert not torch.equal(made().encode(f, None).ids, plain.encode(f, None).ids)


@pytest.mark.parametrize("edges", [(0.5, 1.0), (0.1, 0.2, 0.3, 0.4, 0.5), (0.5, 0.2, 0.6, 0.8, 1.0)])
def test_edges_that_do_not_rise_to_one_are_refused(edges):
    with pytest.raises(BadArgument, match="rise to 1"):
        made(edges=edges)
