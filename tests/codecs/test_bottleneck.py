"""Bottlenecks: ids and codes one to one, gradients straight through, costs against slow references."""
from __future__ import annotations

import itertools
import math

import pytest
import torch
from torch.distributions import Normal, kl_divergence

from omniform.codecs.bottleneck import FSQ, KL, LFQ, RVQ, VQ, grid_from, rows_of, straight
from omniform.codecs.pyramid import Pyramid
from omniform.core.distribution import Content
from omniform.core.errors import BadArgument, CodecError, ShapeError
from omniform.core.rng import Rng
from omniform.core.tokens import Axis

SIZE = (3, 2)
AXES = (Axis("y", 3), Axis("x", 2))
EVERY = [lambda: KL(2, SIZE), lambda: VQ(16, 4, SIZE), lambda: VQ(16, 4, SIZE, ema=0.0, normalise=True), lambda: RVQ(8, 4, SIZE, books=3),
         lambda: FSQ((4, 3), SIZE), lambda: LFQ(5, SIZE), lambda: LFQ(5, SIZE, sphere=True), lambda: Pyramid((1, (2, 1), SIZE), 16, 4, SIZE)]


def latents(part, rows: int = 4, seed: int = 0) -> torch.Tensor:
    return Rng.seeded(seed).normal((rows, part.inputs, *part.size))


def test_a_grid_is_in_raster_order():
    z = torch.arange(6.0).reshape(1, 1, 3, 2)
    assert rows_of(z).flatten().tolist() == [0, 1, 2, 3, 4, 5] and torch.equal(grid_from(rows_of(z), SIZE), z)


@pytest.mark.parametrize("make", EVERY)
def test_content_is_what_the_space_says_and_what_training_gave_the_decoder(make):
    part = make().eval()
    z, rng = latents(part), Rng.seeded(3)
    space, content = part.space(AXES), part.encode(z, None)
    blank = space.blank(4)
    assert (content.ids is None) == (blank.ids is None) and (content.vec is None) == (blank.vec is None)
    for mine, promised in ((content.ids, blank.ids), (content.vec, blank.vec)):
        assert mine is None or mine.shape == promised.shape
    if content.ids is not None:
        latent, cost = part(z, 100, rng)
        assert torch.allclose(part.decode(content), latent, atol=1e-5)
        assert all(value.isfinite() for value in cost.values())
    assert part.decode(content).shape == (4, part.channels, *SIZE)


@pytest.mark.parametrize("make", EVERY)
def test_a_row_does_not_depend_on_its_batch(make):
    part = make().eval()
    z = latents(part)
    many, one = part.encode(z, Rng.seeded(1, rows=4)), part.encode(z[2:3], Rng.seeded(1, rows=[2]))
    for a, b in zip(many, one, strict=True):
        assert a is None or torch.allclose(a[2:3], b, atol=1e-6)


@pytest.mark.parametrize("make", [lambda: VQ(16, 4, SIZE), lambda: VQ(16, 4, SIZE, ema=0.0), lambda: RVQ(8, 4, SIZE), lambda: LFQ(4, SIZE),
                                  lambda: Pyramid((1, SIZE), 16, 4, SIZE)])
def test_the_gradient_goes_straight_through(make):
    part = make().eval()
    z = latents(part).requires_grad_()
    weight = Rng.seeded(9).normal((4, part.channels, *SIZE))
    (part(z, 1, Rng.seeded(0))[0] * weight).sum().backward()
    assert torch.equal(z.grad, weight)


def test_straight_has_the_value_of_one_and_the_gradient_of_the_other():
    z = torch.tensor([0.25, 2.0], requires_grad=True)
    y = straight(z, z.round())
    y.sum().backward()
    assert torch.equal(y.detach(), torch.tensor([0.0, 2.0])) and torch.equal(z.grad, torch.ones(2))


# ---- KL

def test_divergence_equals_torch():
    part = KL(3, SIZE)
    z = latents(part)
    mean, log_variance = z.chunk(2, 1)
    expected = kl_divergence(Normal(mean, (0.5 * log_variance).exp()), Normal(0.0, 1.0)).flatten(1).sum(1)
    assert torch.allclose(part.divergence(z), expected, rtol=1e-5)
    assert torch.allclose(part(z, 7, Rng.seeded(0))[1]["kl"], 1e-6 * expected.sum())


