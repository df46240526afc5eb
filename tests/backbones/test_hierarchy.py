"""Hierarchies of levels: everything earlier is heard and nothing later, place by place is all at once, and limits in which they are something known."""
from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from omniform.backbones.attention import Attention
from omniform.backbones.axial import Axial
from omniform.backbones.blocks import Parallel, PreNorm
from omniform.backbones.embed import Embed
from omniform.backbones.hierarchy import GlobalLocal, Words
from omniform.backbones.mlp import Mlp
from omniform.backbones.positions import Rotary
from omniform.backbones.stack import Stack
from omniform.core.errors import BadArgument, PatternUnsupported, TurnError
from omniform.core.net import Context
from omniform.core.order import Raster, Shuffle
from omniform.core.query import Query
from omniform.core.rng import Rng
from omniform.core.spec import Spec
from omniform.core.tokens import Axis, Space
from omniform.heads.categorical import CategoricalHead
from omniform.processes.autoregress import Autoregress
from omniform.processes.feeds import Shift
from omniform.system.network import Network

D, V, WORD = 16, 8, 0
BLOCK = Spec(PreNorm, {"mixer": Spec(Attention, {"heads": 2}), "mlp": Spec(Mlp, {"ratio": 1.0})})
LEVEL = Spec(Stack, {"depth": 2, "block": BLOCK, "rotary": Spec(Rotary, {"head_width": 8})})
TEXT = Space(axes=(Axis("time", 22),), vocab=(V,), start=WORD)
COLOUR = Space(axes=(Axis("channel", 3), Axis("y", 3), Axis("x", 4)), vocab=(V,))
KINDS = {
    "blocks": (TEXT, Spec(GlobalLocal, {"size": 4, "outer": LEVEL, "inner": LEVEL})),
    "blocks of one": (TEXT, Spec(GlobalLocal, {"size": 1, "outer": LEVEL, "inner": LEVEL, "prefix": 1})),
    "words": (TEXT, Spec(Words, {"word": WORD, "wide": 24, "encoder": LEVEL, "decoder": LEVEL, "backbone": LEVEL.but({"rotary.head_width": 12})})),
    "colours": (COLOUR, Spec(Axial, {"block": BLOCK, "outer": 2, "inner": 2, "exterior": 2})),
    "grey": (Space(axes=(Axis("y", 4), Axis("x", 5)), vocab=(V,)), Spec(Axial, {"block": BLOCK, "outer": 3, "inner": 1})),
}


def network(kind):
    space, backbone = KINDS[kind]
    torch.manual_seed(0)
    net = Network(D, space, Spec(Embed, {"hidden": False, "std": 1.0}), backbone, Spec(CategoricalHead), init="torch").eval()
    with torch.no_grad():
        for p in net.parameters():
            p.copy_(torch.randn(p.shape) * 0.3)
    return net


def content(space, rows=3, seed=0, length=None):
    blank = space.blank(rows)
    ids = torch.randint(0, V, blank.ids.shape, generator=torch.Generator().manual_seed(seed))
    if space is TEXT:
        ids = torch.where(torch.rand(ids.shape, generator=torch.Generator().manual_seed(seed)) < 0.3, WORD, ids)     # words end often
    tokens = replace(blank, ids=ids)
    return tokens if length is None else tokens.at(slice(0, length))


def process(space, order=Raster):
    return Autoregress(space, Spec(order), Spec(Shift, {"own_place": order is Shuffle}))


def question(space, tokens):
    heard = []

    class Ear:
        def __call__(self, query, *, remember=False):
            heard.append(query)
            raise StopIteration

    with pytest.raises(StopIteration):
        process(space).loss(Ear(), tokens, rng=Rng.seeded(0))
    return heard[0]


def logits(net, query, **session):
    return net.open(Context(query.tokens.batch), **session)(query).distribution.logits


