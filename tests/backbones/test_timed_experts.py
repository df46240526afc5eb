"""Experts that the time chooses, beside a slow reference, and the prior on whom it should choose."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from omniform.backbones.attention import Attention
from omniform.backbones.blocks import PreNorm
from omniform.backbones.embed import TimeEmbedding
from omniform.backbones.mlp import Mlp
from omniform.backbones.stack import Stack
from omniform.backbones.timed_experts import DiffusionPrior, TimedExperts
from omniform.core.errors import BadArgument
from omniform.core.net import Context, Env
from omniform.core.spec import Spec
from omniform.core.tokens import Axis, Space

D, B = 8, 3
SPACE = Space(axes=(Axis("x", 4),), channels=2)
BLOCK = Spec(PreNorm, {"mixer": Spec(Attention, {"heads": 2}), "mlp": Spec(Mlp)})
ROUTED = Spec(Stack, {"depth": 4, "block": Spec(TimedExperts, {"block": BLOCK})})


def env(time):
    blank = SPACE.blank(B)
    zero, known = blank.doc, torch.ones(B, 4, dtype=torch.bool)
    return Env(blank.coord, zero, zero, zero, zero, known, None, Context(B), None, False, torch.zeros(B), "full", None, time=time)


def drawn(*shape, seed=0):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def test_a_fresh_one_is_its_block():
    part = TimedExperts(D, BLOCK).double()
    assert torch.equal(part(drawn(B, 4, D), env(drawn(B, 1, D))), part.block(drawn(B, 4, D), env(None)))


@torch.no_grad()
def test_experts_mask_the_stream():
    part = TimedExperts(D, BLOCK, num=4, top=2).double()
    with torch.no_grad():
        part.weight.copy_(drawn(4, D, D, seed=1))
        part.bias.copy_(drawn(4, D, seed=2))
    x, time = drawn(B, 4, D), drawn(B, 1, D, seed=3)
    y = part(x, env(time))
    for row in range(B):
        gate = part.gates(time[row, 0])
        assert float(gate.sum()) == pytest.approx(1)
        mask = torch.ones(4, D, dtype=torch.float64)
        for k in gate.argsort(descending=True)[:2]:
            mask = mask + gate[k] * (x[row] @ part.weight[k] + part.bias[k])
        want = part.block((x[row] * mask).expand(B, -1, -1), env(None))[0] + (1 - mask) * x[row]
        assert torch.allclose(y[row], want, atol=1e-6)


def test_the_window_slides_from_the_first_to_the_last():
    window = DiffusionPrior(D, ROUTED, levels=50).window()
    assert window.shape == (50, 12) and (window.sum(1) == 8).all()
    assert window[0].tolist() == [1.0] * 8 + [0.0] * 4 and window[-1].tolist() == [0.0] * 4 + [1.0] * 8
    first = window.argmax(1)
    assert (first.diff() >= 0).all() and first.unique().tolist() == [0, 1, 2, 3, 4]
    assert int(first[25]) == round((25 / 49) ** 4 * 4)


def test_the_divergence_is_nothing_for_the_window_and_at_most_a_bit():
    part = DiffusionPrior(D, ROUTED, levels=40)
    gates = part.window()[:, torch.arange(12).reshape(3, 4).T.flatten()] / 2  # of each block two of three
    for number, routed in enumerate(part.routed):
        routed.gates = lambda time, at=3 * number: gates[:, at : at + 3]
    assert float(part.divergence(torch.zeros(40, D)).detach()) == pytest.approx(0, abs=1e-5)
    for seed in range(3):
        part = DiffusionPrior(D, ROUTED, levels=40)
        for routed in part.routed:
            routed.router.weight.data.normal_(std=20.0, generator=torch.Generator().manual_seed(seed))
        assert 1e-3 < float(part.divergence(drawn(40, D, seed=seed).float()).detach()) < math.log(2)


def test_the_due_is_owed_in_training_and_lowers_itself():
    torch.manual_seed(0)
    part = DiffusionPrior(D, ROUTED, weight=2.0, levels=40)
    clock = TimeEmbedding(D)
    asked = replace(env(clock(torch.rand(B, 1))), clock=clock)
    x = drawn(B, 4, D).float()
    part.train()(x, asked)
    level = 1 - (torch.arange(40.0)[:, None] + 1) / 40
    assert float(asked.dues["prior"].detach()) == pytest.approx(2 * float(part.divergence(clock(level)[:, 0]).detach()))
    quiet = replace(asked, dues={})
    part.eval()(x, quiet)
    assert not quiet.dues
    optimizer = torch.optim.Adam([*part.parameters(), *clock.parameters()], lr=1e-2)
    before = float(part.divergence(clock(level)[:, 0]).detach())
    for _ in range(30):
        optimizer.zero_grad()
        part.divergence(clock(level)[:, 0]).backward()
        optimizer.step()
    assert float(part.divergence(clock(level)[:, 0]).detach()) < 0.8 * before


def test_what_does_not_fit_is_refused():
    with pytest.raises(BadArgument, match="1 to 3 experts"):
        TimedExperts(D, BLOCK, top=4)
    with pytest.raises(BadArgument, match="its stack has none"):
        DiffusionPrior(D, Spec(Stack, {"depth": 1, "block": BLOCK}))
    with pytest.raises(BadArgument, match="one time a row"):
        TimedExperts(D, BLOCK).double()(drawn(B, 4, D), env(None))