def test_samples_have_the_statistics_of_the_gaussian():
    part = KL(1, (1, 1))
    z = torch.tensor([0.7, math.log(0.25)]).reshape(1, 2, 1, 1).expand(40_000, -1, -1, -1)
    drawn = part.encode(z, Rng.seeded(0)).vec
    # standard errors of the mean and of the deviation of n draws: s / sqrt(n), s / sqrt(2 n); four of them
    assert drawn.mean() == pytest.approx(0.7, abs=4 * 0.5 / 200) and drawn.std() == pytest.approx(0.5, abs=4 * 0.5 / math.sqrt(80_000))
    assert (part.encode(z, None).vec == 0.7).all()


def test_settle_brings_unit_variance_by_channel():
    part = KL(2, SIZE)
    z = latents(part, 3000) * torch.tensor([3.0, 0.5, 1.0, 0.2]).reshape(1, 4, 1, 1) + torch.tensor([5.0, -1.0, 0.0, -2.0]).reshape(1, 4, 1, 1)
    part.settle(z)
    vec = part.encode(z, Rng.seeded(1)).vec.flatten(0, 1)
    assert torch.allclose(vec.std(0), torch.ones(2), atol=0.03) and torch.allclose(vec.mean(0), torch.zeros(2), atol=0.03)
    assert torch.allclose(part.decode(part.encode(z, None)), z[:, :2], atol=1e-5)


# ---- VQ and RVQ

def test_vq_costs_are_the_published_ones():
    part = VQ(16, 4, SIZE, commitment=0.3, ema=0.0).eval()
    z = latents(part).requires_grad_()
    codes = part.lookup(part.encode(z, None).ids)
    cost = part(z, 10, Rng.seeded(0))[1]
    distance = (rows_of(z) - codes).square().mean()
    assert torch.allclose(cost["commitment"], 0.3 * distance * 10) and torch.allclose(cost["codebook"], distance * 10)
    cost["codebook"].backward()
    assert z.grad is None or not z.grad.any()
    assert part.book.vectors.grad.any()


def test_training_fits_a_book_to_clusters():
    """Four codes a cluster on average, so that none is left without: the error is below that of the clusters' own spread."""
    centres = torch.tensor(list(itertools.product((-3.0, 3.0), repeat=3)))
    part = VQ(32, 3, (4, 4), ema=0.9, restart=0.1)
    for step in range(200):
        rng = Rng.seeded(step)
        z = centres[rng.integers(8, (1, 32 * 16))[0]] + 0.1 * rng.normal((32 * 16, 3))
        grid = grid_from(z.reshape(32, 16, 3), (4, 4))
        part(grid, 1, rng)
    part.eval()
    assert (rows_of(part.decode(part.encode(grid, None))) - rows_of(grid)).square().mean() < 0.1 ** 2
    assert part.book.usage.min() > 0.1 / 32


def test_evaluation_changes_nothing():
    part = VQ(16, 4, SIZE).eval()
    before = {k: v.clone() for k, v in part.state_dict().items()}
    part(latents(part), 1, Rng.seeded(0))
    assert all(torch.equal(before[k], v) for k, v in part.state_dict().items())


def test_each_further_book_codes_what_is_left():
    part = RVQ(32, 2, SIZE, books=3).train()
    z = latents(part, 64)
    for step in range(30):
        part(z, 1, Rng.seeded(step))
    part.eval()
    ids = part.encode(z, None).ids
    left = [rows_of(z).square().mean()] + [
        (rows_of(z) - sum(part.books[q].lookup(ids[..., q]) for q in range(n))).square().mean() for n in (1, 2, 3)]
    assert all(b < 0.5 * a for a, b in itertools.pairwise(left))


# ---- FSQ

@pytest.mark.parametrize("levels", [(2,), (3, 2), (8, 5, 5), (7, 5, 5, 5)])
def test_fsq_ids_and_codes_are_one_to_one(levels):
    part = FSQ(levels, SIZE)
    ids = torch.arange(part.num_codes).reshape(1, -1, 1)
    codes = part.lookup(ids)
    assert len(codes[0].unique(dim=0)) == math.prod(levels) and codes.abs().max() <= 1
    assert torch.equal(part.number(codes), ids.squeeze(-1))
    for channel, level in enumerate(levels):
        assert len(codes[0, :, channel].unique()) == level


