"""What latent diffusion transformers add to DiT: each against a slow reading of its definition, or in the limit where it is something known."""

from __future__ import annotations

import importlib.util
import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from omniform.backbones.attention import Attention, CompressedAttention, CrossAttention, ToldAttention, Windowed
from omniform.backbones.blocks import Chain, PreNorm
from omniform.backbones.embed import Embed
from omniform.backbones.lines import Lines
from omniform.backbones.mlp import Mlp
from omniform.backbones.norms import AdaLN, LowRankAdaLN, Modulated, SharedAdaLN
from omniform.backbones.positions import Rotary, SinCosPositions, SpanRotary, rotate
from omniform.backbones.source import TextSource
from omniform.backbones.stack import Stack
from omniform.core.errors import BadArgument, PatternUnsupported
from omniform.core.net import Context, Encoded
from omniform.core.spec import Spec
from omniform.core.tokens import Axis, Space
from omniform.processes.masked import asked

_SPEC = importlib.util.spec_from_file_location("parts_beside", Path(__file__).with_name("test_parts.py"))
_BESIDE = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(_BESIDE)
env, x, stirred, B, D, GRID = _BESIDE.env, _BESIDE.x, _BESIDE.stirred, _BESIDE.B, _BESIDE.D, _BESIDE.GRID
H = 4
EVEN = Space(axes=(Axis("y", 4), Axis("x", 6)), channels=2)


# ---- attention -------------------------------------------------------------------------------------------------------


