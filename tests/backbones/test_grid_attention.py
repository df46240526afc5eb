"""Attention that knows its grid: windows, proxies, linear attention; each beside a slow reference and in the limit where it is plain attention."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch.nn import functional as F

from omniform.backbones.attention import LinearAttention, ProxyAttention, Windowed
from omniform.backbones.positions import Rotary
from omniform.core.errors import BadArgument, PatternUnsupported
from omniform.core.net import Context, Env
from omniform.core.tokens import Axis, Space

D = 8
GRID = Space(axes=(Axis("y", 4), Axis("x", 6)), channels=2)
CUBE = Space(axes=(Axis("z", 2), Axis("y", 4), Axis("x", 4)), channels=2)


def env(space, rows=2, **changes):
    blank = space.blank(rows)
    zero = blank.doc
    known = torch.ones(rows, space.length, dtype=torch.bool)
    made = Env(blank.coord, zero, zero, zero, zero, known, None, Context(rows), None, False, torch.zeros(rows), "full", None)
    return replace(made, **changes)


def x(space, rows=2, seed=0):
    return torch.randn(rows, space.length, D, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def stirred(part):
    g = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for p in part.parameters():
            p.copy_(torch.randn(p.shape, generator=g) * 0.4)
    return part.double().eval()


def masked(part, space, same):
    """The windowed part's attention with a dense mask."""
    return lambda y: part.attention(y, env(space, mask=same[None, None], pattern="any"))


