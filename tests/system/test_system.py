"""The few verbs of a system: what they take, what they refuse."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from omniform import recipes
from omniform.conditions.guidance import Batched, ClassifierFree, Guided, InTurn
from omniform.core.batch import Batch
from omniform.core.distribution import Sampling
from omniform.core.errors import BadArgument, ConditionError, OmniformError, ShapeError
from omniform.core.order import BlocksOf
from omniform.core.rng import Rng
from omniform.core.spec import Spec
from omniform.processes.blocks import Blocks
from omniform.processes.masked import Masked, asked
from omniform.system.build import assemble, fitted
from omniform.system.system import Counted

GPT = recipes.get("gpt").sized("tiny").but({"network.width": 32, "network.backbone.depth": 1, "shape": (24,)})
MASKGIT = fitted(
    recipes.get("maskgit").sized("tiny").but({"network.width": 32, "network.backbone.depth": 1, "codec.width": 8, "process.steps": 4}),
    shape=(1, 16, 16),
    classes=("a", "b", "c"),
)


@pytest.fixture(scope="module")
def gpt():
    return assemble(GPT)


@pytest.fixture(scope="module")
def maskgit():
    system = assemble(MASKGIT)
    with torch.no_grad():
        for p in system.network.parameters():
            if not p.any():
                p.normal_(std=0.3)
        for p in system.conditioning.parameters():
            p.normal_(std=2.0)
    return system


def ids(tokens):
    return tokens.ids[..., 0]


def test_one_condition_for_all_rows_or_one_a_row(maskgit):
    all_b = ids(maskgit.generate(3, {"label": "b"}, seed=1, decode=False))
    assert torch.equal(all_b, ids(maskgit.generate(3, {"label": ["b", "b", "b"]}, seed=1, decode=False)))
    assert torch.equal(all_b, ids(maskgit.generate(3, {"label": torch.tensor(1)}, seed=1, decode=False)))
    mixed = ids(maskgit.generate(3, {"label": ["b", "c", "b"]}, seed=1, decode=False))
    assert torch.equal(mixed[[0, 2]], all_b[[0, 2]]) and not torch.equal(mixed[1], all_b[1])


def test_refusals(gpt, maskgit):
    for wrong, error, says in (
        (lambda: maskgit.generate(0), BadArgument, "at least one"),
        (lambda: maskgit.generate(2, {"label": ["a"]}), ConditionError, "speaks of 1 rows and 2"),
        (lambda: maskgit.generate(1, {"colour": "red"}), ConditionError, "takes label"),
        (lambda: gpt.generate(1, {"label": 1}), ConditionError, "takes no condition"),
        (lambda: gpt.generate(1, scale=2.0), ConditionError, "without guidance"),
        (lambda: gpt.generate(1, steps=5), BadArgument, "no number of steps"),
        (lambda: maskgit.generate(1, steps=0), BadArgument, "at least one step"),
        (lambda: gpt.generate(1, length=99), ShapeError, "holds 1 to 24"),
        (lambda: maskgit.generate(1, length=3), ShapeError, "open first axis"),
        (lambda: maskgit.loss(Batch(torch.zeros(2, 3, 16, 16)), rng=Rng.seeded(0)), ShapeError, "expects a batch of"),
        (lambda: maskgit.generate(1, given=(torch.zeros(1, 1, 16, 16), torch.ones(5, dtype=torch.bool))), ShapeError, "16 tokens|5 tokens"),
        (lambda: maskgit.generate(3, given=(torch.zeros(2, 1, 16, 16), torch.ones(16, dtype=torch.bool))), ShapeError, "2 examples are given and 3"),
    ):
        with pytest.raises(error, match=says) as raised:
            wrong()
        assert isinstance(raised.value, OmniformError) and "\n" not in str(raised.value)


def test_steps_and_sampling_for_one_call_only(maskgit):
    seen = []
    maskgit.generate(2, {"label": "a"}, steps=7, watch=seen.append, decode=False)
    assert len(seen) == 7 and maskgit.process.steps == 4
    cold = [ids(maskgit.generate(1, {"label": "a"}, seed=s, sampling=Sampling(0.0), decode=False)) for s in (1, 2)]
    warm = [ids(maskgit.generate(1, {"label": "a"}, seed=s, decode=False)) for s in (1, 2)]
    assert not torch.equal(*warm) and (cold[0] == cold[1]).float().mean() > (warm[0] == warm[1]).float().mean()


def test_steps_reach_the_process_inside():
    codec = Spec(type(assemble(GPT).codec), {"long": "cut"})
    recipe = GPT.but(
        {"codec": codec, "network.embed.hidden": True, "process": Spec(Blocks, {"order": Spec(BlocksOf, {"size": 8}), "inner": Spec(Masked, {"steps": 2})})}
    )
    system, seen = assemble(recipe), []
    net = Counted(system.net(1))
    system.net = lambda *a, **k: net
    system.generate(1, steps=3, watch=seen.append, decode=False)
    assert len(seen) == 3 and net.calls == 3 * 3 + 2


def test_a_shorter_text_and_a_prompt(gpt):
    assert gpt.generate(2, length=5, decode=False).length == 5
    prompt = gpt.codec.prompt(["abc"])
    made = gpt.generate(2, given=(prompt, torch.ones(3, dtype=torch.bool)), length=6, decode=False)
    assert made.length == 6 and ids(made)[:, :3].tolist() == [[97, 98, 99]] * 2
    said = gpt.generate(1, given=(["abc"], torch.arange(24) < 3), decode=True)
    assert said[0].startswith("abc")


def test_generating_and_scoring_leave_the_mode_and_need_no_gradient(maskgit):
    for training in (True, False):
        maskgit.train(training)
        assert not maskgit.generate(1, {"label": "a"}).requires_grad
        assert not maskgit.score(torch.zeros(2, 1, 16, 16), {"label": [0, 1]}).requires_grad
        assert maskgit.training is training
    maskgit.eval()


def test_what_was_generated_may_be_learnt_from(gpt, maskgit):
    """Samples are drawn in torch's inference mode; what comes out is like any other tensor."""
    flow = assemble(recipes.get("dit").sized("tiny").but({"network.width": 32, "network.backbone.depth": 1, "process.steps": 2}))
    for system in (gpt, maskgit, flow):
        seen = []
        told = {"label": 0} if "label" in system.conditioning.parts else {}
        made = system.generate(2, told, decode=False, watch=lambda state, seen=seen: seen.append(torch.is_inference_mode_enabled()))
        assert all(seen) and not torch.is_inference_mode_enabled()
        assert not any(x is not None and x.is_inference() for x in (made.ids, made.vec, made.coord, made.kind, made.doc))
        system.loss(Batch(made, {name: torch.zeros(2, dtype=torch.long) for name in told}), rng=Rng.seeded(0))[0].mean().backward()
        assert any(p.grad is not None and bool(p.grad.any()) for p in system.network.parameters())
        system.zero_grad()


