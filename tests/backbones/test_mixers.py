"""Combiner and pointwise attention beside slow references, and in limits where they are something known."""
from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from torch.nn import functional as F

from omniform.backbones.attention import Attention, Combiner, Pointwise
from omniform.backbones.attention.combiner import spans
from omniform.core.errors import BadArgument, PatternUnsupported
from omniform.core.net import Context, Env, Record
from omniform.core.query import visible

B, L, D, H = 2, 16, 12, 2
PLANS = [("fixed", 4), ("fixed", 5), ("logsparse", 1), ("axial", 4), ("axial", 6)]


def env(length=L, first=0, record=None, pattern="causal", lane=None, turn=None):
    turn = (torch.arange(first, first + length) if turn is None else turn).expand(B, -1)
    zero = torch.zeros_like(turn)
    lane = zero if lane is None else lane.expand(B, -1)
    past = None if record is None else record.ledger()
    mask = visible(turn, lane, zero, past)[:, None]
    return Env(coord=turn[..., None].float(), kind=zero, turn=turn, lane=lane, doc=zero, known=zero == 0, modulation=None, context=Context(B), record=record,
               remember=record is not None, progress=torch.zeros(B), pattern=pattern if past is None else "any",
               mask=None if pattern == "causal" and past is None else mask)


def rand(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def weights(part, x):
    """The matrix of all weights, (B, H, L, L), by the paper's sums."""
    plan = spans(part.plan, part.size, x.shape[1])
    q, k, _ = (y.unflatten(-1, (H, -1)).transpose(1, 2) for y in part.qkv(x).chunk(3, -1))
    q = q / math.sqrt(D // H)
    full = torch.zeros(B, H, x.shape[1], x.shape[1])
    real = lambda row: [i for i in row.tolist() if i >= 0]
    for i in range(x.shape[1]):
        near, far = real(plan.direct[i]), [plan.members(torch.tensor([r]))[0].tolist() for r in real(plan.seen[i])]
        score = [q[:, :, i] * k[:, :, j] for j in near] + [q[:, :, i] * k[:, :, span].amax(2) for span in far]
        share = torch.stack([s.sum(-1) for s in score], -1).softmax(-1)
        for n, j in enumerate(near):
            full[:, :, i, j] += share[..., n]
        for n, span in enumerate(far, len(near)):
            inside = (k[:, :, span] @ q[:, :, span].amax(2)[..., None])[..., 0].softmax(-1)
            full[:, :, i, span] += share[..., n, None] * inside
    return full


@pytest.mark.parametrize(("plan", "size"), PLANS)
@torch.no_grad()
def test_every_earlier_place_has_a_weight(plan, size):
    torch.manual_seed(0)
    part, x = Combiner(D, H, plan, size), rand(B, L, D)
    full = weights(part, x)
    assert torch.allclose(full.sum(-1), torch.ones(B, H, L)) and bool((full.tril() + torch.ones(L, L).triu(1) > 0).all()) and not full.triu(1).any()
    v = part.qkv(x).chunk(3, -1)[2].unflatten(-1, (H, -1)).transpose(1, 2)
    assert torch.allclose(part(x, env()), part.out((full @ v).transpose(1, 2).flatten(2)), atol=1e-5)


@pytest.mark.parametrize(("plan", "size"), [("fixed", 16), ("fixed", 1), ("fixed", 99), ("axial", 16), ("axial", 1)])
@torch.no_grad()
def test_one_span_or_spans_of_one_are_full_attention(plan, size):
    torch.manual_seed(0)
    part, full = Combiner(D, H, plan, size), Attention(D, H, biases="")
    full.qkv.each[0].weight.copy_(part.qkv.weight)
    full.out.each[0].weight.copy_(part.out.weight)
    assert torch.allclose(part(rand(B, L, D), env()), full(rand(B, L, D), env()), atol=1e-5)


@pytest.mark.parametrize(("plan", "size"), PLANS)
@pytest.mark.parametrize("cuts", [(1,) * L, (3, 1, 5, 7), (8, 8)])
@torch.no_grad()
def test_a_combiner_remembers(plan, size, cuts):
    torch.manual_seed(0)
    part, x = Combiner(D, H, plan, size), rand(B, L, D)
    whole, record, said, first = part(x, env()), Record(), [], 0
    for num in cuts:
        asked = env(num, first, record)
        said.append(part(x[:, first : first + num], asked))
        record.extend(asked.turn, asked.lane, asked.doc)
        first += num
    assert torch.allclose(torch.cat(said, 1), whole, atol=1e-5)


def test_a_combiner_refuses_what_is_no_sequence():
    with pytest.raises(PatternUnsupported, match="Combiner reads one token after another"):
        Combiner(D, H)(rand(B, L, D), env(pattern="any", turn=torch.arange(L) // 2))
    with pytest.raises(BadArgument, match="a plan is"):
        Combiner(D, H, "random")


def test_the_binary_plan_is_logarithmic():
    plan = spans("logsparse", 1, 256)
    assert plan.direct.shape[1] == 2 and plan.seen.shape[1] == 7
    assert sorted(set(plan.sizes.tolist())) == [2, 4, 8, 16, 32, 64, 128]


@torch.no_grad()
def test_pointwise_attention_by_hand():
    torch.manual_seed(0)
    part, x = Pointwise(D, H, 20, head_width=3, value_width=5), rand(B, 6, D)
    got = part(x, env(6))
    u, v, q, k = F.silu(part.uvqk(F.layer_norm(x, (D,), eps=1e-6))).split([10, 10, 6, 6], -1)
    for i in range(6):
        y = torch.zeros(B, 10)
        for j in range(i + 1):
            bias = part.place_bias[j - i + 19] + part.time_bias[int(math.log(max(1, i - j)) / 0.301)]
            for h in range(H):
                score = (q[:, i, 3 * h : 3 * h + 3] * k[:, j, 3 * h : 3 * h + 3]).sum(-1) + bias
                y[:, 5 * h : 5 * h + 5] += (F.silu(score) / 20)[:, None] * v[:, j, 5 * h : 5 * h + 5]
        want = x[:, i] + part.out(F.layer_norm(y, (10,), eps=1e-6) * u[:, i])
        assert torch.allclose(got[:, i], want, atol=1e-5)


@torch.no_grad()
def test_candidates_in_lanes_are_candidates_one_by_one():
    """M-FALCON, section 3.3: each candidate sees the history and itself; whether others are asked beside it changes nothing."""
    torch.manual_seed(0)
    part, x = Pointwise(D, H, 40), rand(B, L + 5, D)
    record, history = Record(), env(L, record=None)
    history = replace(history, record=record, remember=True)
    part(x[:, :L], history)
    record.extend(history.turn, history.lane, history.doc)
    turn, lane = torch.full((5,), L), torch.arange(1, 6)
    together = part(x[:, L:], replace(env(5, record=record, turn=turn, lane=lane), remember=False))
    for n in range(5):
        alone = part(torch.cat([x[:, :L], x[:, L + n : L + n + 1]], 1), env(L + 1))[:, -1]
        assert torch.allclose(together[:, n], alone, atol=1e-5)
