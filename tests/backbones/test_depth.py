"""Depth that is learned, and updates of low rank."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from omniform.backbones.attention import Attention
from omniform.backbones.blocks import PreNorm
from omniform.backbones.depth import LearnedDepth
from omniform.backbones.low_rank import LowRank, plain
from omniform.backbones.mlp import Mlp
from omniform.backbones.stack import Stack
from omniform.core.errors import BadArgument
from omniform.core.net import Context, Env
from omniform.core.spec import Spec
from omniform.core.tokens import Axis, Space

D, ROWS = 8, 64
SPACE = Space(axes=(Axis("x", 3),), channels=2)
BLOCK = Spec(PreNorm, {"mixer": Spec(Attention, {"heads": 2}), "mlp": Spec(Mlp)})


def env(rows=ROWS):
    blank = SPACE.blank(rows)
    zero = blank.doc
    return Env(blank.coord, zero, zero, zero, zero, torch.ones(rows, 3, dtype=torch.bool), None, Context(rows), None, False, torch.zeros(rows), "full", None)


def x(rows=ROWS):
    return torch.randn(rows, 3, D, generator=torch.Generator().manual_seed(0))


def through(blocks, y):
    for block in blocks:
        y = block(y, env(len(y)))
    return y


def test_all_kept_is_the_blocks_in_a_row():
    part = LearnedDepth(D, BLOCK, num=3, keep=3)
    assert part.logits is None and part.kept() == (0, 1, 2)
    assert torch.equal(part(x(), env()), through(part.blocks, x()))


def test_what_is_asked_in_earnest_is_the_shortened_network():
    part = LearnedDepth(D, BLOCK, num=4, keep=2).eval()
    with torch.no_grad():
        part.logits[3] += 1  # of 01 02 03 12 13 23
    assert part.kept() == (1, 2)
    assert torch.equal(part(x(), env()), through(part.survivors(), x()))


def test_in_training_each_row_draws_one_subset():
    torch.manual_seed(0)
    part = LearnedDepth(D, BLOCK, num=4, keep=2).train()
    with torch.no_grad():
        y = part(x(), env())
        each = torch.stack([through([part.blocks[i] for i in subset], x()) for subset in part._subsets])
    near = (each - y).flatten(2).abs().amax(-1) < 1e-5
    assert (near.sum(0) == 1).all(), "a row is the answer of exactly one subset"
    assert near.any(1).all(), "every subset is drawn"


def test_subsets_that_cost_less_are_learned_to_be_likely():
    torch.manual_seed(0)
    part = LearnedDepth(D, BLOCK, num=2, keep=1, over=100).train()
    with torch.no_grad():
        for p in part.blocks[0].parameters():
            p.zero_()  # says nothing: the stream stays
    optimizer = torch.optim.Adam([part.logits], lr=1e-2)
    for _ in range(20):
        optimizer.zero_grad()
        (part(x(), env()) - x()).square().mean().backward()
        optimizer.step()
    assert part.kept() == (0,) and part.logits[0] > part.logits[1] and int(part.asked) == 20


def test_a_fresh_update_changes_nothing_and_is_all_that_learns():
    torch.manual_seed(0)
    part = LearnedDepth(D, BLOCK, num=2, keep=1, rank=2).eval()
    assert torch.equal(part(x(), env()), through(part.survivors(), x()))
    free = {n for n, p in part.named_parameters() if p.requires_grad}
    maps = {n for n in free if ".down." in n or ".up." in n}
    assert not any(n.endswith((".inner.weight", ".inner.bias")) for n in free) and len(maps) == 2 * 2 * 4
    with torch.no_grad():
        for n, p in part.named_parameters():
            if n.endswith(".up.weight") and "inner" not in n:
                p.normal_()
    assert not torch.allclose(part(x(), env()), through(part.survivors(), x())), "the update is thrown away with what did not stay"
    fresh = Stack(D, 1, BLOCK)
    fresh.blocks[0].load_state_dict(part.survivors()[0].state_dict())


def test_an_update_is_of_its_rank():
    torch.manual_seed(0)
    inner = nn.Linear(6, 5)
    part = LowRank(inner, 2, 4.0)
    nn.init.normal_(part.up.weight)
    y = torch.randn(3, 6)
    want = y @ (inner.weight + 2.0 * part.up.weight @ part.down.weight).T + inner.bias
    assert torch.allclose(part(y), want, atol=1e-5)
    assert plain(nn.Sequential(part))[0] is inner and inner.weight.requires_grad
    with pytest.raises(BadArgument, match="rank of at least 1"):
        LowRank(inner, 0, 1.0)
    with pytest.raises(BadArgument, match="1 to 2 are kept"):
        LearnedDepth(D, BLOCK, num=2, keep=3)
