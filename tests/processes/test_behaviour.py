"""Families learn toys with a known optimum: the entropy of a Markov chain, the score of a Gaussian mixture, two modes.

Small networks, seconds each. Evaluation is exact or on so many held-out examples that its error is far below what is asked.
"""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from omniform.backbones.attention import Attention
from omniform.backbones.blocks import PreNorm
from omniform.backbones.embed import Embed, TimeEmbedding
from omniform.backbones.mlp import Mlp
from omniform.backbones.positions import LearnedPositions
from omniform.backbones.stack import Stack
from omniform.codecs.ids import Ids
from omniform.core.distribution import Content, Sampling
from omniform.core.net import Context
from omniform.core.order import Raster
from omniform.core.process import generate
from omniform.core.rng import Rng
from omniform.core.spec import Spec
from omniform.core.tokens import Axis, Space
from omniform.heads.categorical import CategoricalHead
from omniform.heads.denoised import DenoisedHead
from omniform.heads.point import PointHead
from omniform.processes.autoregress import Autoregress
from omniform.processes.feeds import Shift
from omniform.processes.flow import Flow
from omniform.processes.masked import Masked, asked
from omniform.processes.paths import Linear
from omniform.processes.solvers import Heun
from omniform.system.network import Network

L, V = 6, 3
MOVE = torch.tensor([[0.65, 0.25, 0.10], [0.15, 0.60, 0.25], [0.30, 0.10, 0.60]], dtype=torch.float64)
START = torch.linalg.matrix_power(MOVE, 200)[0]
EVERY = torch.cartesian_prod(*[torch.arange(V)] * L)  # all 729 sequences
LOG_P = START.log()[EVERY[:, 0]] + MOVE.log()[EVERY[:, :-1], EVERY[:, 1:]].sum(1)
P = LOG_P.exp()
ENTROPY = float(-(P * LOG_P).sum())


def trained(net, process, batch, steps, lr=4e-3):
    """AdamW, the rate falling to nothing as a cosine."""
    optimizer = torch.optim.AdamW(net.parameters(), lr=lr, betas=(0.9, 0.98), weight_decay=0.0)
    schedule = lambda step: min(1.0, (step + 1) / 20) * (1 + math.cos(math.pi * step / steps)) / 2  # noqa: E731
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = lr * schedule(step)
        tokens = batch(step)
        optimizer.zero_grad()
        process.loss(net.open(Context(tokens.batch)), tokens, rng=Rng.seeded(0).fold(step)).mean().backward()
        optimizer.step()
    return net.eval()


def transformer(space, head, width=32, depth=2, hidden=True, time=False, seed=0, modulate=None):
    torch.manual_seed(seed)
    block = Spec(PreNorm, {"mixer": Spec(Attention, {"heads": 2}), "mlp": Spec(Mlp), "modulate": modulate})
    return Network(
        width,
        space,
        Spec(Embed, {"positions": (Spec(LearnedPositions, {"std": 0.5}),), "hidden": hidden, "std": 0.5}),
        Spec(Stack, {"depth": depth, "block": block}),
        head,
        time=Spec(TimeEmbedding) if time else None,
    )


def chain(rows):
    """A codec of the chain's states, and batches of its sequences."""
    codec = Ids((L,), V)
    g = torch.Generator().manual_seed(0)
    return codec, lambda step: codec.encode(EVERY[torch.multinomial(P, rows, True, generator=g)])


def test_the_entropy_of_the_chain_is_its_rate_and_its_start():
    rate = float(-(START[:, None] * MOVE * MOVE.log()).sum())
    assert ENTROPY == pytest.approx(float(-(START * START.log()).sum()) + (L - 1) * rate)


def test_a_gpt_reaches_the_entropy_of_a_markov_chain():
    codec, batch = chain(128)
    process = Autoregress(codec.space, Spec(Raster), Spec(Shift))
    net = trained(transformer(codec.space, Spec(CategoricalHead), depth=1), process, batch, 400, lr=5e-3)
    with torch.no_grad():  # exact: every sequence that there is, weighted by its probability
        nats = process.bound(net.open(Context(len(EVERY))), codec.encode(EVERY), rng=Rng.seeded(0, len(EVERY))).double()
    assert float(torch.exp(-nats).sum()) == pytest.approx(1, abs=1e-4)
    assert 1 <= float((P * nats).sum()) / ENTROPY < 1.01


def test_a_masked_model_reaches_the_entropy_of_a_markov_chain():
    codec, batch = chain(128)
    process = Masked(weight="bound", schedule="linear")
    net = trained(transformer(codec.space, Spec(CategoricalHead)), process, batch, 800, lr=7e-3)
    with torch.no_grad():  # every sequence, every size of hidden set, several sets each
        draws = 4 * L
        nats = process.bound(net.open(Context(len(EVERY))), codec.encode(EVERY), rng=Rng.seeded(0, len(EVERY)), draws=draws).double()
    ratio = float((P * nats).sum()) / ENTROPY
    assert 0.995 < ratio < 1.01, ratio
    with torch.no_grad():
        drawn = generate(process.but(steps=L, choose="random"), net.open(Context(3000)), codec.space.blank(3000), rng=Rng.seeded(1, 3000)).ids[..., 0]
    pairs = torch.zeros(V, V).index_put((drawn[:, :-1].flatten(), drawn[:, 1:].flatten()), torch.ones(1), accumulate=True)
    assert float((pairs / pairs.sum(1, keepdim=True) - MOVE).abs().max()) < 0.05


