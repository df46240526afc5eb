"""Parts that look along a sequence or stand in place of a linear map: each beside a slow reference, and in a limit where it is something known."""
from __future__ import annotations

import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from omniform import recipes
from omniform.backbones.attention import Attention
from omniform.backbones.blocks import PreNorm
from omniform.backbones.mlp import Mlp, Pattention, RoutedLinear
from omniform.backbones.positions import Buckets, Rotary, SlidingWindow, alibi
from omniform.backbones.sequence import HeadConv, ShortConv
from omniform.backbones.stack import Stack
from omniform.core.errors import BadArgument, PatternUnsupported, TurnError
from omniform.core.net import Context, Env, Record, alone
from omniform.core.query import visible
from omniform.core.rng import Rng
from omniform.core.spec import Spec
from omniform.core.tokens import Axis, Space
from omniform.system.build import assemble
from omniform.system.growth import grown

B, L, D = 2, 7, 12


def env(length=L, first=0, doc=None, record=None, turn=None, pattern="any"):
    turn = torch.arange(first, first + length).expand(B, -1) if turn is None else turn
    zero = torch.zeros_like(turn)
    doc = zero if doc is None else doc
    past = None if record is None else record.ledger()
    mask = None if pattern == "causal" else visible(turn, zero, doc, past)[:, None]
    return Env(coord=turn[..., None].float(), kind=zero, turn=turn, lane=zero, doc=doc, known=zero == 0, modulation=None, context=Context(B), record=record,
               remember=record is not None, progress=torch.zeros(B), pattern=pattern, mask=mask)


