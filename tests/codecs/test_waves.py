"""Waves in time: lengths, what a token hears, shapes of data, and that it learns."""

from __future__ import annotations

import pytest
import torch

from omniform.codecs.bottleneck import KL, RVQ
from omniform.codecs.waves import Waves
from omniform.core.errors import BadArgument
from omniform.core.rng import Rng
from omniform.core.spec import Spec

BOOKS = Spec(RVQ, {"codes": 16, "channels": 4, "books": 2})


@pytest.mark.parametrize(("shape", "factors", "length"), [((60,), (2, 5), 6), ((1, 3, 60), (4, 3), 5), ((2, 2, 16), (1, 2), 8)])
def test_lengths(shape, factors, length):
    codec = Waves(shape, BOOKS, factors=factors, width=4)
    tokens = codec.encode(torch.randn(2, *shape))
    assert tokens.ids.shape == (2, length, 2) and codec.space.axes[0].name == "time" and codec.space.vocab == (16, 16)
    assert codec.decode(tokens).shape == (2, *shape)


@torch.no_grad()
def test_a_token_hears_what_lies_about_it():
    torch.manual_seed(0)
    codec = Waves((64,), Spec(KL, {"channels": 4}), factors=(2, 2), width=4)
    for part in codec.modules():
        if hasattr(part, "back"):
            torch.nn.init.normal_(part.back.weight)
    x = torch.randn(1, 64)
    moved = x.clone()
    moved[0, 32] += 1
    heard = (codec.latents(x) != codec.latents(moved)).any(1)[0, 0].nonzero()[:, 0]
    assert 8 in heard.tolist() and int(heard.min()) >= 8 - 6 and int(heard.max()) <= 8 + 6, "32 of 64 is token 8 of 16"


def test_it_learns():
    torch.manual_seed(0)
    codec = Waves((32,), Spec(KL, {"channels": 4}), factors=(2, 2), width=8)
    x = torch.sin(torch.rand(64, 1) * 6 + torch.arange(32) / 3)
    optimizer, costs = torch.optim.Adam(codec.parameters(), 3e-3), []
    for step in range(60):
        optimizer.zero_grad()
        (loss,) = codec.loss(x, rng=Rng.seeded(step))
        loss.mean().backward()
        optimizer.step()
        costs.append(float(loss.mean().detach()))
    assert costs[-1] < costs[0] / 2


def test_what_does_not_divide_is_refused():
    with pytest.raises(BadArgument, match="do not divide"):
        Waves((30,), BOOKS, factors=(4,))
