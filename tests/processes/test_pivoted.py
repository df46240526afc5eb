"""Pivots first, then dense tokens told what was thought about them; what Hi-MAR's parts are without their second phase."""
from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from omniform.backbones.attention import Attention
from omniform.backbones.blocks import PreNorm
from omniform.backbones.embed import EmbedPivots
from omniform.backbones.mlp import Mlp
from omniform.backbones.norms import ScaleAware
from omniform.backbones.positions import LearnedPositions
from omniform.backbones.stack import EncodeKnown, EncodeKnownTwice, Stack
from omniform.core.errors import BadArgument
from omniform.core.net import Context, Env
from omniform.core.process import generate
from omniform.core.query import Answer
from omniform.core.rng import Rng
from omniform.core.spec import Spec
from omniform.core.tokens import Axis, Space
from omniform.heads.point import Point
from omniform.processes.masked import Masked, asked
from omniform.processes.pivoted import BLANK, DENSE, STATE, Pivoted

N, L, C, D = 4, 20, 2, 6
PLACES = torch.tensor([(k, y, x) for k, side in enumerate((2, 4)) for y in range(side) for x in range(side)]).float()
SPACE = Space(axes=(Axis("scale", 2), Axis("y", 4), Axis("x", 4)), channels=C, coord=PLACES)
MASKED = Spec(Masked, {"steps": 3, "choose": "random"})


class Thought(Point):
    """An answer that holds what it was drawn from."""

    def __init__(self, value, spread=None):
        super().__init__(value, spread)
        self.hidden = [value.repeat(1, 1, D // C)]


class Listener:
    """Says at each place the number of the question, and keeps all questions."""

    def __init__(self):
        self.queries = []

    def __call__(self, query, *, remember=False):
        self.queries.append(query)
        return Answer(Thought(torch.full((query.tokens.batch, query.tokens.length, C), float(len(self.queries)))))

    def forget(self, turn):
        """Nothing."""

    def fork(self, rows):
        return self


def test_each_pivot_tells_what_was_thought_when_it_was_drawn():
    net, process = Listener(), Pivoted(SPACE, coarse=MASKED, fine=MASKED)
    made = generate(process, net, SPACE.blank(2), rng=Rng.seeded(0, 2))
    assert [q.stage for q in net.queries] == ["main"] * 3 + ["dense"] * 3
    for q in net.queries[:3]:
        assert not q.known[:, N:].any() and not q.tokens.kind.any()
    for q in net.queries[3:]:
        assert q.known[:, :N].all() and (q.tokens.kind[:, :N] == STATE).all() and (q.tokens.kind[:, N:] == DENSE).all()
        assert torch.equal(q.tokens.vec[:, :N], made.vec[:, :N, :1].expand(-1, -1, D))  # state and token carry the number of the same question
    assert set(made.vec[:, N:].unique().tolist()) == {4.0, 5.0, 6.0}


def test_given_pivots_tell_nothing():
    net, process, blank = Listener(), Pivoted(SPACE, coarse=MASKED, fine=MASKED), SPACE.blank(1)
    given = torch.zeros(1, L, dtype=torch.bool)
    given[:, :2] = True
    generate(process, net, blank, rng=Rng.seeded(0, 1), given=given)
    assert net.queries[-1].tokens.kind[0, :N].tolist() == [BLANK, BLANK, STATE, STATE]


@pytest.mark.parametrize("told", [0.0, 1.0])
def test_in_training_hidden_pivots_tell_and_known_ones_do_not(told):
    net, process, tokens = Listener(), Pivoted(SPACE, coarse=MASKED, fine=MASKED, told=told, weights=(1.0, 2.0)), SPACE.blank(8)
    losses = process.loss(net, tokens, rng=Rng.seeded(0))
    first, second = net.queries
    assert torch.equal(second.tokens.kind[:, :N] == STATE, ~first.known[:, :N] & bool(told))
    each = losses.parts["pivots"] / losses.count, losses.parts["main"] / losses.count
    assert [float(x) for x in each] == pytest.approx([1.0 * 0.5 * C, 2.0 * 0.5 * 4 * C])  # content is 0; said was 1, then 2, at all dense places


def test_cost_of_three_questions_is_that_of_all():
    process = Pivoted(SPACE, coarse=MASKED, fine=Spec(Masked, {"steps": 5, "choose": "random"}))
    cost = lambda q: 3 + 5 * int(q.known[0].sum()) + 7 * int(q.known[0].sum()) ** 2  # noqa: E731
    want = sum(3 + 5 * k + 7 * k**2 for k in process.coarse.knowns(N)) + sum(3 + 5 * (k + N) + 7 * (k + N) ** 2 for k in process.fine.knowns(L - N))
    assert sum(cost(q) * n for q, n in process.questions(SPACE.blank(1))) == pytest.approx(want)


def test_three_scales_are_refused():
    with pytest.raises(BadArgument, match="two scales"):
        Pivoted(Space(axes=(Axis("scale", 3),), channels=1), coarse=MASKED, fine=MASKED)


def env(kind):
    blank = SPACE.blank(2)
    zero, known = blank.doc, torch.arange(L)[None].expand(2, -1) % 3 == 0
    return Env(blank.coord, kind, zero, zero, zero, known, None, Context(2), None, False, torch.zeros(2), "full", None)


def test_at_the_start_of_its_first_phase_it_is_encode_known_with_a_mask_a_place():
    block = Spec(PreNorm, {"mixer": Spec(Attention, {"heads": 2}), "mlp": Spec(Mlp)})
    half = lambda b: Spec(Stack, {"depth": 1, "block": b})  # noqa: E731
    aware = block.but({"modulate": Spec(ScaleAware), "affine": True})
    torch.manual_seed(0)
    places = (Spec(LearnedPositions),)
    twice = EncodeKnownTwice(D, SPACE, half(aware), half(aware), places)
    plain = EncodeKnown(D, SPACE, half(block), half(block), places)
    mine = {k: v for k, v in twice.state_dict().items() if k in plain.state_dict()}
    with torch.no_grad():
        twice.mask[0] = twice.mask[0, 0]
    plain.load_state_dict({**mine, "mask": twice.mask[0, 0], "buffer_places": twice.buffer_places[0][:, None]})
    x, zero = torch.randn(2, L, D), SPACE.blank(2).kind
    assert torch.allclose(twice(x, env(zero)), plain(x, env(zero)), atol=1e-6)
    assert not torch.allclose(twice(x, env(zero + 1)), plain(x, env(zero)), atol=1e-3)


def test_kinds_of_what_is_embedded():
    torch.manual_seed(0)
    embed, tokens = EmbedPivots(D, SPACE), SPACE.blank(1)
    kind = torch.full((1, L), DENSE)
    kind[0, :N] = torch.tensor([STATE, BLANK, STATE, BLANK])
    query = asked(replace(tokens, vec=torch.randn(1, L, D), kind=kind), torch.ones(1, L, dtype=torch.bool), torch.zeros(1))
    x, vec = embed(query)[0], query.tokens.vec[0]
    for i in range(L):
        want = embed.state(vec[i]) if kind[0, i] == STATE else embed.enter(embed.blank[i] if kind[0, i] == BLANK else vec[i, :C])
        assert torch.allclose(x[i], want, atol=1e-6)
