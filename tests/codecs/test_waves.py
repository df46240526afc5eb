"""Waves in time: lengths, what a token hears, shapes of data, and that it learns."""

from __future__ import annotations

import pytest
import torch

from omniform.codecs.along_time import AlongTime
from omniform.codecs.bottleneck import KL, RVQ, VQ
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


@torch.no_grad()
def test_the_published_network_along_time_by_hand():
    torch.manual_seed(0)
    codec = Waves((1, 3, 16), Spec(VQ, {"codes": 7, "channels": 5}), network=Spec(AlongTime, {"width": 4, "depth": 2})).double()
    x, state = torch.randn(2, 1, 3, 16, dtype=torch.float64), codec.state_dict()

    def conv(name, y, *, stride=1, reach=1):
        """A place at a time."""
        w, b = state[name + ".weight"], state[name + ".bias"]
        pad = {1: 0, 3: reach, 4: 1}[w.shape[2]]
        y = torch.nn.functional.pad(y, (pad, pad))
        ends = range(0, y.shape[-1] - reach * (w.shape[2] - 1), stride)
        return torch.stack([sum(y[:, :, t + reach * j] @ w[:, :, j].T for j in range(w.shape[2])) + b for t in ends], -1)

    wider = lambda name, y, reach: y + conv(name + ".back", conv(name + ".wide", y.relu(), reach=reach).relu())  # noqa: E731
    y = conv("encoder.0", x[:, 0]).relu()
    for at in (2, 5):
        y = wider(f"encoder.{at + 2}", wider(f"encoder.{at + 1}", conv(f"encoder.{at}", y, stride=2), 3), 1)
    y = conv("encoder.8", y)
    assert torch.allclose(codec.latents(x)[:, :, 0], y) and y.shape == (2, 5, 4)
    z = conv("decoder.0", y).relu()
    for at in (2, 6):
        z = conv(f"decoder.{at + 3}", wider(f"decoder.{at + 1}", wider(f"decoder.{at}", z, 3), 1).repeat_interleave(2, -1))
    z = conv("decoder.12", conv("decoder.10", z).relu())
    assert torch.allclose(codec.said(y[:, :, None]), z[:, None])
    tokens = codec.encode(x)
    assert torch.equal(codec.alone(tokens), codec.bottleneck.book.vectors[tokens.ids[..., 0]]) and codec.channels == 5


def test_without_halvings_a_place_is_a_token():
    codec = Waves((1, 3, 10), Spec(VQ, {"codes": 7, "channels": 5}), network=Spec(AlongTime, {"width": 4, "halvings": 0}))
    assert codec.space.length == 10 and codec.decode(codec.encode(torch.randn(2, 1, 3, 10))).shape == (2, 1, 3, 10)
    with pytest.raises(BadArgument, match="halvings"):
        AlongTime(halvings=-1)
    with pytest.raises(BadArgument, match="do not divide"):
        Waves((1, 3, 10), Spec(VQ, {"codes": 7, "channels": 5}), network=Spec(AlongTime))