@pytest.mark.parametrize("shifted", [False, True])
@pytest.mark.parametrize(("space", "window"), [(GRID, (2, 3)), (GRID, (4, 2)), (CUBE, (2, 2, 2)), (CUBE, (1, 2, 4))])
def test_windows_are_dense_attention_under_a_mask(space, window, shifted):
    part = stirred(Windowed(D, space, window, heads=2, shifted=shifted))
    extent = torch.tensor([a.size for a in space.axes])
    size = torch.tensor(window)
    shift = torch.where((size < extent) & torch.tensor(shifted), size // 2, 0)
    number = (space.places.long() - shift).div(size, rounding_mode="floor")  # the shifted grid of windows, cut off at the borders
    same = (number[:, None] == number[None]).all(-1)
    assert torch.allclose(part(x(space), env(space)), masked(part, space, same)(x(space)))
    assert not same.all()


@pytest.mark.parametrize("shifted", [False, True])
def test_a_window_of_everything_is_attention(shifted):
    part = stirred(Windowed(D, GRID, (4, 6), heads=2, shifted=shifted))
    assert torch.allclose(part(x(GRID), env(GRID)), part.attention(x(GRID), env(GRID)))
    large = stirred(Windowed(D, GRID, (40, 60), heads=2, shifted=shifted))
    assert torch.allclose(large(x(GRID), env(GRID)), part(x(GRID), env(GRID)))


def test_windows_turn_with_their_places():
    rotary = Rotary(4, GRID).double()
    part = stirred(Windowed(D, GRID, (2, 3), heads=2))
    turned = env(GRID, rotation=rotary(GRID.blank(2).coord.double()))
    number = GRID.places.long().div(torch.tensor([2, 3]), rounding_mode="floor")
    same = (number[:, None] == number[None]).all(-1)
    want = part.attention(x(GRID), replace(turned, mask=same[None, None], pattern="any"))
    assert torch.allclose(part(x(GRID), turned), want) and not torch.allclose(part(x(GRID), env(GRID)), want)


def slow_proxies(part, y, window, proxy):
    """Window by window and place by place."""
    number = GRID.places.long().div(torch.tensor(window), rounding_mode="floor")
    groups = [(number == n).all(-1) for n in torch.unique(number, dim=0)]
    proxies = torch.stack([y[:, g].mean(1) if proxy == "mean" else y[:, g][:, 0] for g in groups], 1)
    said = part.among(proxies, env(GRID))
    k, v = part.kv(said).chunk(2, -1)
    out = []
    for q in part.q(y).unbind(1):
        heads = [(q[:, None, h] * k[..., h]).sum(-1).div(2.0).softmax(-1)[..., None] * v[..., h] for h in (slice(0, 4), slice(4, 8))]
        out.append(torch.cat([h.sum(1) for h in heads], -1))
    return part.back(torch.stack(out, 1))


@pytest.mark.parametrize("proxy", ["mean", "first"])
def test_proxies_speak_to_every_token(proxy):
    part = stirred(ProxyAttention(D, GRID, (2, 3), heads=2, proxy=proxy, textured=False))
    want = slow_proxies(part, x(GRID), (2, 3), proxy)
    assert torch.allclose(part(x(GRID), env(GRID)), want)
    textured = stirred(ProxyAttention(D, GRID, (2, 3), heads=2, proxy=proxy))
    y = textured.given_back(x(GRID), env(GRID))
    for texture in textured.textures:
        y = y + texture(x(GRID) + y, env(GRID))
    assert torch.allclose(textured(x(GRID), env(GRID)), y)


def test_with_a_proxy_a_token_everybody_is_heard():
    part = stirred(ProxyAttention(D, GRID, (1, 1), heads=2, textured=False))
    assert torch.allclose(part.order.flatten(), torch.arange(GRID.length))
    everybody = part.among(x(GRID), env(GRID))
    k, v = part.kv(everybody).chunk(2, -1)
    split = lambda y: y.unflatten(-1, (2, 4)).transpose(1, 2)  # noqa: E731
    want = part.back(F.scaled_dot_product_attention(split(part.q(x(GRID))), split(k), split(v)).transpose(1, 2).flatten(2))
    assert torch.allclose(part(x(GRID), env(GRID)), want)


def test_fresh_proxies_say_nothing():
    part = ProxyAttention(D, GRID, (2, 3), heads=2).double()
    assert not part.given_back(x(GRID), env(GRID)).any()


@pytest.mark.parametrize("kernel", [0, 3])
def test_linear_attention_is_the_quadratic_one(kernel):
    part = stirred(LinearAttention(D, heads=2, space=GRID, kernel=kernel))
    q, k, v = part.qkv(x(GRID)).chunk(3, -1)
    out = []
    for h in (slice(0, 4), slice(4, 8)):
        weight = q[..., h].relu() @ k[..., h].relu().transpose(1, 2)
        out.append(weight / (weight.sum(-1, keepdim=True) + part.floor) @ v[..., h])
    y = torch.cat(out, -1)
    if kernel:
        picture = F.pad(v.reshape(2, 4, 6, D), (0, 0, 1, 1, 1, 1))
        near = sum(picture[:, i : i + 4, j : j + 6] * part.near.weight[:, 0, i, j] for i in range(3) for j in range(3)) + part.near.bias
        y = y + near.reshape(2, -1, D)
    assert torch.allclose(part(x(GRID), env(GRID)), part.out(y))


def test_what_does_not_fit_is_refused():
    with pytest.raises(BadArgument, match="does not divide into windows"):
        Windowed(D, GRID, (3, 3), heads=2)
    with pytest.raises(BadArgument, match="a size for each of 2 axes"):
        Windowed(D, GRID, (2, 2, 2), heads=2)
    with pytest.raises(BadArgument, match="'mean' or the 'first'"):
        ProxyAttention(D, GRID, (2, 2), heads=2, proxy="last")
    with pytest.raises(BadArgument, match="odd kernel"):
        LinearAttention(D, heads=2, space=CUBE)
    for part in (Windowed(D, GRID, (2, 2), heads=2), LinearAttention(D, heads=2, space=GRID), ProxyAttention(D, GRID, (2, 2), heads=2)):
        with pytest.raises(PatternUnsupported, match="Use Attention"):
            part.double()(x(GRID), env(GRID, pattern="causal"))
        with pytest.raises(PatternUnsupported):
            part(x(GRID)[:, :5], replace(env(GRID), coord=GRID.blank(2).coord[:, :5]))