@pytest.mark.parametrize("kind", KINDS)
@torch.no_grad()
def test_all_that_is_earlier_is_heard_and_nothing_else(kind):
    net, space = network(kind), KINDS[kind][0]
    tokens = content(space)
    if kind == "words":
        tokens = replace(tokens, ids=tokens.ids.clamp(min=1).where(torch.arange(22)[None, :, None] % 5 != 4, WORD))
    before = logits(net, question(space, tokens))
    for place in range(space.length - 1):
        ids = tokens.ids.clone()
        if kind == "words" and place % 5 == 4:
            continue                                        # an end of a word that goes away changes what a word is
        ids[:, place] = ids[:, place] % (V - 1) + 1
        moved = (logits(net, question(space, replace(tokens, ids=ids))) - before).abs().amax((0, 2, 3))
        assert float(moved[: place + 1].max()) == 0, f"place {place} is heard too early"
        if kind != "words" or place + 1 < 22:
            assert float(moved[place + 1 :].min()) > 0, f"place {place} is not heard by all that come after it"


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("cuts", [(1,) * 40, (2, 3, 1, 7, 40), (5, 1, 1, 1, 40), (8, 4, 4, 40), (12, 1, 12, 40)])
@torch.no_grad()
def test_place_by_place_is_all_at_once(kind, cuts):
    net, space = network(kind), KINDS[kind][0]
    query = question(space, content(space))
    whole, session, said, first = logits(net, query), net.open(Context(3), memory="kv"), [], 0
    for size in cuts:
        places = slice(first, min(first + size, space.length))
        if places.start < places.stop:
            part = replace(query.at(places), pattern="full" if size == 1 else "causal")
            said.append(session(part, remember=True).distribution.logits)
        first += size
        if first == 5:                                      # what is asked and not remembered leaves no trace
            scratch = replace(query.at(slice(5, 8)), pattern="causal")
            assert torch.allclose(session(scratch).distribution.logits, whole[:, 5:8], atol=1e-4)
    assert torch.allclose(torch.cat(said, 1), whole, atol=1e-4)


