"""What heads speak, against torch.distributions and against counting."""

from __future__ import annotations

import math

import pytest
import torch
from torch import distributions as D

from omniform.core.distribution import Content, Sampling
from omniform.core.rng import Rng
from omniform.core.tokens import Axis, Space
from omniform.heads.affine import Affine, AffineHead
from omniform.heads.bits import Bits, bits_of
from omniform.heads.categorical import Categorical, CategoricalHead
from omniform.heads.mixture import Mixture, MixtureHead
from omniform.heads.point import Point, PointHead

RNG = Rng.seeded(0)
B, L, C, Q, V, K = 2, 5, 3, 2, 7, 4


def randn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def close(x, y, tol=1e-5):
    assert x.shape == y.shape
    assert torch.allclose(x.double(), y.double(), rtol=tol, atol=tol)


EXAMPLES = {
    "categorical": Categorical(randn(B, L, Q, V)),
    "bits": Bits(randn(B, L, 6)),
    "affine": Affine(randn(B, L, C), 0.5 * randn(B, L, C, seed=1)),
    "mixture": Mixture(randn(B, L, K), randn(B, L, K, C, seed=1), 0.5 * randn(B, L, K, C, seed=2)),
    "point": Point(randn(B, L, C), randn(B, L, C, seed=1)),
}


def test_categorical_nll():
    d = EXAMPLES["categorical"]
    ids = torch.randint(0, V, (B, L, Q), generator=torch.Generator().manual_seed(3))
    close(d.nll(Content(ids=ids), rng=RNG), -D.Categorical(logits=d.logits).log_prob(ids).sum(-1))
    close(d.entropy(), D.Categorical(logits=d.logits).entropy().sum(-1))
    close(d.confidence(Content(ids=ids)), -d.nll(Content(ids=ids), rng=RNG))


def test_bits_nll():
    d = EXAMPLES["bits"]
    ids = torch.randint(0, 64, (B, L, 1), generator=torch.Generator().manual_seed(3))
    bits = torch.tensor([[[(int(i) >> j) & 1 for j in range(6)] for i in row] for row in ids[..., 0]]).float()
    assert torch.equal(bits_of(ids[..., 0], 6), bits)
    close(d.nll(Content(ids=ids), rng=RNG), -D.Bernoulli(logits=d.logits).log_prob(bits).sum(-1))
    every = torch.arange(64).reshape(1, 64, 1)
    total = Bits(d.logits[:1, :1].expand(1, 64, 6)).nll(Content(ids=every), rng=RNG)
    assert float(torch.exp(-total).sum()) == pytest.approx(1, abs=1e-5)


def test_affine_nll_and_maps():
    d, x = EXAMPLES["affine"], randn(B, L, C, seed=4)
    close(d.nll(Content(vec=x), rng=RNG), -D.Normal(d.shift, d.log_scale.exp()).log_prob(x).sum(-1))
    z, log_det = d.whiten(x)
    close(d.colour(z), x)
    jacobian = torch.autograd.functional.jacobian(lambda y: Affine(d.shift[:1, :1], d.log_scale[:1, :1]).whiten(y)[0], x[:1, :1]).reshape(C, C)
    close(torch.linalg.slogdet(jacobian).logabsdet, log_det[0, 0])


def test_mixture_nll():
    d, x = EXAMPLES["mixture"], randn(B, L, C, seed=4)
    theirs = D.MixtureSameFamily(D.Categorical(logits=d.logits), D.Independent(D.Normal(d.mean, d.log_scale.exp()), 1))
    close(d.nll(Content(vec=x), rng=RNG), -theirs.log_prob(x))


def test_point_is_half_the_squared_error():
    d, x = EXAMPLES["point"], randn(B, L, C, seed=4)
    unit = -D.Normal(d.value, 1.0).log_prob(x).sum(-1) - 0.5 * C * math.log(2 * math.pi)
    close(d.nll(Content(vec=x), rng=RNG), unit)
    assert torch.equal(d.sample(rng=RNG, how=Sampling()).vec, d.value)


@pytest.mark.parametrize("temperature", [1.0, 0.5])
def test_draws_have_the_stated_law(temperature):
    n, how = 20000, Sampling(temperature)
    wide = lambda name: EXAMPLES[name].mapped(lambda x: x[:1, :1].expand(1, n, *x.shape[2:]))  # noqa: E731
    few = 5 / math.sqrt(n)
    affine = wide("affine").sample(rng=Rng.seeded(1, 1), how=how).vec[0]
    d = EXAMPLES["affine"]
    z = (affine - d.shift[0, 0]) / d.log_scale[0, 0].exp()
    assert float(z.mean(0).abs().max()) < few and float((z.std(0) / temperature - 1).abs().max()) < few
    drawn = wide("categorical").sample(rng=Rng.seeded(2, 1), how=how).ids[0]
    for q in range(Q):
        law = (EXAMPLES["categorical"].logits[0, 0, q] / temperature).softmax(-1)
        assert float((torch.bincount(drawn[:, q], minlength=V) / n - law).abs().max()) < few
    bits = bits_of(wide("bits").sample(rng=Rng.seeded(3, 1), how=how).ids[0, :, 0], 6)
    assert float((bits.mean(0) - torch.sigmoid(EXAMPLES["bits"].logits[0, 0] / temperature)).abs().max()) < few
    if temperature == 1:
        d = EXAMPLES["mixture"].mapped(lambda x: x[:1, :1])
        x = wide("mixture").sample(rng=Rng.seeded(4, 1), how=how).vec[0]
        share = d.logits[0, 0].softmax(-1)[:, None]
        mean = (share * d.mean[0, 0]).sum(0)
        var = (share * (d.mean[0, 0] ** 2 + (2 * d.log_scale[0, 0]).exp())).sum(0) - mean**2
        assert float(((x.mean(0) - mean) / var.sqrt()).abs().max()) < few and float((x.var(0) / var - 1).abs().max()) < 3 * few


