"""Networks and their sessions: what is remembered, forgotten, forked; and that a promise to the kernel never changes an answer.

Networks are in float64, so that equal means equal to 1e-9.
"""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from omniform.backbones.attention import Attention, CrossAttention
from omniform.backbones.blocks import PreNorm
from omniform.backbones.embed import Embed, TimeEmbedding
from omniform.backbones.mlp import Mlp
from omniform.backbones.positions import LearnedPositions, Rotary
from omniform.backbones.stack import Stack
from omniform.core.errors import BadArgument, LaneError, TurnError
from omniform.core.net import Context, Encoded, alone
from omniform.core.order import BlocksOf, Order, Raster
from omniform.core.query import PRELUDE, Query, visible
from omniform.core.rng import Rng
from omniform.core.spec import Spec
from omniform.core.tokens import Axis, Space
from omniform.heads.categorical import CategoricalHead
from omniform.system.network import Network

B, L, V, D = 3, 8, 7, 16
SPACE = Space(axes=(Axis("time", L),), vocab=(V,))
KINDS = {
    "plain": {},
    "grouped": {"mixer": {"kv_heads": 1}},
    "rms": {"mixer": {"qk_norm": "rms"}},
    "layer": {"mixer": {"qk_norm": "layer"}},
    "cosine": {"mixer": {"qk_norm": "cosine"}},
    "alibi": {"mixer": {"slopes": True}},
    "alibi grouped": {"mixer": {"slopes": True, "kv_heads": 2}},
    "some biases": {"mixer": {"biases": "qv"}},
    "rotary": {"stack": {"rotary": Spec(Rotary, {"head_width": 4})}},
    "cross": {"block": {"cross": Spec(CrossAttention, {"heads": 2, "qk_norm": "cosine"})}},
    "single": {"block": {"modulate": "single"}, "stack": {"shared": True, "final": "adaln"}},
    "two streams": {"block": {"streams": 2, "modulate": "zero"}, "mixer": {"qk_norm": "rms"}},
    "skips": {"stack": {"skips": True, "depth": 3}},
    "ordered": {},
    "ordered, turned": {"stack": {"rotary": Spec(Rotary, {"head_width": 4, "told": 1})}},
}


def network(kind="plain", time=False, **embedded):
    torch.manual_seed(0)
    how = KINDS[kind]
    block = Spec(PreNorm, {"mixer": Spec(Attention, {"heads": 4, **how.get("mixer", {})}), "mlp": Spec(Mlp), **how.get("block", {})})
    embed = Spec(Embed, {"positions": (Spec(LearnedPositions),), "std": 1.0, **embedded})
    stack = Spec(Stack, {"depth": 2, "block": block, **how.get("stack", {})})
    made = Network(D, SPACE, embed, stack, Spec(CategoricalHead), time=Spec(TimeEmbedding) if time else None)
    g = torch.Generator().manual_seed(1)
    for p in made.parameters():
        if not p.any():
            torch.nn.init.normal_(p, std=0.2, generator=g)
    return made.double().eval()


