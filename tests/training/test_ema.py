"""The averaged weights."""
from __future__ import annotations

import pytest
import torch

from omniform.training.ema import Ema, decay_at


def test_the_average_is_the_formula(toy):
    torch.manual_seed(0)
    system = toy()
    ema = Ema(system, 0.9)
    expected = {n: p.detach().double().clone() for n, p in system.named_parameters()}
    for n in range(120):
        with torch.no_grad():
            for p in system.parameters():
                p.add_(torch.randn_like(p))
        ema.update(n)
        decay = min(0.9, (1 + n) / (10 + n))
        for name, p in system.named_parameters():
            expected[name] = decay * expected[name] + (1 - decay) * p.detach().double()
    state = ema.state(system)
    for name, x in expected.items():
        torch.testing.assert_close(state[name].double(), x, rtol=1e-5, atol=1e-6)
    assert decay_at(0.9, 0) == 0.1 and decay_at(0.9, 10 ** 6) == 0.9


def test_the_state_is_whole_and_comes_back(toy):
    system = toy()
    system.seen += 3
    system.out.weight.requires_grad_(False)
    ema = Ema(system, 0.5)
    before = {n: x.clone() for n, x in system.state_dict().items()}
    with torch.no_grad():
        for p in system.parameters():
            p.add_(1)
    state = ema.state(system)
    assert set(state) == set(before) and state["seen"] == 3
    assert torch.equal(state["inner.weight"], before["inner.weight"]) and state["tied.weight"] is state["inner.weight"]
    assert torch.equal(state["out.weight"], before["out.weight"] + 1)       # frozen: not averaged
    other = Ema(system, 0.5)
    other.load(system, state)
    assert all(torch.equal(x, state[n]) for n, x in other.state(system).items())


def test_applied_is_undone_even_after_an_error(toy):
    system = toy()
    ema = Ema(system, 0.5)
    old = system.out.weight.detach().clone()
    with torch.no_grad():
        system.out.weight.add_(1)
    with pytest.raises(ZeroDivisionError), ema.applied():
        assert torch.equal(system.out.weight, old)
        raise ZeroDivisionError
    assert torch.equal(system.out.weight, old + 1)
    ema.settle()
    assert torch.equal(system.out.weight, old) and system.out.weight.requires_grad
