"""What is said, what is left unsaid, and the arithmetic of guidance."""

from __future__ import annotations

import math

import pytest
import torch

from omniform.conditions.conditioning import ClassLabel, Conditioner, Conditioning
from omniform.conditions.guidance import ClassifierFree, Guided, InTurn, Term
from omniform.core.errors import BadArgument, ConditionError
from omniform.core.net import Context, Encoded
from omniform.core.query import Answer
from omniform.core.rng import Rng
from omniform.core.spec import Spec
from omniform.core.tokens import Axis, Space
from omniform.heads.categorical import Categorical
from omniform.processes.masked import asked

D = 8
LABEL = Spec(ClassLabel, {"classes": 5, "names": ("ant", "bee", "cat", "dog", "eel"), "std": 1.0})


class Words(Conditioner):
    """As many tokens as words, padded; unsaid is one token of its own."""

    def __init__(self, width):
        super().__init__()
        self.table = torch.nn.Embedding(50, width)

    def encode(self, raw):
        most = max(len(s.split()) for s in raw)
        ids = torch.tensor([[len(w) for w in s.split()] + [0] * (most - len(s.split())) for s in raw])
        doc = torch.where(ids > 0, 0, -1)
        tokens = self.table(ids)
        return Encoded(tokens, (tokens * (doc >= 0)[..., None]).sum(1), torch.arange(most).float()[None, :, None].expand(len(raw), -1, -1), doc)

    def null(self, batch):
        return Encoded.one(self.table.weight[49].expand(batch, -1))


def conditioning(drop=0.0, **place):
    torch.manual_seed(0)
    parts = {"label": LABEL, "text": Spec(Words)}
    return Conditioning(D, {n: (parts[n], p) for n, p in place.items()}, drop)


@torch.no_grad()
def test_labels_by_number_and_by_name():
    made = conditioning(label="modulate")
    table = made.parts["label"].table.weight
    for raw in (torch.tensor([0, 2]), [0, 2], ["ant", "cat"], [0, "cat"]):
        assert torch.equal(made.context({"label": raw}, 2).modulate, table[[0, 2]])
    assert torch.equal(made.context({}, 3).modulate, table[5].expand(3, -1))
    assert torch.equal(made.context({"label": [1]}, 1, keep=frozenset()).modulate, table[5:])
    assert torch.equal(made.context({"label": [1]}, 1, keep=frozenset({"label"})).modulate, table[1:2])


@pytest.mark.parametrize(
    "raw, says",
    [
        ([5], "no class 5: labels go from 0 to 4"),
        ([-1], "no class -1"),
        (["cow"], "no class 'cow'"),
        (["antt"], "did you mean ant"),
        ([True], "not True"),
        ([1.5], "not 1.5"),
        (torch.tensor([1.0, 2.0]), "float32"),
        (torch.tensor([[1]]), "shape"),
        ([1, 2, 3], "speaks of 3 rows and 2"),
    ],
)
def test_labels_that_do_not_exist(raw, says):
    with pytest.raises(ConditionError, match=says):
        conditioning(label="modulate").context({"label": raw}, 2)


def test_a_condition_that_is_not_taken():
    with pytest.raises(ConditionError, match="unknown condition 'lable': this system takes label; did you mean label"):
        conditioning(label="modulate").context({"lable": [1, 2]}, 2)
    with pytest.raises(ConditionError, match="takes no condition"):
        conditioning().context({"label": [1, 2]}, 2)


@torch.no_grad()
@pytest.mark.parametrize("place", ["modulate", "add", "start", "prefix", "cross", "joint"])
def test_a_condition_enters_where_it_is_placed(place):
    told = conditioning(text=place).context({"text": ["a bb", "ccc"]}, 2)
    for other in ("modulate", "add", "start", "prefix", "cross", "joint"):
        assert (getattr(told, other) is not None) == (other == place)
    if place in ("prefix", "cross", "joint"):
        assert getattr(told, place).tokens.shape == (2, 2, D) and getattr(told, place).doc.tolist() == [[0, 0], [0, -1]]


@torch.no_grad()
def test_conditions_in_one_place_are_added_or_joined():
    both = conditioning(label="modulate", text="modulate")
    said = {"label": [1, 3], "text": ["a bb", "ccc"]}
    apart = both.parts["label"].encode([1, 3]).pooled + both.parts["text"].encode(said["text"]).pooled
    assert torch.equal(both.context(said, 2).modulate, apart)
    row = conditioning(label="prefix", text="prefix").context(said, 2).prefix
    assert row.tokens.shape == (2, 3, D) and row.doc.tolist() == [[0, 0, 0], [0, 0, -1]]


