"""Known places by themselves, hidden ones reading them, and the last answer read again: against loops, and where it is a Stack."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from torch.nn import functional as F

from omniform.backbones.attention import Attention
from omniform.backbones.blocks import PreNorm
from omniform.backbones.disentangled import Disentangled, Reader, Thoughts
from omniform.backbones.mlp import Mlp
from omniform.backbones.stack import Stack
from omniform.core.errors import BadArgument, PatternUnsupported
from omniform.core.net import Context, Env, Record
from omniform.core.spec import Spec

D, H, L, B = 8, 2, 7, 3
KNOWN = torch.tensor([[1, 0, 1, 0, 0, 1, 0], [0, 0, 0, 0, 0, 0, 0], [1, 1, 1, 1, 1, 1, 0]]).bool()
PAST = torch.tensor([[1, 0, 0, 0, 0, 0, 0], [0, 0, 0, 0, 0, 0, 0], [1, 1, 1, 0, 0, 1, 0]]).bool()


def env(known=KNOWN, **more):
    zero = torch.zeros(len(known), known.shape[1], dtype=torch.long)
    told = torch.randn(len(known), 1, D, generator=torch.Generator().manual_seed(5))
    return Env(zero[..., None].float(), zero, zero, zero, zero, known, told, Context(len(known)), None, False, torch.zeros(len(known)), "full", None, **more)


def backbone(encoder=2, decoder=2, seed=0, **more):
    torch.manual_seed(seed)
    made = Disentangled(D, encoder, decoder, Spec(Reader, {"heads": H}), Spec(Mlp), **more)
    for p in made.parameters():
        torch.nn.init.normal_(p, std=0.3)
    return made.double()


def stream(seed=1):
    return torch.randn(B, L, D, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def env64(*args, **more):
    e = env(*args, **more)
    return replace(e, modulation=e.modulation.double())


def block_by_hand(block, x, told, others):
    """One row, a query at a time. x: vectors that are answered; others: vectors that are read."""
    normed = lambda y: F.layer_norm(y, (D,), eps=1e-6)  # noqa: E731
    s1, c1, s2, c2, g1, s3, c3, g3 = F.linear(F.silu(told), block.modulation.out.weight, block.modulation.out.bias).chunk(8)
    kv = [block.others(normed(y) * (1 + c2) + s2) for y in others] + [block.own(normed(y) * (1 + c1) + s1) for y in x]
    out = []
    for y in x:
        q, heads = block.q(normed(y) * (1 + c1) + s1), []
        for h in range(H):
            cut = slice(h * D // H, (h + 1) * D // H)
            scores = torch.stack([q[cut] @ z[:D][cut] for z in kv]) / math.sqrt(D / H)
            heads.append(sum(w * z[D:][cut] for w, z in zip(scores.softmax(0), kv, strict=True)))
        y = y + g1 * block.out(torch.cat(heads))
        feed = block.mlp.feed.each[0]
        out.append(y + g3 * feed.down(F.gelu(feed.up(normed(y) * (1 + c3) + s3), approximate="tanh")))
    return out


def by_hand(net, x, told, known, past=None):
    """One row. past: (what was said, what was known)."""
    said, old = {}, []
    if past is not None:
        feed = net.again.feed.each[0]
        old = [i for i in range(L) if known[i] and past[1][i]]
        for i in old:
            y = past[0][i]
            said[i] = y + feed.down(F.gelu(feed.up(net.norm_again(y)), approximate="tanh"))
    new = [i for i in range(L) if known[i] and i not in old]
    y = [x[i] for i in new]
    for block in net.encoder:
        y = block_by_hand(block, y, told, [said[i] for i in old])
    said.update(zip(new, y, strict=True))
    hidden = [i for i in range(L) if not known[i]]
    z = [x[i] for i in hidden]
    for block in net.decoder:
        z = block_by_hand(block, z, told, [said[i] for i in sorted(said)])
    said.update(zip(hidden, z, strict=True))
    return net.final(torch.stack([said[i] for i in range(L)]))


@torch.no_grad()
def test_by_hand_with_and_without_a_last_answer():
    net, x, e = backbone(), stream(), env64()
    past = Thoughts(stream(2), PAST)
    for kept, before in (({}, None), ({"": past}, past)):
        made = net(x, replace(e, kept=dict(kept)))
        for row in range(B):
            want = by_hand(net, x[row], e.modulation[row, 0], KNOWN[row], None if before is None else (before.said[row], before.known[row]))
            assert torch.allclose(made[row], want, atol=1e-10)


@torch.no_grad()
@pytest.mark.parametrize("all_known", [True, False])
def test_with_everything_known_or_hidden_it_is_a_stack(all_known):
    net, x, e = backbone(), stream(), env64(torch.full((B, L), all_known))
    plain = Stack(D, 2, Spec(PreNorm, {"mixer": Spec(Attention, {"heads": H}), "mlp": Spec(Mlp), "modulate": "zero"})).double()
    for theirs, mine in zip(plain.blocks, net.encoder if all_known else net.decoder, strict=True):
        theirs.mixer.qkv.each[0].weight.copy_(torch.cat([mine.q.weight, mine.own.weight]))
        theirs.mixer.qkv.each[0].bias.copy_(torch.cat([mine.q.bias, mine.own.bias]))
        theirs.mixer.out.each[0].load_state_dict(mine.out.state_dict())
        theirs.mlp.load_state_dict(mine.mlp.state_dict())
        w, b = (p.unflatten(0, (8, D))[[0, 1, 4, 5, 6, 7]].flatten(0, 1) for p in (mine.modulation.out.weight, mine.modulation.out.bias))
        theirs.modulation[0].out.weight.copy_(w)
        theirs.modulation[0].out.bias.copy_(b)
    plain.final.load_state_dict(net.final.state_dict())
    assert torch.allclose(net(x, e), plain(x, e), atol=1e-10)


def test_what_is_known_reads_nothing_hidden_and_everything_hidden_reads_it():
    net, x = backbone(), stream().requires_grad_()
    made = net(x, env64())
    (slope,) = torch.autograd.grad(made[0, KNOWN[0]].square().sum(), x, retain_graph=True)
    assert not slope[0, ~KNOWN[0]].any() and slope[0, KNOWN[0]].abs().sum(-1).gt(0).all()
    (slope,) = torch.autograd.grad(made[0, ~KNOWN[0]].square().sum(), x)
    assert slope[0].abs().sum(-1).gt(0).all() and not slope[1:].any()


@torch.no_grad()
def test_an_answer_is_kept_where_it_is_asked_for_and_then_old_places_are_not_looked_at():
    net, x, kept = backbone(), stream(), {}
    first = net(x, replace(env64(PAST, kept=kept), remember=True))
    assert torch.equal(kept[""].known, PAST) and torch.allclose(net.final(kept[""].said), first)
    net(x, env64(KNOWN, kept=kept))
    assert torch.equal(kept[""].known, PAST), "a question that is not remembered changes nothing"
    other = torch.where(PAST[..., None], stream(9), x)  # other content where it was known
    after, moved = (net(y, env64(KNOWN, kept=dict(kept))) for y in (x, other))
    assert torch.allclose(after, moved, atol=1e-12)
    assert not torch.allclose(after, net(x, env64(KNOWN)), atol=1e-3)


@torch.no_grad()
def test_a_row_that_is_padded_is_as_without_its_padding():
    net, x, e = backbone(), stream(), env64()
    doc = torch.zeros(B, L, dtype=torch.long)
    doc[:, 5:] = -1
    padded = net(x, replace(e, doc=doc, pattern="any"))[:, :5]
    short = replace(e, **{n: getattr(e, n)[:, :5] for n in ("coord", "kind", "turn", "lane", "doc", "known")})
    assert torch.allclose(padded, net(x[:, :5], short), atol=1e-10)


def test_refusals():
    net, x, e = backbone(), stream(), env64()
    with pytest.raises(BadArgument, match="only its last answer"):
        net(x, replace(e, record=Record()))
    with pytest.raises(PatternUnsupported, match="Use a Stack"):
        net(x, replace(e, pattern="any", turn=torch.arange(L).expand(B, L)))
    with pytest.raises(BadArgument, match="one vector a row"):
        net(x, replace(e, modulation=None))
    with pytest.raises(BadArgument, match="a block or more"):
        backbone(encoder=0)
    with pytest.raises(BadArgument, match="heads"):
        Reader(8, 3, Spec(Mlp))
