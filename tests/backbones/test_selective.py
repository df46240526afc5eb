"""The selective scan beside the recurrence one place after another, in limits where it is something known, and with its memory handed on."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from omniform.backbones.selective import SelectiveScan, run, scan
from omniform.core.errors import BadArgument, PatternUnsupported, TurnError
from omniform.core.net import Record
from omniform.training.optimizers import undecayed

from .test_sequence import env, rand, stirred

B, L, D, N = 2, 11, 6, 3


def one_by_one(keep, new, start):
    """The recurrence as it is written."""
    states, h = [], start
    for t in range(new.shape[1]):
        h = keep[:, t] * h + new[:, t]
        states.append(h)
    return torch.stack(states, 1)


def reference(part, x, doc):
    """Algorithm 2 with the block of figure 3, a row, a channel and a number at a time."""
    y = torch.zeros(*x.shape[:2], part.out.in_features, dtype=x.dtype)
    for row in range(len(x)):
        u, z = (x[row] @ part.enter.weight.T).chunk(2, -1)
        real = [t for t in range(x.shape[1]) if doc[row, t] >= 0]
        state, past = torch.zeros(u.shape[1], N, dtype=x.dtype), None
        for t in real:
            taps = [u[t - j] * part.conv.weight[j] for j in range(part.conv.taps) if t - j >= 0 and doc[row, t - j] == doc[row, t]]
            v = F.silu(sum(taps) + part.conv.bias)
            said = part.says.weight @ v
            rank = part.rate.shape[1]
            step = F.softplus(part.rate @ said[:rank] + part.rate_bias)
            if doc[row, t] != past:
                state = torch.zeros_like(state)
            past = doc[row, t]
            for e in range(u.shape[1]):
                for n in range(N):
                    state[e, n] = torch.exp(-step[e] * part.decay[e, n].exp()) * state[e, n] + step[e] * said[rank + n] * v[e]
                y[row, t, e] = (state[e] @ said[rank + N :]) + part.skip[e] * v[e]
            y[row, t] *= F.silu(z[t])
    return y @ part.out.weight.T


@pytest.mark.parametrize("length", [1, 2, 3, 16, 37])
@pytest.mark.parametrize("chunk", [None, 1, 4, 37, 64])
def test_chunks_are_the_recurrence(length, chunk):
    keep, new, start = rand(B, length, D, N).sigmoid().double(), rand(B, length, D, N, seed=1).double(), rand(B, D, N, seed=2).double()
    assert torch.allclose(run(keep, new, start, chunk), one_by_one(keep, new, start), atol=1e-12)


def test_what_is_forgotten_at_once_and_what_never_is():
    new, start = rand(B, L, D), rand(B, D, seed=2)
    assert torch.equal(run(torch.zeros_like(new), new, start), new)
    assert torch.allclose(run(torch.ones_like(new), new, start, 4), start[:, None] + new.cumsum(1), atol=1e-5)


def test_derivatives_are_those_of_the_recurrence_twice():
    keep, new, start = (x.double().requires_grad_() for x in (rand(1, 5, 2).sigmoid(), rand(1, 5, 2, seed=1), rand(1, 2, seed=2)))
    assert torch.autograd.gradcheck(scan, (keep, new, start)) and torch.autograd.gradgradcheck(scan, (keep, new, start))


@pytest.mark.parametrize("doc", [[0] * 11, [0, 0, 0, 1, 1, 1, 1, 2, 2, -1, -1], [0, 0, 0, 0, -1, -1, -1, -1, -1, -1, -1]])
def test_the_block_one_number_after_another(doc):
    part, x = stirred(SelectiveScan(D, states=N, rank=2)).double(), rand(B, L, D).double()
    doc = torch.tensor([doc, [0] * 11])
    want = reference(part, x, doc)
    real = doc >= 0
    assert torch.allclose(part(x, env(L, doc=doc))[real], want[real], atol=1e-9)


def test_long_texts_with_strong_decay_stay_finite():
    part = stirred(SelectiveScan(D, states=N))
    with torch.no_grad():
        part.decay += 5.0
        assert bool(part(10 * rand(B, 300, D), env(300)).isfinite().all())


@pytest.mark.parametrize("cuts", [(4,), (1, 2, 9), tuple(range(1, L))])
@torch.no_grad()
def test_asked_in_pieces_it_says_the_same_and_remembers_as_much_after_any_number(cuts):
    part, x = stirred(SelectiveScan(D, states=N)), rand(B, L, D)
    part.name, part.conv.name = "a", "b"
    record, got, sizes = Record(), [], []
    for first, last in zip((0, *cuts), (*cuts, L), strict=True):
        e = env(last - first, first, record=record)
        got.append(part(x[:, first:last], e))
        record.extend(e.turn, e.lane, e.doc)
        sizes.append(sum(kept.kept.numel() for kept in record.blocks.values()))
    assert torch.allclose(torch.cat(got, 1), part(x, env(L)), atol=1e-5) and len(set(sizes)) == 1
    picked = record.rows(torch.tensor([1, 1, 0]))
    assert torch.equal(picked.blocks["a"].kept, record.blocks["a"].kept[[1, 1, 0]])
    record.used -= 1
    with pytest.raises(TurnError, match="another session"):
        part(x[:, :1], env(1, L, record=record))


def test_it_reads_a_sequence_and_has_states():
    part = SelectiveScan(D, states=N)
    with pytest.raises(PatternUnsupported, match="SelectiveScan"):
        part(rand(B, L, D), env(L, turn=torch.zeros(B, L, dtype=torch.long)))
    with pytest.raises(BadArgument, match="states, expand and taps"):
        SelectiveScan(D, states=0)


def test_single_precision_under_autocast():
    part, x = stirred(SelectiveScan(D, states=N)), rand(B, L, D)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        got = part(x, env(L))
    assert torch.allclose(got.float(), part(x, env(L)), atol=0.1)


def test_how_long_it_remembers_is_not_decayed():
    part = SelectiveScan(D, states=N, rank=2)
    left = undecayed(torch.nn.Sequential(part))
    assert {n for n, p in part.named_parameters() if id(p) in left} == {"decay", "skip", "rate_bias", "conv.bias"}
