"""The critic: a player whose parameters only its own loss moves."""
from __future__ import annotations

import pytest
import torch

from omniform.codecs.critic import PatchCritic
from omniform.core.errors import BadArgument
from omniform.core.rng import Rng

REAL, FAKE = (Rng.seeded(i).normal((4, 1, 16, 16)) for i in range(2))


def test_its_opinion_moves_the_fake_and_not_the_critic():
    critic, fake = PatchCritic(1, width=8), FAKE.clone().requires_grad_()
    critic.opinion(fake)["adversarial"].backward()
    assert fake.grad.any() and all(p.grad is None for p in critic.parameters())
    with torch.no_grad():
        direct = -0.1 * critic(FAKE).mean() * FAKE.numel()
        assert critic.opinion(FAKE)["adversarial"] == pytest.approx(float(direct), rel=1e-5)


def test_its_loss_moves_the_critic_and_not_the_fake():
    critic, fake = PatchCritic(1, width=8, r1=1.0), FAKE.clone().requires_grad_()
    loss = critic.loss(REAL, fake)
    loss.mean().backward()
    assert fake.grad is None and all(p.grad.any() for p in critic.parameters() if p.dim() > 1) and loss.player == "critic"


def test_the_hinge_is_zero_beyond_one():
    critic = PatchCritic(1, width=4, depth=1)
    for p in critic.parameters():
        torch.nn.init.zeros_(p)
    parts = critic.loss(REAL, FAKE).parts
    assert parts["real"] == 4 and parts["fake"] == 4                    # verdicts of 0: hinge 1 each
    critic.net[-1].bias.data.fill_(2.0)
    parts = critic.loss(REAL, FAKE).parts
    assert parts["real"] == 0 and parts["fake"] == 12                   # verdicts of 2: 0 and 3


def test_r1_is_the_squared_slope():
    critic = PatchCritic(1, width=8, r1=3.0)
    x = REAL.clone().requires_grad_()
    slope = torch.stack([torch.autograd.grad(critic(x)[i].mean(), x, retain_graph=True)[0][i] for i in range(4)])
    assert critic.loss(REAL, FAKE).parts["r1"].detach() == pytest.approx(float(1.5 * slope.square().sum()), rel=1e-4)


def test_a_balanced_opinion_moves_the_last_layer_as_much_as_the_reconstruction():
    critic, layer = PatchCritic(1, width=8, weight=0.5, balanced=True), torch.nn.Conv2d(1, 1, 3, padding=1)
    said = layer(FAKE)
    rebuilt = 17 * (said - REAL).abs().sum()
    loss = critic.opinion(said, rebuilt, layer.weight)["adversarial"]
    one, other = (torch.autograd.grad(x, layer.weight, retain_graph=True)[0].norm() for x in (rebuilt, loss))
    assert float(other / one) == pytest.approx(0.5, rel=1e-2)
    with torch.no_grad():
        assert float(critic.opinion(said, rebuilt, layer.weight)["adversarial"]) == pytest.approx(-0.5 * float(critic(said).mean()) * said.numel(), rel=1e-5)


def test_before_the_start_neither_moves_the_other_and_only_training_counts():
    critic, fake = PatchCritic(1, width=8, start=2), FAKE.clone().requires_grad_()
    for _ in range(2):
        critic.eval().loss(REAL, FAKE)
        with torch.no_grad():
            critic.train().loss(REAL, FAKE)
        assert critic.opinion(fake)["adversarial"] == 0 and critic.loss(REAL, FAKE).mean() == 0
    assert critic.opinion(fake)["adversarial"] != 0 and critic.loss(REAL, FAKE).mean() > 0
    again = PatchCritic(1, width=8, start=2)
    again.load_state_dict(critic.state_dict())
    assert torch.equal(again.opinion(fake)["adversarial"], critic.opinion(fake)["adversarial"]), "what was heard is saved"


def test_it_learns_to_tell_noise_from_stripes():
    torch.manual_seed(0)
    critic = PatchCritic(1, width=8)
    stripes = torch.ones(8, 1, 16, 16)
    stripes[..., ::2] = -1
    optimizer = torch.optim.Adam(critic.parameters(), lr=5e-3)
    for step in range(40):
        optimizer.zero_grad()
        critic.loss(stripes, Rng.seeded(step).normal((8, 1, 16, 16))).mean().backward()
        optimizer.step()
    assert critic(stripes).min() > 0 > critic(Rng.seeded(99).normal((8, 1, 16, 16))).mean()


def test_bad_arguments_are_refused():
    for arguments in ({"depth": 0}, {"weight": -1.0}, {"r1": -1.0}, {"start": -1}):
        with pytest.raises(BadArgument):
            PatchCritic(1, **arguments)