def normal(*shape, seed=0):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def encoded(length, padded=False, rows=B):
    doc = torch.zeros(rows, length, dtype=torch.long)
    if padded:
        doc[1, length // 2 :] = -1
    return Encoded(normal(rows, length, D, seed=5), normal(rows, D, seed=6), 0.5 * torch.arange(length).expand(rows, -1)[..., None], doc)


def context(kind, prefix=0, padded=False, rows=B):
    told = {"single": {"modulate": normal(rows, D)}, "cross": {"cross": encoded(5, True, rows)}, "two streams": {"modulate": normal(rows, D)}}.get(kind, {})
    place = "joint" if kind == "two streams" else "prefix"
    return Context(rows, **told, **({place: encoded(prefix, padded, rows)} if prefix else {}), ordered=kind.startswith("ordered"))


def query(order=None, rows=B, seed=0, **changes):
    ids = torch.randint(0, V, (rows, L, 1), generator=torch.Generator().manual_seed(seed))
    tokens = replace(SPACE.blank(rows), ids=ids)
    order = order or Raster()
    turn = order.turns(tokens.coord, rng=Rng.seeded(0, rows))
    known, lane = torch.ones(rows, L, dtype=torch.bool), torch.zeros_like(turn[:1]).expand(rows, -1)
    return replace(Query(tokens, known, turn, lane, torch.zeros(rows), pattern=order.pattern), **changes)


def rows_of(asked, rows):
    """Some rows of a question."""
    pick = lambda x: x.rows(torch.tensor(rows)) if hasattr(x, "rows") else x[rows] if isinstance(x, torch.Tensor) else x
    return Query(**{f: pick(getattr(asked, f)) for f in asked.__dataclass_fields__})


def after(net, told, past, asked):
    """The answer to a question after others that are remembered by recall."""
    session = net.open(told, memory="recall")
    for before in past:
        session(before, remember=True)
    return session(asked)


def logits(answer):
    return answer.distribution.logits


def same(x, y, tol=1e-9):
    assert x.shape == y.shape and bool(torch.isfinite(x).all())
    assert float((x - y).abs().max()) < tol, f"differs by {float((x - y).abs().max()):.1e}"


class Together(Order):
    """Everything at once, as a masked process or a flow asks."""

    pattern = "full"

    def turns(self, coord, *, rng):
        return torch.zeros(coord.shape[:2], dtype=torch.long)


pytestmark = pytest.mark.usefixtures("_no_grad")


@pytest.fixture
def _no_grad():
    with torch.no_grad():
        yield


# ---- promises --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("prefix", [0, 1, 3])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("order", [Raster(), BlocksOf(3), Together(), "prelude"], ids=lambda o: o if isinstance(o, str) else type(o).__name__)
def test_a_pattern_equals_the_dense_rule(kind, order, prefix):
    net, told = network(kind), context(kind, prefix)
    asked = query(Together() if order == "prelude" else order)
    if order == "prelude":
        asked = replace(asked, turn=torch.full((1, L), PRELUDE).expand(B, -1))
    same(logits(net.open(told)(asked)), logits(net.open(told)(replace(asked, pattern="any"))))


@pytest.mark.parametrize("prefix", [0, 1, 3])
@pytest.mark.parametrize("kind", KINDS)
def test_the_dense_rule_is_obeyed(kind, prefix):
    """By perturbation: an answer depends on exactly the places that the rule lets it see, and on the prefix."""
    net, told = network(kind), context(kind, prefix)
    g = torch.Generator().manual_seed(3)
    turn = torch.randint(0, 4, (B, L), generator=g)
    lane = torch.randint(0, 3, (B, L), generator=g)
    doc = torch.zeros(B, L, dtype=torch.long)
    doc[2, 6:] = -1
    asked = query()
    asked = replace(asked, turn=turn, lane=lane, tokens=replace(asked.tokens, doc=doc), pattern="any")
    before = logits(net.open(told)(asked))
    reach = torch.zeros(B, L, L, dtype=torch.bool)
    for b in range(B):
        for q in range(L):
            for k in range(L):
                sees = doc[b, k] == doc[b, q] != -1 and turn[b, k] <= turn[b, q] and int(lane[b, k]) in (0, int(lane[b, q]))
                reach[b, q, k] = bool(sees) or q == k
    for _ in range(3):  # through the blocks, what is seen is seen through others too
        reach = (reach.double() @ reach.double()) > 0
    for k in range(L):
        other = asked.tokens.ids.clone()
        other[:, k] = (other[:, k] + 1) % V
        after = logits(net.open(told)(replace(asked, tokens=replace(asked.tokens, ids=other))))
        moved = (after - before).abs().amax((-1, -2)) > 1e-10
        assert bool((moved <= reach[:, :, k]).all()) and bool(moved[:, k].all())
        direct = (turn[:, k : k + 1] <= turn) & (lane[:, k : k + 1] == 0) & (doc == 0) & (doc[:, k : k + 1] == 0)
        assert bool((direct <= moved).all()), "what may be seen is not heard"
    if prefix:
        place = "joint" if kind == "two streams" else "prefix"
        other = replace(told, **{place: replace(getattr(told, place), tokens=normal(B, prefix, D, seed=8))})
        after = logits(net.open(other)(asked))
        assert bool(((after - before).abs().amax((-1, -2)) > 1e-10)[doc >= 0].all())


@pytest.mark.parametrize("kind", KINDS)
def test_a_prefix_does_not_hear_what_comes_after_it(kind):
    net, told = network(kind), context(kind, 3)
    one = query(Together())
    session = net.open(told, memory="kv")
    first = logits(session(one, remember=True))
    same(first, logits(net.open(told)(one)))
    same(first, logits(net.open(told, memory="recall")(one)))


def test_an_ordered_prefix_is_the_beginning_of_a_causal_sequence():
    """Three tokens said before the sequence are its first three, as long as blocks do not ask where they lie; unordered, they hear each other."""
    net, asked = network(), query()
    whole = logits(net.open(Context(B))(asked))
    x, rest = net.towers["main"].embed(asked), asked.at(slice(3, None))
    told = Context(B, prefix=replace(encoded(3), tokens=x[:, :3]), ordered=True)
    same(logits(net.open(told)(rest)), whole[:, 3:])
    assert float((logits(net.open(replace(told, ordered=False))(rest)) - whole[:, 3:]).abs().max()) > 1e-3
    assert told.prelude().tolist() == [[PRELUDE - 3, PRELUDE - 2, PRELUDE - 1]] * B and told.rows(torch.tensor([1])).ordered
    assert Context.stacked([told, told]).ordered
    at_prelude = replace(rest, turn=torch.full_like(rest.turn, PRELUDE), pattern="full")
    session = net.open(told, memory="kv")
    session(at_prelude, remember=True)
    assert session.records["main"].used == L and session.records["main"].last == PRELUDE


@pytest.mark.parametrize("told, turned", [(1, True), (0, False)])
def test_rotations_may_turn_by_what_is_told(told, turned):
    """As if there were one axis more, along which the sequence lies at zero."""
    net = network("ordered, turned" if turned else "rotary")
    rotary = net.towers["main"].backbone.rotary
    assert rotary.told == told
    said, heard = encoded(3), {}
    for name, change in (("as told", 1.0), ("elsewhere", 3.0)):
        context = Context(B, prefix=replace(said, coord=change * said.coord), ordered=True)
        heard[name] = logits(net.open(context)(query()))
    assert torch.equal(heard["as told"], heard["elsewhere"]) != turned
    if turned:
        two = Rotary(4, Space(axes=(Axis("time", L), Axis("told", 0)), vocab=(V,)), share=(1, 1))
        coord = torch.cat([torch.cat([torch.zeros(3), torch.arange(L)])[:, None], torch.cat([said.coord[0, :, 0], torch.zeros(L)])[:, None]], 1)[None]
        want, found = two(coord), []
        net.towers["main"].backbone.blocks[0].register_forward_pre_hook(lambda block, args: found.append(args[1].rotation))
        net.open(Context(B, prefix=said, ordered=True))(query())
        assert torch.allclose(found[0].cos, want.cos.double()) and torch.allclose(found[0].sin, want.sin.double())


@pytest.mark.parametrize("norm, kinds", [(False, 0), (True, 2)])
def test_a_prefix_that_enters_by_the_embedding_is_a_longer_sequence_of_ids(norm, kinds):
    """Two classes are said as ids of a greater table at the first places of a longer sequence, or as a prefix with places of its own: one answer."""
    net, said, asked = network(norm=norm, kinds=kinds, prefix=2), torch.tensor([[0, 1], [2, 2], [1, 0]]), query(Together())
    classes, embed, wide = normal(3, D, seed=9), net.towers["main"].embed, Space(axes=(Axis("time", 2 + L),), vocab=(V + 3,))
    every = Embed(D, wide, positions=(Spec(LearnedPositions),), norm=norm, kinds=kinds).double()
    every.load_state_dict({n: x for n, x in embed.state_dict().items() if n not in ("front", "tables.0.weight", "positions.0.table")}, strict=False)
    every.tables[0].weight.copy_(torch.cat([embed.tables[0].weight, classes]))
    every.positions[0].table.copy_(torch.cat([embed.front, embed.positions[0].table]))
    ids = torch.cat([V + said[..., None], asked.tokens.ids], 1)
    zero = torch.zeros(B, 2 + L, dtype=torch.long)
    x = every(Query(replace(wide.blank(B), ids=ids), zero == 0, zero, zero, torch.zeros(B)))
    told = Context(B, prefix=replace(encoded(2), tokens=classes[said]))
    for turn in (0, PRELUDE):  # after the prefix, which is then read alone, or one with it
        at = torch.cat([torch.full((B, 2), PRELUDE), torch.full((B, L), turn)], 1)
        whole = replace(alone(B, 2 + L), turn=at, pattern="any", mask=visible(at, zero, zero)[:, None])
        want = net.towers["main"].head(net.towers["main"].backbone(x, whole)).logits[:, 2:]
        for memory in ("nothing", "recall", "kv"):
            session = net.open(told, memory=memory)
            same(logits(session(replace(asked, turn=at[:, 2:]), remember=memory != "nothing")), want)
    with pytest.raises(BadArgument, match=r"a prefix of 2 and one of 3 came; set network\.embed\.prefix to 3"):
        net.open(context("plain", 3))(asked)


def test_padding_of_the_prefix_and_of_the_cross_attended_is_not_heard():
    for kind, place in (("plain", "prefix"), ("cross", "cross"), ("two streams", "joint")):
        net = network(kind)
        for order in (Raster(), Together()):
            said = encoded(4, padded=True)
            told = replace(context(kind), **{place: said})
            noisy = replace(told, **{place: replace(said, tokens=torch.where((said.doc < 0)[..., None], normal(B, 4, D, seed=9), said.tokens))})
            heard = replace(told, **{place: replace(said, tokens=torch.where((said.doc >= 0)[..., None], normal(B, 4, D, seed=9), said.tokens))})
            before = logits(net.open(told)(query(order)))
            same(logits(net.open(noisy)(query(order))), before)
            assert float((logits(net.open(heard)(query(order))) - before).abs().amax((1, 2, 3)).min()) > 1e-6
            short = replace(told, **{place: Encoded(said.tokens[:, :2], said.pooled, said.coord[:, :2], said.doc[:, :2])}).rows(torch.tensor([1]))
            same(logits(net.open(short)(rows_of(query(order), [1]))), before[1:2])
    empty = encoded(4)
    silent = replace(empty, doc=torch.full_like(empty.doc, -1))
    net = network("cross")
    one, other = (logits(net.open(Context(B, cross=replace(silent, tokens=t)))(query())) for t in (empty.tokens, empty.tokens * 0))
    same(one, other)
    with pytest.raises(BadArgument, match='placed "cross"'):
        net.open(Context(B))(query())


# ---- memory ----------------------------------------------------------------------------------------------------------


def pieces(asked, *cuts):
    ends = [0, *cuts, L]
    return [asked.at(slice(a, b)) for a, b in zip(ends, ends[1:], strict=False)]


@pytest.mark.parametrize("prefix", [0, 1, 3])
@pytest.mark.parametrize("padded", [False, True])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("memory", ["kv", "recall"])
def test_asked_in_pieces_equals_asked_at_once(kind, memory, prefix, padded):
    if padded and not prefix:
        prefix = 2
    net, told, asked = network(kind), context(kind, prefix, padded), query()
    whole = logits(net.open(told)(asked))
    for cuts in ((1,), (3, 4), tuple(range(1, L))):
        session = net.open(told, memory=memory)
        parts = [logits(session(p, remember=True)) for p in pieces(asked, *cuts)]
        same(torch.cat(parts, 1), whole)


@pytest.mark.parametrize("memory", ["kv", "recall"])
@pytest.mark.parametrize("kind", KINDS)
def test_what_is_not_remembered_leaves_no_trace(kind, memory):
    net, told, asked = network(kind), context(kind, 2), query()
    first, last = pieces(asked, 4)
    session = net.open(told, memory=memory)
    session(first, remember=True)
    clean = logits(session(last))
    other = query(seed=8)
    session(other.at(slice(4, 8)))
    session(other.at(slice(4, 6)))
    same(logits(session(last)), clean)
    same(logits(session(last, remember=True)), clean)


@pytest.mark.parametrize("prefix", [0, 2])
@pytest.mark.parametrize("memory", ["kv", "recall"])
@pytest.mark.parametrize("kind", ["plain", "alibi", "grouped", "cross", "rotary", "two streams"])
def test_forgotten_is_as_if_never_asked(kind, memory, prefix):
    net, told, asked = network(kind), context(kind, prefix), query()
    never = net.open(told, memory=memory)
    a, b, c = pieces(asked, 3, 5)
    want = [logits(never(p, remember=True)) for p in (a, b, c)]
    session = net.open(told, memory=memory)
    session(a, remember=True)
    draft = query(seed=8).at(slice(3, 7))
    session(draft, remember=True)
    session.forget(torch.full((B,), 3))
    same(logits(session(b, remember=True)), want[1])
    same(logits(session(c, remember=True)), want[2])
    session.forget(torch.full((B,), PRELUDE))  # everything, the prefix too
    same(logits(session(a, remember=True)), want[0])
    same(logits(session(b)), want[1])


@pytest.mark.parametrize("memory", ["kv", "recall"])
@pytest.mark.parametrize("kind", ["plain", "alibi", "cross", "two streams"])
def test_rows_forget_for_themselves(kind, memory):
    """Rejected drafts of different lengths: row 0 keeps 5 places, row 1 keeps 3, row 2 keeps all 6."""
    net, told, asked = network(kind), context(kind, 2), query()
    session = net.open(told, memory=memory)
    session(asked.at(slice(0, 6)), remember=True)
    session.forget(torch.tensor([5, 3, 6]))
    last = asked.at(slice(6, 8))
    mine = logits(session(last))
    for row, kept in enumerate((5, 3, 6)):
        alone = net.open(told.rows(torch.tensor([row])), memory="recall")
        single = rows_of(asked, [row])
        alone(single.at(slice(0, kept)), remember=True)
        same(mine[row : row + 1], logits(alone(single.at(slice(6, 8)))))


@pytest.mark.parametrize("memory", ["kv", "recall"])
@pytest.mark.parametrize("kind", ["plain", "alibi", "cross", "single", "two streams"])
def test_forks_go_their_own_way(kind, memory):
    net, told, asked = network(kind), context(kind, 2), query()
    first, second, third = pieces(asked, 3, 6)
    session = net.open(told, memory=memory)
    session(first, remember=True)
    rows, other = [2, 0, 0, 1], query(seed=9).at(slice(3, 6))
    fork = session.fork(torch.tensor(rows))
    session(second, remember=True)
    same(logits(fork(rows_of(other, rows), remember=True)), logits(after(net, told, (first,), other))[rows])
    want = logits(after(net, told, (first, second), third))
    same(logits(session(third)), want)
    same(logits(session.fork(torch.arange(B))(third)), want)


@pytest.mark.parametrize("memory", ["kv", "recall"])
def test_out_of_order_is_refused(memory):
    net, asked = network(), query()
    session = net.open(Context(B), memory=memory)
    session(asked.at(slice(3, 5)), remember=True)
    with pytest.raises(TurnError, match=r"turn 4\), not at turn 2"):
        session(asked.at(slice(2, 3)), remember=True)
    with pytest.raises(TurnError):
        session(asked.at(slice(4, 5)), remember=True)
    session(asked.at(slice(2, 3)))  # asking is free
    session.forget(torch.full((B,), 4))
    session(asked.at(slice(4, 5)), remember=True)
    with pytest.raises(LaneError):
        session(replace(asked.at(slice(6, 7)), lane=torch.ones(B, 1, dtype=torch.long)), remember=True)


@pytest.mark.parametrize("memory", ["kv", "recall"])
def test_rows_may_be_at_different_turns(memory):
    """Each row comes after its own past, whatever the others'."""
    net, asked = network(), query()
    late = asked.turn + torch.tensor([[0], [10], [20]])
    asked = replace(asked, turn=late, pattern="any")
    session = net.open(Context(B), memory=memory)
    session(asked.at(slice(0, 4)), remember=True)
    answer = session(asked.at(slice(4, 6)), remember=True)
    same(logits(answer), logits(net.open(Context(B))(asked))[:, 4:6])
    behind = replace(asked.at(slice(6, 7)), turn=torch.tensor([[6], [12], [26]]))
    with pytest.raises(TurnError):
        session(behind, remember=True)


def test_refusals():
    net = network()
    with pytest.raises(BadArgument, match="'nothing', by 'recall', by 'kv' or its 'last'"):
        net.open(Context(B), memory="all")
    with pytest.raises(BadArgument, match="no stage 'mian'; did you mean main"):
        net.open(Context(B))(replace(query(), stage="mian"))
    with pytest.raises(BadArgument, match='"prefix" or "joint"'):
        net.open(Context(B, prefix=encoded(1), joint=encoded(1)))
    with torch.enable_grad(), pytest.raises(BadArgument, match="cannot be differentiated"):
        net.open(Context(B), memory="kv")(query(), remember=True)


@pytest.mark.parametrize("kind", ["plain", "alibi"])
def test_an_answer_from_memory_has_a_slope_in_its_question(kind):
    """What an energy inside blocks needs: derivatives of a question, not of what is remembered."""
    space = Space(axes=SPACE.axes, channels=2)
    torch.manual_seed(0)
    block = Spec(PreNorm, {"mixer": Spec(Attention, {"heads": 4, "slopes": kind == "alibi"}), "mlp": Spec(Mlp)})
    net = Network(D, space, Spec(Embed), Spec(Stack, {"depth": 2, "block": block}), Spec(CategoricalHead, {"space": SPACE})).double()
    net.differentiate_twice()
    vec = normal(B, L, 2)
    base = query()
    asked = replace(base, tokens=replace(base.tokens, ids=None, vec=vec))
    slopes = {}
    for memory in ("kv", "recall"):
        session = net.open(Context(B), memory=memory)
        session(asked.at(slice(0, 5)), remember=True)
        with torch.enable_grad():
            y = vec[:, 5:].clone().requires_grad_()
            last = asked.at(slice(5, 8))
            answer = session(replace(last, tokens=replace(last.tokens, vec=y)))
            (slopes[memory],) = torch.autograd.grad(logits(answer).square().sum(), y)
        same(logits(session(asked.at(slice(5, 8)))), logits(net.open(Context(B))(asked))[:, 5:])
    same(slopes["kv"], slopes["recall"])


# ---- towers, time, taps ----------------------------------------------------------------------------------------------


def test_towers_are_asked_by_stage_and_remember_for_themselves():
    torch.manual_seed(0)
    block = Spec(PreNorm, {"mixer": Spec(Attention, {"heads": 4}), "mlp": Spec(Mlp)})
    net = Network(D, SPACE, Spec(Embed), Spec(Stack, {"depth": 1, "block": block}), Spec(CategoricalHead), stages=2).double().eval()
    asked = query()
    one, other = (replace(asked, stage=s) for s in ("b0", "b1"))
    assert not torch.allclose(logits(net.open(Context(B))(one)), logits(net.open(Context(B))(other)))
    session = net.open(Context(B), memory="kv")
    for q in (one, other):
        first = logits(session(q.at(slice(0, 4)), remember=True))
        same(torch.cat([first, logits(session(q.at(slice(4, 8)), remember=True))], 1), logits(net.open(Context(B))(q)))


@pytest.mark.parametrize("memory", ["kv", "recall"])
def test_a_prefix_before_a_timed_question_is_clean_unless_it_is_one_with_it(memory):
    net, told = network("two streams", time=True), context("two streams", 2)
    time = torch.linspace(0.1, 0.9, B).reshape(B, 1)
    asked = query(Together(), time=time)
    spread = replace(asked, time=time.expand(B, L))
    same(logits(net.open(told)(asked)), logits(net.open(told)(spread)))
    same(logits(net.open(told, memory=memory)(asked)), logits(net.open(told)(asked)))
    one_with = replace(asked, turn=torch.full((1, L), PRELUDE).expand(B, -1))
    same(logits(net.open(told, memory=memory)(one_with)), logits(net.open(told)(one_with)))
    other = replace(asked, time=1 - time)
    assert not torch.allclose(logits(net.open(told)(other)), logits(net.open(told)(asked)))


def test_taps_are_the_stream_after_a_block():
    net = network("plain")
    answer = net.open(context("plain", 2), taps=frozenset({"block.0", "block.1"}))(query())
    assert set(answer.taps) == {"block.0", "block.1"} and answer.taps["block.1"].shape == (B, L, D)
    tower = net.towers["main"]
    same(logits(answer), tower.head(tower.backbone.final(answer.taps["block.1"])).logits)
    session = net.open(Context(B), memory="recall", taps=frozenset({"block.0"}))
    session(query().at(slice(0, 5)), remember=True)
    assert session(query().at(slice(5, 8))).taps["block.0"].shape == (B, 3, D)


def test_plain_attention_equals_the_kernels():
    for kind in KINDS:
        net, told, asked = network(kind), context(kind, 2), query(BlocksOf(3))
        fused = logits(net.open(told)(asked))
        net.differentiate_twice()
        same(logits(net.open(told)(asked)), fused)


def test_places_are_looked_up_once_a_sample_and_cut():
    network = Network(D, SPACE, Spec(Embed, {"positions": (Spec(LearnedPositions),)}), Spec(Stack, {"depth": 0, "block": Spec(PreNorm)}), Spec(CategoricalHead))
    tower, blank = network.towers["main"], SPACE.blank(B)
    session = network.open(Context(B))
    ask = lambda coord: session._places(question(blank, coord), tower)[0]  # noqa: E731
    with torch.no_grad():
        whole = tower.embed.places(blank.coord)[0]
        assert torch.equal(ask(blank.coord), whole)
        table = session.placed["main"][1][0]
        for places in (slice(3, 4), slice(2, 6)):
            assert torch.equal(ask(blank.coord[:, places]), whole[:, places]) and session.placed["main"][1][0] is table
        mixed = blank.coord.flip(1).clone()
        assert torch.equal(ask(mixed), tower.embed.places(mixed)[0])
        assert torch.equal(ask(blank.coord[:, ::2]), whole[:, ::2]), "no run of the table"


def question(blank, coord):
    zero = torch.zeros(coord.shape[:2], dtype=torch.long)
    return Query(replace(blank, coord=coord), zero == 0, zero, zero, torch.zeros(B))
