"""Known and asked places with weights of their own, and blocks normed on both sides."""

from __future__ import annotations

import importlib.util
import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from omniform.backbones.attention import Attention
from omniform.backbones.blocks import Sandwich
from omniform.backbones.mlp import Mlp
from omniform.backbones.positions import LearnedPositions, Rotary
from omniform.backbones.roles import ByRole
from omniform.backbones.stack import EncodeKnown, Stack
from omniform.core.errors import BadArgument, PatternUnsupported
from omniform.core.spec import Spec
from omniform.core.tokens import Axis, Space

_SPEC = importlib.util.spec_from_file_location("parts_beside", Path(__file__).with_name("test_parts.py"))
_BESIDE = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(_BESIDE)
env, x, stirred, block, B, D, GRID, L = (getattr(_BESIDE, n) for n in ("env", "x", "stirred", "block", "B", "D", "GRID", "L"))
CLIP = Space(axes=(Axis("frame", 3), Axis("y", 2), Axis("x", 2)), channels=5)
HEADS, KV, WIDE = 4, 2, 6


def sandwich(kinds: int = 2) -> Spec:
    mixer = Spec(Attention, {"heads": HEADS, "kv_heads": KV, "head_width": WIDE, "biases": "", "qk_norm": "rms_wide"})
    return Spec(Sandwich, {"kinds": kinds, "mixer": mixer, "mlp": Spec(Mlp, {"hidden": 12, "activation": "swiglu", "bias": False})})


def joint(depth: int = 2) -> ByRole:
    return stirred(ByRole(D, CLIP, Spec(Stack, {"depth": depth, "final": None, "rotary": Spec(Rotary, {"head_width": WIDE}), "block": sandwich()})))


def question(space=CLIP, **changes):
    known = torch.tensor([[1, 1, 1, 1, 0, 1, 1, 1, 0, 0, 0, 0], [1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0]]).bool()
    return env(space, known=known, modulation=x(B, 1, D, seed=4), **changes)


def rms(y, weight=None):
    made = y / (y.square().mean(-1, keepdim=True) + 1e-6).sqrt()
    return made if weight is None else made * weight


