"""Deferred masking, experts that choose, and blocks that grow: beside slow references and in limits."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from omniform.backbones.attention import Attention
from omniform.backbones.blocks import PreNorm
from omniform.backbones.mlp import ExpertChoice, Mlp
from omniform.backbones.stack import DeferredMask, Stack
from omniform.core.errors import BadArgument, PatternUnsupported
from omniform.core.net import Context, Env
from omniform.core.rng import Rng
from omniform.core.spec import Spec
from omniform.core.tokens import Axis, Space
from omniform.processes.flow import Flow
from omniform.processes.grids import drawn as times
from omniform.processes.paths import Cosine
from omniform.processes.solvers import Euler

D, L, B = 8, 6, 2
SPACE = Space(axes=(Axis("x", L),), channels=2)
BLOCK = Spec(PreNorm, {"mixer": Spec(Attention, {"heads": 2}), "mlp": Spec(Mlp)})
BODY = Spec(Stack, {"depth": 1, "block": BLOCK})


def env(known=None, length=L):
    blank = SPACE.blank(B)
    zero = blank.doc[:, :length]
    known = torch.ones(B, length, dtype=torch.bool) if known is None else known
    return Env(blank.coord[:, :length], zero, zero, zero, zero, known, None, Context(B), None, False, torch.zeros(B), "full", None)


def drawn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


KNOWN = torch.tensor([[True, False, True, False, False, True], [False, True, True, True, False, False]])


@torch.no_grad()
def test_everything_known_is_mixer_and_body():
    part = DeferredMask(D, BODY, mixer=BODY, mixer_width=4)
    x = drawn(B, L, D)
    assert torch.equal(part(x, env()), part.body(part.leave(part.mixer(part.enter(part.norm(x)), env())), env()))
    assert torch.equal(DeferredMask(D, BODY).body(x, env()).shape and part.body(x, env()), part.body(x, env()))


@torch.no_grad()
def test_the_body_sees_the_known_alone_and_the_mixer_all():
    plain, deferred, x, other = DeferredMask(D, BODY), DeferredMask(D, BODY, mixer=BODY), drawn(B, L, D), drawn(B, L, D, seed=1)
    y = plain(x, env(KNOWN))
    for row in range(B):
        alone = plain.body(x[row][KNOWN[row]].expand(B, -1, -1), env(length=3))[0]
        assert torch.allclose(y[row][KNOWN[row]], alone, atol=1e-6) and not y[row][~KNOWN[row]].any()
    mixed = torch.where(KNOWN[..., None], x, other)
    assert torch.equal(plain(mixed, env(KNOWN)), y), "what is dropped is not heard"
    assert not torch.allclose(deferred(mixed, env(KNOWN)), deferred(x, env(KNOWN))), "but through the mixer it is"


def test_what_does_not_fit_is_refused():
    with pytest.raises(BadArgument, match="as many known places"):
        DeferredMask(D, BODY)(drawn(B, L, D), env(torch.tensor([[True] * L, [False] * L])))
    with pytest.raises(PatternUnsupported):
        DeferredMask(D, BODY)(drawn(B, L, D), replace(env(), pattern="causal"))
    with pytest.raises(BadArgument, match="at most 4 times"):
        ExpertChoice(D, 4, Spec(Mlp), capacity=5)
    with pytest.raises(BadArgument, match="share of places"):
        Flow(Spec(Cosine), Spec(Euler), dropped=1.0)


@torch.no_grad()
def test_experts_choose_their_tokens():
    part, x = ExpertChoice(D, 3, Spec(Mlp), capacity=1.0), drawn(B, L, D)
    share = part.router(x).softmax(-1)
    want = torch.zeros_like(x)
    for row in range(B):
        for number, expert in enumerate(part.experts):
            for place in share[row, :, number].argsort(descending=True)[:2]:
                want[row, place] += share[row, place, number] * expert(x[row, place][None, None], env())[0, 0]
    assert torch.allclose(part(x, env()), want, atol=1e-6)
    everyone = ExpertChoice(D, 3, Spec(Mlp), capacity=3.0)
    share = everyone.router(x).softmax(-1)
    assert torch.allclose(everyone(x, env()), sum(share[..., n, None] * e(x, env()) for n, e in enumerate(everyone.experts)), atol=1e-6)


def test_blocks_grow_with_depth():
    stack = Stack(D, 5, BLOCK.but({"mlp.hidden": 1}), scaled=(("mlp.hidden", 10, 30, 4), ("mixer.heads", 1, 2, 1), ("mlp.nothing", 1, 2, 1)))
    assert [b.mlp.feed.each[0].up.out_features for b in stack.blocks] == [12, 16, 20, 28, 32]
    assert [b.mixer.heads for b in stack.blocks] == [1, 2, 2, 2, 2]


def test_what_is_dropped_is_not_counted():
    flow, tokens = Flow(Spec(Cosine), Spec(Euler), dropped=0.5), replace(SPACE.blank(B), vec=drawn(B, L, 2))
    posed = flow.pose(tokens, rng=Rng.seeded(0))
    assert posed.query.known.sum(1).tolist() == [3, 3]
    whole = Flow(Spec(Cosine), Spec(Euler)).pose(tokens, rng=Rng.seeded(0))
    assert torch.equal(whole.query.tokens.vec, posed.query.tokens.vec) and whole.query.known.all()


def test_log_normal_times():
    t = times("log_normal", (4001, 1), Rng.seeded(0), mean=-0.5, sd=1.2)
    noise = torch.log(1 / torch.tan(math.pi / 2 * t.double()))
    assert float(noise.mean()) == pytest.approx(-0.5, abs=0.1) and float(noise.std()) == pytest.approx(1.2, abs=0.1)
