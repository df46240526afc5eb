"""Descent down an energy, and the two players."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from omniform.backbones.attention import Attention
from omniform.backbones.blocks import PreNorm
from omniform.backbones.embed import Embed
from omniform.backbones.mlp import Mlp
from omniform.backbones.positions import LearnedPositions
from omniform.backbones.stack import Stack
from omniform.core.codec import player_parameters
from omniform.core.errors import BadArgument
from omniform.core.net import Context
from omniform.core.process import generate
from omniform.core.query import Answer
from omniform.core.rng import Rng
from omniform.core.spec import Spec
from omniform.core.tokens import Axis, Space
from omniform.heads.point import EnergyHead, Point, PointHead
from omniform.processes.adversarial import Adversarial
from omniform.processes.energy import Energy
from omniform.system.network import Network, Tower

SPACE = Space(axes=(Axis("x", 3),), channels=2)
STACK = Spec(Stack, {"depth": 1, "block": Spec(PreNorm, {"mixer": Spec(Attention, {"heads": 2}), "mlp": Spec(Mlp)})})
TARGET = torch.tensor([[1.0, -2.0], [0.5, 0.0], [-1.0, 3.0]])


class Bowl:
    """E = k/2 |y - target|^2 a token."""

    def __init__(self, k=0.5):
        self.k, self.progress = k, []

    def __call__(self, query, *, remember=False):
        self.progress.append(float(query.progress[0]))
        return Answer(Point(0.5 * self.k * (query.tokens.vec - TARGET).square().sum(-1, keepdim=True)))


@pytest.mark.parametrize("steps", [1, 2, 5])
def test_a_quadratic_energy_is_descended_in_closed_form(steps):
    """y_n - target = (1 - rate k)^n (y_0 - target)."""
    net, states = Bowl(), []
    process = Energy(steps=steps, rate=0.6)
    made = generate(process, net, SPACE.blank(4), rng=Rng.seeded(0, 4), watch=states.append)
    start = process.init(SPACE.blank(4), rng=Rng.seeded(0, 4).split("init")).tokens.vec
    assert torch.allclose(made.vec, TARGET + (1 - 0.3) ** steps * (start - TARGET), atol=1e-5)
    energies = torch.stack([s.energy for s in states])
    assert bool((energies.diff(dim=0) < 0).all()) and net.progress == pytest.approx([n / steps for n in range(steps)]) and not made.vec.requires_grad


def test_the_loss_is_the_error_of_where_it_ends():
    x = torch.randn(4, 3, 2, generator=torch.Generator().manual_seed(0))
    y = Rng.seeded(0).split("start").normal(x.shape)
    after = [TARGET + 0.7**n * (y - TARGET) for n in (1, 2)]
    cost = [float(0.5 * (a - x).square().sum()) for a in after]
    for every, expected in ((True, sum(cost) / 2), (False, cost[1])):
        losses = Energy(steps=2, rate=0.6, every=every).loss(Bowl(), replace(SPACE.blank(4), vec=x), rng=Rng.seeded(0))
        assert float(losses.parts["main"].detach()) == pytest.approx(expected, rel=1e-5) and int(losses.count) == 12


def energies(double=True):
    torch.manual_seed(0)
    net = Network(16, SPACE, Spec(Embed, {"hidden": False, "positions": (Spec(LearnedPositions, {"std": 1.0}),)}), STACK, Spec(EnergyHead))
    net.differentiate_twice()
    return net.double() if double else net


def test_slopes_and_their_derivatives_equal_finite_differences():
    """The slope that moves the tokens, and the loss's gradient through it (a second derivative)."""
    net, process = energies(), Energy(steps=2, rate=0.8, every=False)
    x = torch.randn(2, 3, 2, generator=torch.Generator().manual_seed(1))
    tokens = replace(SPACE.blank(2), vec=x.double())
    session = net.open(Context(2))
    total = lambda y: float(session(process_question(tokens, y)).distribution.value.detach().sum())  # noqa: E731
    y = torch.randn(2, 3, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    moved, _, _ = process._down(session, tokens, y, torch.zeros(2), keep=False)
    h = 1e-4
    for place in ((0, 0, 0), (1, 2, 1), (0, 1, 1)):
        step = torch.zeros_like(y)
        step[place] = h
        slope = (total(y + step) - total(y - step)) / (2 * h)
        assert float((y - moved).detach()[place]) / 0.8 == pytest.approx(slope, rel=1e-4, abs=1e-6)
    cost = lambda: process.loss(session, tokens, rng=Rng.seeded(0)).parts["main"]  # noqa: E731
    cost().backward()
    weight = net.towers["main"].enter.weight if hasattr(net.towers["main"], "enter") else net.towers["main"].embed.enter.weight
    for index in ((0, 0), (5, 1)):
        with torch.no_grad():
            weight[index] += h
        up = float(cost().detach())
        with torch.no_grad():
            weight[index] -= 2 * h
        down = float(cost().detach())
        with torch.no_grad():
            weight[index] += h
        assert float(weight.grad[index]) == pytest.approx((up - down) / (2 * h), rel=1e-4, abs=1e-7)
    assert float(process.log_rate.grad) != 0


def process_question(tokens, y):
    from omniform.processes.masked import asked

    return asked(replace(tokens, vec=y), torch.ones(2, 3, dtype=torch.bool), torch.zeros(2))


def test_an_energy_learns_where_the_data_is():
    net, process = energies(double=False), Energy(steps=2, rate=3.0)
    x = TARGET.expand(8, 3, 2) * 0.5
    optimizer = torch.optim.AdamW([*net.parameters(), *process.parameters()], lr=5e-3)
    for step in range(120):
        optimizer.zero_grad()
        process.loss(net.open(Context(8)), replace(SPACE.blank(8), vec=x), rng=Rng.seeded(0).fold(step)).mean().backward()
        optimizer.step()
    error = []
    for steps in (1, 2):
        made = generate(process.but(steps=steps), net.open(Context(64)), SPACE.blank(64), rng=Rng.seeded(9, 64))
        error.append(float((made.vec - x[:1]).square().mean()))
    noise = float(x[0].square().mean()) + 1  # the error of where it starts
    assert error[1] < error[0] < noise and error[1] < 0.25 * noise


# ---- two players -----------------------------------------------------------------------------------------------------

ONE = Space(axes=(Axis("x", 1),), channels=1)


def players():
    torch.manual_seed(0)
    stack = Spec(Stack, {"depth": 1, "block": Spec(PreNorm, {"mixer": Spec(Mlp)})})
    critic = Spec(
        Tower,
        {"width": 16, "embed": Spec(Embed, {"hidden": False}), "backbone": stack, "head": Spec(PointHead, {"channels": 1, "small": 1.0}), "player": "critic"},
    )
    net = Network(16, ONE, Spec(Embed, {"hidden": False}), stack, Spec(PointHead, {"small": 1.0}), towers={"critic": critic})
    net.differentiate_twice()
    return net


def test_each_players_loss_is_its_own():
    net, process = players(), Adversarial(penalty=0.5)
    x = torch.randn(8, 1, 1, generator=torch.Generator().manual_seed(0)) + 2
    tokens = replace(ONE.blank(8), vec=x)
    main, critic = process.loss(net.open(Context(8)), tokens, rng=Rng.seeded(0))
    assert (main.player, critic.player) == ("main", "critic")
    mine = player_parameters(net)
    assert {id(p) for p in mine["critic"]} == {id(p) for p in net.towers["critic"].parameters()}
    slopes = torch.autograd.grad(critic.mean(), mine["main"], allow_unused=True, retain_graph=True)
    assert all(s is None for s in slopes), "the critic's loss moves the generator"
    assert all(s is not None for s in torch.autograd.grad(main.mean(), [p for p in mine["main"] if p.requires_grad], allow_unused=True, retain_graph=True))
    score = lambda v: net.open(Context(8))(process._question(tokens, v, "critic")).distribution.value[..., 0].mean(-1)  # noqa: E731
    noise = Rng.seeded(0).split("noise").normal(x.shape)
    fake = net.open(Context(8))(process._question(tokens, noise, "main")).distribution.value
    soft = torch.nn.functional.softplus
    assert torch.allclose(main.parts["main"], soft(-score(fake)).sum(), rtol=1e-5)
    assert torch.allclose(critic.parts["main"], (soft(-score(x)) + soft(score(fake))).sum(), rtol=1e-5)
    h = 1e-3
    slope = (score(x + h) - score(x - h)) / (2 * h)
    assert torch.allclose(critic.parts["penalty"], 0.25 * slope.square().sum(), rtol=2e-2, atol=1e-6)


def test_a_generator_learns_a_shifted_gaussian():
    net, process = players(), Adversarial(penalty=0.1)
    mine = player_parameters(net)
    optimizers = {name: torch.optim.Adam(ps, lr=3e-3, betas=(0.0, 0.99)) for name, ps in mine.items()}
    mean, sd, g = 2.0, 0.5, torch.Generator().manual_seed(0)
    made = lambda n: generate(process, net.open(Context(n)), ONE.blank(n), rng=Rng.seeded(5, n)).vec.flatten()  # noqa: E731
    with torch.no_grad():
        before = abs(float(made(500).mean()) - mean)
    trail = []
    for step in range(300):
        x = mean + sd * torch.randn(64, 1, 1, generator=g)
        losses = process.loss(net.open(Context(64)), replace(ONE.blank(64), vec=x), rng=Rng.seeded(0).fold(step))
        slopes = {loss.player: torch.autograd.grad(loss.mean(), mine[loss.player], retain_graph=True, allow_unused=True) for loss in losses}
        for name, optimizer in optimizers.items():
            for p, s in zip(mine[name], slopes[name], strict=True):
                p.grad = s
            optimizer.step()
        if step >= 200 and step % 20 == 0:
            with torch.no_grad():
                trail.append(made(500))
    drawn = torch.cat(trail)
    assert before > 1 and abs(float(drawn.mean()) - mean) < 0.2 and 0.5 * sd < float(drawn.std()) < 1.6 * sd


def test_refusals():
    with pytest.raises(BadArgument):
        Energy(steps=0)
    assert math.isnan(float(Energy().init(SPACE.blank(1), rng=Rng.seeded(0, 1)).energy[0]))
