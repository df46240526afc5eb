"""The one loop, and changes to a process's settings."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from omniform.core.errors import BadArgument, Intractable, nearest
from omniform.core.order import BlocksOf
from omniform.core.process import Losses, Process, State, begun, dues_of, generate
from omniform.core.rng import Rng
from omniform.core.spec import Spec
from omniform.core.tokens import Axis, Space
from omniform.processes.blocks import Blocks
from omniform.processes.masked import Masked

SPACE = Space(axes=(Axis("time", 4),), channels=1)


class Countdown(Process):
    """Adds one draw a step until each row has had as many as it wants."""

    def __init__(self):
        super().__init__()
        self.wanted = torch.tensor([3, 1, 2])

    def loss(self, net, tokens, *, rng):
        return Losses({"main": torch.tensor(6.0), **dues_of({"balance": torch.tensor(0.5)}, torch.tensor(3))}, torch.tensor(3))

    def init(self, blank, *, rng, given=None):
        return State(tokens=blank, **begun(blank))

    def step(self, net, state, *, rng):
        drawn = rng.uniform((state.tokens.batch, 4))[..., None]
        at = state.at + ~state.done
        return replace(
            state,
            tokens=replace(state.tokens, vec=torch.where(state.done[:, None, None], state.tokens.vec, state.tokens.vec + drawn)),
            at=at,
            done=at >= self.wanted,
        )


def test_the_loop_runs_until_every_row_is_done():
    seen = []
    tokens = generate(Countdown(), None, SPACE.blank(3), rng=Rng.seeded(0, 3), watch=seen.append)
    assert [s.at.tolist() for s in seen] == [[1, 1, 1], [2, 1, 2], [3, 1, 2]]
    draws = [Rng.seeded(0, 3).split("step").fold(torch.full((3,), n)).uniform((3, 4)) for n in range(3)]
    assert torch.allclose(tokens.vec[..., 0], torch.stack([draws[0][0] + draws[1][0] + draws[2][0], draws[0][1], draws[0][2] + draws[1][2]]))


def test_losses_are_sums_over_a_count():
    losses = Countdown().loss(None, None, rng=None)
    assert float(losses.mean()) == pytest.approx(6 / 3 + 0.5)


def test_no_bound_is_said_so():
    with pytest.raises(Intractable, match="Countdown has no likelihood"):
        Countdown().bound(None, None, rng=None)


def test_but_changes_a_setting_and_leaves_the_first():
    one = Masked(steps=8)
    assert one.but(steps=3).steps == 3 and one.steps == 8
    with pytest.raises(BadArgument, match="has no setting 'step'; did you mean steps"):
        one.but(step=3)


def test_but_reaches_the_process_inside():
    blocks = Blocks(SPACE, Spec(BlocksOf, {"size": 2}), Spec(Masked, {"steps": 8}))
    changed = blocks.but(inner=blocks.inner.but(steps=3))
    assert changed.inner.steps == 3 and blocks.inner.steps == 8


def test_nearest_names():
    assert nearest("masgit", ["maskgit", "dit"]) == "did you mean maskgit?"
    assert nearest("zzz", ["b", "a"]) == "known: a, b"
