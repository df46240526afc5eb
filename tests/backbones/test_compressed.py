"""Squares of a grid as one place: exact in what they hold, the plain stack where a square is one place, and blocks of one stream beside a slow reference."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch.nn import functional as F

from omniform.backbones.attention import Attention
from omniform.backbones.blocks import Parallel, SingleStream
from omniform.backbones.compressed import Compressed
from omniform.backbones.mlp import Mlp
from omniform.backbones.stack import Stack
from omniform.core.errors import BadArgument, PatternUnsupported
from omniform.core.net import Block, Context, Env
from omniform.core.spec import Spec
from omniform.core.tokens import Axis, Space

D, GRID = 16, Space(axes=(Axis("y", 4), Axis("x", 6)), vocab=(8,))
ATTENTION, MLP = Spec(Attention, {"heads": 2, "biases": "qkv"}), Spec(Mlp)
PARTS = {"mixer": ATTENTION, "mlp": MLP}


def env(length, prefix=0, modulation=None):
    zero = torch.zeros(2, length, dtype=torch.long)
    return Env(torch.zeros(2, length, 2), zero, zero, zero, zero, zero == 0, modulation, Context(2), None, False, torch.zeros(2), "full", None, prefix=prefix)


class Listening(Block):
    """Says what it is given and keeps it."""

    def __init__(self, width, space):
        super().__init__()

    def forward(self, x, env):
        self.heard = x, env
        return x


def made(factor, inner=None):
    torch.manual_seed(0)
    return Compressed(D, GRID, inner or Spec(Listening), factor)


@torch.no_grad()
def test_a_square_is_the_convolution_of_its_size_and_stride():
    part, x = made(2), torch.randn(2, 3 + 24, D)
    y = part(x, env(27, prefix=3))
    heard, inside = part.inner.heard
    assert y.shape == x.shape and heard.shape == (2, 3 + 6, D) and torch.equal(heard[:, :3], x[:, :3])
    assert inside.coord[0, :3].eq(0).all() and inside.coord[0, 3:].tolist() == [[i, j] for i in range(2) for j in range(3)]
    h = part.down[0](part.enter(x[:, 3:])).mT.unflatten(2, (4, 6))
    kernel = part.down[1].weight.unflatten(1, (2, 2, D)).permute(0, 3, 1, 2)
    want = part.into(F.conv2d(h, kernel, stride=2).flatten(2).mT)
    assert torch.allclose(heard[:, 3:], want, atol=1e-5)
    kernel = part.up[1].weight.unflatten(0, (2, 2, D)).permute(3, 2, 0, 1)
    back = F.conv_transpose2d(part.up[0](part.leave(heard[:, 3:])).mT.unflatten(2, (2, 3)), kernel, stride=2).flatten(2).mT
    assert torch.allclose(y[:, 3:], part.norm(part.out(back)), atol=1e-5)


@torch.no_grad()
def test_together_and_apart_are_inverses():
    part, x = made(2), torch.randn(2, 24, D)
    assert torch.equal(part.apart(part.together(x)), x)


@torch.no_grad()
def test_squares_of_one_place_are_the_inner_backbone_between_maps():
    inner = Spec(Stack, {"depth": 1, "block": Spec(Parallel, PARTS)})
    part, x = made(1, inner), torch.randn(2, 24, D)
    want = part.norm(part.out(part.leave(part.inner(part.into(part.enter(x)), env(24)))))
    assert part.down is None and torch.allclose(part(x, env(24)), want, atol=1e-5)


def test_what_cannot_be_compressed_is_refused():
    with pytest.raises(BadArgument, match="grid of two axes that squares of 3 divide"):
        made(3)
    with pytest.raises(PatternUnsupported, match="all codes of a picture at once"):
        made(2)(torch.zeros(2, 24, D), replace(env(24), pattern="any"))


@torch.no_grad()
def test_a_block_of_one_stream_is_one_map_of_attention_beside_hidden_units():
    torch.manual_seed(0)
    part, x, told = SingleStream(D, ATTENTION, MLP), torch.randn(2, 5, D), torch.randn(2, 1, D)
    torch.nn.init.normal_(part.modulation.out.weight)
    shift, scale, gate = part.modulation.out(F.silu(told)).chunk(3, -1)
    m = F.layer_norm(x, (D,), eps=1e-6) * (1 + scale) + shift
    q, k, v = part.mixer.qkv.each[0](m).chunk(3, -1)
    heads = [torch.softmax(a @ b.mT / 8**0.5, -1) @ c for a, b, c in zip(q.split(8, -1), k.split(8, -1), v.split(8, -1), strict=True)]
    feed = part.mlp.feed.each[0]
    both = torch.cat([*heads, F.gelu(feed.up(m), approximate="tanh")], -1)
    joint = torch.cat([part.mixer.out.each[0].weight, feed.down.weight], 1)
    want = x + gate * F.linear(both, joint, feed.down.bias)
    assert torch.allclose(part(x, env(5, modulation=told)), want, atol=1e-5)


@torch.no_grad()
def test_a_block_of_one_stream_that_is_not_modulated_is_a_parallel_one():
    torch.manual_seed(0)
    one, other, x = SingleStream(D, **PARTS), Parallel(D, **PARTS, eps=1e-6), torch.randn(2, 5, D)
    other.load_state_dict(one.state_dict(), strict=False)
    one.modulation.out.bias[2 * D :] = 1
    assert torch.allclose(one(x, env(5, modulation=torch.zeros(2, 1, D))), other(x, env(5)), atol=1e-6)