@pytest.mark.parametrize("name", EXAMPLES)
def test_draws_have_the_nll_of_the_mode_or_more(name):
    """At temperature 0 nothing is random and, but for mixtures, nothing is more likely."""
    d = EXAMPLES[name]
    mode, drawn = (d.sample(rng=Rng.seeded(s, B), how=Sampling(t)) for s, t in ((0, 0.0), (1, 1.0)))
    again = d.sample(rng=Rng.seeded(9, B), how=Sampling(0.0))
    for x, y in ((mode.ids, again.ids), (mode.vec, again.vec)):
        assert x is None or torch.equal(x, y)
    if name != "mixture":
        assert bool((d.nll(mode, rng=RNG) <= d.nll(drawn, rng=RNG) + 1e-5).all())


@pytest.mark.parametrize("name", EXAMPLES)
def test_places_and_mixing(name):
    d = EXAMPLES[name]
    target = d.sample(rng=Rng.seeded(1, B), how=Sampling())
    cut = Content(*(None if x is None else x[:, 1:3] for x in target))
    assert torch.equal(d.at(slice(1, 3)).nll(cut, rng=RNG), d.nll(target, rng=RNG)[:, 1:3])
    index = torch.tensor([[4, 0], [2, 2]])
    picked = Content(*(None if x is None else torch.stack([x[b, index[b]] for b in range(B)]) for x in target))
    close(d.gather(index).nll(picked, rng=RNG), d.nll(target, rng=RNG).gather(1, index))
    other = d.mapped(lambda x: -x)
    one, zero = torch.ones(B), torch.zeros(B)
    close(type(d).mix([d, other], [one, zero]).nll(target, rng=RNG), d.nll(target, rng=RNG))
    close(
        type(d).mix([d, other], [2 * one, -one]).nll(target, rng=RNG),
        d.mapped(lambda x: 3 * x).nll(target, rng=RNG) if name != "point" else Point(3 * d.value).nll(target, rng=RNG),
        1e-4,
    )


def test_heads_have_the_shapes_they_say():
    h = randn(B, L, 8)
    codes, reals = Space(axes=(Axis("t", L),), vocab=(V, V)), Space(axes=(Axis("t", L),), channels=C)
    assert CategoricalHead(8, codes)(h).logits.shape == (B, L, 2, V)
    uniform = CategoricalHead(8, codes, small=0.0)(h)
    close(uniform.entropy(), torch.full((B, L), 2 * math.log(V)))
    scaled, plain = (CategoricalHead(8, codes, bias=False, scaled=s) for s in (True, False))
    scaled.load_state_dict(plain.state_dict())
    close(scaled(h).logits, plain(h).logits / 8**0.5)
    assert not PointHead(8, reals)(h).value.any()
    assert PointHead(8, reals, learned_variance=True)(h).spread.shape == (B, L, C)
    start = AffineHead(8, reals)(h)
    assert not start.shift.any() and not start.log_scale.any()
    bounded = AffineHead(8, reals, bound=0.5)
    torch.nn.init.constant_(bounded.out.bias, 100.0)
    assert float(bounded(h).log_scale.detach().max()) <= 0.5
    low = MixtureHead(8, reals, components=K, floor=2.0)
    torch.nn.init.constant_(low.out.bias, -100.0)
    assert float(low(h).log_scale.detach().min()) == -2.0
    with pytest.raises(ValueError, match="one size"):
        CategoricalHead(8, Space(axes=(Axis("t", L),), vocab=(4, 5)))


def test_a_head_that_reads_the_table_teaches_it_nothing():
    for tied, taught in ((True, True), ("read", False)):
        table, head = torch.nn.Embedding(5, 8), CategoricalHead(8, Space(axes=(Axis("time", 4),), vocab=(5,)), tied=tied)
        head.tie((table,))
        h = torch.randn(1, 4, 8)
        assert torch.equal(head(h).logits[0, :, 0], h[0] @ table.weight.T)
        head(h).logits.square().sum().backward()
        assert (table.weight.grad is not None) == taught and head.bias.grad is not None
