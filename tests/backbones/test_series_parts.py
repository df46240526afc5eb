"""Parts of series: how points enter, and a shared expert behind a gate."""

from __future__ import annotations

import pytest
import torch

from omniform.backbones.embed import Gated, Pooled
from omniform.backbones.mlp import Experts, Mlp
from omniform.core.errors import BadArgument
from omniform.core.spec import Spec


def test_the_greatest_of_each_run_goes_in():
    part, values = Pooled(6, 4, rate=3), torch.randn(2, 5, 6)
    most = torch.stack([torch.stack([v[:3].max(), v[3:].max()]) for v in values.reshape(-1, 6)]).reshape(2, 5, 2)
    assert torch.allclose(part(values), most @ part.out.weight.T, atol=1e-6)
    plain = Pooled(6, 4, rate=1)
    assert torch.allclose(plain(values), values @ plain.out.weight.T, atol=1e-6)
    with pytest.raises(BadArgument, match="runs of 4"):
        Pooled(6, 4, rate=4)


def test_a_gated_point_and_its_sign():
    part = Gated(1, 8)
    value = torch.tensor([[[2.0], [-2.0]]])
    w, v = part.gate[:, 0], part.value[:, 0]
    assert torch.allclose(part(value)[0, 0], 2 * w / (1 + (-2 * w).exp()) * 2 * v, atol=1e-6)
    assert not torch.allclose(part(value)[0, 0], part(value)[0, 1], atol=1e-2)


def test_a_shared_expert_behind_a_gate():
    mlp, values = Spec(Mlp, {"hidden": 8}), torch.randn(1, 4, 6)
    part, routed = Experts(6, num=2, mlp=mlp, shared=1, gated=True, balance=0.0), Experts(6, num=2, mlp=mlp, balance=0.0)
    routed.load_state_dict({k: v for k, v in part.state_dict().items() if not k.startswith(("shared", "gate"))})
    env = type("Env", (), {"prefix": 0})()
    want = routed(values, env) + torch.sigmoid(values @ part.gate.weight.T) * part.shared[0](values, env)
    assert torch.allclose(part(values, env), want, atol=1e-6)
