"""Attention by sums over random features."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from omniform.backbones.attention import FeatureAttention, LinearAttention
from omniform.backbones.attention.features import orthogonal, running
from omniform.core.errors import PatternUnsupported, TurnError
from omniform.core.net import Context, Env, Record
from omniform.core.tokens import Axis, Space

SPACE = Space(axes=(Axis("time", 11),), channels=1)


def env(length=11, first=0, **changes):
    zero = torch.zeros(1, length, dtype=torch.long).expand(2, -1)
    made = Env(coord=torch.zeros(2, length, 1), kind=zero, turn=torch.arange(first, first + length)[None].expand(2, -1), lane=zero, doc=zero, known=zero == 0,
               modulation=None, context=Context(2), record=None, remember=False, progress=torch.zeros(2), pattern="causal", mask=None)  # fmt: skip
    return replace(made, **changes)


@pytest.mark.parametrize("chunk", [1, 4, 64])
def test_sums_by_loops(chunk):
    g = torch.Generator().manual_seed(0)
    q, k = torch.rand(2, 3, 11, 5, generator=g).double(), torch.rand(2, 3, 11, 5, generator=g).double()
    v, before = torch.randn(2, 3, 11, 4, generator=g).double(), torch.randn(2, 3, 5, 4, generator=g).double()
    y, last = running(q, k, v, before, chunk)
    for t in range(11):
        want = torch.einsum("bhf,bhfe->bhe", q[:, :, t], before) + sum((q[:, :, t] * k[:, :, j]).sum(-1, keepdim=True) * v[:, :, j] for j in range(t + 1))
        assert torch.allclose(y[:, :, t], want)
    assert torch.allclose(last, before + k.transpose(-1, -2) @ v)


def test_with_no_features_drawn_the_last_place_is_linear_attention():
    """Omega = 1: what sees everything is arXiv:2006.16236 without a mask."""
    part, full = FeatureAttention(12, 3, features=4).double().eval(), LinearAttention(12, 3, SPACE, kernel=0).double()
    part.omega.copy_(torch.eye(4))
    full.load_state_dict({k: v for k, v in part.state_dict().items() if k != "omega"})
    x = torch.randn(2, 11, 12, dtype=torch.float64)
    assert torch.allclose(part(x, env())[:, -1], full(x, env(pattern="full", turn=torch.zeros(2, 11, dtype=torch.long)))[:, -1], atol=1e-4)


def test_one_by_one_is_all_at_once_and_padding_says_nothing():
    part, x = FeatureAttention(12, 3, features=20).double().eval(), torch.randn(2, 11, 12, dtype=torch.float64)
    whole, record = part(x, env()), Record()
    with torch.no_grad():
        each = []
        for first, last in ((0, 5), *((i, i + 1) for i in range(5, 11))):
            here = env(last - first, first, record=record, remember=True)
            each.append(part(x[:, first:last], here))
            record.extend(here.turn, here.lane, here.doc)
    assert torch.allclose(torch.cat(each, 1), whole, atol=1e-12)
    assert {s.sums.shape for s in record.blocks.values()} == {(2, 3, 20, 5)}
    doc = torch.zeros(2, 11, dtype=torch.long)
    doc[:, 6:] = -1
    padded = Record()
    part(x, env(doc=doc, record=padded, remember=True))
    short = Record()
    part(x[:, :6], env(6, record=short, remember=True))
    assert torch.allclose(padded.blocks[""].sums, short.blocks[""].sums)
    record.used = 4
    with pytest.raises(TurnError, match="cannot forget"):
        part(x[:, :1], env(1, 4, record=record))


def test_columns_are_orthogonal_in_runs():
    omega = orthogonal(8, 20)
    gram = omega.T @ omega
    for first in (0, 8, 16):
        inner = gram[first : first + 8, first : first + 8]
        assert torch.allclose(inner, torch.diag(inner.diagonal()), atol=1e-4)
    assert abs(float(orthogonal(64, 4096).square().sum(0).mean()) / 64 - 1) < 0.05


def test_omega_is_drawn_anew_in_training_only():
    part, x = FeatureAttention(12, 3), torch.randn(2, 11, 12)
    first = part.omega.clone()
    part.eval()(x, env())
    assert torch.equal(part.omega, first)
    part.train()(x, env())
    assert not torch.equal(part.omega, first)
    with pytest.raises(PatternUnsupported, match="a turn later"):
        part(x, env(pattern="full", turn=torch.zeros(2, 11, dtype=torch.long)))
