"""Convolutional ends around a transformer: each part beside a slow reference, and the limits in which nothing is added."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch.nn import functional as F

from omniform.backbones.attention import Attention, CrossAttention
from omniform.backbones.blocks import PreNorm
from omniform.backbones.mlp import Mlp
from omniform.backbones.uvit import ConvNeXt, GlobalResponse, ReadTwice, Restyled, UVit
from omniform.core.errors import BadArgument, PatternUnsupported
from omniform.core.net import Block, Context, Encoded, Env
from omniform.core.spec import Spec
from omniform.core.tokens import Axis, Space

D, WIDE, GRID = 8, 12, Space(axes=(Axis("y", 4), Axis("x", 6)), vocab=(8,))
HEADS = {"heads": 2, "biases": ""}


def stirred(part):
    g = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for p in part.parameters():
            p.add_(torch.randn(p.shape, generator=g) * 0.3)
    return part


def env(length, told=WIDE, read=WIDE):
    g, zero = torch.Generator().manual_seed(2), torch.zeros(2, length, dtype=torch.long)
    cross = Encoded(torch.randn(2, 5, read, generator=g), torch.zeros(2, read), torch.zeros(2, 5, 1), torch.zeros(2, 5, dtype=torch.long))
    style = torch.randn(2, 1, told, generator=g)
    return Env(torch.zeros(2, length, 2), zero, zero, zero, zero, zero == 0, style, Context(2, cross=cross), None, False, torch.zeros(2), "full", None)


def root(x, weight, eps=1e-6):
    return x / (x.square().mean(-1, keepdim=True) + eps).sqrt() * weight


@torch.no_grad()
def test_a_global_response_by_a_loop():
    part, x = GlobalResponse(3), torch.randn(2, 5, 3)
    assert torch.equal(part(x), x), "at the start it changes nothing"
    stirred(part)
    for row, y in zip(x, part(x), strict=True):
        size = [sum(float(v) ** 2 for v in row[:, c]) ** 0.5 for c in range(3)]
        for place in range(5):
            for c in range(3):
                share = size[c] / (sum(size) / 3 + 1e-6)
                want = float(part.gamma[c]) * float(row[place, c]) * share + float(part.beta[c]) + float(row[place, c])
                assert float(y[place, c]) == pytest.approx(want, abs=1e-5)


@torch.no_grad()
def test_a_convolution_a_channel_by_a_loop_over_places():
    part, x, here = stirred(ConvNeXt(D, (4, 6), told=WIDE)), torch.randn(2, 24, D), env(24)
    grid = F.pad(x.unflatten(1, (4, 6)), (0, 0, 1, 1, 1, 1))
    y = torch.zeros(2, 4, 6, D)
    for i in range(4):
        for j in range(6):
            y[:, i, j] = (grid[:, i : i + 3, j : j + 3] * part.depthwise.weight[:, 0].permute(1, 2, 0)).sum((1, 2))
    h = root(y.flatten(1, 2), part.norm.weight) @ part.up.weight.T
    h = h * 0.5 * (1 + torch.erf(h / 2**0.5))
    h = x + part.response(h) @ part.down.weight.T
    shift, scale = (F.silu(here.modulation) @ part.modulation.out.weight.T).chunk(2, -1)
    assert torch.allclose(part(x, here), h * (1 + scale) + shift, atol=1e-5)
    part.down.weight.zero_(), part.modulation.out.weight.zero_()
    assert torch.equal(part(x, here), x)


@torch.no_grad()
def test_what_is_told_is_read_twice_through_one_map():
    part, x, here = stirred(ReadTwice(D, 2, WIDE)), torch.randn(2, 24, D), env(24)
    said, want = F.silu(here.context.cross.tokens) @ part.map.weight.T, x
    for norm, read in zip(part.norms, part.reads, strict=True):
        q = root(want, norm.weight) @ read.q.weight.T
        k, v = (said @ read.kv.weight.T).chunk(2, -1)
        heads = [torch.softmax(q[..., s] @ k[..., s].mT / 2, -1) @ v[..., s] for s in (slice(0, 4), slice(4, 8))]
        want = want + torch.cat(heads, -1) @ read.out.weight.T
    assert torch.allclose(part(x, here), want, atol=1e-5)
    assert ReadTwice(D, 2, D).map is None, "of one width it is read as it is"
    with pytest.raises(BadArgument, match='placed "cross"'):
        part(x, replace(here, context=Context(2)))


@torch.no_grad()
def test_a_restyled_block_that_is_told_nothing_is_a_plain_one():
    torch.manual_seed(0)
    parts = {"mixer": Spec(Attention, HEADS), "cross": Spec(CrossAttention, HEADS), "mlp": Spec(Mlp, {"activation": "geglu", "bias": False})}
    part, plain, x, here = Restyled(D, **parts, norms=("rms",) * 3), PreNorm(D, **parts, norm="rms"), torch.randn(2, 24, D), env(24, D, D)
    for name in ("mixer", "cross", "mlp"):
        getattr(plain, name).load_state_dict(getattr(part, name).state_dict())
    assert torch.allclose(part(x, here), plain(x, here), atol=1e-6)
    stirred(part.norms)
    y = x
    for norm, inner in zip(part.norms, (part.mixer, part.cross, part.mlp), strict=True):
        shift, scale = (F.silu(here.modulation) @ norm.map.out.weight.T).chunk(2, -1)
        y = y + inner(root(y, norm.norm.weight) * (1 + scale) + shift, here)
    assert torch.allclose(part(x, here), y, atol=1e-5) and not torch.allclose(y, plain(x, here), atol=1e-2)
    with pytest.raises(BadArgument, match="nothing modulates"):
        part(x, replace(here, modulation=None))
    with pytest.raises(BadArgument, match="three norms"):
        Restyled(D, **parts, norms=("rms",))


class Listening(Block):
    """Says what it is given and keeps it."""

    def __init__(self, width, space):
        super().__init__()

    def forward(self, x, env):
        self.heard = x, env
        return x


@pytest.mark.parametrize("factor", [1, 2])
@torch.no_grad()
def test_the_ends_are_convolutions(factor):
    torch.manual_seed(0)
    part, x, here = stirred(UVit(D, GRID, Spec(Listening), WIDE, channels=10, depth=2, heads=2, factor=factor)), torch.randn(2, 24, D), env(24)
    y = part(x, here)
    heard, inside = part.inner.heard
    rows, columns = 4 // factor, 6 // factor
    assert y.shape == x.shape and heard.shape == (2, rows * columns, WIDE)
    assert inside.coord[0].tolist() == [[i, j] for i in range(rows) for j in range(columns)]
    told = F.silu(here.modulation) @ part.tell.weight.T
    assert torch.allclose(inside.modulation, told, atol=1e-6)
    here = replace(here, modulation=told)

    def mapped(maps, x):
        return root(x, maps[0].weight) @ maps[1].weight.T

    h = mapped(part.enter, x)
    if factor > 1:
        kernel = part.down[1].weight.unflatten(1, (2, 2, 10)).permute(0, 3, 1, 2)
        h = F.conv2d(root(h, part.down[0].weight).mT.unflatten(2, (4, 6)), kernel, stride=2).flatten(2).mT
    for a, b in part.first:
        h = b(a(h, here), here)
    h = mapped(part.into, h)
    assert torch.allclose(heard, h, atol=1e-4)
    h = mapped(part.back, h)
    for a, b in part.last:
        h = b(a(h, here), here)
    if factor > 1:
        kernel = part.up[1].weight.unflatten(0, (2, 2, 10)).permute(3, 2, 0, 1)
        h = F.conv_transpose2d(root(h, part.up[0].weight).mT.unflatten(2, (2, 3)), kernel, stride=2).flatten(2).mT
    assert torch.allclose(y, root(h @ part.out.weight.T, part.norm.weight), atol=1e-4)


def test_what_it_does_not_answer_is_refused():
    part, x = UVit(D, GRID, Spec(Listening), WIDE, heads=2), torch.randn(2, 24, D)
    with pytest.raises(BadArgument, match="squares of 4 divide"):
        UVit(D, GRID, Spec(Listening), WIDE, heads=2, factor=4)
    for change in ({"pattern": "causal"}, {"prefix": 1}):
        with pytest.raises(PatternUnsupported, match="all codes of a picture at once"):
            part(x, replace(env(24), **change))
    with pytest.raises(BadArgument, match="nothing modulates"):
        part(x, replace(env(24), modulation=None))
