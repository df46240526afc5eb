"""Alignment of latents with a frozen encoder, that encoder, and columns as tokens."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from omniform.codecs.alignment import Alignment, Orientations
from omniform.codecs.frames import Frames
from omniform.core.errors import BadArgument, ShapeError
from omniform.core.spec import Spec


def part(**args):
    torch.manual_seed(0)
    return Alignment(3, **{"teacher": Spec(Orientations, {"cell": 4}), "features": 10, **args})


def test_the_loss_by_loops():
    made, pixels, latent = part(margins=(0.1, 0.05)), torch.rand(2, 1, 8, 8), torch.randn(2, 3, 2, 2)
    seen, said = made.teacher(pixels), made.project(latent)
    cos = lambda a, b: float((a * b).sum() / a.norm() / b.norm())  # noqa: E731
    near = alike = 0.0
    at = [(i, j) for i in range(2) for j in range(2)]
    for b in range(2):
        z, f = ([t[b, :, i, j].detach() for i, j in at] for t in (said, seen))
        near += sum(max(0.0, 1 - 0.1 - cos(p, q)) for p, q in zip(z, f, strict=True)) / 8
        alike += sum(max(0.0, abs(cos(z[p], z[q]) - cos(f[p], f[q])) - 0.05) for p in range(4) for q in range(4)) / 32
    assert float(made.terms(latent, pixels).detach()) == pytest.approx(near + alike, rel=1e-4)


def test_features_themselves_cost_nothing():
    made, pixels = part(margins=(0.0, 0.0)), torch.rand(2, 1, 8, 8)
    made.project = nn.Identity()
    assert float(made.terms(made.teacher(pixels), pixels)) == pytest.approx(0, abs=1e-5)


def test_its_gradient_is_brought_to_the_reconstruction_s():
    made, pixels = part(weight=0.5), torch.rand(2, 1, 8, 8)
    layer = nn.Conv2d(1, 3, 4, 4)
    latent = layer(pixels)
    rebuilt = 17 * latent.square().sum()
    loss = made(latent, pixels, rebuilt, layer.weight)
    one, other = (torch.autograd.grad(y, layer.weight, retain_graph=True)[0].norm() for y in (rebuilt, loss))
    assert float(other / one) == pytest.approx(0.5, rel=1e-2)
    assert not any(p.requires_grad for p in made.teacher.parameters())
    with torch.no_grad():
        assert float(made(latent, pixels, rebuilt, layer.weight)) == pytest.approx(0.5 * float(made.terms(latent, pixels)))
    with pytest.raises(BadArgument, match="write features=10"):
        part(features=7).terms(latent, pixels)


def test_orientations_of_stripes():
    across = torch.sin(torch.arange(8.0) * math.pi / 4).expand(1, 1, 8, 8)  # changes along x: gradient at angle 0
    seen = Orientations(bins=4, cell=8)(across)
    assert seen.shape == (1, 5, 1, 1) and float(seen.norm()) == pytest.approx(1) and int(seen.flatten().argmax()) == 0
    assert int(Orientations(bins=4, cell=8)(across.mT).flatten().argmax()) == 2, "along y: a quarter turn"
    flat = Orientations(cell=4)(torch.zeros(1, 3, 8, 8))
    assert torch.equal(flat[:, -1], torch.ones(1, 2, 2)) and not flat[:, :-1].any()


def test_orientations_have_gradients_also_where_nothing_changes():
    seen = Orientations(bins=4, cell=4)
    half = torch.zeros(1, 1, 8, 8, dtype=torch.double)
    half[..., 4:] = torch.rand(1, 1, 8, 4, generator=torch.Generator().manual_seed(1), dtype=torch.double)
    pixels, weight = half.clone().requires_grad_(), torch.randn(1, 5, 2, 2, dtype=torch.double)
    (slope,) = torch.autograd.grad((seen(pixels) * weight).sum(), pixels)
    assert bool(slope.isfinite().all()) and not slope[..., :2].any() and bool(slope[..., 4:].any())
    step = torch.zeros_like(half)
    step[0, 0, 3, 6] = 1e-6
    with torch.no_grad():
        change = ((seen(half + step) - seen(half - step)) * weight).sum() / 2e-6
    assert float(slope[0, 0, 3, 6]) == pytest.approx(float(change), rel=1e-4, abs=1e-7)


def test_a_column_is_a_token():
    codec = Frames((2, 3, 5), scale=2.0, shift=0.5)
    data = torch.randn(4, 2, 3, 5)
    tokens = codec.encode(data)
    assert tokens.vec.shape == (4, 5, 6) and [a.name for a in codec.space.axes] == ["time"]
    assert torch.allclose(tokens.vec[1, 3], ((data[1, :, :, 3] - 0.5) * 2).flatten())
    assert torch.allclose(codec.decode(tokens), data, atol=1e-6)
    with pytest.raises(BadArgument, match="1, channels, frames"):
        Frames((2, 3))
    with pytest.raises(ShapeError, match="tokens of its own space"):
        codec.decode(tokens.at(slice(0, 2)))
