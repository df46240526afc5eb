"""The pyramid: its bookkeeping, and a context that knows coarser scales only."""
from __future__ import annotations

import numpy as np
import pytest
import torch

from omniform import recipes
from omniform.codecs.bottleneck import rows_of
from omniform.codecs.pyramid import Pyramid
from omniform.core.errors import BadArgument, CodecError, ShapeError
from omniform.core.order import Along
from omniform.core.rng import Rng
from omniform.core.tokens import Axis

SCALES, SIZE = (1, 2, 3, 5, 7), (7, 7)
STARTS = (0, 1, 5, 14, 39, 88)


@pytest.fixture
def part() -> Pyramid:
    torch.manual_seed(0)
    return Pyramid(SCALES, codes=32, channels=4, size=SIZE).eval()


def tokens_of(part: Pyramid, seed: int = 0):
    space = part.space((Axis("y", 7), Axis("x", 7)))
    blank = space.blank(3)
    blank.ids.copy_(Rng.seeded(seed).integers(32, blank.ids.shape))
    return blank


def test_the_space_lies_scale_by_scale(part):
    space = part.space((Axis("y", 7), Axis("x", 7)))
    assert [(a.name, a.size) for a in space.axes] == [("scale", 5), ("y", 7), ("x", 7)] and space.length == 88 and space.vocab == (32,)
    expected = [(k, y, x) for k, side in enumerate(SCALES) for y in range(side) for x in range(side)]
    assert space.places.tolist() == [list(map(float, place)) for place in expected]
    turn = Along("scale", space).turns(space.places[None], rng=Rng.seeded(0))
    assert torch.bincount(turn[0]).tolist() == [1, 4, 9, 25, 49] and Along("scale", space).pattern == "blocks"


def test_what_is_said_and_what_is_left_make_the_latent_at_every_scale(part):
    f = Rng.seeded(1).normal((3, 4, 7, 7))
    ids = part.encode(f, None).ids
    rest, total = f, torch.zeros_like(f)
    for k, side in enumerate(SCALES):
        mine = ids[:, STARTS[k]:STARTS[k + 1], 0]
        wanted = rows_of(torch.nn.functional.adaptive_avg_pool2d(rest, side))            # by area, written another way
        distance = torch.cdist(wanted, part.book.vectors)
        assert torch.allclose(distance.gather(-1, mine[..., None])[..., 0], distance.min(-1).values, atol=1e-4)
        total, rest = total + part.said(mine, k), rest - part.said(mine, k)
        assert torch.allclose(total + rest, f, atol=1e-5)
    assert torch.allclose(part.decode(part.encode(f, None)), total, atol=1e-6)


def test_phis_are_shared_as_published():
    """Ticks 1/12, 4/12, 7/12, 11/12 against k/9 (the card's figures for ten scales and four phis; the two middle ticks by even spacing)."""
    ten = Pyramid((1, 2, 3, 4, 5, 6, 8, 10, 13, 16), codes=4, channels=1, size=(16, 16))
    ticks = [1 / 12 + i * (10 / 12) / 3 for i in range(4)]
    assert ten.phi_of == [min(range(4), key=lambda i: abs(ticks[i] - k / 9)) for k in range(10)] and len(ten.phi) == 4


def test_the_released_tokenizer_shares_phis_by_its_rounding():
    """Scales 2 and 7 lie halfway between two ticks; in numpy's float64, as in models/quant.py, they fall to 1 and 3."""
    ticks = np.linspace(1 / 3 / 4, 1 - 1 / 3 / 4, 4)
    want = [int(np.argmin(np.abs(ticks - k / 9))) for k in range(10)]
    codec = recipes.get("pyramid").sized("ch160").codec
    assert codec.args["bottleneck"].build(size=(16, 16)).phi_of == want
    given = Pyramid(SCALES, codes=32, channels=4, size=SIZE, phi_of=(0, 1, 2, 3, 0)).eval()
    ids = torch.randint(32, (2, 49))
    with torch.no_grad():
        h = given.book.lookup(ids).mT.unflatten(2, SIZE)
        torch.testing.assert_close(given.said(ids, 4), h / 2 + given.phi[0](h) / 2)