def test_every_level_is_reached_and_none_beyond():
    part = FSQ((8, 5, 2), SIZE)
    z = torch.linspace(-20, 20, 4001)[:, None].expand(-1, 3)
    for channel, level in enumerate((8, 5, 2)):
        assert part.bounded(z).round()[:, channel].unique().tolist() == list(range(-(level // 2), (level - 1) // 2 + 1))


# ---- LFQ

@pytest.mark.parametrize("sphere", [False, True])
def test_lfq_ids_and_codes_are_one_to_one(sphere):
    part = LFQ(7, SIZE, sphere=sphere)
    ids = torch.arange(128).reshape(1, -1, 1)
    codes = part.lookup(ids)
    assert torch.equal(part.number(codes), ids.squeeze(-1)) and len(codes[0].unique(dim=0)) == 128
    assert torch.allclose(codes.norm(dim=-1), torch.full((1, 128), 1.0 if sphere else math.sqrt(7)))
    z = latents(part)
    quantised = part.decode(part.encode(z, None))
    assert torch.equal(quantised > 0, z > 0)


def test_the_widest_book_still_has_exact_ids():
    part = LFQ(62, SIZE)
    z = latents(part)
    assert torch.equal(part.decode(part.encode(z, None)) > 0, z > 0) and part.space(AXES).vocab == (1 << 62,)


@pytest.mark.parametrize("sphere", [False, True])
def test_entropies_equal_brute_force(sphere):
    part = LFQ(5, SIZE, sphere=sphere, temperature=0.7, joint=5)
    rows = part.posed(latents(part)).flatten(0, 1)
    codes = part.lookup(torch.arange(32).reshape(1, -1, 1))[0]
    share = (-torch.cdist(rows, codes).square() / 0.7).softmax(-1).double()
    each, whole = part.entropies(rows)
    assert each == pytest.approx(float(torch.special.entr(share).sum(-1).mean()), rel=1e-4)
    assert whole == pytest.approx(float(torch.special.entr(share.mean(0)).sum()), rel=1e-4)
    # bits apart bound their joint entropy from above
    assert LFQ(5, SIZE, sphere=sphere, temperature=0.7, joint=2).entropies(rows)[1] >= whole - 1e-6


def test_entropy_prefers_sure_bits_that_differ():
    part = LFQ(3, SIZE, entropy=1.0, commitment=0.0)
    signs = part.lookup(torch.arange(8).reshape(1, -1, 1))[0]
    cost = lambda rows: float(part(rows.repeat(6, 1).reshape(8, 6, 3).transpose(1, 2).unflatten(2, SIZE), 1, Rng.seeded(0))[1]["entropy"])
    assert cost(5 * signs) == pytest.approx(-3 * math.log(2), rel=1e-3)       # all codes, each sure: 0 - log 8
    assert cost(0 * signs) == pytest.approx(0, abs=1e-5)                      # all unsure: log 8 - log 8
    assert cost(5 * signs[:1].expand(8, -1)) == pytest.approx(0, abs=1e-5)    # one code: 0 - 0


# ---- refusals

@pytest.mark.parametrize("make", [*EVERY])
def test_foreign_content_is_refused_in_one_line(make):
    part = make()
    for content in (Content(), Content(ids=torch.zeros(1, 99, 1, dtype=torch.long)), Content(vec=torch.zeros(1, 99, 1))):
        with pytest.raises(ShapeError, match="own space") as error:
            part.decode(content)
        assert "\n" not in str(error.value)


@pytest.mark.parametrize("make", EVERY[1:])
def test_ids_outside_the_book_are_refused(make):
    part = make()
    ids = part.encode(latents(part), None).ids
    with pytest.raises(CodecError, match="expected ids in"):
        part.decode(Content(ids=torch.full_like(ids, 10_000)))


def test_bad_arguments_are_refused():
    for make in (lambda: KL(0, SIZE), lambda: RVQ(8, 4, SIZE, books=0), lambda: FSQ((), SIZE), lambda: FSQ((1, 2), SIZE), lambda: LFQ(63, SIZE),
                 lambda: Pyramid((1, 2), 8, 4, SIZE), lambda: Pyramid((), 8, 4, SIZE), lambda: Pyramid((2, 1, SIZE), 8, 4, SIZE)):
        with pytest.raises(BadArgument):
            make()


def test_only_a_pyramid_has_context():
    with pytest.raises(CodecError, match="use Pyramid"):
        VQ(8, 4, SIZE).context(None)
    with pytest.raises(CodecError, match="use Pyramid"):
        VQ(8, 4, SIZE).grown(None, torch.zeros(1, 6, 1), 0)
