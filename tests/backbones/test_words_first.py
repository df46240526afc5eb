"""The sequence reads words before it meets its prefix."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from omniform.backbones.attention import Attention, CrossAttention
from omniform.backbones.blocks import PreNorm
from omniform.backbones.mlp import Mlp
from omniform.backbones.positions import SinCosPositions
from omniform.backbones.stack import Stack, WordsFirst
from omniform.core.errors import BadArgument
from omniform.core.net import Context, Encoded, Env, Record
from omniform.core.query import visible
from omniform.core.spec import Spec
from omniform.core.tokens import Axis, Space

B, L, D, M = 2, 5, 8, 3
SPACE = Space(axes=(Axis("time", L),), vocab=(4,))


def env(front, doc=None):
    n = L + front
    zero = torch.zeros(B, n, dtype=torch.long)
    doc = zero if doc is None else doc
    coord = torch.cat([torch.zeros(front), torch.arange(L)]).float()[None, :, None].expand(B, -1, -1)
    words = torch.randn(B, M, D, generator=torch.Generator().manual_seed(4)).double()
    context = Context(B, cross=Encoded(words, words[:, 0], torch.zeros(B, M, 1), torch.zeros(B, M, dtype=torch.long)))
    whole = doc is zero
    mask = None if whole else visible(zero, zero, doc)[:, None]
    return Env(coord, zero, zero, zero, doc, zero == 0, None, context, None, False, torch.zeros(B), "full" if whole else "any", mask, prefix=front)


def made(first=1, positions=True, mixer=None):
    torch.manual_seed(0)
    reads = Spec(PreNorm, {"mixer": mixer or Spec(CrossAttention, {"heads": 2, "norm_context": True}), "mlp": Spec(Mlp)})
    looks = Spec(PreNorm, {"mixer": Spec(Attention, {"heads": 2}), "mlp": Spec(Mlp)})
    then = Spec(Stack, {"depth": 2, "block": looks})
    places = Spec(SinCosPositions) if positions else None
    return WordsFirst(D, SPACE, Spec(Stack, {"depth": first, "final": None, "block": reads}), then, places).double()


@torch.no_grad()
@pytest.mark.parametrize("front", [0, 1, 2])
def test_by_hand(front):
    net, x, e = made(), torch.randn(B, L + front, D).double(), env(front)
    block = net.first.blocks[0]
    y = x[:, front:]
    words = torch.nn.functional.layer_norm(e.context.cross.tokens, (D,), block.mixer.norm_context.weight, block.mixer.norm_context.bias, 1e-6)
    q, (k, v) = block.mixer.q(block.norm_mixer(y)), block.mixer.kv(words).chunk(2, -1)
    heads = []
    for h in range(2):
        cut = slice(h * D // 2, (h + 1) * D // 2)
        heads.append((q[..., cut] @ k[..., cut].mT / (D / 2) ** 0.5).softmax(-1) @ v[..., cut])
    y = y + block.mixer.out(torch.cat(heads, -1))
    y = y + block.mlp(block.norm_mlp(y), e)
    frequency = 10000.0 ** (-torch.arange(D // 2) / (D // 2)).double()
    place = lambda p: torch.cat([(p * frequency).sin(), (p * frequency).cos()])  # noqa: E731
    y = y + torch.stack([place(i + 1) for i in range(L)])
    want = net.then(torch.cat([x[:, :front] + place(0), y], 1), e)
    assert torch.allclose(net(x, e), want, atol=1e-6)


@torch.no_grad()
def test_without_blocks_and_places_it_is_what_follows():
    net, x, e = made(first=0, positions=False), torch.randn(B, L + 1, D).double(), env(1)
    assert torch.allclose(net(x, e), net.then(x, e), atol=1e-12)


@torch.no_grad()
def test_padding_is_not_seen_by_a_first_that_looks_at_the_sequence():
    doc = torch.zeros(B, L + 1, dtype=torch.long)
    doc[:, 4:] = -1
    net, x = made(mixer=Spec(Attention, {"heads": 2})), torch.randn(B, L + 1, D).double()
    other = x.clone()
    other[:, 4:] += 1
    assert torch.allclose(net(x, env(1, doc))[:, :4], net(other, env(1, doc))[:, :4], atol=1e-10)


def test_it_remembers_nothing():
    with pytest.raises(BadArgument, match="remembers nothing"):
        made()(torch.randn(B, L, D).double(), replace(env(0), record=Record()))
