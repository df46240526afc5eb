"""Positions, norms, experts, skips, the encoder of what is known: each in a limit where it equals something known."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from omniform.backbones.attention import Attention
from omniform.backbones.blocks import PostNorm, PreNorm
from omniform.backbones.embed import Embed, TimeEmbedding
from omniform.backbones.mlp import Experts, Mlp
from omniform.backbones.norms import norm
from omniform.backbones.positions import AxialPositions, LearnedPositions, LevelPositions, Rotary, SinCosPositions, rotate
from omniform.backbones.stack import EncodeKnown, Stack
from omniform.core.errors import BadArgument, PatternUnsupported
from omniform.core.net import Context, Env
from omniform.core.query import Query
from omniform.core.spec import Spec
from omniform.core.tokens import Axis, Space

B, D = 2, 16
GRID = Space(axes=(Axis("y", 3), Axis("x", 4)), channels=2)
L = GRID.length


def env(space=GRID, rows=B, **changes):
    blank = space.blank(rows)
    zero = blank.doc
    made = Env(
        coord=blank.coord,
        kind=zero,
        turn=zero,
        lane=zero,
        doc=zero,
        known=torch.ones(rows, space.length, dtype=torch.bool),
        modulation=None,
        context=Context(rows),
        record=None,
        remember=False,
        progress=torch.zeros(rows),
        pattern="full",
        mask=None,
    )
    return replace(made, **changes)


def x(*shape, seed=0):
    return torch.randn(*(shape or (B, L, D)), dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def stirred(part, seed=0):
    """In float64, nothing at zero."""
    g = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for p in part.parameters():
            p.copy_(torch.randn(p.shape, generator=g) * 0.3)
    return part.double().eval()


# ---- positions -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("interleaved", [False, True])
@pytest.mark.parametrize("axes", [1, 2, 3])
def test_rotary_scores_depend_on_differences_only(axes, interleaved):
    space = Space(axes=tuple(Axis(n, 50) for n in "zyx"[:axes]), channels=1)
    rotary = Rotary(12, space, interleaved=interleaved).double()
    q, k = x(1, 2, 5, 12), x(1, 2, 5, 12, seed=1)
    coord = torch.randint(0, 20, (1, 5, axes), generator=torch.Generator().manual_seed(0)).double()
    score = lambda at: rotate(q, rotary(at)) @ rotate(k, rotary(at)).transpose(-1, -2)  # noqa: E731
    before = score(coord)
    assert torch.allclose(score(coord + torch.tensor([3.0, 7.0, 11.0])[:axes]), before, atol=1e-5)
    for axis in range(axes):
        moved = coord.clone()
        moved[:, 0, axis] += 1
        assert float((score(moved) - before)[:, :, 0, 1:].abs().max()) > 1e-3, "an axis is not heard"
    assert torch.allclose(rotate(q, rotary(coord)).norm(dim=-1), q.norm(dim=-1)), "a rotation keeps lengths"
    assert torch.allclose(rotate(q, rotary(coord * 0)), q)


def test_rotary_is_the_published_rotation():
    """Pair i of 2 P turns by position * base^(-i / P): as complex numbers."""
    space = Space(axes=(Axis("t", 9),), channels=1)
    q, at = x(1, 2, 9, 8), torch.arange(9, dtype=torch.float64).reshape(1, 9, 1)
    angle = at * 10000.0 ** (-torch.arange(4, dtype=torch.float64) / 4)
    for interleaved in (False, True):
        pairs = q.unflatten(-1, (4, 2)) if interleaved else torch.stack([q[..., :4], q[..., 4:]], -1)
        turned = torch.view_as_real(torch.view_as_complex(pairs.contiguous()) * torch.polar(torch.ones_like(angle), angle))
        want = turned.flatten(-2) if interleaved else torch.cat([turned[..., 0], turned[..., 1]], -1)
        assert torch.allclose(rotate(q, Rotary(8, space, interleaved=interleaved).double()(at)), want, atol=1e-5)


def test_interleaved_is_halves_with_the_channels_permuted():
    space = Space(axes=(Axis("y", 9), Axis("x", 9)), channels=1)
    q, at = x(1, 2, 9, 12), torch.randint(0, 9, (1, 9, 2), generator=torch.Generator().manual_seed(0)).double()
    order = torch.arange(12).reshape(2, 6).T.flatten()  # half i, pair j -> pair j, half i
    halves, pairs = Rotary(12, space).double()(at), Rotary(12, space, interleaved=True).double()(at)
    assert torch.allclose(rotate(q, halves)[..., order], rotate(q[..., order], pairs))


def test_rotary_shares_pairs_and_leaves_the_rest():
    space = Space(axes=(Axis("y", 9), Axis("x", 9)), channels=1)
    part = Rotary(8, space, share=(1, 2)).double()
    assert part.axis.tolist() == [0, 1, 1]
    q, at = x(1, 2, 9, 8), torch.ones(1, 9, 2, dtype=torch.float64)
    assert torch.equal(rotate(q, part(at))[..., 6:], q[..., 6:]) and not torch.allclose(rotate(q, part(at))[..., :6], q[..., :6])
    assert Rotary(10, space).axis.tolist() == [0, 0, 0, 1, 1]


def test_tables_of_places():
    coord = GRID.blank(B).coord
    learned = LearnedPositions(D, GRID)
    assert torch.equal(learned(coord)[0], learned.table)
    assert torch.equal(learned(coord[:, torch.tensor([5, 2])])[0], learned.table[[5, 2]])
    level = LevelPositions(D, GRID, "y")
    assert torch.equal(level(coord)[0], level.table[torch.arange(12) // 4])
    axial = AxialPositions(D, GRID)
    assert torch.allclose(axial(coord)[0], axial.axes[0].table[torch.arange(12) // 4] + axial.axes[1].table[torch.arange(12) % 4])
    own = coord.clone()
    own[1] = own[1].flip(0)  # rows of their own
    assert torch.equal(learned(own)[1], learned.table.flip(0))


def test_sines_and_cosines_are_dits():
    table = SinCosPositions(D, GRID)(GRID.blank(1).coord)[0]
    for token, (y, x_) in enumerate(GRID.places.tolist()):
        want = []
        for place in (x_, y):  # DiT's code: the columns first
            angles = [place / 10000 ** (i / 4) for i in range(4)]
            want += [math.sin(a) for a in angles] + [math.cos(a) for a in angles]
        assert table[token].tolist() == pytest.approx(want, abs=1e-6)
    three = Space(axes=tuple(Axis(n, 2) for n in "zyx"), channels=1)
    assert not SinCosPositions(20, three)(three.blank(1).coord)[..., 18:].any()


def test_time_is_embedded_as_in_dit():
    torch.manual_seed(0)
    part, flipped = TimeEmbedding(D, features=8), TimeEmbedding(D, features=8, flip=True)
    flipped.load_state_dict(part.state_dict())
    t = torch.tensor([[0.25]])
    angles = [250.0 * 10000 ** (-i / 4) for i in range(4)]
    features = torch.tensor([[[math.cos(a) for a in angles] + [math.sin(a) for a in angles]]])
    assert torch.allclose(part(t), part.net(features), atol=1e-5) and torch.allclose(flipped(1 - t), part(t), atol=1e-5)


def test_time_as_the_number_of_a_level():
    torch.manual_seed(0)
    part, levels = TimeEmbedding(D, features=8), TimeEmbedding(D, features=8, levels=1000)
    levels.load_state_dict(part.state_dict())
    number = torch.tensor([[0.0, 17, 998, 999]])
    assert torch.equal(levels(1 - (number + 1) / 1000), part.net(torch.cat([f(number[..., None] * part.frequency) for f in (torch.cos, torch.sin)], -1)))
    assert TimeEmbedding(D, features=8, closed=True).frequency[-1].item() == pytest.approx(1e-4)


# ---- norms, MLPs, experts, blocks ------------------------------------------------------------------------------------


def test_norms():
    y = x()
    for kind, want in (
        ("layer", (y - y.mean(-1, keepdim=True)) / (y.var(-1, correction=0, keepdim=True) + 1e-6).sqrt()),
        ("rms", y / (y.square().mean(-1, keepdim=True) + 1e-6).sqrt()),
    ):
        assert torch.allclose(norm(kind, D).double()(y), want) and not list(norm(kind, D, affine=False).parameters())
    with pytest.raises(BadArgument):
        norm("batch", D)


@pytest.mark.parametrize("kind", ["gelu", "gelu_tanh", "silu", "relu2", "swiglu", "geglu", "geglu_tanh"])
def test_mlps(kind):
    part = stirred(Mlp(D, ratio=2.0, activation=kind))
    feed, y = part.feed.each[0], x()
    act = {
        "gelu": torch.nn.GELU(),
        "gelu_tanh": torch.nn.GELU("tanh"),
        "silu": torch.nn.SiLU(),
        "relu2": lambda z: z.clamp(min=0) ** 2,
        "swiglu": torch.nn.SiLU(),
        "geglu": torch.nn.GELU(),
        "geglu_tanh": torch.nn.GELU("tanh"),
    }[kind]
    up = feed.up(y)
    inner = act(up[..., : 2 * D]) * up[..., 2 * D :] if kind in ("swiglu", "geglu", "geglu_tanh") else act(up)
    assert inner.shape[-1] == 2 * D and torch.allclose(part(y, env()), feed.down(inner))
    with pytest.raises(BadArgument, match="an activation is one of"):
        Mlp(D, activation="tan")


def test_one_expert_is_the_dense_mlp():
    experts = stirred(Experts(D, 1, Spec(Mlp)))
    assert torch.allclose(experts(x(), env()), experts.experts[0](x(), env()))
    several = stirred(Experts(D, 4, Spec(Mlp), top=4, renormalise=True))
    for expert in several.experts[1:]:
        expert.load_state_dict(several.experts[0].state_dict())
    assert torch.allclose(several(x(), env()), several.experts[0](x(), env())), "equal experts are one"


@pytest.mark.parametrize("top", [1, 2, 3])
@pytest.mark.parametrize("renormalise", [False, True])
def test_experts_equal_the_loop_over_tokens(top, renormalise):
    part, y = stirred(Experts(D, 3, Spec(Mlp), top=top, shared=1, renormalise=renormalise)), x()
    want = torch.zeros_like(y)
    for b in range(B):
        for i in range(L):
            share = part.router(y[b, i]).softmax(0)
            best = share.argsort(descending=True)[:top]
            weight = share[best] / (share[best].sum() if renormalise else 1)
            token = y[b : b + 1, i : i + 1]
            want[b, i] = sum(w * part.experts[int(e)](token, env())[0, 0] for w, e in zip(weight, best, strict=True)) + part.shared[0](token, env())[0, 0]
    assert torch.allclose(part(y, env()), want, atol=1e-6)  # the router's softmax is in float32


def test_the_balance_is_one_when_the_load_is_even_and_more_when_not():
    part = stirred(Experts(D, 2, Spec(Mlp), balance=1.0)).train()
    with torch.no_grad():
        part.router.weight.zero_()
        part.router.weight[0, 0], part.router.weight[1, 0] = 1.0, -1.0
    y = torch.zeros(1, 12, D, dtype=torch.float64)
    y[0, ::2, 0], y[0, 1::2, 0] = 3.0, -3.0
    even, skewed, quiet = env(rows=1), env(rows=1), env(rows=1)
    part(y, even)
    part(y.abs(), skewed)
    assert float(even.dues["balance"].detach()) == pytest.approx(1.0, abs=1e-6)
    assert float(skewed.dues["balance"].detach()) == pytest.approx(2 * torch.sigmoid(torch.tensor(6.0)).item(), abs=1e-5)
    part.eval()(y, quiet)
    assert not quiet.dues
    padded = env(rows=1)
    padded.doc = padded.doc.clone()
    padded.doc[:, 1::2] = -1
    part.train()(y, padded)
    alone = env(rows=1)
    part(y[:, ::2], replace(alone, doc=alone.doc[:, ::2]))
    assert float(padded.dues["balance"].detach()) == pytest.approx(float(alone.dues["balance"].detach())), "padding is nobody's load"
    twice = env(rows=1)
    part.train()(y, twice), part(y, twice)
    assert float(twice.dues["balance"].detach()) == pytest.approx(2.0, abs=1e-5), "dues of several blocks add up"
    with pytest.raises(BadArgument, match="1 to 2 experts"):
        Experts(D, 2, Spec(Mlp), top=3)


def block(**args):
    return Spec(PreNorm, {"mixer": Spec(Attention, {"heads": 4}), "mlp": Spec(Mlp), **args})


@torch.no_grad()
def test_blocks_by_hand():
    y = x()
    pre = stirred(block().build(width=D))
    h = y + pre.mixer(pre.norm_mixer(y), env())
    assert torch.allclose(pre(y, env()), h + pre.mlp(pre.norm_mlp(h), env()))
    post = stirred(PostNorm(D, Spec(Attention, {"heads": 4}), Spec(Mlp)))
    h = post.norm_mixer(y + post.mixer(y, env()))
    assert torch.allclose(post(y, env()), post.norm_mlp(h + post.mlp(h, env())))
    told = x(B, 1, D, seed=3)
    zero = stirred(block(modulate="zero").build(width=D))
    here = env(modulation=told)
    c = zero.modulation[0].out(torch.nn.functional.silu(told)).chunk(6, -1)
    h = y + c[2] * zero.mixer(zero.norm_mixer(y) * (1 + c[1]) + c[0], here)
    assert torch.allclose(zero(y, here), h + c[5] * zero.mlp(zero.norm_mlp(h) * (1 + c[4]) + c[3], here))
    fresh = block(modulate="zero").build(width=D).double()
    assert torch.equal(fresh(y, here), y), "adaLN-Zero starts as the identity"
    each = env(modulation=told.expand(B, L, D))
    assert torch.allclose(zero(y, each), zero(y, here))
    with pytest.raises(BadArgument, match="modulate is"):
        block(modulate="one").build(width=D)


@torch.no_grad()
def test_streams_are_modulated_each_by_its_own_places():
    two = stirred(block(modulate="zero", streams=2).build(width=D))
    told = x(B, L, D, seed=3)
    two.mixer.qkv.each[1].load_state_dict(two.mixer.qkv.each[0].state_dict())
    two.mixer.out.each[1].load_state_dict(two.mixer.out.each[0].state_dict())
    two.mlp.feed.each[1].load_state_dict(two.mlp.feed.each[0].state_dict())
    two.modulation[1].load_state_dict(two.modulation[0].state_dict())
    one = block(modulate="zero").build(width=D).double()
    one.load_state_dict({k: v for k, v in two.state_dict().items() if ".each.1" not in k and "modulation.1" not in k})
    for prefix in (0, 3, L):
        assert torch.allclose(two(x(), env(prefix=prefix, modulation=told)), one(x(), env(modulation=told)))


@torch.no_grad()
def test_long_skips_join_mirrored_halves():
    stack = stirred(Stack(D, 5, block(), skips=True, final=None))
    y, b, s = x(), stack.blocks, stack.skips
    assert len(s) == 2
    h0 = b[0](y, env())
    h1 = b[1](h0, env())
    h2 = b[2](h1, env())
    h3 = b[3](s[0](torch.cat([h2, h1], -1)), env())
    h4 = b[4](s[1](torch.cat([h3, h0], -1)), env())
    assert torch.allclose(stack(y, env()), h4)


@torch.no_grad()
def test_a_shared_map_with_offsets_is_adaln_single():
    stack = stirred(Stack(D, 2, block(modulate="single"), shared=True, final="adaln"))
    told = x(B, 1, D, seed=3)
    shared = stack.shared.out(torch.nn.functional.silu(told))
    y = x()
    for part in stack.blocks:
        c = (shared + part.modulation[0].offset).chunk(6, -1)
        y = y + c[2] * part.mixer(part.norm_mixer(y) * (1 + c[1]) + c[0], env())
        y = y + c[5] * part.mlp(part.norm_mlp(y) * (1 + c[4]) + c[3], env())
    shift, scale = stack.final_mod.out(torch.nn.functional.silu(told)).chunk(2, -1)
    assert torch.allclose(stack(x(), env(modulation=told)), stack.final(y) * (1 + scale) + shift)


def test_rotary_needs_a_space():
    with pytest.raises(BadArgument, match="need the space"):
        Stack(D, 1, block(), rotary=Spec(Rotary, {"head_width": 4}))


# ---- the encoder of what is known ------------------------------------------------------------------------------------


def encode_known(buffer=2, **args):
    stack = Spec(Stack, {"depth": 1, "block": block()})
    return stirred(EncodeKnown(D, GRID, args.get("encoder", stack), stack, positions=(Spec(LearnedPositions),), buffer=buffer, last_positions=True))


@torch.no_grad()
@pytest.mark.parametrize("rotary", [False, True])
def test_with_nothing_hidden_it_is_encoder_then_decoder(rotary):
    turned = Spec(Stack, {"depth": 1, "block": block(), "rotary": Spec(Rotary, {"head_width": 4})})
    part, y = encode_known(**({"encoder": turned} if rotary else {})), x()
    h = part.norm(y + part.encode_places[0](env().coord))
    h = part.enter(part.encoder(h, env())) + part.decode_places[0](env().coord)
    assert torch.allclose(part(y, env()), part.decoder(h, env()) + part.last_places[0](env().coord))


@torch.no_grad()
@pytest.mark.parametrize("prefix", [0, 1])
def test_what_is_hidden_never_leaks(prefix):
    """Other content at hidden places, or at padding, changes nothing; at known places it does. Rows know different numbers of places, one none at all."""
    part, rows = encode_known(), 4
    g = torch.Generator().manual_seed(0)
    known = torch.rand(rows, L, generator=g) < torch.tensor([[0.2], [0.5], [0.9], [0.0]])
    doc = torch.zeros(rows, L, dtype=torch.long)
    doc[1, 9:] = -1
    ahead = lambda t, v: torch.cat([torch.full((rows, prefix, *t.shape[2:]), v, dtype=t.dtype), t], 1)  # noqa: E731
    mask = None if prefix else None
    here = lambda: env(
        rows=rows,
        known=ahead(known, True),
        doc=ahead(doc, 0),
        coord=ahead(GRID.blank(rows).coord, 0.0),
        turn=ahead(torch.zeros_like(doc), -1),  # noqa: E731
        lane=ahead(torch.zeros_like(doc), 0),
        kind=ahead(torch.zeros_like(doc), 0),
        prefix=prefix,
        mask=mask,
    )
    y = x(rows, prefix + L, D)
    before = part(y, here())[:, prefix:]
    unseen = ahead(~known | (doc < 0), False)
    other = torch.where(unseen[..., None], x(rows, prefix + L, D, seed=5), y)
    assert torch.equal(part(other, here())[:, prefix:], before)
    seen = torch.where(unseen[..., None], y, x(rows, prefix + L, D, seed=5))
    moved = (part(seen, here())[:, prefix:] - before).abs().amax((1, 2)) > 1e-8
    assert moved.tolist() == [True, True, True, bool(prefix)]
    for row in range(rows):  # and a row's answer is its own
        alone = here()
        one = lambda t, row=row: t[row : row + 1]
        alone = replace(alone, **{n: one(getattr(alone, n)) for n in ("coord", "kind", "turn", "lane", "doc", "known")})
        assert torch.allclose(part(one(y), alone)[:, prefix:], one(before))


@torch.no_grad()
def test_it_refuses_what_it_cannot_do():
    part = encode_known()
    turns = torch.arange(L)[None].expand(B, -1)
    with pytest.raises(PatternUnsupported, match="one turn in one lane"):
        part(x(), env(turn=turns, pattern="causal"))
    with pytest.raises(BadArgument, match="one token before the sequence, not of 3"):
        part(x(), env(prefix=3))


# ---- embedding -------------------------------------------------------------------------------------------------------


def question(space, ids=None, vec=None, **changes):
    tokens = replace(space.blank(B), ids=ids, vec=vec)
    zero = torch.zeros(B, space.length, dtype=torch.long)
    return Query(tokens=tokens, known=torch.ones(B, space.length, dtype=torch.bool), turn=zero, lane=zero, progress=torch.zeros(B), **changes)


def test_an_embedding_says_what_is_known_and_a_mask_where_it_is_not():
    torch.manual_seed(0)
    space = Space(axes=(Axis("t", 3),), vocab=(5, 7), channels=2)
    part = Embed(D, space, positions=(Spec(LearnedPositions),), kinds=2, aim=True)
    g = torch.Generator().manual_seed(0)
    ids, vec = torch.stack([torch.randint(0, v, (B, 3), generator=g) for v in (5, 7)], -1), torch.randn(B, 3, 2, generator=g)
    known = torch.tensor([[True, False, True]] * B)
    asked = replace(question(space, ids, vec, aim=space.blank(B).coord.flip(1)), known=known)
    content = part.tables[0](ids[..., 0]) + part.tables[1](ids[..., 1]) + part.enter(vec)
    start, add = torch.randn(B, D, generator=g), torch.randn(B, D, generator=g)
    want = (
        torch.where(known[..., None], content, part.mask + start[:, None])
        + add[:, None]
        + part.positions[0].table
        + part.aims[0].table.flip(0)
        + part.kinds.weight[0]
    )
    assert torch.allclose(part(asked, start=start, add=add), want, atol=1e-6)
    fed = Embed(D, Space(axes=space.axes, vocab=(5,)), channels=4, norm=True)
    assert not len(fed.tables) and fed.enter.in_features == 4
    bits = Embed(D, Space(axes=space.axes, vocab=(16,), bits=4), extra_ids=1)
    assert bits.tables[0].num_embeddings == 17
    with pytest.raises(BadArgument, match="needs codes or channels"):
        Embed(D, Space(axes=space.axes))


def test_rotary_axes_by_name_leave_the_others_alone():
    space = Space(axes=(Axis("scale", 2), Axis("y", 3), Axis("x", 4)), channels=1)
    named, by_hand = Rotary(8, space, axes=("y", "x")), Rotary(8, space, share=(0, 2, 2))
    coord = torch.randint(0, 2, (1, 5, 3)).float()
    moved = coord + torch.tensor([1.0, 0.0, 0.0])
    for one, other, still in zip(named(coord)[:2], by_hand(coord)[:2], named(moved)[:2], strict=True):
        assert torch.equal(one, other) and torch.equal(one, still)
    with pytest.raises(Exception, match="no axis"):
        Rotary(8, space, axes=("z",))