@torch.no_grad()
def test_dropping_leaves_a_row_as_if_nothing_was_said():
    made = conditioning(0.3, label="modulate", text="cross")
    said = {"label": torch.arange(2000) % 5, "text": ["a bb ccc"] * 2000}
    dropped, never = made.context(said, 2000, rng=Rng.seeded(0)), made.context({}, 2000)
    full = made.context(said, 2000)
    gone = (dropped.modulate == never.modulate).all(-1)
    assert abs(float(gone.float().mean()) - 0.3) < 0.05
    assert torch.equal(dropped.modulate[~gone], full.modulate[~gone])
    said_less = (dropped.cross.doc >= 0).sum(1)
    assert bool((said_less[gone] == 1).all()) and bool((said_less[~gone] == 3).all()), "all conditions are dropped together"
    assert torch.equal(dropped.cross.tokens[gone][:, :1], never.cross.tokens[gone])


# ---- guidance --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ramp, law", [("constant", lambda p: 1), ("rising", lambda p: p), ("power_cosine", lambda p: (1 - math.cos(math.pi * p**3)) / 2)])
def test_weights_sum_to_one_and_follow_their_ramp(ramp, law):
    progress = torch.linspace(0, 1, 11)
    said, unsaid = ClassifierFree(3.0, ramp).terms()
    assert torch.allclose(said.weight(progress) + unsaid.weight(progress), torch.ones(11))
    assert said.weight(progress).tolist() == pytest.approx([1 + 2 * law(float(p)) for p in progress], abs=1e-5)
    assert said.keep is None and unsaid.keep == frozenset()


def test_an_interval_and_scale_one():
    said, _ = ClassifierFree(3.0, interval=(0.25, 0.75)).terms()
    assert said.weight(torch.tensor([0.0, 0.25, 0.5, 0.75, 0.9])).tolist() == [1, 3, 3, 3, 1]
    (only,) = ClassifierFree(1.0).terms()
    assert only.keep is None and float(only.weight(torch.tensor([0.3]))) == 1
    with pytest.raises(BadArgument, match="guidance rises"):
        ClassifierFree(2.0, "linear")


class Says:
    def __init__(self, value, name):
        self.value, self.name, self.log = value, name, []

    def __call__(self, query, *, remember=False):
        self.log.append(("ask", remember))
        return Answer(
            Categorical(torch.full((2, 1, 1, 3), self.value) * torch.tensor([1.0, 2.0, 3.0])), {"tap": self.value}, {"balance": torch.tensor(self.value)}
        )

    def forget(self, turn):
        self.log.append(("forget", turn))

    def fork(self, rows):
        return Says(self.value + 10, self.name)


class Asked:
    progress = torch.tensor([0.0, 1.0])


def test_guided_mixes_row_by_row_and_passes_everything_on():
    nets = [Says(5.0, "said"), Says(1.0, "unsaid")]
    terms = (Term(lambda p: 1 + 2 * p), Term(lambda p: -2 * p, frozenset()))
    guided = Guided(InTurn(nets), terms)
    answer = guided(Asked, remember=True)
    assert answer.distribution.logits[:, 0, 0].tolist() == [[5, 10, 15], [13, 26, 39]]  # 5; 3 * 5 - 2 * 1
    assert answer.taps == {"tap": 5.0} and float(answer.dues["balance"]) == 6
    guided.forget("there")
    assert all(n.log == [("ask", True), ("forget", "there")] for n in nets)
    fork = guided.fork(torch.tensor([0]))
    assert [n.value for n in fork.asked.nets] == [15.0, 11.0] and tuple(fork.terms) == terms and nets[0].value == 5.0


def test_contexts_that_differ_in_length_or_padding_are_not_stacked():
    def made(m, pad=0):
        doc = torch.tensor([[0] * (m - pad) + [-1] * pad] * 2)
        return Context(2, prefix=Encoded(torch.randn(2, m, 4), torch.randn(2, 4), torch.zeros(2, m, 1), doc))

    a, b = made(3), made(3)
    both = Context.stacked([a, b])
    assert both.batch == 4 and torch.equal(both.prefix.tokens, torch.cat([a.prefix.tokens, b.prefix.tokens])) and both.cross is None
    for other in (made(2), made(3, 1), Context(2), Context(2, modulate=torch.zeros(2, 4))):
        assert Context.stacked([a, other]) is None


def test_a_question_repeated_has_every_row_again_and_shares_what_was_shared():
    query = asked(Space(axes=(Axis("x", 5),), vocab=(7,)).blank(2), torch.tensor([[True] * 5, [False] * 5]), torch.tensor([0.0, 0.5]))
    again = query.repeated(3)
    assert again.known[:, 0].tolist() == [True, False] * 3 and again.progress.tolist() == [0.0, 0.5] * 3
    assert again.tokens.ids.shape == (6, 5, 1) and again.turn.stride(0) == again.tokens.coord.stride(0) == 0 and again.time is None