@torch.no_grad()
def test_compressed_attention_by_loops():
    part = stirred(CompressedAttention(D, H, stride=2))
    y = x(B, 24, D)
    q, k, v = part.qkv(y).chunk(3, -1)
    want = torch.zeros_like(y)
    for b in range(B):
        fewer = []
        for z in (k[b], v[b]):
            rows = []
            for i in range(0, 4, 2):
                for j in range(0, 6, 2):
                    seen = torch.stack([part.compress.weight[:, 0, di, dj] * z[(i + di) * 6 + j + dj] for di in (0, 1) for dj in (0, 1)]).sum(0)
                    rows.append(part.norm(seen + part.compress.bias))
            fewer.append(torch.stack(rows).unflatten(-1, (H, -1)))
        for h in range(H):
            score = (q[b].unflatten(-1, (H, -1))[:, h] @ fewer[0][:, h].T / math.sqrt(D // H)).softmax(-1)
            want[b, :, h * (D // H) : (h + 1) * (D // H)] = score @ fewer[1][:, h]
    assert torch.allclose(part(y, env(EVEN)), part.out(want), atol=1e-8)


@torch.no_grad()
def test_compression_starts_as_the_mean():
    y = x(B, 24, D)
    means = y.unflatten(1, (2, 2, 3, 2)).mean((2, 4)).flatten(1, 2)
    assert torch.allclose(CompressedAttention(D, H, 2).double().compressed(y, 4), means)


def test_what_cannot_be_compressed():
    part, flat = CompressedAttention(D, H, 2), Space(axes=(Axis("y", 3), Axis("x", 4)), channels=2)
    with pytest.raises(BadArgument, match="3 x 4 does not divide"):
        part(torch.zeros(B, 12, D), env(flat))
    with pytest.raises(PatternUnsupported, match="sees everything"):
        part(torch.zeros(B, 24, D), env(EVEN, pattern="causal"))
    with pytest.raises(BadArgument, match="a stride of 2 or more"):
        CompressedAttention(D, H, 1)


@torch.no_grad()
@pytest.mark.parametrize("kind", ["rms_wide", "layer_wide"])
def test_a_wide_norm_is_over_all_heads(kind):
    part = stirred(Attention(D, H, kv_heads=2, qk_norm=kind, qk_eps=1e-5))
    y = x(B, 12, D)
    q, k, v = part.qkv.each[0](y).split([D, D // 2, D // 2], -1)
    plain = {"rms_wide": lambda z: z / (z.square().mean(-1, keepdim=True) + 1e-5).sqrt(),
             "layer_wide": lambda z: (z - z.mean(-1, keepdim=True)) / (z.var(-1, correction=0, keepdim=True) + 1e-5).sqrt()}[kind]  # fmt: skip
    shift = lambda n: n.bias if kind == "layer_wide" else 0  # noqa: E731
    q, k = (plain(z) * n[0].weight + shift(n[0]) for z, n in ((q, part.norm.q), (k, part.norm.k)))
    q, k, v = (z.unflatten(-1, (-1, D // H)).transpose(1, 2) for z in (q, k, v))
    score = (q @ k.repeat_interleave(2, 1).mT / math.sqrt(D // H)).softmax(-1)
    want = part.out.each[0]((score @ v.repeat_interleave(2, 1)).transpose(1, 2).flatten(2))
    assert torch.allclose(part(y, env()), want)
    with pytest.raises(BadArgument, match="of one stream"):
        Attention(D, H, qk_norm=kind, streams=2)


@torch.no_grad()
def test_a_cross_attention_that_starts_at_zero_and_norms_what_it_reads():
    said = Encoded(x(B, 5, D), x(B, D), torch.zeros(B, 5, 1), torch.zeros(B, 5, dtype=torch.long))
    told = env(context=Context(B, cross=said))
    assert not CrossAttention(D, H, zero=True).double()(x(B, 12, D), told).any()
    part = stirred(CrossAttention(D, H, norm_context=True))
    plain = CrossAttention(D, H).double()
    plain.load_state_dict({n: w for n, w in part.state_dict().items() if not n.startswith("norm_context")})
    normed = replace(said, tokens=part.norm_context(said.tokens))
    assert torch.allclose(part(x(B, 12, D), told), plain(x(B, 12, D), env(context=Context(B, cross=normed))))


# ---- the last block of two streams -----------------------------------------------------------------------------------


@torch.no_grad()
def test_a_prefix_that_ends_changes_nothing_for_the_sequence():
    spec = {"mixer": Spec(Attention, {"heads": H, "qk_norm": "rms"}), "mlp": Spec(Mlp), "modulate": "zero", "streams": 2}
    whole, ends = stirred(PreNorm(D, **spec)), PreNorm(D, **spec, ends=True).double()
    own, mine = ends.state_dict(), whole.state_dict()
    ends.load_state_dict({n: mine[n][: len(w)] for n, w in own.items()})  # of the prefix's six chunks the first two
    assert len(own) < len(mine)
    for modulation in (x(B, 1, D), x(B, 12, D)):
        told = env(prefix=4, modulation=modulation)
        y, z = whole(x(B, 12, D), told), ends(x(B, 12, D), told)
        assert torch.allclose(y[:, 4:], z[:, 4:]) and torch.equal(z[:, :4], x(B, 12, D)[:, :4])
    with pytest.raises(BadArgument, match="streams=2 and modulate"):
        PreNorm(D, Spec(Attention, {"heads": H}), ends=True)


# ---- norms and modulation --------------------------------------------------------------------------------------------


@torch.no_grad()
def test_the_last_norm_by_table_and_by_map():
    y, c = x(B, 12, D), x(B, 1, D, seed=1)
    table = stirred(Modulated(D, by="table"))
    normed = (y - y.mean(-1, keepdim=True)) / (y.var(-1, correction=0, keepdim=True) + 1e-6).sqrt()
    assert torch.allclose(table(y, c), normed * (1 + c + table.table[1]) + c + table.table[0])
    mapped = stirred(Modulated(D, kind="rms", affine=True, told=D))
    shift, scale = mapped.map(c)
    assert torch.allclose(mapped(y, c), y / (y.square().mean(-1, keepdim=True) + 1e-6).sqrt() * mapped.norm.weight * (1 + scale) + shift)
    dit = stirred(Stack(D, 1, Spec(PreNorm, {"mixer": Spec(Attention, {"heads": H}), "modulate": "zero"}), final="adaln"))
    same = Stack(D, 1, Spec(PreNorm, {"mixer": Spec(Attention, {"heads": H}), "modulate": "zero"}), final=Spec(Modulated)).double()
    same.load_state_dict({n.replace("final_mod", "ending.map"): w for n, w in dit.state_dict().items()})
    assert torch.allclose(dit(y, env(modulation=c)), same(y, env(modulation=c)))
    with pytest.raises(BadArgument, match="'map' or by a 'table'"):
        Modulated(D, by="hand")


@torch.no_grad()
def test_low_rank_modulation_is_a_shared_one_and_a_product():
    e, every = x(B, 1, D), x(B, 1, 6 * D, seed=1)
    part = LowRankAdaLN(D, 6, rank=2).double()
    shared = SharedAdaLN(D, 6).double()
    shared.offset.zero_()
    said = torch.cat([every, e], -1)
    for i, (one, other) in enumerate(zip(part(said), shared(every), strict=True)):  # the product starts at zero
        assert torch.allclose(one, 1 - other if i in (2, 5) else other)
    part = stirred(part)
    full = every + e @ part.down.weight.T @ part.up.weight.T + part.offset
    assert torch.allclose(part(said)[0], full[..., :D]) and torch.allclose(part(said)[2], 1 - full[..., 2 * D : 3 * D])


@torch.no_grad()
def test_a_shared_map_beside_the_modulation():
    block = Spec(PreNorm, {"mixer": Spec(Attention, {"heads": H}), "mlp": Spec(Mlp), "modulate": Spec(LowRankAdaLN, {"rank": 2})})
    stack = Stack(D, 2, block, shared="beside", final=None).double()
    plain = Stack(D, 2, Spec(PreNorm, {"mixer": Spec(Attention, {"heads": H}), "mlp": Spec(Mlp), "affine": False}), final=None).double()
    plain.load_state_dict({n: w for n, w in stack.state_dict().items() if "modulation" not in n and "shared" not in n})
    told = env(modulation=x(B, 1, D, seed=1))
    assert torch.allclose(stack(x(), told), plain(x(), told)), "at the start the gates are open and nothing is shifted: a plain pre-norm stack"
    assert isinstance(stack.shared, AdaLN)


# ---- positions -------------------------------------------------------------------------------------------------------


def test_rotations_by_fractions_of_a_span():
    space = Space(axes=(Axis("t", 3), Axis("y", 2), Axis("x", 2)), channels=1)
    width, heads, scale = 32, 4, (0.1, 0.2, 0.25)
    part = SpanRotary(width, heads, space, scale)
    coord = space.blank(1).coord
    y = x(1, heads, 12, width // heads).float()
    turned = rotate(y, part(coord)).transpose(1, 2).flatten(2)[0]
    flat = y.transpose(1, 2).flatten(2)[0]
    assert torch.allclose(turned[:, :2], flat[:, :2]), "32 - 6 * 5 channels are left over, and come first"
    for place, at in enumerate(coord[0].tolist()):
        for k in range(5):
            for axis in range(3):
                angle = math.pi / 2 * 10000 ** (k / 4) * (2 * at[axis] * scale[axis] - 1)
                i = 2 + 2 * (3 * k + axis)
                pair = complex(flat[place, i], flat[place, i + 1]) * complex(math.cos(angle), math.sin(angle))
                assert complex(turned[place, i], turned[place, i + 1]) == pytest.approx(pair, abs=2e-2 if k == 4 else 2e-3)
    with pytest.raises(BadArgument, match="a scale for each of the 3 axes"):
        SpanRotary(width, heads, space, (0.1,))


def test_stretched_positions_contain_the_small_grid():
    small, large = Space(axes=(Axis("y", 4), Axis("x", 4)), channels=1), Space(axes=(Axis("y", 8), Axis("x", 8)), channels=1)
    coarse = SinCosPositions(D, small)(small.blank(1).coord).unflatten(1, (4, 4))
    fine = SinCosPositions(D, large, scale=0.5)(large.blank(1).coord).unflatten(1, (8, 8))
    assert torch.allclose(fine[:, ::2, ::2], coarse)
    clip = Space(axes=(Axis("t", 3), Axis("y", 4), Axis("x", 4)), channels=1)
    coord = clip.blank(1).coord
    assert torch.allclose(SinCosPositions(D, clip, axes=(1, 2))(coord).unflatten(1, (3, 16))[:, 1], SinCosPositions(D, small)(small.blank(1).coord))


# ---- stacks ----------------------------------------------------------------------------------------------------------


def test_other_blocks_late_and_last():
    block = lambda hidden: Spec(PreNorm, {"mixer": Spec(Attention, {"heads": H}), "mlp": Spec(Mlp, {"hidden": hidden})})  # noqa: E731
    hidden = lambda stack: [b.mlp.feed.each[0].up.out_features for b in (*stack.blocks, *([stack.last] if stack.last else []))]  # noqa: E731
    assert hidden(Stack(D, 5, block(1), late=block(2), last=block(3))) == [1, 1, 1, 2, 3]
    assert hidden(Stack(D, 4, block(1), late=block(2))) == [1, 1, 2, 2]
    torch.manual_seed(0)
    one = Stack(D, 3, block(5)).double()
    other = Stack(D, 3, block(5), last=block(5)).double()
    other.load_state_dict({n.replace("blocks.2", "last"): w for n, w in one.state_dict().items()})
    assert torch.equal(one(x(), env()), other(x(), env()))


@torch.no_grad()
def test_normed_skips():
    block = Spec(PreNorm, {"mixer": Spec(Attention, {"heads": H})})
    stack = stirred(Stack(D, 3, block, skips="normed", final=None))
    first = stack.blocks[0](x(), env())
    middle = stack.blocks[1](first, env())
    norm, join = stack.skips[0]
    assert torch.allclose(stack(x(), env()), stack.blocks[2](join(norm(torch.cat([middle, first], -1))), env()))


# ---- time and space, lines, gates, sources ---------------------------------------------------------------------------


@torch.no_grad()
def test_a_chain_and_a_map_behind():
    block = Spec(PreNorm, {"mixer": Spec(Attention, {"heads": H})})
    chain = stirred(Chain(D, (block, block)))
    assert torch.equal(chain(x(), env()), chain.blocks[1](chain.blocks[0](x(), env()), env()))
    with pytest.raises(BadArgument, match="a block or more"):
        Chain(D, ())
    behind = stirred(Windowed(D, EVEN, (0, 1), H, behind=True))
    plain = Windowed(D, EVEN, (4, 1), H).double()
    plain.load_state_dict({n: w for n, w in behind.state_dict().items() if not n.startswith("behind")})
    y = x(B, 24, D)
    assert torch.allclose(behind(y, env(EVEN)), behind.behind(plain(y, env(EVEN))))
    moved = y.clone()
    moved[:, 0] += 1  # the place (0, 0) is heard in its column only
    heard = (behind(moved, env(EVEN)) - behind(y, env(EVEN))).abs().amax((0, 2)).unflatten(0, (4, 6)) > 1e-9
    assert heard[:, 0].all() and not heard[:, 1:].any()


@torch.no_grad()
def test_what_is_known_beside_the_content():
    part = Embed(D, GRID, hidden=False, beside=True)
    content = torch.randn(B, 12, 2)
    known = torch.arange(12).expand(B, -1) % 3 == 0
    query = asked(replace(GRID.blank(B), vec=content), known, torch.zeros(B))
    weight, bias = part.enter.weight, part.enter.bias
    for place in range(12):
        shown = float(place % 3 == 0)
        want = content[:, place] @ weight[:, :2].T + shown * (content[:, place] @ weight[:, 2:4].T + weight[:, 4]) + bias
        assert torch.allclose(part(query)[:, place], want, atol=1e-5)


@torch.no_grad()
def test_a_gate_that_is_shut_is_self_attention():
    said = Encoded(x(B, 5, 6), x(B, D), torch.zeros(B, 5, 1), torch.tensor([[0] * 5, [0, 0, 0, -1, -1]]))
    part = stirred(ToldAttention(D, H, 6))
    part.gate.zero_()
    plain = Attention(D, H, biases="", qk_norm="layer_wide", qk_eps=1e-5).double()
    norms = [w for n in part.norms[:2] for w in (n.weight, n.bias)]
    plain.load_state_dict(dict(zip(plain.state_dict(), [part.qkv.weight, part.out.weight, *norms], strict=True)))
    told = env(context=Context(B, cross=said))
    assert torch.allclose(part(x(), told), plain(x(), env()))
    part.gate.fill_(0.7)
    y = x()
    heads = lambda z: z.unflatten(-1, (H, -1)).transpose(1, 2)  # noqa: E731
    q = heads(part.norms[0](part.qkv(y)[..., :D]))
    read = said.tokens / (said.tokens.square().mean(-1, keepdim=True) + 1e-5).sqrt() * part.norm_told.weight
    key, value = (part.told(read)[..., i * D : (i + 1) * D] for i in (0, 1))
    score = (q @ heads(part.norms[2](key)).mT / math.sqrt(D // H)).masked_fill((said.doc < 0)[:, None, None], -torch.inf).softmax(-1)
    more = part.out((math.tanh(0.7) * score @ heads(value)).transpose(1, 2).flatten(2))
    assert torch.allclose(part(y, told), plain(y, env()) + more)


@torch.no_grad()
def test_ends_of_lines_are_marked_and_dropped():
    clip = Space(axes=(Axis("t", 2), Axis("y", 2), Axis("x", 3)), channels=1)
    block = Spec(PreNorm, {"mixer": Spec(Attention, {"heads": H})})
    inner = Spec(Stack, {"depth": 1, "final": None, "rotary": Spec(Rotary, {"head_width": 4}), "block": block})
    part = stirred(Lines(D, clip, inner))
    order = part.order.tolist()
    assert order == [0, 1, 2, 12, 3, 4, 5, 12, 13, 6, 7, 8, 12, 9, 10, 11, 12, 13] and part.marks.shape == (2, D)
    line = Space(axes=(Axis("place", 18),), channels=1)
    y = x(B, 12, D)
    marked = torch.cat([y, part.marks.expand(B, -1, -1)], 1)[:, order]
    assert torch.allclose(part(y, env(clip)), part.inner(marked, env(line))[:, [i for i, o in enumerate(order) if o < 12]])
    bare, flat = stirred(Lines(D, clip, inner, ends=False)), Space(axes=(Axis("place", 12),), channels=1)
    assert bare.marks is None and torch.allclose(bare(y, env(clip)), bare.inner(y, env(flat)))
    with pytest.raises(PatternUnsupported, match="a whole grid at once"):
        part(y, env(clip, pattern="causal"))


@torch.no_grad()
def test_a_source_reads_its_condition_and_nothing_else():
    part = stirred(TextSource(4, GRID, context=16, length=3, depth=1, halvings=1, heads=2, hidden=8))
    said = Encoded(x(B, 3, 16), x(B, D), torch.zeros(B, 3, 1), torch.tensor([[0, 0, 0], [0, -1, -1]]))
    told = env(context=Context(B, cross=said))
    y = part(x(B, 12, 4), told)
    assert y.shape == (B, 12, 4) and torch.equal(y, part(x(B, 12, 4, seed=1), told))
    other = replace(said, tokens=said.tokens + (said.doc < 0)[..., None])
    assert torch.allclose(y, part(x(B, 12, 4), env(context=Context(B, cross=other)))), "padding is not heard"
    alone = Encoded(said.tokens[1:, :1], said.pooled[1:], said.coord[1:, :1], said.doc[1:, :1])
    h = alone.tokens
    for block in part.blocks[:1]:
        h = block(h, env(rows=1))
    h = part.halve[0](part.blocks[1](h, env(rows=1)))
    assert torch.allclose(y[1], part.out(torch.cat([h[0, 0], h.new_zeros(16)])).reshape(12, 4))
    with pytest.raises(BadArgument, match="a condition of 3 tokens"):
        part(x(B, 12, 4), env())
    with pytest.raises(BadArgument, match="cannot be halved"):
        TextSource(4, GRID, context=12, length=3)
