"""Pieces of one flow: what is handed over has the law that was learned."""
from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from omniform import recipes
from omniform.core.errors import BadArgument
from omniform.core.process import generate
from omniform.core.query import Answer
from omniform.core.rng import Rng
from omniform.core.tokens import Axis, Space
from omniform.processes.staged import Staged

SIDES = (2, 4, 8)
PLACES = torch.tensor([(k, y, x) for k, side in enumerate(SIDES) for y in range(side) for x in range(side)]).float()
SPACE = Space(axes=(Axis("scale", 3), Axis("y", 8), Axis("x", 8)), channels=1, coord=PLACES)


class Codec:
    def context(self, tokens):
        return tokens.vec


def made(**more):
    return recipes.get("ecar").process.but(more).build(space=SPACE, codec=Codec())


def test_ends_follow_from_starts():
    process = made(starts=(0.0, 1 / 3, 2 / 3))
    assert process.ends == pytest.approx([0.5, 0.8, 1.0])


def test_blocked_noise_by_hand():
    """Within a block of four: variance 1, correlation -1/3; nothing between blocks."""
    white = torch.eye(16)[..., None]
    by = Staged.blocked(white)[..., 0].T
    cov = by @ by.T
    block = lambda i: (i // 4 // 2, i % 4 // 2)
    expected = torch.tensor([[1.0 if i == j else -1 / 3 if block(i) == block(j) else 0.0 for j in range(16)] for i in range(16)])
    assert torch.allclose(cov, expected, atol=1e-6)


def test_begin_and_end_are_data_and_white_noise():
    process, rows = made(), 6000
    tokens = replace(SPACE.blank(rows), vec=Rng.seeded(5).normal((1, 84, 1)).expand(rows, -1, -1))
    begin, end = process.noised(tokens, Rng.seeded(1, rows))
    first, before = 0, None
    for k, count in enumerate(process.counts):
        here = slice(first, first + count)
        data = tokens.vec[0, here, 0]
        coarse = 0 if before is None else before[0, :, 0] * process.starts[k]
        for x, share, mean in ((begin, process.starts[k], coarse), (end, process.ends[k], data * process.ends[k])):
            seen = x[:, here, 0]
            assert torch.allclose(seen.mean(0), mean * torch.ones(count), atol=0.06)
            assert torch.allclose(torch.cov(seen.T), (1 - share) ** 2 * torch.eye(count), atol=0.08)
        if k < 2:
            before, first = process.enlarged(tokens.vec[:1, here]), first + count
            assert torch.equal(process.enlarged(torch.arange(4.0)[None, :, None])[0, :, 0].reshape(4, 4),
                               torch.tensor([[0.0, 0, 1, 1], [0, 0, 1, 1], [2, 2, 3, 3], [2, 2, 3, 3]]))


class Oracle:
    """Knows the data, and so the velocity of every piece from where it stands."""

    def __init__(self, process, data):
        self.process, self.data, self.now = process, data, 0

    def __call__(self, query, *, remember=False):
        k, process = self.now, self.process
        self.now += 1
        last = [sum(process.counts[:i]) for i in range(4)]
        clean = self.data[:, last[k]:last[k + 1]]
        coarse = 0 if k == 0 else process.starts[k] * process.enlarged(self.data[:, last[k - 1]:last[k]])
        start, end = process.starts[k], process.ends[k]

        class Field:
            def spoken(self, x, t):
                begin_share = (1 - t[..., None]) * (1 - start) + t[..., None] * (1 - end)              # x = mean(t) + noise * begin_share
                mean = (1 - t[..., None]) * coarse + t[..., None] * end * clean
                noise = (x - mean) / begin_share
                return end * clean + (1 - end) * noise - coarse - (1 - start) * noise

        return Answer(Field())


def test_an_oracle_of_the_velocity_returns_the_data():
    process, data = made(steps=3), Rng.seeded(2, 2).normal((2, 84, 1))
    made_ = generate(process, Oracle(process, data), SPACE.blank(2), rng=Rng.seeded(3, 2))
    assert torch.allclose(made_.vec[:, 20:], data[:, 20:], atol=1e-4)
    assert not torch.allclose(made_.vec[:, :20], data[:, :20], atol=0.1)                               # coarse scales keep their noise


@pytest.mark.parametrize("changes", [{"starts": (0.0, 0.5, 0.4)}, {"starts": (0.1, 0.5, 0.6)}, {"starts": (0.0, 0.5)}, {"steps": 0}])
def test_what_cannot_be_walked_is_refused(changes):
    with pytest.raises(BadArgument):
        made(**changes)
