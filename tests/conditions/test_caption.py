"""Captions: features, strings, padding, pooled vectors, and what is unsaid."""

from __future__ import annotations

import copy
import math

import pytest
import torch

from omniform.conditions.caption import Caption, Sizes
from omniform.conditions.conditioning import Conditioning
from omniform.core.encoder import FrozenEncoder
from omniform.core.errors import BadArgument, CheckpointError, ConditionError
from omniform.core.spec import Spec

W, F, N = 8, 6, 5


def caption(**args):
    torch.manual_seed(0)
    return Caption(W, **{"features": F, "length": N, **args})


@torch.no_grad()
def test_features_are_mapped_token_by_token_and_padded():
    part = caption()
    rows = [torch.randn(3, F), torch.randn(7, F)]
    said = part.encode(rows)
    assert said.tokens.shape == (2, N, W) and said.doc.tolist() == [[0] * 3 + [-1] * 2, [0] * 5]
    first, last = part.into[0], part.into[2]
    for row, tokens in zip(rows, said.tokens, strict=True):
        for x, y in zip(row, tokens, strict=False):
            h = first.weight @ x + first.bias
            h = 0.5 * h * (1 + torch.tanh(math.sqrt(2 / math.pi) * (h + 0.044715 * h**3)))
            assert torch.allclose(y, last.weight @ h + last.bias, atol=1e-5)
    assert not caption(mask=False).encode(rows).doc.any()
    assert torch.equal(caption(into="same").encode(rows).tokens[0, :3], rows[0])


@torch.no_grad()
def test_a_string_is_spelled_always_the_same():
    one, other = caption(), caption(unsaid="random")
    a, b = one._spelled("cat"), other._spelled("cat")
    assert torch.equal(a[0], b[0]) and len(a[0]) == 3
    assert torch.equal(one._spelled("catalogue")[0][:3], a[0]) and len(one._spelled("catalogue")[0]) == N
    assert not torch.allclose(one._spelled("tac")[0][1], one._spelled("cat")[0][0])
    wide = Caption(W, features=4000, length=9)._spelled("something")[0]
    assert float(wide.std()) == pytest.approx(1, abs=0.02)
    assert one.encode(["cat", ""]).doc.tolist() == [[0, 0, 0, -1, -1], [-1] * 5]


@torch.no_grad()
def test_one_vector_for_all():
    assert not caption().encode([torch.randn(2, F)]).pooled.any()
    given = caption(pool="given", pooled=3, told=4)
    v = torch.randn(3)
    (up, _, down) = given.vector
    want = down(torch.nn.functional.silu(up(v)))
    assert torch.allclose(given.encode([(torch.randn(2, F), v)]).pooled[0], want, atol=1e-6) and want.shape == (4,)
    mean = caption(pool="mean")
    assert not mean.encode([torch.randn(2, F)]).pooled.any(), "starts at zero"
    torch.nn.init.normal_(mean.vector[1].weight)
    x = torch.randn(2, F)
    assert torch.allclose(mean.encode([x]).pooled[0], mean.vector(x.mean(0)), atol=1e-6), "padding is not averaged"


@torch.no_grad()
def test_unsaid():
    zeros, drawn = caption().null(2), caption(unsaid="random")
    assert torch.allclose(zeros.tokens[0, 0], zeros.tokens[1, 4], atol=1e-6) and not zeros.doc.any()
    assert torch.allclose(drawn.null(3).tokens[1], drawn.into(drawn.unsaid), atol=1e-6) and not any("unsaid" in n for n, _ in drawn.named_parameters())
    learned = caption(unsaid="learned")
    assert torch.allclose(learned.null(3).tokens[1], learned.into(learned.unsaid), atol=1e-6) and "unsaid" in dict(learned.named_parameters())


def test_two_places_from_one_caption():
    made = Conditioning(W, {"text": (Spec(Caption, {"features": F, "length": N, "pool": "given", "pooled": 3}), ("joint", "modulate"))}, 0.0)
    context = made.context({"text": ["cat", "dog"]}, 2)
    assert context.joint.tokens.shape == (2, N, W) and context.modulate.shape == (2, W) and context.cross is None
    assert torch.equal(context.modulate, context.joint.pooled)