@pytest.mark.parametrize("kind", KINDS)
@torch.no_grad()
def test_a_fork_goes_on_by_itself(kind):
    net, space = network(kind), KINDS[kind][0]
    one, other = content(space), content(space, seed=1)
    session = net.open(Context(3), memory="kv")
    session(replace(question(space, one).at(slice(0, 7)), pattern="causal"), remember=True)
    rows = torch.tensor([2, 0])
    fork = session.fork(rows)
    mixed = replace(one, ids=torch.where(torch.arange(space.length)[None, :, None] < 6, one.ids, other.ids))
    later = slice(7, None)
    got = fork(replace(question(space, mixed.rows(rows)).at(later), pattern="causal"), remember=True).distribution.logits
    assert torch.allclose(got, logits(net, question(space, mixed))[rows][:, later], atol=1e-4)
    mine = session(replace(question(space, one).at(later), pattern="causal"), remember=True).distribution.logits
    assert torch.allclose(mine, logits(net, question(space, one))[:, later], atol=1e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_no_sequence_is_refused(kind):
    net, space = network(kind), KINDS[kind][0]
    with pytest.raises(PatternUnsupported, match="one token after another"):
        process(space, Shuffle).loss(net.open(Context(3)), content(space), rng=Rng.seeded(0, 3))
    query = question(space, content(space))
    with pytest.raises(BadArgument, match="from the first"):
        logits(net, replace(query.at(slice(2, 6)), pattern="causal"))
    session = net.open(Context(3), memory="kv")
    with torch.no_grad():
        session(replace(query.at(slice(0, 6)), pattern="causal"), remember=True)
        session.forget(torch.tensor([4, 4, 4]))
        with pytest.raises(TurnError, match="cannot forget"):
            session(replace(query.at(slice(4, 5)), pattern="causal"), remember=True)


@torch.no_grad()
def test_a_block_is_told_by_the_block_decoder_and_its_own_tokens():
    """Slowly: block by block, without a batch of blocks."""
    net = network("blocks")
    part, tokens = net.towers["main"].backbone, content(TEXT, rows=1)
    ids, table = tokens.ids[0, :, 0], net.towers["main"].embed.tables[0].weight
    got = logits(net, question(TEXT, tokens))[0, :, 0]
    from omniform.backbones.hierarchy import ordered
    env = next(iter(_envs(net, question(TEXT, tokens))))
    for place in range(TEXT.length):
        block, inside = divmod(place, 4)
        rows = [part.first] + [part.table.weight[ids[4 * b : 4 * b + 4]].flatten() for b in range(block)]
        h = part.outer(torch.stack(rows)[None], ordered(env, 0, len(rows), 1))[:, -1]
        local = torch.cat([part.expand(h).reshape(1, 2, D), table[ids[4 * block : place]][None]], 1)
        y = part.inner(local, ordered(env, 0, 2 + inside, 1))[:, -1]
        assert torch.allclose(net.towers["main"].head(y[:, None]).logits[0, 0, 0], got[place], atol=1e-4)


@torch.no_grad()
def test_words_one_after_another():
    """Slowly: word by word, with no mask but causality."""
    from omniform.backbones.hierarchy import level, ordered
    net, tokens = network("words"), content(TEXT, rows=1, seed=3)
    part, ids = net.towers["main"].backbone, tokens.ids[0, :, 0]
    got = logits(net, question(TEXT, tokens))[0, :, 0]
    env = next(iter(_envs(net, question(TEXT, tokens))))
    table = net.towers["main"].embed.tables[0].weight
    words = []
    ends = [i for i, v in enumerate(ids.tolist()) if v == WORD]
    assert len(ends) > 2
    vectors = [part.first]
    for begin, end in zip([0, *(e + 1 for e in ends)], [*ends, len(ids)], strict=True):
        if begin == len(ids):
            break
        p = part.narrow(part.backbone(torch.stack(vectors)[None], ordered(env, 0, len(vectors), 1)))[:, -1:]
        letters = ids[begin:end]
        local = torch.cat([p, table[letters][None]], 1)[:, : len(ids) - begin]
        y = part.decoder(local, ordered(env, 0, local.shape[1], 1))
        assert torch.allclose(net.towers["main"].head(y).logits[0, :, 0], got[begin : begin + local.shape[1]], atol=1e-4)
        read = torch.cat([torch.tensor([WORD]), letters])
        zero = torch.zeros(1, len(read), dtype=torch.long)
        inside = level(env, torch.arange(len(read))[None, :, None].float(), zero, zero)
        vectors.append(part.widen(part.encoder(part.table(read)[None], inside))[0, 0])
        words.append(letters)
    assert len(words) > 2


def _envs(net, query):
    """What the backbone of a network is told for a question."""
    found = []
    hook = net.towers["main"].backbone.register_forward_pre_hook(lambda module, given: found.append(given[1]))
    logits(net, query)
    hook.remove()
    return found


@torch.no_grad()
def test_a_row_attends_as_full_attention_under_a_mask_of_rows():
    torch.manual_seed(0)
    part = Axial(D, KINDS["grey"][0], BLOCK, outer=1, inner=1).eval()
    net = network("grey")
    env = _envs(net, question(KINDS["grey"][0], content(KINDS["grey"][0], rows=2)))[0]
    x = torch.randn(2, 4, 5, D)
    for down, masked in ((False, False), (False, True), (True, True)):
        row, column = torch.arange(20) // 5, torch.arange(20) % 5
        line, place = (column, row) if down else (row, column)
        see = line[:, None] == line[None]
        see = see & (place[None] <= place[:, None]) if masked else see
        want = part.inner[0](x.flatten(1, 2), replace(env, coord=env.coord, pattern="any", mask=see[None, None]))
        assert torch.allclose(part._along(part.inner[0], x, env, down=down, masked=masked).flatten(1, 2), want, atol=1e-5)


def test_the_outer_tower_is_asked_once_a_row():
    net = network("grey")
    calls = {"outer": 0, "inner": 0}
    part = net.towers["main"].backbone
    for name in calls:
        getattr(part, name)[0].register_forward_pre_hook(lambda module, given, name=name: calls.__setitem__(name, calls[name] + 1))
    space = KINDS["grey"][0]
    query, session = question(space, content(space)), net.open(Context(3), memory="kv")
    with torch.no_grad():
        for place in range(20):
            session(replace(query.at(slice(place, place + 1)), pattern="full"), remember=True)
    assert calls == {"outer": 3, "inner": 20}


@torch.no_grad()
def test_parallel_reads_one_stream_twice():
    torch.manual_seed(0)
    block = Parallel(D, Spec(Attention, {"heads": 2}), Spec(Mlp)).eval()
    env = _envs(network("grey"), question(KINDS["grey"][0], content(KINDS["grey"][0], rows=2)))[0]
    x = torch.randn(2, 20, D)
    alone = replace(env)
    want = x + block.mixer(F.layer_norm(x, (D,)), alone) + block.mlp(F.layer_norm(x, (D,)), alone)
    assert torch.allclose(block(x, env), want, atol=1e-5) and isinstance(block.norm_mlp, nn.LayerNorm)


def test_bad_shapes_are_refused():
    with pytest.raises(BadArgument, match="a width that 3 tokens share"):
        GlobalLocal(D, TEXT, 3, LEVEL, LEVEL)
    with pytest.raises(BadArgument, match="axes y, x"):
        Axial(D, TEXT, BLOCK)
    with pytest.raises(BadArgument, match="ends a word"):
        Words(D, TEXT, V, 8, LEVEL, LEVEL, LEVEL)
    assert isinstance(question(TEXT, content(TEXT)), Query)