def test_a_process_that_differentiates_is_not_in_inference_mode():
    for name in ("ebt", "tarflow"):
        system, seen = assemble(recipes.get(name).sized("tiny").but({"network.width": 32})), []
        told = {"label": 0} if "label" in system.conditioning.parts else {}
        system.generate(1, told, decode=False, watch=lambda state, seen=seen: seen.append(torch.is_inference_mode_enabled()))
        assert seen and not any(seen)


def test_loss_of_data_is_loss_of_its_tokens(maskgit):
    data = torch.rand(3, 1, 16, 16, generator=torch.Generator().manual_seed(0)) * 2 - 1
    told = {"label": torch.tensor([0, 1, 2])}
    one = maskgit.loss(Batch(data, told), rng=Rng.seeded(0))[0]
    other = maskgit.loss(Batch(maskgit.tokens(data), told), rng=Rng.seeded(0))[0]
    assert torch.equal(one.mean(), other.mean())
    ignored = maskgit.loss(Batch(data, {**told, "caption": ["x"] * 3}), rng=Rng.seeded(0))[0]
    assert torch.equal(ignored.mean(), one.mean()), "what a data set says and a system does not take is not an error"


def test_texts_are_learnt_as_they_are_given(gpt):
    """What a codec takes for a document is not what it reads besides the data (Codec.reads)."""
    texts = ["one text", "another"]
    wanted = gpt.loss(Batch(gpt.codec.encode(texts)), rng=Rng.seeded(0, 2))[0]
    assert gpt.codec.reads == () and torch.equal(gpt.loss(Batch(texts), rng=Rng.seeded(0, 2))[0].parts["main"], wanted.parts["main"])