@pytest.mark.parametrize("scale", range(5))
def test_context_knows_coarser_scales_only(part, scale):
    tokens = tokens_of(part)
    before = part.context(tokens)
    changed = tokens.ids.clone()
    changed[:, STARTS[scale]:] = (changed[:, STARTS[scale]:] + 7) % 32
    tokens.ids.copy_(changed)
    after = part.context(tokens)
    assert torch.equal(before[:, :STARTS[scale + 1]], after[:, :STARTS[scale + 1]])
    if scale < 4:
        assert not torch.equal(before[:, STARTS[scale + 1]:], after[:, STARTS[scale + 1]:])


def test_growing_scale_by_scale_equals_the_context_of_all(part):
    part.settle(Rng.seeded(2).normal((8, 4, 7, 7)))
    tokens = tokens_of(part)
    whole, latent = part.context(tokens), None
    assert whole.shape == (3, 88, 4) and not whole[:, :1].any()
    for k in range(5):
        latent, following = part.grown(latent, tokens.ids[:, STARTS[k]:STARTS[k + 1]], k)
        assert torch.equal(following, whole[:, STARTS[k + 1]:STARTS[min(k + 2, 5)]])
    assert torch.equal(latent, part.decode(tokens))


def test_context_is_the_running_sum_resized(part):
    tokens = tokens_of(part)
    latent = sum(part.said(tokens.ids[:, STARTS[k]:STARTS[k + 1], 0], k) for k in range(3))
    expected = torch.nn.functional.adaptive_avg_pool2d(latent, 5).flatten(2).transpose(1, 2)
    assert torch.allclose(part.context(tokens)[:, STARTS[3]:STARTS[4]], expected, atol=1e-6)


def test_settled_latents_have_unit_variance(part):
    f = 5 * Rng.seeded(2).normal((16, 4, 7, 7))
    part.settle(f)
    spread = part.decode(part.encode(f, None)).detach().std(correction=0)
    assert spread / part.spread == pytest.approx(1, abs=1e-4)


def test_costs_are_the_published_ones(part):
    f = Rng.seeded(1).normal((3, 4, 7, 7)).requires_grad_()
    cost = part(f, 10, Rng.seeded(0))[1]
    ids, latent, total = part.encode(f, None).ids, torch.zeros(3, 4, 7, 7), 0
    for k in range(5):
        latent = latent + part.said(ids[:, STARTS[k]:STARTS[k + 1], 0], k)
        total = total + (latent - f).square().mean() / 5
    assert torch.allclose(cost["codebook"], 10 * total, rtol=1e-4) and torch.allclose(cost["commitment"], 2.5 * total, rtol=1e-4)
    cost["codebook"].backward()
    assert f.grad is None or not f.grad.any()
    assert all(p.grad is not None and p.grad.any() for p in part.parameters())


def test_the_residual_falls_with_scale_when_trained():
    part = Pyramid((1, 2, 4), codes=64, channels=2, size=(4, 4)).train()
    f = torch.nn.functional.interpolate(Rng.seeded(3).normal((64, 2, 2, 2)), (4, 4), mode="bilinear")
    optimizer = torch.optim.Adam(part.parameters(), lr=3e-3)
    for step in range(150):
        optimizer.zero_grad()
        part(f, 1, Rng.seeded(step))[1]["codebook"].backward()
        optimizer.step()
    part.eval()
    ids, rest, left = part.encode(f, None).ids.squeeze(-1).split([1, 4, 16], 1), f, [float(f.square().mean())]
    for k in range(3):
        rest = rest - part.said(ids[k], k)
        left.append(float(rest.detach().square().mean()))
    assert left[0] > left[1] > left[2] > left[3] and left[3] < 0.1 * left[0]


def test_what_does_not_fit_is_refused(part):
    with pytest.raises(BadArgument, match="two axes"):
        part.space((Axis("latent", 49),))
    for phi_of in ((0, 1, 2, 3), (0, 1, 2, 2, 1), (0, 1, 2, 3, 4)):
        with pytest.raises(BadArgument, match="one of 4 convolutions for each of 5 scales"):
            Pyramid(SCALES, codes=32, channels=4, size=SIZE, phi_of=phi_of)
    with pytest.raises(ShapeError):
        part.grown(None, torch.zeros(1, 3, 1, dtype=torch.long), 1)
    tokens = tokens_of(part)
    tokens.ids[0, 0] = 32
    with pytest.raises(CodecError):
        part.context(tokens)