@pytest.mark.parametrize("raw", [[3], [torch.randn(F)], [torch.randn(2, F + 1)], [(torch.randn(2, F), torch.randn(3))]])
def test_other_things_are_refused(raw):
    with pytest.raises(ConditionError, match="a caption is a string or"):
        caption().encode(raw)
    with pytest.raises(BadArgument, match="has a size"):
        caption(pooled=3)


@torch.no_grad()
def test_sizes_are_waves_through_the_mlp_of_their_group():
    part = Sizes(12, (2, 1), (64.0, 64.0, 1.0), features=4)
    said = part.encode([[32.0, 64.0, 0.5]]).pooled[0]
    for number, x in enumerate((32.0, 64.0, 0.5)):
        waves = torch.tensor([math.cos(x), math.cos(x / 100), math.sin(x), math.sin(x / 100)])
        assert torch.allclose(said[4 * number : 4 * number + 4], part.maps[number // 2](waves), atol=1e-5)
    assert torch.allclose(part.null(2).pooled[1], part.encode(torch.tensor([[64.0, 64.0, 1.0]])).pooled[0])
    for raw in ([["a", "b"]], [[1.0, 2.0]], ["large"]):
        with pytest.raises(ConditionError, match="3 numbers a row"):
            part.encode(raw)
    with pytest.raises(BadArgument, match="share out"):
        Sizes(10, (2, 1), (1.0, 1.0, 1.0))


def test_sizes_without_groups_are_read_together():
    part = Sizes(12, (), (64.0, 2.0), features=4)
    waves = lambda x: torch.tensor([math.cos(x), math.cos(x / 100), math.sin(x), math.sin(x / 100)])  # noqa: E731
    want = part.whole(torch.cat([waves(32.0), waves(0.5)]))
    assert torch.allclose(part.encode([[32.0, 0.5]]).pooled[0], want, atol=1e-5)
    alone = [part.encode([[a, b]]).pooled for a, b in ((1.0, 1.0), (9.0, 1.0), (1.0, 9.0), (9.0, 9.0))]
    assert not torch.allclose(alone[3] - alone[2], alone[1] - alone[0]), "one MLP sees both numbers"


class Counting(FrozenEncoder):
    """Each word is its length, three times over; counts what it had to read."""

    def __init__(self, features=F, pooled=3, digest="d" * 64):
        super().__init__("package:counting", features, pooled, 4, digest)
        self.reads = 0

    def read(self, text, length):
        self.reads += 1
        words = torch.tensor([float(len(w)) for w in text.split()[:length]])
        return words[:, None].expand(-1, self.features), words.sum().expand(self.pooled)


def test_strings_are_read_by_an_encoder_that_is_handed_over():
    part = caption(encoder="package:counting", digest="d" * 64, into="same", pool="none")
    with pytest.raises(ConditionError, match="package:counting here, which was not handed over"):
        part.encode(["a bb"])
    part.read_by(reader := Counting())
    said = part.encode(["a bb", "ccc dd e ffff ggggg", "a bb"])
    assert said.tokens[0, :, 0].tolist() == [1, 2, 0, 0, 0] and said.doc[0].tolist() == [0, 0, -1, -1, -1]
    assert said.tokens[1, :, 0].tolist() == [3, 2, 1, 4, 0], "cut to what the encoder reads"
    assert reader.reads == 2, "the same text is read once"
    part.encode(["a bb"])
    assert reader.reads == 2 and torch.equal(part.encode([torch.ones(2, F)]).tokens[0, :2], torch.ones(2, F)), "features are taken all the same"
    assert not [n for n, _ in part.named_parameters()] and not part.state_dict(), "it is no part of the system"
    assert copy.deepcopy(part).reader is reader


def test_what_is_not_said_may_be_an_empty_text():
    """What the encoder says of it, padded with zeros that are read; tokens lie as far apart as they are said to."""
    part = caption(encoder="package:counting", into="linear", pool="none", unsaid="empty", mask=False, step=0.25)
    with pytest.raises(ConditionError, match="not handed over; build or load the system with encoder="):
        part.null(2)
    part.read_by(Counting())
    with torch.no_grad():
        part.into.bias.normal_()
    none, said = part.null(2), part.encode(["", "a bb"])
    assert torch.equal(none.tokens, said.tokens[:1].expand(2, -1, -1)) and none.doc.tolist() == [[0] * N] * 2
    assert torch.allclose(said.tokens[1, 2:], part.into.bias.expand(N - 2, -1)), "zeros through the map"
    assert said.coord[0, :, 0].tolist() == [0.25 * i for i in range(N)]


def test_another_encoder_is_refused():
    with pytest.raises(CheckpointError, match="is not the one that this system was trained with"):
        caption(encoder="package:counting", digest="e" * 64).read_by(Counting())
    with pytest.raises(BadArgument, match=f"says {F + 1} numbers as features and this caption expects {F}; write features={F + 1}"):
        caption(encoder="package:counting").read_by(Counting(F + 1))
    with pytest.raises(BadArgument, match="says 3 numbers as pooled and this caption expects 2"):
        caption(encoder="package:counting", pool="given", pooled=2).read_by(Counting())


def test_texts_of_an_encoder_stand_side_by_side():
    heard = Counting().tokens(["a bb ccc", "dddd"])
    assert heard.tokens[:, :, 0].tolist() == [[1, 2, 3], [4, 0, 0]] and heard.real.tolist() == [[True] * 3, [True, False, False]]
    assert heard.pooled[:, 0].tolist() == [6, 4] and Counting().tokens(["a bb ccc"], 2).tokens.shape == (1, 2, F)


def test_what_was_read_while_sampling_can_be_learnt_from():
    part = caption(encoder="package:counting")
    part.read_by(Counting())
    with torch.inference_mode():
        part.encode(["a bb"])
    part.encode(["a bb"]).tokens.sum().backward()
    assert part.into[0].weight.grad.abs().sum() > 0


@torch.no_grad()
def test_a_pooled_vector_leads_the_sequence():
    """Placed "lead", a condition stands before the sequence as its one vector; here beside its words placed "cross"."""
    part = Spec(Caption, {"features": F, "length": N, "into": "linear", "pool": "linear", "pooled": 4})
    both = Conditioning(W, {"text": (part, ("cross", "lead"))}, drop=0.0)
    rows = [(torch.randn(3, F), torch.randn(4)) for _ in range(2)]
    context, made = both.context({"text": rows}, 2), both.parts["text"]
    want = torch.stack([made.vector.weight @ pooled + made.vector.bias for _, pooled in rows])
    assert torch.allclose(context.prefix.tokens, want[:, None], atol=1e-6) and context.prefix.doc.tolist() == [[0], [0]]
    assert context.cross.tokens.shape == (2, N, W) and context.modulate is None
    with pytest.raises(BadArgument, match="pooled"):
        caption(pool="linear")


@torch.no_grad()
def test_bare_maps_add_up_before_what_follows():
    part, numbers = caption(into="linear", pool="linear", pooled=3, bias=False, normed=1e-3), Sizes(W, (), (1.0, 2.0), features=4, bare=True)
    x, v = torch.randn(2, F), torch.randn(3)
    said, h = part.encode([(x, v)]), x @ part.into[0].weight.T
    assert torch.allclose(said.tokens[0, :2], h / (h.square().mean(-1, keepdim=True) + 1e-3).sqrt(), atol=1e-5) and not said.tokens[0, 2:].any()
    waves = [torch.tensor([math.cos(a), math.cos(a / 100), math.sin(a), math.sin(a / 100)]) for a in (3.0, 0.5)]
    whole = torch.cat([part.vector.weight, numbers.whole.weight], 1) @ torch.cat([v, *waves])
    assert torch.allclose(said.pooled + numbers.encode([[3.0, 0.5]]).pooled, whole[None], atol=1e-5), "one map of both side by side"
    with pytest.raises(BadArgument, match="bare maps read all numbers at once"):
        Sizes(W, (1,), (1.0,), bare=True)