def test_scale_is_that_of_the_recipe_unless_said(maskgit):
    scale = maskgit.guidance.scale
    same = [ids(maskgit.generate(2, {"label": "a"}, seed=3, decode=False, **k)) for k in ({}, {"scale": scale}, {"scale": 1}, {"scale": 6.0})]
    assert torch.equal(same[0], same[1]) and not torch.equal(same[0], same[2]) and not torch.equal(same[0], same[3])
    meters = []
    maskgit.generate(2, {"label": "a"}, wrap=lambda net: meters.append(Counted(net)) or meters[-1])
    (both,) = meters
    assert len(maskgit.net(1, {"label": ["a"]}).terms) == 2 and both.rows == 2 * 2 * both.calls, "both terms in one question of all their rows"
    assert not hasattr(maskgit.net(1, {"label": ["a"]}, scale=1), "terms")


def test_memory_is_the_processes_unless_said(gpt):
    assert gpt.net(1).policy == "kv" and gpt.net(1, memory="recall").policy == "recall"
    one, other = (ids(gpt.generate(2, memory=m, decode=False)) for m in ("kv", "recall"))
    assert torch.equal(one, other)


def test_the_recipe_is_kept_with_its_changes(maskgit):
    assert maskgit.recipe.shape == (1, 16, 16) and replace(maskgit.recipe) == MASKGIT


def test_the_draws_of_a_bound_do_not_depend_on_the_batch(maskgit):
    data = torch.rand(5, 1, 16, 16, generator=torch.Generator().manual_seed(0)) * 2 - 1
    whole = maskgit.score(data, {"label": [0, 1, 2, 0, 1]})
    apart = torch.cat([maskgit.score(data[i : i + 2], {"label": [0, 1, 2, 0, 1][i : i + 2]}, rows=range(5)[i : i + 2]) for i in (0, 2, 4)])
    assert torch.allclose(whole, apart, rtol=1e-4)
    assert not torch.allclose(whole[2:4], maskgit.score(data[2:4], {"label": [2, 0]}), rtol=1e-4)


def test_one_question_of_all_terms_rows_is_the_questions_in_turn():
    system = assemble(recipes.get("dit").sized("tiny"), seed=0)
    with torch.no_grad():
        for p in system.parameters():
            p.add_(0.05 * torch.randn(p.shape, generator=torch.Generator().manual_seed(p.numel())))
    space = system.codec.space
    query = asked(replace(space.blank(3), vec=torch.randn(3, space.length, space.channels)), torch.ones(3, space.length, dtype=torch.bool), torch.zeros(3),
                  torch.full((3, 1), 0.5))
    told, terms = {"label": torch.tensor([0, 1, 2])}, ClassifierFree(3.0).terms()
    contexts = [system.conditioning.context(told, 3, keep=t.keep) for t in terms]
    apart = Guided(InTurn([system.network.open(c) for c in contexts]), terms)
    both = system.net(3, told, scale=3.0)
    assert isinstance(both.asked, Batched)
    with torch.no_grad():
        one, other = apart(query).distribution.value, both(query).distribution.value
        rows = torch.tensor([2, 0])
        few = both.fork(rows)(replace(query, tokens=query.tokens.rows(rows), known=query.known[rows], turn=query.turn[rows], lane=query.lane[rows],
                                      progress=query.progress[rows], time=query.time[rows])).distribution.value
    assert torch.allclose(one, other, atol=1e-5) and torch.allclose(few, one[rows], atol=1e-5) and float((one[0] - one[1]).abs().max()) > 1e-3
