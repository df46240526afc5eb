"""A text and a picture in one sequence: what is asked, what is refused, and weights by kind."""

from __future__ import annotations

import pytest
import torch

from omniform import recipes
from omniform.backbones.attention import Attention
from omniform.backbones.blocks import BranchNorm
from omniform.backbones.mlp import Mlp
from omniform.backbones.streams import Streams
from omniform.codecs.ids import Ids
from omniform.codecs.interleaved import Interleaved
from omniform.codecs.patch import Patches
from omniform.codecs.text import Bytes
from omniform.core.batch import Batch, Parts
from omniform.core.errors import BadArgument, CodecError, ConditionError, ShapeError
from omniform.core.net import Context, Env
from omniform.core.process import Process
from omniform.core.rng import Rng
from omniform.core.spec import Spec
from omniform.processes.energy import Energy
from omniform.processes.interleave import Interleave
from omniform.system.build import assemble

CODEC = Interleaved((1, 8, 8), Spec(Bytes), 6, Spec(Patches, {"patch": 4}))
SMALL = {"network.width": 16, "network.backbone.depth": 1, "network.backbone.rotary.head_width": 4, "network.backbone.block.mlp.hidden": 16}


def system(**changes):
    codec = Spec(Interleaved, {"text": Spec(Bytes), "length": 6, "inner": Spec(Patches, {"patch": 4})})
    recipe = recipes.get("transfusion").sized("tiny").but({**SMALL, "codec": codec, "shape": (1, 8, 8), **changes})
    return assemble(recipe)


def test_texts_and_pictures_come_back():
    pictures = torch.rand(3, 1, 8, 8) * 2 - 1
    tokens = CODEC.encode(Parts((["abc", "", "abcde"], pictures)))
    assert tokens.kind[0].tolist() == [0] * 6 + [1] * 4 and tokens.real.sum(1).tolist() == [8, 5, 10]
    texts, back = CODEC.decode(tokens).each
    assert texts == ["abc", "", "abcde"] and torch.allclose(back, pictures, atol=1e-6)
    known = CODEC.known(Parts((["abc"], None)))
    assert known.tolist() == [[True] * 4 + [False] * 6]
    assert CODEC.known(Parts((None, pictures)))[0].tolist() == [False] * 6 + [True] * 4


def test_refusals_of_the_codec():
    with pytest.raises(CodecError, match="6 places with its stop"):
        CODEC.encode(Parts((["abcdef"], None)))
    with pytest.raises(ShapeError, match="Parts"):
        CODEC.encode(["abc"])
    with pytest.raises(BadArgument, match="needs a codec with a stop"):
        Interleaved((1, 8, 8), Spec(Ids, {"vocab": 4}), 6, Spec(Patches, {"patch": 4}))
    with pytest.raises(BadArgument, match="continuous tokens"):
        Interleaved((8,), Spec(Bytes), 6, Spec(Ids, {"vocab": 4}))


def test_refusals_of_the_process():
    text, picture = recipes.get("transfusion").process.args["inner"]
    with pytest.raises(BadArgument, match="2 kinds of tokens and 1 processes"):
        Interleave(CODEC.space, (text,))
    with pytest.raises(BadArgument, match="cannot stand in Interleave"):
        Interleave(CODEC.space, (Spec(Interleave, {"inner": (text, picture), "space": CODEC.space}), picture))
    with pytest.raises(BadArgument, match="'clean' or 'noisy'"):
        Interleave(CODEC.space, (text, picture), record="dirty")
    with pytest.raises(BadArgument, match="more or less than one question"):
        Process.pose(Energy(), CODEC.space.blank(1), rng=Rng.seeded(0))


def test_captions_are_read_as_tokens_and_asked_for():
    made = system()
    batch = Batch(torch.zeros(2, 1, 8, 8), {"text": ["ab", "c"]})
    (loss,) = made.loss(batch, rng=Rng.seeded(0))
    assert set(loss.parts) == {"main", "kind 1"} and float(loss.count) == 3 + 2 + 2 * 4
    with pytest.raises(ConditionError, match="reads 'text' as tokens"):
        made.loss(Batch(batch.data), rng=Rng.seeded(0))


def test_weights_scale_the_loss_of_their_kind():
    batch = Batch(torch.rand(2, 1, 8, 8), {"text": ["ab", "c"]})
    (one,), (two,) = (system(**{"process.weights": w}).loss(batch, rng=Rng.seeded(0)) for w in ((1.0, 1.0), (3.0, 0.5)))
    assert torch.allclose(two.parts["main"], 3 * one.parts["main"]) and torch.allclose(two.parts["kind 1"], 0.5 * one.parts["kind 1"])


def test_noise_is_limited_where_somebody_reads_it():
    """Transfusion, section 4.3.4: in rows whose caption follows the picture, times are at least one half; in the others any."""
    made, seen = system(**{"process.turned": 0.5}), []
    tokens = made.tokens(Parts((["ab"] * 64, torch.zeros(64, 1, 8, 8))))

    class Ear:
        def __call__(self, query, *, remember=False):
            seen.append(query)
            return made.network.open(Context(64))(query)

    made.process.loss(Ear(), tokens, rng=Rng.seeded(1))
    (query,) = seen
    picture_first = query.turn[:, 6] < query.turn[:, 0]
    times = query.time[:, 6]
    assert 10 < int(picture_first.sum()) < 54 and float(times[picture_first].min()) >= 0.5 > float(times[~picture_first].min())
    assert query.tokens.length == 6 + 4 and not query.lane.any()


def env(kind):
    zero = torch.zeros_like(kind)
    return Env(zero[..., None].float(), kind, zero, zero, zero, zero == 0, None, Context(len(kind)), None, False, torch.zeros(len(kind)), "full", None)


def test_weights_by_kind_are_those_of_each_kind():
    torch.manual_seed(0)
    streams, x = Streams(1, lambda: torch.nn.Linear(5, 7), kinds=3), torch.randn(2, 6, 5)
    kind = torch.tensor([[0, 1, 1, 0, 0, 1], [1, 1, 1, 1, 1, 1]])  # nobody is of the third kind
    every = torch.stack([m(x) for m in streams.each])
    slow = torch.where((kind == 0)[..., None], every[0], every[1])
    assert torch.allclose(streams.through(x, env(kind)), slow, atol=1e-6)
    with pytest.raises(BadArgument, match="not for both"):
        Streams(2, lambda: torch.nn.Linear(5, 7), kinds=2)


def test_equal_weights_by_kind_are_a_dense_block():
    torch.manual_seed(0)
    mixer, mlp = Spec(Attention, {"heads": 2}), Spec(Mlp)
    dense, apart = BranchNorm(8, mixer, mlp), BranchNorm(8, mixer, mlp, kinds=2)
    own = apart.state_dict()
    apart.load_state_dict({name: dense.state_dict()[name.replace("each.1", "each.0")] for name in own})
    x, kind = torch.randn(2, 5, 8), torch.tensor([[0, 0, 1, 1, 1], [1, 0, 1, 0, 1]])
    assert torch.allclose(apart(x, env(kind)), dense(x, env(kind)), atol=1e-6)
    with torch.no_grad():
        apart.norm_mlp.each[1].weight.mul_(2)
    changed = (apart(x, env(kind)) - dense(x, env(kind))).abs().amax(-1) > 1e-4
    assert torch.equal(changed, kind == 1)
