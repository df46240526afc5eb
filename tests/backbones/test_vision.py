"""The parts of picture encoders, each against a slow reference or in a limit where it is something known."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from omniform.backbones.attention import Attention
from omniform.backbones.blocks import PreNorm
from omniform.backbones.mlp import Mlp
from omniform.backbones.norms import LayerScale
from omniform.backbones.stack import Stack
from omniform.backbones.vision import Pool, VisionTransformer
from omniform.core.errors import BadArgument, ShapeError
from omniform.core.net import alone
from omniform.core.spec import Spec

D = 8
BLOCK = Spec(PreNorm, {"mixer": Spec(Attention, {"heads": 2}), "mlp": Spec(Mlp)})
BODY = Spec(Stack, {"depth": 1, "block": BLOCK})


def x(rows=2, length=5):
    return torch.randn(rows, length, D, generator=torch.Generator().manual_seed(0))


def test_a_branch_of_scale_one_is_the_branch_and_of_scale_zero_nothing():
    part = LayerScale(D, Spec(Mlp), start=1.0)
    assert torch.equal(part(x(), alone(2, 5)), part.inner(x(), alone(2, 5)))
    with torch.no_grad():
        part.scale.copy_(torch.arange(D) * 0.5)
    want = torch.stack([part.inner(x(), alone(2, 5))[..., c] * 0.5 * c for c in range(D)], -1)
    assert torch.equal(part(x(), alone(2, 5)), want)


def test_alone_hides_padding_and_what_comes_later():
    torch.manual_seed(0)
    part, real = BODY.build(width=D), torch.tensor([[True] * 5, [True] * 3 + [False] * 2])
    for causal in (False, True):
        whole = part(x(), alone(2, 5, real=real, causal=causal))
        short = part(x()[1:, :3], alone(1, 3, causal=causal))
        torch.testing.assert_close(whole[1:, :3], short)
        torch.testing.assert_close(whole[:1], part(x()[:1], alone(1, 5, causal=causal)))
    torch.testing.assert_close(part(x(), alone(2, 5, causal=True))[:, :2], part(x()[:, :2], alone(2, 2, causal=True)))


def vision(**more):
    torch.manual_seed(0)
    return VisionTransformer(D, 2, 6, BODY, **{"pool": Spec(Pool), "channels": 3, **more})


def test_patches_are_read_one_by_one():
    """By loops over patches, without a convolution."""
    part, pictures = vision(registers=2), torch.randn(2, 3, 6, 6)
    rows = []
    for picture in pictures:
        row = [part.first + part.places[0], *part.registers]
        for i in range(3):
            for j in range(3):
                patch = picture[:, 2 * i : 2 * i + 2, 2 * j : 2 * j + 2].flatten()
                row.append(part.enter.weight.flatten(1) @ patch + part.enter.bias + part.places[1 + 3 * i + j])
        rows.append(torch.stack(row))
    want = part.body(torch.stack(rows), alone(2, 12))
    stream, whole = part(pictures)
    torch.testing.assert_close(stream, want)
    assert torch.equal(whole, stream[:, 0])


def test_places_are_resampled_only_where_pictures_are_of_another_size():
    part = vision()
    with torch.no_grad():
        part.places[1:] = torch.arange(D).float() * 0.1  # the same everywhere: so they stay
    for size in ((6, 6), (4, 10)):
        places = part._resampled(size[0] // 2, size[1] // 2)
        torch.testing.assert_close(places[1:], part.places[1:2].expand(len(places) - 1, -1))
    part = vision()
    whole = torch.cat([F.interpolate(part.places[1:, c].view(1, 1, 3, 3), (2, 4), mode="bicubic").flatten()[:, None] for c in range(D)], 1)
    torch.testing.assert_close(part._resampled(2, 4)[1:], whole)


def test_a_vector_is_pooled_as_said():
    h = x()[:, 0]
    for said in ({}, {"norm": 1e-3}, {"out": 5, "tanh": True}, {"norm": 1e-5, "out": 3}):
        part = Pool(D, **said)
        want = (h - h.mean(1, keepdim=True)) / (h.var(1, unbiased=False, keepdim=True) + said["norm"]).sqrt() if "norm" in said else h
        want = want if part.out is None else want @ part.out.weight.T + (0 if part.out.bias is None else part.out.bias)
        torch.testing.assert_close(part(h), want.tanh() if "tanh" in said else want)
        assert part(h).shape == (2, part.width) and (part.out is None or (part.out.bias is None) == ("tanh" not in said))


def test_what_does_not_fit_is_refused():
    with pytest.raises(BadArgument, match="not cut evenly"):
        VisionTransformer(D, 4, 6, BODY, Spec(Pool))
    for shape in ((2, 1, 6, 6), (2, 3, 6, 5), (3, 6, 6)):
        with pytest.raises(ShapeError, match=r"expected \(B, 3, H, W\)"):
            vision()(torch.zeros(shape))
