"""FIT's groups and latents: beside a slow reference, and in the limits where it is something known."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from omniform.backbones.attention import Attention
from omniform.backbones.blocks import PreNorm
from omniform.backbones.interleaved import Interleaved
from omniform.backbones.mlp import Mlp
from omniform.core.errors import BadArgument, PatternUnsupported
from omniform.core.net import Context, Encoded, Env
from omniform.core.spec import Spec
from omniform.core.tokens import Axis, Space

D, E, B = 8, 12, 2
GRID = Space(axes=(Axis("y", 4), Axis("x", 6)), channels=2)
BLOCK = Spec(PreNorm, {"mixer": Spec(Attention, {"heads": 2}), "mlp": Spec(Mlp)})
ARGS = {"latents": 3, "latent_width": E, "block": BLOCK, "latent_block": BLOCK, "heads": 2}


def env(space=GRID):
    blank = space.blank(B)
    zero, known = blank.doc, torch.ones(B, space.length, dtype=torch.bool)
    told = Encoded(drawn(B, 2, D, seed=8), drawn(B, D), torch.zeros(B, 2, 1), torch.tensor([[0, 0], [0, -1]]))
    return Env(blank.coord, zero, zero, zero, zero, known, None, Context(B, cross=told), None, False, torch.zeros(B), "full", None, time=drawn(B, 1, D, seed=9))


def drawn(*shape, seed=0):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def made(group, layers, space=GRID):
    part = Interleaved(D, space, group, layers=layers, **ARGS)
    with torch.no_grad():
        for number, p in enumerate(part.parameters()):
            p.copy_(torch.randn(p.shape, generator=torch.Generator().manual_seed(number)) * 0.3)
    return part.double().eval()


@torch.no_grad()
def test_one_group_without_latents_is_a_stack():
    part, x = made((4, 6), ((3, 0),)), drawn(B, 24, D)
    y = part.enter(x) + part.place
    for layer in part.local[0]:
        y = layer(y, env())
    assert torch.allclose(part(x, env()), part.leave(y))
    assert part.codes is None and not part.reads


def attention(reading, x, y):
    """One row, head by head: x (N, D) reads y (M, E)."""
    q, (k, v) = reading.q(reading.norm(x)), reading.kv(reading.norm_other(y)).chunk(2, -1)
    half = q.shape[-1] // 2
    heads = [(q[:, h] @ k[:, h].T / half**0.5).softmax(-1) @ v[:, h] for h in (slice(0, half), slice(half, None))]
    return x + reading.out(torch.cat(heads, -1))


@torch.no_grad()
def test_groups_read_speak_and_listen():
    part, x = made((2, 3), ((1, 1), (1, 0))), drawn(B, 24, D)
    number = (GRID.places.long().div(torch.tensor([2, 3]), rounding_mode="floor") * torch.tensor([2, 1])).sum(-1)
    members = [(number == g).nonzero()[:, 0] for g in range(4)]
    want = torch.zeros_like(x)
    for row in range(B):
        alone = env()
        lone = lambda layer, y: layer(y[None], alone)[0]  # noqa: E731, B023
        groups = [lone(part.local[0][0], part.enter(x[row, m]) + part.place) for m in members]
        z = torch.cat([attention(part.reads[0], part.codes[3 * g : 3 * g + 3], y) for g, y in enumerate(groups)])
        said = torch.cat([alone.time[row], alone.context.cross.tokens[row][: 2 - row]])  # the second row is told one token
        z = lone(part.globals[0][0], attention(part.listens[0], z, part.told(said)))
        for g, (y, m) in enumerate(zip(groups, members, strict=True)):
            want[row, m] = part.leave(lone(part.local[1][0], attention(part.writes[0], y, z[3 * g : 3 * g + 3])))
    assert torch.allclose(part(x, env()), want)


@torch.no_grad()
def test_groups_are_told_apart_by_their_latents_alone():
    part, x = made((2, 3), ((1, 1), (1, 0))), drawn(B, 24, D)
    y = part(x, env())
    swap = torch.tensor([3, 2, 1, 0])
    order = part.order.reshape(4, 6)
    turned = x.clone()
    turned[:, order.flatten()] = x[:, order[swap].flatten()]
    assert not torch.allclose(part(turned, env())[:, order.flatten()], y[:, order[swap].flatten()])
    part.codes.copy_(part.codes.clone().reshape(4, 3, E)[swap].flatten(0, 1))
    assert torch.allclose(part(turned, env())[:, order.flatten()], y[:, order[swap].flatten()])


def test_what_does_not_fit_is_refused():
    with pytest.raises(BadArgument, match="end with"):
        made((2, 3), ((1, 1),))
    with pytest.raises(BadArgument, match="nothing to tell"):
        made((2, 3), ((1, 1), (1, 0)))(drawn(B, 24, D), replace(env(), time=None, context=Context(B)))
    with pytest.raises(PatternUnsupported):
        made((2, 3), ((1, 0),))(drawn(B, 24, D), replace(env(), pattern="causal"))
    with pytest.raises(BadArgument, match="does not divide into 5 heads"):
        Interleaved(D, GRID, (2, 3), layers=((1, 1), (1, 0)), **{**ARGS, "heads": 5})
