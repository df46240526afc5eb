"""Rising noise levels, and frames that are denoised a few steps apart."""

from __future__ import annotations

import itertools
import math

import pytest
import torch

from omniform.core.errors import BadArgument
from omniform.core.process import generate
from omniform.core.query import Answer
from omniform.core.rng import Rng
from omniform.core.spec import Spec
from omniform.core.tokens import Axis, Space
from omniform.heads.point import Point
from omniform.processes.paths import Linear
from omniform.processes.staggered import Staggered, rising

SPACE = Space(axes=(Axis("frame", 4), Axis("x", 2)), channels=3)


def staggered(**more):
    return Staggered(Spec(Linear), SPACE, **{"steps": 6, "stride": 2, **more})


class Oracle:
    """Says the data wherever it is asked, and writes down the times."""

    def __init__(self, data):
        self.data, self.times, self.turns = data, [], []

    def __call__(self, query, *, remember=False):
        self.times.append(query.time)
        self.turns.append(query.turn)
        return Answer(Point(self.data))


def law(frames, levels):
    """FoPP by enumeration: a frame and its level uniform, then every way to complete the row alike."""
    rows = list(itertools.combinations_with_replacement(range(levels), frames))
    share = dict.fromkeys(rows, 0.0)
    for f in range(frames):
        for level in range(levels):
            ways = [row for row in rows if row[f] == level]
            for row in ways:
                share[row] += 1 / (frames * levels * len(ways))
    return share


@pytest.mark.parametrize(("frames", "levels"), [(3, 4), (4, 3), (1, 5)])
def test_levels_rise_with_the_law_of_the_paper(frames, levels):
    num, wanted = 40_000, law(frames, levels)
    assert len(wanted) == math.comb(frames + levels - 1, frames)
    drawn = rising(frames, levels, (num,), Rng.seeded(3))
    assert bool((drawn.diff() >= 0).all()) and drawn.shape == (num, frames)
    counts = {tuple(row.tolist()): int(n) for row, n in zip(*drawn.unique(dim=0, return_counts=True), strict=True)}
    assert set(counts) <= set(wanted)
    chi = sum((counts.get(row, 0) - num * p) ** 2 / (num * p) for row, p in wanted.items())
    assert chi < len(wanted) + 6 * math.sqrt(2 * len(wanted)), chi


@pytest.mark.parametrize("stride", [0, 1, 2, 5, 6])
def test_frames_follow_one_another_by_a_stride(stride):
    process, data = staggered(stride=stride), torch.randn(2, 8, 3, generator=torch.Generator().manual_seed(0))
    oracle = Oracle(data)
    with torch.no_grad():
        made = generate(process, oracle, SPACE.blank(2), rng=Rng.seeded(0, 2))
    assert torch.allclose(made.vec, data, atol=1e-5)
    assert len(oracle.times) == process.takes(4) == 6 + 3 * stride
    times = torch.stack(oracle.times)[:, 0, ::2]
    assert bool((times.diff(dim=1) <= 0).all()) and bool((times.diff(dim=0) >= 0).all()), "no frame is cleaner than the one before it"
    assert oracle.turns[0][0].tolist() == [0, 0, 1, 1, 2, 2, 3, 3]


def test_together_is_ddim():
    """Stride 0 is one flow over all frames, whose Euler and DDIM steps agree on the linear path."""
    from omniform.processes.flow import Flow
    from omniform.processes.solvers import Ddim

    net = lambda: lambda query, *, remember=False: Answer(Point(torch.tanh(query.tokens.vec * 1.3 + 0.2)))  # noqa: E731
    flow = Flow(Spec(Linear), Spec(Ddim), SPACE, predict="data", steps=6)
    made = [generate(p, net(), SPACE.blank(2), rng=Rng.seeded(1, 2)).vec for p in (staggered(stride=0), flow)]
    assert torch.allclose(made[0], made[1], atol=1e-5)


def test_given_frames_are_clean_from_the_beginning():
    data = torch.randn(2, 8, 3, generator=torch.Generator().manual_seed(0))
    oracle, given = Oracle(data), torch.arange(8).expand(2, -1) < 4
    blank = SPACE.blank(2)
    wanted = torch.full_like(data, 7.0)
    made = generate(staggered(), oracle, type(blank)(None, wanted, blank.coord, blank.kind, blank.doc), rng=Rng.seeded(0, 2), given=given)
    assert bool((made.vec[:, :4] == 7).all()) and torch.allclose(made.vec[:, 4:], data[:, 4:], atol=1e-5)
    assert len(oracle.times) == 6 + 2 and bool((oracle.times[0][:, :4] == 1).all()) and bool((oracle.times[0][:, 4:] == 0).all())


def test_refusals():
    for more, said in (({"stride": -1}, "stride of 0 or more"), ({"times": "falling"}, "'monotone' or 'ind"), ({"predict": "score"}, "a flow predicts")):
        with pytest.raises(BadArgument, match=said):
            staggered(**more)
