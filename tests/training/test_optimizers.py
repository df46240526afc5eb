"""Groups, clipping, and the optimizer's memory in and out."""
from __future__ import annotations

import pytest
import torch

from omniform.core.errors import BadArgument, CheckpointError
from omniform.training.optimizers import players_of
from omniform.training.plan import Training


def test_only_matrices_are_decayed(toy):
    system = toy()
    system.vector = torch.nn.Parameter(torch.zeros(1, 1, 8))
    player = players_of(system, Training(steps=1, weight_decay=0.3))["main"]
    names = {id(p): n for n, p in player.parameters.items()}
    by_decay = {g["weight_decay"]: {names[id(p)] for p in g["params"]} for g in player.optimizer.param_groups}
    plain = {"vector", "table.weight", "inner.bias", "norm.weight", "norm.bias", "out.bias"}
    assert by_decay == {0.3: {"inner.weight", "out.weight"}, 0.0: plain}


def test_each_player_has_its_own_parameters_and_rate(duel):
    players = players_of(duel(), Training(steps=1, lr=1e-3, lrs={"critic": 1e-4}))
    assert {n: set(p.parameters) for n, p in players.items()} == {
        "main": {"maker.weight", "maker.bias"}, "critic": {"critic.weight", "critic.bias"}}
    assert players["main"].lr == 1e-3 and players["critic"].lr == 1e-4
    with pytest.raises(BadArgument, match="did you mean critic"):
        players_of(duel(), Training(steps=1, lrs={"critik": 1e-4}))
    with pytest.raises(BadArgument, match="no parameter"):
        players_of(duel().requires_grad_(False), Training(steps=1))


@pytest.mark.parametrize("clip", [0.0, 0.5, 1e6])
def test_a_move_is_torchs_own_clipping_and_step(toy, clip):
    training = Training(steps=1, lr=0.01, clip=clip, weight_decay=0.1)
    ours, theirs = toy(), toy()
    player = players_of(ours, training)["main"]
    named = dict(theirs.named_parameters())
    groups = []
    for group in player.optimizer.param_groups:
        mine = [n for n, p in player.parameters.items() if any(p is q for q in group["params"])]
        groups.append({"params": [named[n] for n in mine], "weight_decay": group["weight_decay"]})
    reference = torch.optim.AdamW(groups, lr=0.005, betas=training.betas)
    torch.manual_seed(0)
    for _ in range(3):
        for p, q in zip(ours.parameters(), theirs.parameters(), strict=True):
            q.grad = torch.randn_like(q)
            p.grad = 7 * q.grad
        count = torch.tensor(7.0)
        player.move(count, player.norm(count), clip, 0.5)
        if clip:
            torch.nn.utils.clip_grad_norm_(theirs.parameters(), clip)
        reference.step()
    for p, q in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(p, q, rtol=1e-5, atol=1e-6)
        assert p.grad is None


def test_the_memory_comes_back_to_the_bit_and_other_systems_are_refused(toy, duel):
    training = Training(steps=1)
    one, other = players_of(toy(), training)["main"], players_of(toy(), training)["main"]
    for player in (one,):
        for p in player.parameters.values():
            p.grad = torch.ones_like(p)
        player.optimizer.step()
    other.load(*one.state())
    assert set(one.state()[0]) == set(other.state()[0]) and len(one.state()[0]) == 3 * len(one.parameters)
    assert all(torch.equal(x, other.state()[0][n]) for n, x in one.state()[0].items())
    with pytest.raises(CheckpointError, match="knows a parameter"):
        players_of(duel(), training)["main"].load(*one.state())
    with pytest.raises(CheckpointError, match="optimizer of 'main'"):
        other.load({}, {"optimizer": "Muon"})
