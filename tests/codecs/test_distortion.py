"""Distortions: zero where nothing differs, and what they are the nll of."""
from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.distributions import Bernoulli, Laplace, Normal, kl_divergence

from omniform.codecs.distortion import Absolute, Logistic, Perceptual, Smooth, Squared
from omniform.core.errors import BadArgument
from omniform.core.rng import Rng
from omniform.core.spec import Spec

DATA, SAID = (2 * Rng.seeded(i).uniform((3, 1, 4, 4)) - 1 for i in range(2))


@pytest.mark.parametrize("part", [Absolute(), Squared(), Logistic()])
def test_nothing_is_lost_where_nothing_differs(part):
    said = DATA if not isinstance(part, Logistic) else ((DATA + 1) / 2).logit()
    assert part(said, DATA)["main"] == pytest.approx(0, abs=1e-4) and torch.allclose(part.picture(said), DATA, atol=1e-6)
    assert part.picture(100 * said).abs().max() <= 1


def test_each_is_the_nll_of_its_distribution_above_the_best():
    best = lambda p: (p(DATA, 0.0) - p(SAID, 0.0)).sum()
    assert Absolute()(SAID, DATA)["main"] == pytest.approx(float(best(lambda m, _: Laplace(m, 1.0).log_prob(DATA))), rel=1e-5)
    assert Squared()(SAID, DATA)["main"] == pytest.approx(float(best(lambda m, _: Normal(m, 0.5 ** 0.5).log_prob(DATA))), rel=1e-5)
    expected = kl_divergence(Bernoulli((DATA + 1) / 2), Bernoulli(logits=SAID)).sum()
    assert Logistic()(SAID, DATA)["main"] == pytest.approx(float(expected), rel=1e-4)


class Maps(nn.Module):
    """Two fixed feature maps."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(1, 3, 3)

    def forward(self, x):
        return self.conv(x), self.conv(x).relu()


def test_perception_is_added_and_its_network_stays():
    part = Perceptual(Spec(Squared), Spec(Maps), weight=0.5)
    said = SAID.clone().requires_grad_()
    cost = part(said, DATA)
    cost["perceptual"].backward()
    assert said.grad.any() and not any(p.requires_grad for p in part.parameters())
    assert torch.equal(cost["main"], Squared()(SAID, DATA)["main"]) and part(DATA, DATA)["perceptual"] == 0
    direct = 0.0
    for a, b in zip(part.features(SAID), part.features(DATA), strict=True):
        unit = lambda m: m / m.square().sum(1, keepdim=True).sqrt().clamp_min(1e-8)
        direct += float((unit(a) - unit(b)).square().sum(1).mean().detach())
    assert float(cost["perceptual"].detach()) == pytest.approx(0.5 * direct * DATA.numel(), rel=1e-4)


def test_a_negative_weight_is_refused():
    with pytest.raises(BadArgument):
        Perceptual(Spec(Squared), Spec(Maps), weight=-1.0)


def test_smooth_is_hubers_and_stresses_some_channels():
    said, data = 2 * SAID, DATA
    off = (said - data).abs()
    want = torch.where(off < 1, off**2 / 2, off - 0.5)
    assert bool((off > 1).any()) and torch.allclose(Smooth()(said, data)["main"], want.sum())
    motion = Smooth(stress=(1, 3, 0.5))(said, data)  # 1 x 4 channels of 4 places
    assert torch.allclose(motion["main"], want.sum()) and torch.allclose(motion["stress"] / data.numel(), 0.5 * want[:, :, 1:3].mean())
    assert torch.equal(Smooth().picture(said), said), "channels of motion have no bounds"
    with pytest.raises(BadArgument, match="first below last"):
        Smooth(stress=(3, 3, 1.0))
