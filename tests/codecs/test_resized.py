"""Latents at several sizes: nothing of its own to learn, only the finest decoded."""
from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from omniform.codecs.bottleneck import KL, rows_of
from omniform.codecs.resized import Resized
from omniform.core.distribution import Content
from omniform.core.errors import BadArgument, ShapeError
from omniform.core.rng import Rng
from omniform.core.tokens import Axis

SCALES = (1, 2, 4)


@pytest.fixture
def part():
    return Resized(SCALES, channels=3, size=(4, 4))


def test_each_scale_is_the_mean_of_what_it_covers(part):
    z = Rng.seeded(0).normal((2, 6, 4, 4))
    vec, first = part.encode(z, None).vec, 0
    for side in SCALES:
        mean = z[:, :3].unfold(2, 4 // side, 4 // side).unfold(3, 4 // side, 4 // side).mean((-1, -2))
        assert torch.allclose(vec[:, first:first + side * side], rows_of(mean), atol=1e-5)
        first += side * side


def test_one_scale_is_a_kl_latent():
    one, plain, z = Resized((4,), 3, (4, 4)), KL(3, (4, 4)), Rng.seeded(0).normal((2, 6, 4, 4))
    one.settle(z)
    plain.settle(z)
    assert torch.equal(one.encode(z, None).vec, plain.encode(z, None).vec)
    assert torch.equal(one.decode(one.encode(z, None)), plain.decode(plain.encode(z, None)))
    assert float(one.forward(z, 1, Rng.seeded(1))[1]["kl"]) == float(plain.forward(z, 1, Rng.seeded(1))[1]["kl"])


def test_only_the_finest_is_decoded(part):
    a, b = Rng.seeded(1).normal((2, 21, 3)), Rng.seeded(2).normal((2, 21, 3))
    b[:, 5:] = a[:, 5:]
    assert torch.equal(part.decode(Content(vec=a)), part.decode(Content(vec=b)))


def test_the_context_is_the_scale_before_enlarged(part):
    space = part.space((Axis("y", 4), Axis("x", 4)))
    tokens = space.blank(2)
    tokens.vec.copy_(Rng.seeded(3).normal(tokens.vec.shape))
    told = part.context(tokens)
    assert told.shape == tokens.vec.shape and not told[:, :1].any()
    assert torch.allclose(told[:, 1:5], tokens.vec[:, :1].expand(-1, 4, -1), atol=1e-5)              # one number enlarged is that number
    two = tokens.vec[:, 1:5].transpose(1, 2).unflatten(2, (2, 2))
    assert torch.allclose(told[:, 5:], rows_of(F.interpolate(two, (4, 4), mode="bicubic")), atol=1e-5)


def test_what_does_not_fit_is_refused(part):
    with pytest.raises(BadArgument, match="rising scales"):
        Resized((1, 2), 3, (4, 4))
    with pytest.raises(ShapeError, match="expected content"):
        part.decode(Content(vec=torch.zeros(2, 20, 3)))