def rand(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def stirred(part):
    g = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for p in part.parameters():
            p.copy_(torch.randn(p.shape, generator=g) * 0.4)
    return part.eval()


# ---- ShortConv -------------------------------------------------------------------------------------------------------

def test_a_short_convolution_one_place_after_another():
    part, x = stirred(ShortConv(D, taps=3)), rand(B, L, D)
    doc = torch.tensor([[0, 0, 0, 1, 1, 1, -1]]).expand(B, -1)
    got = part(x, env(doc=doc))
    for t in range(L):
        want = sum(part.weight[j] * x[:, t - j] for j in range(3) if t - j >= 0 and doc[0, t - j] == doc[0, t])
        assert torch.allclose(got[:, t], want, atol=1e-6)


def test_a_short_convolution_remembers_two_rows():
    part, x = stirred(ShortConv(D)), rand(B, L, D)
    whole, record, said = part(x, env(pattern="causal")), Record(), []
    with torch.no_grad():
        for first, last in ((0, 1), (1, 2), (2, 6), (6, 7)):
            asked = env(last - first, first, record=record)
            said.append(part(x[:, first:last], asked))
            record.extend(asked.turn, asked.lane, asked.doc)
    assert torch.allclose(torch.cat(said, 1), whole, atol=1e-6)
    assert record.blocks[""].kept.shape == (B, 2, D)
    record.used -= 1
    with pytest.raises(TurnError, match="cannot forget"):
        part(x[:, :1], env(1, 7, record=record))


def test_a_short_convolution_starts_as_primers_and_can_do_nothing():
    part, x = ShortConv(D), rand(B, L, D)
    assert torch.allclose(part.weight[:, 0], torch.tensor([0.5, 0.5 / 3, 0.5 / 3]))
    with torch.no_grad():
        part.weight.copy_(torch.tensor([1.0, 0.0, 0.0])[:, None])
    assert torch.equal(part(x, env()), x)


@pytest.mark.parametrize("turn", [[0, 0, 1, 1, 2, 2, 3], [6, 5, 4, 3, 2, 1, 0]])
def test_a_short_convolution_refuses_what_is_no_sequence(turn):
    with pytest.raises(PatternUnsupported, match="one token after another"):
        ShortConv(D)(rand(B, L, D), env(turn=torch.tensor([turn]).expand(B, -1)))


def test_primer_without_its_convolution_is_attention():
    plain, blended = Attention(D, 3, biases=""), Attention(D, 3, biases="", blend=Spec(ShortConv))
    blended.load_state_dict(plain.state_dict(), strict=False)
    with torch.no_grad():
        blended.blend.weight.copy_(torch.tensor([1.0, 0.0, 0.0])[:, None])
    assert torch.equal(plain(rand(B, L, D), env(pattern="causal")), blended(rand(B, L, D), env(pattern="causal")))


# ---- HeadConv --------------------------------------------------------------------------------------------------------

def test_convolutions_over_groups_of_heads_one_head_after_another():
    heads, wide, taps = 4, 3, (1, 3, 5, 7)
    part = HeadConv(3 * heads * wide, wide, (heads,) * 3, taps)
    x, doc = rand(B, 11, 3 * heads * wide), torch.tensor([[0] * 8 + [1] * 3]).expand(B, -1)
    got = part(x, env(11, doc=doc)).view(B, 11, 3, heads, wide)
    x = x.view(B, 11, 3, heads, wide)
    for first, last in ((0, 8), (8, 11)):
        for what in range(3):
            for head, num in enumerate(taps):
                y = x[:, first:last, what, head].transpose(1, 2)
                if num > 1:
                    w, b = part.weights[head - 1][:, what], part.biases[head - 1][what]
                    y = F.conv1d(F.pad(y, (num - 1, 0)), w.flip(0).T[:, None], b, groups=wide)
                assert torch.allclose(got[:, first:last, what, head], y.transpose(1, 2), atol=1e-5)


def test_heads_of_a_group_share_their_filter_and_grouped_keys_have_fewer():
    part = HeadConv(16 * 2, 2, (8, 4, 4))
    weight, bias = part.filters()
    q, k, v = (y.view(7, -1, 2) for y in weight.split([16, 8, 8], 1))
    assert torch.equal(q[:, ::2], q[:, 1::2]) and (k.shape[1], v.shape[1]) == (4, 4)
    assert [int(y.abs().sum(-1).gt(0).sum()) for y in q.unbind(1)[::2]] == [1, 3, 5, 7]
    assert torch.equal(q[:, 0], torch.tensor([1.0] + [0.0] * 6)[:, None].expand(-1, 2)) and not bias[:4].any()
    assert sum(p.numel() for p in HeadConv(3 * 768, 64, (12,) * 3).parameters()) == 3456, "a layer of the smallest Tranception"


def test_convolutions_over_groups_remember_six_rows():
    part, x = HeadConv(24, 2, (4, 4, 4)), rand(B, 12, 24)
    whole, record, said = part(x, env(12, pattern="causal")), Record(), []
    with torch.no_grad():
        for first, last in ((0, 1), (1, 2), (2, 9), (9, 12)):
            asked = env(last - first, first, record=record)
            said.append(part(x[:, first:last], asked))
            record.extend(asked.turn, asked.lane, asked.doc)
    assert torch.allclose(torch.cat(said, 1), whole, atol=1e-5) and record.blocks[""].kept.shape == (B, 6, 24)


def test_tranception_without_its_convolutions_is_attention():
    plain, blended = Attention(D, 4, slopes=4), Attention(D, 4, slopes=4, blend=Spec(HeadConv))
    blended.load_state_dict(plain.state_dict(), strict=False)
    with torch.no_grad():
        for weight, bias in zip(blended.blend.weights, blended.blend.biases, strict=True):
            weight.zero_()[0] = 1.0
            bias.zero_()
    assert torch.allclose(plain(rand(B, L, D), env()), blended(rand(B, L, D), env()), atol=1e-6)


@pytest.mark.parametrize("shares", [(6, 6, 6), (4, 2, 2)])
def test_heads_that_do_not_divide_into_groups_are_refused(shares):
    with pytest.raises(BadArgument, match="divide by 4"):
        HeadConv(2 * sum(shares), 2, shares)


# ---- relative bias, slopes, muted rotation ---------------------------------------------------------------------------

def test_buckets_are_t5s():
    part = Buckets(1)
    with torch.no_grad():
        part.table.copy_(torch.arange(32.0)[None])
    far = torch.tensor([0, 1, 15, 16, 20, 31, 63, 127, 128, 4000])
    got = part(far[None, :, None].float(), torch.zeros(1, 1, 1))[0, 0, :, 0]
    want = [n if n < 16 else min(31, 16 + int(math.log(n / 16) / math.log(8) * 16)) for n in far.tolist()]
    assert got.tolist() == want
    assert part(torch.zeros(1, 1, 1), far[None, :, None].float()).eq(0).all(), "nothing is told of what lies ahead"


def test_buckets_of_both_sides_are_t5s():
    """Half of them behind, half ahead, each with half the single distances."""
    part = Buckets(1, both=True)
    with torch.no_grad():
        part.table.copy_(torch.arange(32.0)[None])
    far = torch.tensor([0, 1, 7, 8, 10, 16, 63, 127, 128, 4000])
    side = [n if n < 8 else min(15, 8 + int(math.log(n / 8) / math.log(16) * 8)) for n in far.tolist()]
    here = torch.zeros(1, 1, 1)
    assert part(far[None, :, None].float(), here)[0, 0, :, 0].tolist() == side
    assert part(here, far[None, :, None].float())[0, 0, 0].tolist() == [s + 16 * (n > 0) for s, n in zip(side, far.tolist(), strict=True)]


def test_a_window_ends_where_it_says_and_a_wide_one_is_none():
    """Against a slow reading: of two blocks each place hears of 2 (size - 1) before it, and of none earlier."""
    space, x = Space((Axis("time", 9),), vocab=(7,)), torch.randn(1, 9, 16, generator=torch.Generator().manual_seed(0))
    block = Spec(PreNorm, {"mixer": Spec(Attention, {"heads": 2}), "mlp": Spec(Mlp, {"hidden": 8})})
    stacks = {}
    for size in (None, 3, 9):
        torch.manual_seed(0)
        stacks[size] = Stack(16, 2, block, space, relative=None if size is None else Spec(SlidingWindow, {"size": size}))
    said = {size: stack(x, alone(1, 9, causal=True)) for size, stack in stacks.items()}
    torch.testing.assert_close(said[9], said[None])
    assert not torch.allclose(said[3], said[None], atol=1e-3)
    for place in range(9):
        changed = x.clone()
        changed[:, place, 0] += 3
        heard = (stacks[3](changed, alone(1, 9, causal=True)) - said[3]).abs().amax((0, 2)) > 1e-6
        assert heard.tolist() == [place <= other <= place + 4 for other in range(9)]
    part = SlidingWindow(3)
    far = torch.arange(5.0)[None, :, None]
    assert part(far, torch.zeros(1, 1, 1))[0, 0, :, 0].tolist() == [0, 0, 0, -math.inf, -math.inf]
    with pytest.raises(BadArgument, match="at least the place itself"):
        SlidingWindow(0)


@pytest.mark.parametrize("said", [{"buckets": 7}, {"buckets": 6, "both": True}, {"reach": 16}])
def test_buckets_that_do_not_halve_are_refused(said):
    with pytest.raises(BadArgument, match="do not halve"):
        Buckets(2, **said)


@pytest.mark.parametrize(("heads", "groups", "powers"), [
    (8, 1, [1, 2, 3, 4, 5, 6, 7, 8]), (12, 4, [4, 8, 2] * 4), (20, 4, [2, 4, 6, 8, 1] * 4), (6, 1, [2, 4, 6, 8, 1, 3]), (4, 4, [8] * 4),
])
def test_slopes_fall_by_powers_of_two_and_again_in_every_group(heads, groups, powers):
    assert alibi(heads, groups) == [2.0**-p for p in powers]
    assert Attention(4 * heads, heads, slopes=groups).slopes.tolist() == alibi(heads, groups)


def test_slopes_of_groups_that_heads_do_not_divide_into_are_refused():
    with pytest.raises(BadArgument, match="6 heads do not divide into 4 groups"):
        Attention(24, 6, slopes=4)


def test_a_muted_place_has_no_query_and_no_key():
    space = Space(axes=(Axis("y", 3), Axis("x", 3)), channels=1)
    coord, known = space.blank(1).coord, torch.tensor([[False] + [True] * 8])
    turn = Rotary(8, space, mute=True)(coord, known)
    plain = Rotary(8, space)(coord, known)
    assert not turn.cos[:, :, 0].any() and not turn.sin[:, :, 0].any()
    assert torch.equal(turn.cos[:, :, 1:], plain.cos[:, :, 1:]) and plain.cos[:, :, 0].all()


# ---- Pattention ------------------------------------------------------------------------------------------------------

@torch.no_grad()
def test_pattention_by_hand():
    part, x = stirred(Pattention(D, 5, out=3)), rand(B, L, D)
    got = part(x, env())
    for b in range(B):
        for t in range(L):
            score = torch.stack([x[b, t] @ key for key in part.keys])
            score = math.sqrt(5) * score / score.square().sum().sqrt()
            weight = [0.5 * float(s) * (1 + math.erf(float(s) / math.sqrt(2))) for s in score]
            assert torch.allclose(got[b, t], sum(w * v for w, v in zip(weight, part.values, strict=True)), atol=1e-5)


def test_growth_changes_nothing_but_the_size():
    system = assemble(recipes.get("tokenformer").sized("tiny").but({"network.backbone.depth": 2, "shape": (16,)})).eval()
    texts = ["def omniform", "import torch"]
    larger = grown(system, 1.5)
    more = lambda s: sum(p.numel() for p in s.parameters())
    assert more(larger) - more(system) == 2 * (2 * 4 * 48 * 128 + 2 * 192 * 128)
    assert torch.allclose(larger.score(texts), system.score(texts), rtol=1e-6)
    assert torch.allclose(grown(larger, 2).score(texts), system.score(texts), rtol=1e-6), "twice is as good as once"
    loss = larger.train().loss(type("Batch", (), {"data": texts, "condition": {}})(), rng=Rng.seeded(0))[0].mean()
    loss.backward()
    part = larger.network.towers["main"].backbone.blocks[0].mlp
    assert part.keys.grad[384:].any() and part.values.grad[:384].any()
    again = assemble(type(larger.recipe).from_json(larger.recipe.to_json()))
    assert [m.scale for m in again.modules() if isinstance(m, Pattention)] == [m.scale for m in system.modules() if isinstance(m, Pattention)]


def test_the_scale_must_not_grow_with_the_pairs():
    part, x = stirred(Pattention(D, 4)), rand(B, L, D)
    frozen, grows = Pattention(D, 8, scale=2.0), Pattention(D, 8)
    with torch.no_grad():
        for other in (frozen, grows):
            other.keys.zero_()
            other.keys[:4], other.values[:4] = part.keys, part.values
    assert torch.allclose(frozen(x, env()), part(x, env()), atol=1e-6)
    assert not torch.allclose(grows(x, env()), part(x, env()), atol=1e-3)


def test_only_learned_tokens_grow():
    with pytest.raises(BadArgument, match="grows by learned tokens"):
        grown(assemble(recipes.get("gpt").sized("tiny").but({"shape": (8,)})), 2)


# ---- RoutedLinear ----------------------------------------------------------------------------------------------------

@torch.no_grad()
def test_routed_channels_by_hand():
    part, x = stirred(RoutedLinear(12, 8, groups=4, shared=1, top=2)), rand(B, L, 12)
    got = part(x, env())
    for b in range(B):
        for t in range(L):
            parts = x[b, t].reshape(4, 3)
            said = part.router.weight @ x[b, t]
            most, chosen = said.topk(2)
            y = part.weight[0] @ parts[0]
            for r, i in zip(2 * most.softmax(0), chosen.tolist(), strict=True):
                y = y + r * (part.weight[1 + i] @ parts[1 + i])
            y = y * math.sqrt(4 / 3)
            fused = torch.stack([part.fuse[g] @ y[g::4] for g in range(4)], 1).flatten()
            assert torch.allclose(got[b, t], fused, atol=1e-5)


@pytest.mark.parametrize(("groups", "shared", "top"), [(4, 4, 0), (4, 1, 3), (1, 1, 0), (6, 2, 4)])
def test_all_channels_read_are_a_linear_map(groups, shared, top):
    part, x = RoutedLinear(12, 12, groups=groups, shared=shared, top=top), rand(B, L, 12)
    if part.router is not None:
        nn.init.zeros_(part.router.weight)
    assert torch.allclose(part(x, env()), F.linear(x, part.weight.transpose(0, 1).flatten(1)), atol=1e-6)


def test_only_shared_channels_read_are_a_narrower_linear_map():
    part, x = RoutedLinear(12, 8, groups=4, shared=2, top=0, scaled=False), rand(B, L, 12)
    assert torch.allclose(part(x, env()), F.linear(x[..., :6], part.weight[:2].transpose(0, 1).flatten(1)), atol=1e-6)
    moved = x.clone()
    moved[..., 6:] += 1
    assert torch.equal(part(x, env()), part(moved, env()))


def test_routed_maps_ask_for_balance_in_training_only():
    part = Mlp(12, hidden=8, linear=Spec(RoutedLinear, {"groups": 4, "shared": 1, "top": 1}))
    asked = env()
    part.train()(rand(B, L, 12), asked)
    assert asked.dues["balance"] > 0
    asked = env()
    part.eval()(rand(B, L, 12), asked)
    assert not asked.dues
    with pytest.raises(BadArgument, match="groups must divide"):
        RoutedLinear(12, 8, groups=5, shared=1, top=1)