def slow(part: ByRole, content, known, coord, time):
    """One row by two lists of vectors, one of each role, a place at a time."""
    role = [0 if k else 1 for k in known]
    told = [time + part.roles[r] for r in (0, 1)]
    stream = []
    for place, r in enumerate(role):
        enter = part.enter.each[r]
        stream.append(torch.nn.functional.layer_norm(enter[0](content[place]), (D,), enter[1].weight, enter[1].bias))
    for b in part.stack.blocks:
        chunks = [m.out(torch.nn.functional.silu(told[r])).chunk(4) for r, m in enumerate(b.maps)]
        queries, keys, values = [], [], []
        for place, r in enumerate(role):
            y = rms(stream[place]) * (1 + chunks[r][0])
            q, k, v = b.mixer.qkv.each[r](y).split([HEADS * WIDE, KV * WIDE, KV * WIDE])
            q, k = rms(q, b.mixer.norm.q.each[r].weight), rms(k, b.mixer.norm.k.each[r].weight)
            turned = []
            for y, num in ((q, HEADS), (k, KV)):
                heads = []
                for head in y.view(num, WIDE):
                    pairs = []
                    for pair in range(WIDE // 2):  # a pair an axis: with frequency 1
                        angle, (a, c) = float(coord[place, pair]), (head[pair], head[pair + WIDE // 2])
                        pairs.append((a * math.cos(angle) - c * math.sin(angle), c * math.cos(angle) + a * math.sin(angle)))
                    heads.append(torch.stack([p[0] for p in pairs] + [p[1] for p in pairs]))
                turned.append(heads)
            queries.append(turned[0]), keys.append(turned[1]), values.append(v.view(KV, WIDE))
        after = []
        for place, r in enumerate(role):
            heads = []
            for head in range(HEADS):
                group = head // (HEADS // KV)
                share = torch.stack([queries[place][head] @ k[group] / math.sqrt(WIDE) for k in keys]).softmax(0)
                heads.append(sum(s * v[group] for s, v in zip(share, values, strict=True)))
            after.append(stream[place] + chunks[r][1].tanh() * rms(b.mixer.out.each[r](torch.cat(heads))))
        stream = []
        for y, r in zip(after, role, strict=True):
            gate, value = b.mlp.feed.each[r].up(rms(y) * (1 + chunks[r][2])).chunk(2)
            stream.append(y + chunks[r][3].tanh() * rms(b.mlp.feed.each[r].down(torch.nn.functional.silu(gate) * value)))
    last = part.scale.out(torch.nn.functional.silu(told[1]))
    return torch.stack([rms(y) * (1 + last) for y in stream])


@torch.no_grad()
def test_it_is_two_transformers_that_attend_together():
    part, here, content = joint(), question(), x(B, 12, 5)
    said = part(torch.nn.functional.pad(content, (0, D - 5)), here)
    for row in range(B):
        want = slow(part, content[row], here.known[row].tolist(), here.coord[row], here.modulation[row, 0])
        assert torch.allclose(said[row], want, atol=1e-6)


@torch.no_grad()
def test_with_equal_weights_it_is_one_transformer():
    part, here, y = joint(), question(), x(B, 12, D)
    part.roles[1] = part.roles[0]
    one = stirred(Stack(D, 2, sandwich(0), CLIP, final=None, rotary=Spec(Rotary, {"head_width": WIDE})))
    weights = part.state_dict()
    for name in weights:  # the known's are the asked's
        if ".each.1." in name or ".maps.1." in name:
            weights[name].copy_(weights[name.replace(".each.1.", ".each.0.").replace(".maps.1.", ".maps.0.")])
    names = {name.removeprefix("stack."): name for name in weights if name.startswith("stack.")}
    one.load_state_dict({name: weights[names[name if name in names else name.replace("norm.q.0", "norm.q.each.0").replace("norm.k.0", "norm.k.each.0")]]
                         for name in one.state_dict()})  # fmt: skip
    told = here.modulation + part.roles[0]
    want = one(part.enter.each[0](y[..., :5]), replace(here, modulation=told))
    assert torch.allclose(part(y, here), rms(want) * (1 + part.scale(told)[0]), atol=1e-9)
    assert not torch.allclose(joint()(y, here), part(y, here), atol=1e-3)


@torch.no_grad()
def test_a_fresh_block_changes_nothing():
    fresh = sandwich().build(width=D).double()
    here = replace(question(), kind=torch.zeros(B, 12, dtype=torch.long), modulation=x(B, 2, D))
    assert torch.equal(fresh(x(B, 12, D), here), x(B, 12, D))


@torch.no_grad()
def test_later_frames_ask_the_same():
    """Positions are relative: a clip that stands later is answered alike, so that unused frames before it may be left out."""
    part, here, y = joint(), question(), x(B, 12, D)
    late = replace(here, coord=here.coord + torch.tensor([4.0, 0.0, 0.0]))
    assert torch.allclose(part(y, late), part(y, here), atol=1e-5)


def test_what_it_cannot_do_is_refused():
    with pytest.raises(PatternUnsupported, match="one time a row"):
        joint()(x(B, 12, D), replace(question(), modulation=x(B, 12, D)))
    with pytest.raises(BadArgument, match="2 modulations a row, not 1"):
        stirred(sandwich().build(width=D))(x(B, 12, D), question())


@torch.no_grad()
def test_a_prefix_of_many_tokens_stands_where_copies_stood():
    """Copies of one token, and as many tokens that are equal: the same answers; other tokens, others."""
    stack = Spec(Stack, {"depth": 1, "block": block()})
    make = lambda **how: stirred(EncodeKnown(D, GRID, stack, stack, positions=(Spec(LearnedPositions),), **how))  # noqa: E731
    copied, whole = make(buffer=3), make(prefix=3)
    whole.load_state_dict(copied.state_dict())

    def asked(prefix):
        ahead = lambda t, v: torch.cat([torch.full((B, prefix, *t.shape[2:]), v, dtype=t.dtype), t], 1)  # noqa: E731
        known, blank = torch.arange(L)[None].expand(B, -1) % 3 == 0, GRID.blank(B)
        zero = ahead(blank.doc, 0)
        return env(known=ahead(known, True), coord=ahead(blank.coord, 0.0), doc=zero, turn=zero, lane=zero, kind=zero, prefix=prefix)

    y, one = x(), x(B, 1, D, seed=3)
    few, many = torch.cat([one, y], 1), torch.cat([one.expand(-1, 3, -1), y], 1)
    assert torch.allclose(copied(few, asked(1))[:, 1:], whole(many, asked(3))[:, 3:], atol=1e-9)
    other = torch.cat([x(B, 3, D, seed=9), y], 1)
    assert float((whole(other, asked(3))[:, 3:] - whole(many, asked(3))[:, 3:]).abs().amin((1, 2)).max()) > 0
    with pytest.raises(BadArgument, match="3 real tokens that prefix says before the sequence, not of 1"):
        whole(few, asked(1))