# ---- continuous ------------------------------------------------------------------------------------------------------

MEANS, SD, SHARE = torch.tensor([[-1.2, 0.4], [1.0, 0.9], [0.3, -1.1]]), 0.35, torch.tensor([0.5, 0.3, 0.2])
PLANE = Space(axes=(Axis("x", 1),), channels=2)


def mixture(rows, g):
    pick = torch.multinomial(SHARE, rows, True, generator=g)
    return MEANS[pick] + SD * torch.randn(rows, 2, generator=g)


def exact_velocity(z, t):
    """E[x - e | z] of the mixture on the linear path, in closed form: each component is Gaussian, with posterior weights."""
    t = t[:, None]
    var = t**2 * SD**2 + (1 - t) ** 2
    gap = z[:, None] - t[..., None] * MEANS
    weight = (SHARE.log() - 0.5 * gap.square().sum(-1) / var).softmax(-1)[..., None]
    x = MEANS + (t * SD**2 / var)[..., None] * gap
    e = ((1 - t) / var)[..., None] * gap
    return (weight * (x - e)).sum(1)


def test_a_flow_learns_the_exact_velocity_and_score_of_a_gaussian_mixture():
    g = torch.Generator().manual_seed(0)
    torch.manual_seed(0)
    block = Spec(PreNorm, {"mixer": Spec(Mlp), "mlp": Spec(Mlp), "modulate": "zero"})
    net = Network(
        48, PLANE, Spec(Embed, {"hidden": False}), Spec(Stack, {"depth": 2, "block": block, "final": "adaln"}), Spec(PointHead), time=Spec(TimeEmbedding)
    )
    process = Flow(Spec(Linear), Spec(Heun), space=PLANE, steps=20)
    trained(net, process, lambda step: replace(PLANE.blank(256), vec=mixture(256, g)[:, None]), 1200, lr=3e-3)
    x, e = mixture(4000, g), torch.randn(4000, 2, generator=g)
    t = torch.rand(4000, generator=g) * 0.9 + 0.05
    z = t[:, None] * x + (1 - t[:, None]) * e
    with torch.no_grad():
        said = net.open(Context(4000))(asked(replace(PLANE.blank(4000), vec=z[:, None]), torch.ones(4000, 1, dtype=torch.bool), torch.zeros(4000), t[:, None]))
    mine, exact = said.distribution.value[:, 0], exact_velocity(z, t)
    wrong = float(((mine - exact).square().sum(-1).mean() / exact.square().sum(-1).mean()).sqrt())
    assert wrong < 0.1, f"relative error of the velocity {wrong:.3f}"
    score = lambda v: (t[:, None] * v - z) / (1 - t[:, None])  # noqa: E731       # -E[e | z] / b, with e = z - t v
    wrong = float(((score(mine) - score(exact)).square().sum(-1).mean() / score(exact).square().sum(-1).mean()).sqrt())
    assert wrong < 0.15, f"relative error of the score {wrong:.3f}"
    with torch.no_grad():
        drawn = generate(process, net.open(Context(4000)), PLANE.blank(4000), rng=Rng.seeded(3, 4000)).vec[:, 0]
    nearest = torch.cdist(drawn, MEANS).argmin(1)
    assert float((torch.bincount(nearest, minlength=3) / 4000 - SHARE).abs().max()) < 0.06
    assert float((drawn - MEANS[nearest]).square().mean().sqrt()) == pytest.approx(SD, rel=0.15)


def test_a_denoised_distribution_learns_two_modes():
    """Given h, the target is +1 or -1 (with a little noise): a point head would say 0, which never happens."""
    torch.manual_seed(0)
    space = Space(axes=(Axis("x", 4),), channels=1)
    head = DenoisedHead(8, space, Spec(Flow, {"path": Spec(Linear), "solver": Spec(Heun), "steps": 12, "per": "token"}), hidden=32, depth=2)
    h = torch.zeros(64, 4, 8)
    h[:, 2:, 0] = 1  # the second half of the places has its modes at 3 and 1
    centre = torch.tensor([0.0, 0.0, 2.0, 2.0])
    g = torch.Generator().manual_seed(0)
    optimizer = torch.optim.AdamW(head.parameters(), lr=3e-3, weight_decay=0.0)
    data = lambda n: (centre + (torch.randint(0, 2, (n, 4), generator=g) * 2.0 - 1) + 0.05 * torch.randn(n, 4, generator=g))[..., None]  # noqa: E731
    for step in range(500):
        for group in optimizer.param_groups:
            group["lr"] = 3e-3 * (1 + math.cos(math.pi * step / 500)) / 2
        optimizer.zero_grad()
        head(h).nll(Content(vec=data(64)), rng=Rng.seeded(0).fold(step)).mean().backward()
        optimizer.step()
    with torch.no_grad():
        drawn = head(h[:1].expand(1000, -1, -1)).sample(rng=Rng.seeded(1, 1000), how=Sampling()).vec[..., 0] - centre
    assert float((drawn.abs() - 1).abs().quantile(0.9)) < 0.25, "draws lie at the modes"
    assert float(((drawn > 0).float().mean(0) - 0.5).abs().max()) < 0.1, "both modes are drawn, at every place"
