"""Attention against a slow reading of its definition, and its variants in their limits."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from omniform.backbones.attention import Attention, CrossAttention
from omniform.backbones.attention.kernels import attend
from omniform.core.errors import BadArgument
from omniform.core.net import Context, Encoded, Env

B, L, D, H = 2, 6, 16, 4


def env(length=L, pattern="full", mask=None, coord=None, prefix=0, rows=B, modulation=None, known=None):
    zero = torch.zeros(rows, length, dtype=torch.long)
    return Env(
        coord=torch.zeros(rows, length, 1) if coord is None else coord,
        kind=zero,
        turn=zero,
        lane=zero,
        doc=zero,
        known=torch.ones(rows, length, dtype=torch.bool) if known is None else known,
        modulation=modulation,
        context=Context(rows),
        record=None,
        remember=False,
        progress=torch.zeros(rows),
        pattern=pattern,
        mask=mask,
        prefix=prefix,
    )


def x(length=L, seed=0):
    return torch.randn(B, length, D, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def made(**args):
    torch.manual_seed(0)
    part = Attention(D, **{"heads": H, **args}).double()
    for p in part.parameters():
        if not p.any():
            torch.nn.init.normal_(p, std=0.3)
    return part


def slow(part, x, see, kv_heads=H, bias=None, norm=None, scale=None):
    """Loops over rows, heads, queries and keys."""
    weight, shift = part.qkv.each[0].weight, part.qkv.each[0].bias
    y = x @ weight.T + (0 if shift is None else shift)
    if part.some_bias is not None:
        pads = [part.some_bias[b] if b in part.some_bias else torch.zeros(s, dtype=x.dtype) for b, s in zip("qkv", part.sizes, strict=True)]
        y = y + torch.cat(pads)
    wide = part.head_width
    out = torch.zeros(B, x.shape[1], H * wide, dtype=x.dtype)
    for b in range(B):
        for h in range(H):
            g = h // (H // kv_heads)
            q = y[b, :, h * wide : (h + 1) * wide]
            k = y[b, :, (H + g) * wide : (H + g + 1) * wide]
            v = y[b, :, (H + kv_heads + g) * wide : (H + kv_heads + g + 1) * wide]
            if norm is not None:
                q, k = norm(q, k, h)
            for i in range(x.shape[1]):
                seen = [j for j in range(x.shape[1]) if see(i, j)]
                score = torch.stack(
                    [(q[i] * k[j]).sum() * (wide**-0.5 if scale is None else scale) + (0 if bias is None else bias(h, b, i, j)) for j in seen]
                ).softmax(0)
                out[b, i, h * wide : (h + 1) * wide] = sum(s * v[j] for s, j in zip(score, seen, strict=True))
    return part.out.each[0](out)


@torch.no_grad()
@pytest.mark.parametrize("plain", [False, True])
def test_equals_the_loops(plain):
    for pattern, see in (("full", lambda i, j: True), ("causal", lambda i, j: j <= i)):
        part = made()
        part.plain = plain
        assert torch.allclose(part(x(), env(pattern=pattern)), slow(part, x(), see))
    mask = torch.rand(B, 1, L, L, generator=torch.Generator().manual_seed(0)) < 0.5
    mask = mask | torch.eye(L, dtype=torch.bool)
    part = made()
    part.plain = plain
    mine = part(x(), env(pattern="any", mask=mask))
    for b in range(B):
        assert torch.allclose(mine[b], slow(part, x(), lambda i, j, b=b: bool(mask[b, 0, i, j]))[b])


@torch.no_grad()
def test_scores_are_scaled_as_said():
    part = made(scale=1.0)
    assert torch.allclose(part(x(), env(pattern="full")), slow(part, x(), lambda i, j: True, scale=1.0))
    assert not torch.allclose(part(x(), env(pattern="full")), slow(part, x(), lambda i, j: True))
    crossed = [CrossAttention(D, H, scale=scale).double() for scale in (None, (D // H) ** -0.5, 1.0)]
    told = Encoded(x(5, 3), x()[:, 0], torch.zeros(B, 5, 1), torch.zeros(B, 5, dtype=torch.long))
    for other in crossed[1:]:
        other.load_state_dict(crossed[0].state_dict())
    plain, same, one = (c(x(), replace(env(), context=Context(B, cross=told))) for c in crossed)
    assert torch.allclose(plain, same) and not torch.allclose(plain, one)
    crossed[2].q.weight.mul_((D // H) ** -0.5), crossed[2].q.bias.mul_((D // H) ** -0.5)
    assert torch.allclose(plain, crossed[2](x(), replace(env(), context=Context(B, cross=told))))


@torch.no_grad()
@pytest.mark.parametrize("plain", [False, True])
def test_grouped_queries_share_keys(plain):
    part = made(kv_heads=2)
    part.plain = plain
    assert torch.allclose(part(x(), env(pattern="causal")), slow(part, x(), lambda i, j: j <= i, kv_heads=2))
    assert sum(p.numel() for p in part.parameters()) < sum(p.numel() for p in made().parameters())


@torch.no_grad()
def test_grouped_equals_full_heads_with_repeated_weights():
    few, many = made(kv_heads=2), made()
    weight, bias = few.qkv.each[0].weight, few.qkv.each[0].bias
    wide = few.head_width
    repeat = [torch.arange((H + g) * wide, (H + g + 1) * wide) for g in (0, 0, 1, 1)] + [
        torch.arange((H + 2 + g) * wide, (H + 3 + g) * wide) for g in (0, 0, 1, 1)
    ]
    index = torch.cat([torch.arange(H * wide), *repeat])
    many.qkv.each[0].weight.copy_(weight[index])
    many.qkv.each[0].bias.copy_(bias[index])
    many.out.load_state_dict(few.out.state_dict())
    assert torch.allclose(few(x(), env()), many(x(), env()))


@torch.no_grad()
@pytest.mark.parametrize("kind", ["rms", "layer", "cosine"])
def test_norms_of_queries_and_keys(kind):
    part = made(qk_norm=kind)
    for p in part.norm.parameters():
        p.add_(0.3 * torch.randn(p.shape, dtype=p.dtype, generator=torch.Generator().manual_seed(1)))
    rms = lambda y, w: y * (y.square().mean(-1, keepdim=True) + 1e-6).rsqrt() * w  # noqa: E731
    layer = lambda y, w, b: (y - y.mean(-1, keepdim=True)) * (y.var(-1, correction=0, keepdim=True) + 1e-6).rsqrt() * w + b  # noqa: E731
    norms = {
        "rms": lambda q, k, h: (rms(q, part.norm.q[0].weight), rms(k, part.norm.k[0].weight)),
        "layer": lambda q, k, h: (layer(q, part.norm.q[0].weight, part.norm.q[0].bias), layer(k, part.norm.k[0].weight, part.norm.k[0].bias)),
        "cosine": lambda q, k, h: (
            q / q.norm(dim=-1, keepdim=True) * part.norm.log_scale[h, 0, 0].clamp(max=math.log(100)).exp(),
            k / k.norm(dim=-1, keepdim=True),
        ),
    }
    want = slow(part, x(), lambda i, j: True, norm=norms[kind], scale=1.0 if kind == "cosine" else None)
    assert torch.allclose(part(x(), env()), want, atol=1e-5)  # cosine is taken in float32
    scaled = made(qk_norm=kind)
    scaled.norm.load_state_dict(part.norm.state_dict())
    wide = scaled.sizes[0]
    scaled.qkv.each[0].bias.zero_()
    before = scaled(x(), env())
    scaled.qkv.each[0].weight[: 2 * wide].mul_(50)
    assert torch.allclose(scaled(x(), env()), before, atol=1e-3), "a norm forgets the scale of queries and keys"


@torch.no_grad()
@pytest.mark.parametrize("pattern", ["full", "causal"])
def test_slopes_are_alibi(pattern):
    coord = torch.randint(0, 5, (B, L, 2), generator=torch.Generator().manual_seed(0)).float()
    part = made(slopes=True)
    far = lambda h, b, i, j: -(2.0 ** (-8 * (h + 1) / H)) * float((coord[b, i] - coord[b, j]).abs().sum())  # noqa: E731
    want = slow(part, x(), (lambda i, j: True) if pattern == "full" else (lambda i, j: j <= i), bias=far)
    assert torch.allclose(part(x(), env(pattern=pattern, coord=coord.double())), want, atol=1e-7)
    assert torch.allclose(part(x(), env(pattern=pattern, coord=coord.double() + 7)), want, atol=1e-7), "only distances count"


@torch.no_grad()
@pytest.mark.parametrize("biases", ["", "qkvo", "qv", "o", "qvo"])
def test_biases_are_where_they_are_asked_for(biases):
    part = made(biases=biases)
    assert torch.allclose(part(x(), env()), slow(part, x(), lambda i, j: True))
    given = sum(p.numel() for p in part.parameters() if p.dim() == 1)
    assert given == D * len(biases)


@torch.no_grad()
def test_two_streams_have_weights_of_their_own():
    part = made(streams=2, qk_norm="rms")
    one = made(qk_norm="rms")
    for two, single in ((part.qkv, one.qkv), (part.out, one.out)):
        single.each[0].load_state_dict(two.each[0].state_dict())
    one.norm.q[0].load_state_dict(part.norm.q[0].state_dict())
    one.norm.k[0].load_state_dict(part.norm.k[0].state_dict())
    assert torch.allclose(part(x(), env()), one(x(), env())), "without a prefix the second stream is silent"
    assert not torch.allclose(part(x(), env(prefix=2)), one(x(), env()))
    part.qkv.each[1].load_state_dict(part.qkv.each[0].state_dict())
    part.out.each[1].load_state_dict(part.out.each[0].state_dict())
    assert torch.allclose(part(x(), env(prefix=2)), one(x(), env())), "equal weights are one stream"


@torch.no_grad()
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("shape", [(1, 9), (6, 6)])
def test_the_kernels_agree(dtype, shape):
    g = torch.Generator().manual_seed(0)
    q, k, v = (torch.randn(2, h, n, 8, generator=g).to(dtype) for h, n in ((4, shape[0]), (2, shape[1]), (2, shape[1])))
    mask = torch.rand(2, 1, *shape, generator=g) < 0.7
    mask[..., 0] = True
    full = [x.double() for x in (q, k, v)]
    for how in (
        {"mask": None, "causal": False},
        {"mask": mask, "causal": False},
        {"mask": None, "causal": shape[0] == shape[1]},
        {"mask": None, "causal": False, "scale": 0.7},
        {"mask": mask[0, 0], "causal": False},
        {"mask": mask[:1], "causal": shape[0] == shape[1]},
    ):
        want = attend(*full, **how, plain=True)
        for plain in (False, True):
            assert torch.allclose(attend(q, k, v, **how, plain=plain).double(), want, atol=1e-5 if dtype == torch.float32 else 3e-2)


@pytest.mark.parametrize("masked", [False, True])
def test_the_products_have_the_gradients_of_elementary_operations(masked):
    g = torch.Generator().manual_seed(1)
    q, k, v = (torch.randn(2, 3, 7, 8, generator=g).bfloat16() for _ in range(3))
    mask = torch.ones(7, 7, dtype=torch.bool).tril() if masked else None

    def slopes(dtype, plain):
        leaves = [x.to(dtype).requires_grad_() for x in (q, k, v)]
        with torch.autocast("cpu", torch.bfloat16, enabled=dtype == torch.bfloat16):
            y = attend(*leaves, mask=mask, causal=False, plain=plain)
        assert y.dtype == dtype
        return torch.autograd.grad((y.double() * torch.linspace(-1, 1, y.numel()).view(y.shape)).sum(), leaves)

    for mine, want in zip(slopes(torch.bfloat16, False), slopes(torch.float64, True), strict=True):
        assert torch.allclose(mine.double(), want, atol=2e-2)


def test_refusals():
    with pytest.raises(BadArgument, match="multiple of the key-value heads"):
        Attention(16, heads=4, kv_heads=3)
    with pytest.raises(BadArgument, match="does not divide into 3 heads"):
        Attention(16, heads=3)
    with pytest.raises(BadArgument, match="qk_norm"):
        Attention(16, heads=4, qk_norm="l2")
