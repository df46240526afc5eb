"""A system and a data set as small as they get, with all that must survive a kill.

Dropout, draws, a buffer, a norm, an embedding, tied weights.
"""
from __future__ import annotations

import pytest
import torch
from torch import nn

from omniform.core.batch import Batch
from omniform.core.process import Losses
from omniform.data import Dataset, Split
from omniform.training.plan import Training


class Points(Split):
    """x on a line, its class, and y = 3 x + class."""

    def __init__(self, num, seed):
        g = torch.Generator().manual_seed(seed)
        self.x = torch.randn(num, 4, generator=g)
        self.label = torch.randint(0, 3, (num,), generator=g)

    def __len__(self):
        return len(self.x)

    def batch(self, indices):
        return Batch(self.x[indices], {"label": self.label[indices]})


def points(num=50):
    return Dataset("points", "image", (4,), ("a", "b", "c"), Points(num, 0), Points(20, 1), "made here", "made here")


class Toy(nn.Module):
    """A network of a few hundred weights.

    weighted: rows count differently. linear: without what keeps it from the optimum, which is then noise**2.
    bad_at: the call whose loss is infinite.
    """

    def __init__(self, *, dropout=0.1, noise=0.1, width=8, weighted=False, linear=False, bad_at=None):
        super().__init__()
        self.linear = linear
        torch.manual_seed(5)
        self.table, self.inner, self.norm = nn.Embedding(3, width), nn.Linear(4, width), nn.LayerNorm(width)
        self.out, self.tied = nn.Linear(width, 4), nn.Linear(4, width, bias=False)
        self.tied.weight = self.inner.weight
        self.drop, self.noise, self.weighted, self.bad_at, self.calls = nn.Dropout(dropout), noise, weighted, bad_at, 0
        self.register_buffer("seen", torch.zeros(()))

    def loss(self, batch, *, rng):
        x, label = batch.data, batch.condition["label"]
        y = 3 * x + label[:, None] + self.noise * rng.normal(x.shape)
        h = self.inner(x) + self.table(label)
        if not self.linear:
            h = self.norm(self.drop(torch.tanh(h + self.tied(x.abs()))))
        each = (self.out(h).float() - y).square().mean(1)
        if self.training:
            self.seen += len(x)
            self.calls += 1
        if self.bad_at == self.calls:
            each = each / 0
        weight = 1.0 + label if self.weighted else torch.ones_like(each)
        balance = (0.0 if self.linear else 0.01) * h.float().square().sum()
        return (Losses({"main": (each * weight).sum(), "balance": balance}, weight.sum()),)

    def recipe_json(self):
        return {"name": "toy", "width": self.out.in_features}


class Duel(nn.Module):
    """Two players who share one graph, and would leak into each other if the trainer let them."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(6)
        self.maker, self.critic = nn.Linear(4, 4), nn.Linear(4, 1)
        self.critic.player = "critic"

    def loss(self, batch, *, rng):
        made = self.maker(batch.data)
        real, fake = self.critic(batch.data + 1), self.critic(made)
        count = torch.tensor(float(len(batch)))
        return Losses({"main": -fake.sum()}, count), Losses({"main": (fake - real).sum()}, count, "critic")

    def recipe_json(self):
        return {"name": "duel"}


SHORT = {"batch": 8, "steps": 30, "warmup": 5, "checkpoint_every": 4, "log_every": 3, "validate_every": 10, "lr": 1e-2}


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)


@pytest.fixture
def toy():
    return Toy


@pytest.fixture
def duel():
    return Duel


@pytest.fixture
def data():
    return points()


@pytest.fixture
def short():
    """A training of thirty steps, with changes."""
    return lambda **changes: Training(**{**SHORT, **changes})
