"""What is asked, and what is kept, where a network reads its last answer."""

from __future__ import annotations

import torch

from omniform import recipes
from omniform.core.process import generate
from omniform.core.query import Answer
from omniform.core.rng import Rng
from omniform.core.tokens import Axis, Space
from omniform.heads.categorical import Categorical
from omniform.processes.masked import Masked
from omniform.processes.reusing import Reusing
from omniform.system.build import assemble

L, V = 12, 5
SPACE = Space(axes=(Axis("place", L),), vocab=(V,))


class Heard:
    def __init__(self):
        self.seen = []

    def __call__(self, query, *, remember=False):
        self.seen.append((query.known, remember, torch.is_grad_enabled()))
        return Answer(Categorical(torch.zeros(query.tokens.batch, query.tokens.length, 1, V)))


def test_training_asks_before_in_half_of_the_steps_about_less():
    process, shares = Reusing(ratio=("uniform", 0.0, 0.5)), []
    for seed in range(200):
        net = Heard()
        loss = process.loss(net, SPACE.blank(3), rng=Rng.seeded(seed))
        known, remember, learning = net.seen[-1]
        assert not remember and learning and int(loss.count) == int((~known).sum())
        if len(net.seen) == 2:
            earlier, remember, learning = net.seen[0]
            assert remember and not learning and bool((earlier <= known).all())
            shares.append(float(earlier.sum() / known.sum()))
    assert 70 < len(shares) < 130
    assert abs(sum(shares) / len(shares) - 0.5) < 0.12 and min(shares) < 0.2 and max(shares) > 0.8


def test_generation_keeps_every_answer_and_is_otherwise_masked():
    one, other = Heard(), Heard()
    made = generate(Reusing(steps=4), one, SPACE.blank(2), rng=Rng.seeded(0, 2))
    plain = generate(Masked(steps=4), other, SPACE.blank(2), rng=Rng.seeded(0, 2))
    assert torch.equal(made.ids, plain.ids)
    assert [r for _, r, _ in one.seen] == [True] * 4 and [r for _, r, _ in other.seen] == [False] * 4
    assert all(torch.equal(a, b) for (a, _, _), (b, _, _) in zip(one.seen, other.seen, strict=True))


@torch.no_grad()
def test_a_conversation_that_forgets_or_forks():
    system = assemble(recipes.get("enat").sized("tiny")).eval()
    for p in system.network.parameters():
        torch.nn.init.normal_(p, std=0.2)
    blank = system.codec.space.blank(2)
    half = torch.arange(blank.length) < blank.length // 2
    query = Masked()._asked(blank, half.expand(2, -1), torch.zeros(2))
    net = system.network.open(system.conditioning.context({"label": torch.tensor([1, 2])}, 2), memory="last")
    says = lambda net: net(query).distribution.logits  # noqa: E731
    fresh = says(net)
    net(query, remember=True)
    kept = says(net)
    assert not torch.allclose(fresh, kept, atol=1e-3)
    fork = net.fork(torch.tensor([1]))
    one = Masked()._asked(blank.rows(torch.tensor([1])), half[None], torch.zeros(1))
    assert torch.allclose(fork(one).distribution.logits, kept[1:], atol=1e-4)
    net.forget(torch.zeros(2))
    assert torch.allclose(says(net), fresh, atol=1e-5)
    assert torch.allclose(fork(one).distribution.logits, kept[1:], atol=1e-4)
