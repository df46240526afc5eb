"""Block by block: limits in which it equals something known, and lanes that do not leak."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from omniform.backbones.attention import Attention
from omniform.backbones.blocks import PreNorm
from omniform.backbones.embed import Embed
from omniform.backbones.mlp import Mlp
from omniform.backbones.positions import LearnedPositions
from omniform.backbones.stack import Stack
from omniform.core.distribution import Sampling
from omniform.core.errors import BadArgument, OrderError
from omniform.core.net import Context
from omniform.core.order import BlocksOf, Raster
from omniform.core.process import generate
from omniform.core.rng import Rng
from omniform.core.spec import Spec
from omniform.core.tokens import Axis, Space
from omniform.heads.categorical import CategoricalHead
from omniform.processes.autoregress import Autoregress
from omniform.processes.blocks import Blocks, Placed, Recorded
from omniform.processes.feeds import Shift
from omniform.processes.masked import Masked, asked
from omniform.system.network import Network

L, V = 8, 5
SPACE = Space(axes=(Axis("time", L),), vocab=(V,))


def network(seed=0, double=True):
    torch.manual_seed(seed)
    made = Network(
        16,
        SPACE,
        Spec(Embed, {"positions": (Spec(LearnedPositions),), "std": 1.0}),
        Spec(Stack, {"depth": 2, "block": Spec(PreNorm, {"mixer": Spec(Attention, {"heads": 2}), "mlp": Spec(Mlp)})}),
        Spec(CategoricalHead),
    )
    return made.double().eval() if double else made.eval()


def blocks(size, **masked):
    return Blocks(SPACE, Spec(BlocksOf, {"size": size}), Spec(Masked, {"weight": "bound", "run": size, "schedule": "linear", **masked}))


def tokens(rows=3, seed=0):
    ids = torch.randint(0, V, (rows, L, 1), generator=torch.Generator().manual_seed(seed))
    return replace(SPACE.blank(rows), ids=ids)


def autoregressive_nll(net, said):
    """By hand: place r is asked hidden, given clean places before it, each record seeing only itself and what is before."""
    total = torch.zeros(said.batch, dtype=torch.float64)
    turn = torch.arange(L)[None].expand(said.batch, -1)
    for r in range(L):
        session = net.open(Context(said.batch), memory="recall")
        for before in range(r):
            clean = asked(said.at(slice(before, before + 1)), torch.ones(said.batch, 1, dtype=torch.bool), torch.zeros(said.batch))
            session(replace(clean, turn=turn[:, before : before + 1], pattern="any"), remember=True)
        here = said.at(slice(r, r + 1))
        answer = session(replace(asked(here, torch.zeros(said.batch, 1, dtype=torch.bool), torch.zeros(said.batch)), turn=turn[:, r : r + 1], pattern="any"))
        total += answer.distribution.logits[:, 0, 0].log_softmax(-1).gather(1, here.ids[:, 0])[:, 0].neg()
    return total


@torch.no_grad()
def test_blocks_of_one_have_the_nll_of_the_autoregressive_model():
    """L' = 1: the bound is tight and is the chain rule of the same network (block diffusion's card)."""
    net, said = network(), tokens()
    mine = blocks(1).bound(net.open(Context(3)), said, rng=Rng.seeded(0, 3))
    assert torch.allclose(mine.double(), autoregressive_nll(net, said), rtol=1e-6)
    other = blocks(1).bound(net.open(Context(3)), said, rng=Rng.seeded(5, 3))
    assert torch.allclose(mine, other, rtol=1e-6), "nothing is random where every block is one place"


@torch.no_grad()
def test_one_block_is_the_masked_model():
    """L' = n reproduces the inner process's loss and bound with the same seed."""
    net, said = network(), tokens()
    inner = Masked(weight="bound", run=L, schedule="linear")
    assert torch.allclose(
        blocks(L).bound(net.open(Context(3)), said, rng=Rng.seeded(0, 3)).double(),
        inner.bound(net.open(Context(3)), said, rng=Rng.seeded(0, 3).split("inner")).double(),
        rtol=1e-6,
    )
    mine, theirs = blocks(L).loss(net.open(Context(3)), said, rng=Rng.seeded(0)), inner.loss(net.open(Context(3)), said, rng=Rng.seeded(0).split("inner"))
    assert torch.allclose(mine.mean(), theirs.mean(), rtol=1e-6)


@torch.no_grad()
@pytest.mark.parametrize("size", [1, 2, 4])
def test_no_block_hears_of_a_later_one_nor_of_another_noisy_one(size):
    net, said = network(), tokens()
    turn = BlocksOf(size).turns(said.coord, rng=Rng.seeded(0))
    known = torch.rand(3, L, generator=torch.Generator().manual_seed(1)) < 0.5
    ask = lambda record, noisy, hide: Recorded(net.open(Context(3)), record, turn)(asked(noisy, hide, torch.zeros(3))).distribution.logits  # noqa: E731
    before = ask(said, said, known)
    other = tokens(seed=9)
    for block in range(L // size):
        mine = turn == block
        changed = said.where(turn < block, other)  # this block's record and all later
        noisy = said.where(mine, other)  # every other block's question
        assert torch.equal(ask(changed, noisy, torch.where(mine, known, ~known))[mine], before[mine])
        if block:
            assert not torch.allclose(ask(said.where(turn >= block, other), said, known)[mine], before[mine]), "the past is not heard"


@torch.no_grad()
def test_generation_asks_once_more_a_block_and_resumes_what_is_given():
    net = network(double=False)
    calls = []

    class Heard:
        def __init__(self, session):
            self.session = session

        def __call__(self, query, *, remember=False):
            calls.append((int(query.turn.max()), int(query.lane.max()), remember))
            return self.session(query, remember=remember)

    process = blocks(4, steps=4, choose="random")
    generate(process, Heard(net.open(Context(2), memory="kv")), SPACE.blank(2), rng=Rng.seeded(0, 2))
    assert calls == [(0, 1, False)] * 4 + [(1, 0, True)] + [(2, 2, False)] * 4
    calls.clear()
    given = torch.arange(L)[None].expand(2, -1) < 4
    made = generate(process, Heard(net.open(Context(2), memory="kv")), tokens(2), rng=Rng.seeded(0, 2), given=given)
    assert calls == [(1, 0, True)] + [(2, 2, False)] * 4 and torch.equal(made.ids[given], tokens(2).ids[given])


@torch.no_grad()
def test_the_inner_process_keeps_its_settings():
    process = Blocks(SPACE, Spec(BlocksOf, {"size": 4}), Spec(Masked, {"sampling": Sampling(0.0), "steps": 3}))
    assert process.sampling == Sampling(0.0) and process.likelihood == "bound"
    net = network(double=False)
    one, other = (generate(process, net.open(Context(2), memory="kv"), SPACE.blank(2), rng=Rng.seeded(s, 2)).ids for s in (0, 0))
    assert torch.equal(one, other)
    hot = generate(process.but(sampling=Sampling(1.0)), net.open(Context(2), memory="kv"), SPACE.blank(2), rng=Rng.seeded(0, 2)).ids
    assert not torch.equal(hot, one)


def test_what_remembers_cannot_stand_inside():
    with pytest.raises(BadArgument, match="Autoregress remembers and cannot stand inside Blocks"):
        Blocks(SPACE, Spec(BlocksOf, {"size": 4}), Spec(Autoregress, {"space": SPACE, "order": Spec(Raster), "feed": Spec(Shift)}))
    question = asked(tokens(), torch.ones(3, L, dtype=torch.bool), torch.zeros(3))
    for net in (Recorded(None, tokens(), torch.zeros(3, L)), Placed(None, 0, 1)):
        with pytest.raises(OrderError):
            net(question, remember=True)


def test_a_noisy_record_is_one_question_of_the_film():
    """Training without a second copy asks about each place once, in lane 0, later blocks later; "clean" asks about each twice."""
    from omniform import recipes
    from omniform.core.errors import BadArgument
    from omniform.system.build import assemble

    small = {"network.width": 16, "network.backbone.depth": 1, "network.backbone.rotary.head_width": 4, "shape": (3, 1, 16, 16)}
    seen = {}
    for record in ("noisy", "clean"):
        system = assemble(recipes.get("far").sized("tiny").but({**small, "process.record": record}))
        net = system.network.open(system.conditioning.context({}, 2))

        def ear(query, *, remember=False, record=record, net=net):
            seen[record] = query
            return net(query)

        system.process.loss(ear, system.codec.space.blank(2), rng=Rng.seeded(0))
    length = system.codec.space.length
    assert (seen["noisy"].tokens.length, seen["clean"].tokens.length) == (length, 2 * length)
    assert not seen["noisy"].lane.any() and seen["noisy"].turn[0].tolist() == sorted(seen["noisy"].turn[0].tolist())
    with pytest.raises(BadArgument, match="'clean' or 'noisy'"):
        assemble(recipes.get("far").sized("tiny").but({"process.record": "dirty"}))
