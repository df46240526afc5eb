"""Published numbers against the build: parameters, multiply-adds, tokens and steps of a recipe, counted without allocating anything."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields, replace
from typing import Any

import torch
from torch import Tensor, nn

from ..backbones.mlp import Experts, RoutedLinear
from ..backbones.streams import Streams
from ..core.codec import player_parameters
from ..core.distribution import Head
from ..core.errors import BadArgument
from ..core.net import Block, Context, Net, parameters_of
from ..core.process import Ask
from ..core.query import Answer, Query
from ..core.rng import Rng
from ..core.tokens import Space, Tokens
from .build import assemble
from .counting import Counting, Shadow, Unstarted
from .network import Tower
from .recipe import Fact, Recipe
from .system import CodecSystem, System


@dataclass(frozen=True)
class Counts:
    """What a system is made of and what it costs, for one example.

    parameters: of network and conditioning; active_parameters: those that one token meets (experts). multiply_adds: of one full question, a pass over all that
    training asks at once (blocks: record and question; a normalizing flow: all its maps), attention counted dense, as in DiT's table 4. questions and
    multiply_adds_per_sample: of one generated example under one term of guidance, caches used where the family has them; terms: how many terms are asked.
    None: a codec alone.
    """

    parameters: int
    active_parameters: int
    codec_parameters: int
    tokens: int
    steps: int | None = None
    questions: int | None = None
    terms: int | None = None
    multiply_adds: int | None = None
    multiply_adds_per_sample: int | None = None


@dataclass(frozen=True)
class Row:
    """A published number beside ours. gap: ours / published - 1. verdict: "holds", "does not hold" or "differs because ..."."""

    kind: str
    size: str
    ours: float
    published: float
    gap: float
    verdict: str
    of: str


class _Heard(Exception):
    """The question has been heard; nothing else of what follows is wanted."""

    def __init__(self, query: Query):
        super().__init__()
        self.query = query


class _Ear:
    """A net that hears its first question and no more."""

    def __call__(self, query: Query, *, remember: bool = False) -> Answer:
        raise _Heard(query)

    def forget(self, turn: Tensor) -> None:
        """Nothing is remembered."""

    def fork(self, rows: Tensor) -> _Ear:
        return self


def built(recipe: Recipe) -> System | CodecSystem:
    """The system on the meta device: shapes without numbers."""
    with torch.device("meta"), Unstarted():
        return assemble(recipe)


def counted(recipe: Recipe, *, costs: bool = True) -> Counts:
    """Of a recipe at a size (`recipe.sized(...)`). costs False: without multiply-adds, which take longer (a second)."""
    system = built(recipe).train()
    codec = sum(p.numel() for p in player_parameters(system.codec)["main"])  # a critic, and what is frozen, codes nothing
    space = system.codec.space
    if isinstance(system, CodecSystem):
        return Counts(0, 0, codec, space.length)
    system.eval()
    parts: dict[str, nn.Module] = {"network": system.network, "conditioning": system.conditioning}
    parameters = parameters_of(parts)
    modules = [m for p in parts.values() for m in p.modules()]
    idle = sum(parameters_of({"experts": m.experts}) * (m.num - m.top) // m.num for m in modules if isinstance(m, Experts))
    idle += sum(parameters_of({"each": m.each}) * (m.kinds - 1) // m.kinds for m in modules if isinstance(m, Streams) and m.kinds)
    idle += sum((m.groups - m.shared - m.top) * m.weight[0].numel() for m in modules if isinstance(m, RoutedLinear))
    terms, blank = 1 if system.guidance is None else len(system.guidance.terms()), space.blank(1)
    asks = system.process.asks(blank)
    counts = Counts(parameters, parameters - idle, codec, space.length, system.process.taken(blank), round(sum(a.times for a in asks)), terms)
    if not costs:
        return counts
    if questions := system.process.questions(_blank(system)):
        with torch.no_grad(), Shadow():
            net = system.network.open(_context(system))
            each = [(_spent(net, query).total, times) for query, times in questions]
            drawn = system.process.draws(_blank(system))
            heads = [(*_drawn(system, system.network.towers[stage].head, num), times) for stage, (num, times) in drawn.items()]
        question = sum(c for c, _ in each[: system.process.asked]) + sum(one * space.length for one, _, _ in heads)
        return replace(counts, multiply_adds=round(question), multiply_adds_per_sample=round(sum(c * n for c, n in each) + sum(c * n for _, c, n in heads)))
    with torch.no_grad(), Shadow():
        query = first_question(system)
        net = system.network.open(_context(system))
        whole = _spent(net, query)
        towers = sum(isinstance(tower, Tower) and tower.player == "main" for tower in system.network.towers.values())
        every = replace(query, known=torch.ones_like(query.known)) if system.process.dropped else query
        sample = _priced(system, every, whole if every is query else _spent(net, every), asks)
        question = towers * whole.total + sum(one * part.length for part, one, _ in _inside(system))
        for stage in system.process.unlike:
            question += _spent(net, replace(query, stage=stage)).total - whole.total
    return replace(counts, multiply_adds=round(question), multiply_adds_per_sample=round(sample))


def _context(system: System) -> Context:
    """Nothing said. Which places of it are real is a decision and stays on the CPU."""
    context = system.conditioning.context({}, 1)
    here = lambda e: None if e is None else replace(e, doc=torch.zeros(e.doc.shape, dtype=torch.long), coord=torch.zeros(e.coord.shape))  # noqa: E731
    return replace(context, **{name: here(getattr(context, name)) for name in ("prefix", "cross", "joint")})


def _blank(system: System) -> Tokens:
    blank = system.codec.space.blank(1)
    return blank if blank.vec is None else replace(blank, vec=blank.vec.to("meta"))


def first_question(system: System, tokens: Tokens | None = None) -> Query:
    """The first that training asks, of some tokens or of one row that says nothing. The towers of a network's stages are alike, so that the others cost the
    same."""
    try:
        system.process.loss(_Ear(), _blank(system) if tokens is None else tokens, rng=Rng.seeded(0))
    except _Heard as heard:
        return heard.query
    raise BadArgument(f"{type(system.process).__name__} asks nothing in training, so its questions cannot be counted")


def _drawn(system: System, head: Head, num: int) -> tuple[float, float]:
    """Multiply-adds of a head's own small network: of one question, by the token, and of all that so many tokens are drawn by."""
    passes = system.process.passes(head)
    if not passes:
        return 0.0, 0.0
    with Counting() as spent:
        head.small(torch.zeros(1, num, system.network.width, device="meta"))
    return spent.total / num, spent.total * passes


def _inside(system: System) -> list[tuple[Space, float, float]]:
    """The same of all tokens, by the kinds that the head of the first tower knows."""
    head: Any = next(iter(system.network.towers.values())).head
    return [(part, *_drawn(system, inner, part.length)) for inner, part in head.kinds(system.codec.space)]


def _sloped(net: Net, query: Query) -> float:
    """How much dearer a question is together with its gradient with respect to the tokens."""
    vec = query.tokens.vec
    assert vec is not None
    vec = vec.detach().requires_grad_()
    said: list[Tensor] = []
    with Counting() as both, torch.enable_grad():
        with Counting() as alone:
            net(replace(query, tokens=replace(query.tokens, vec=vec))).distribution.mapped(lambda x: said.append(x) or x)
        torch.autograd.grad(sum(x.sum() for x in said), vec)
    return both.total / alone.total


def _priced(system: System, query: Query, whole: Counting, asks: list[Ask]) -> float:
    """Multiply-adds of all of these questions, and of what a head does to draw."""
    process: Any = system.process
    net = system.network.open(context := _context(system))
    blocks = [m for m in system.network.modules() if isinstance(m, Block)]
    if process.memory == "kv" and any(block.uneven for block in blocks):
        total = whole.total  # place by place they work out what they do all at once
    elif process.memory == "last":
        total = _in_turn(system.network.open(context, memory="last"), query, asks)
    elif process.memory == "nothing" and all(a.new == query.tokens.length for a in asks):
        total = _unremembered(net, query, whole, asks)
    else:
        bare = system.network.open(replace(context, prefix=None, joint=None))
        steady = any(block.steady for block in blocks)
        total, priced = 0.0, {query.stage: _ladder(bare, query)}
        for a in asks:
            kind = a.stage if a.stage in process.unlike else query.stage
            one, each, between = priced[kind] if kind in priced else priced.setdefault(kind, _ladder(bare, replace(query, stage=kind)))
            total += a.times * (one + each * (a.new - 1) + between * a.new * (1 if steady else a.new + a.seen))
        if context.prefix is not None or context.joint is not None:
            told = system.network.told or tuple({a.stage for a in asks})
            here = replace(query, stage=told[0])
            total += len(told) * (_spent(net, here).total - _spent(bare, here).total)  # the prefix goes through once
    if after := process.after(query.tokens):
        total += _unremembered(net, query, whole, after)  # of equal towers: nobody denoises so behind a deep one
    return total + sum(drawn for _, _, drawn in _inside(system))


def _ladder(net: Net, query: Query) -> tuple[float, float, float]:
    """What a single token costs, each further one, and each pair of tokens."""
    one, two = (_spent(net, replace(query.at(slice(0, n)), pattern="full")) for n in (1, 2))
    return one.linear, two.linear - one.linear, one.between


def _unremembered(net: Net, query: Query, spent: Counting, asks: list[Ask]) -> float:
    """Questions that each stand alone. Where a backbone drops what is hidden, the cost is a polynomial of degree two in how many are known: of three points."""
    length = query.tokens.length
    slope = _sloped(net, query) if any(a.slope for a in asks) else 1.0
    if length < 3 or all(a.known is None for a in asks):
        return sum(a.times * (slope if a.slope else 1.0) for a in asks) * spent.total
    points = (0, length // 2, length)
    costs = [_spent(net, replace(query, known=(torch.arange(length) < n)[None])).total for n in points]
    value = lambda x: sum(  # noqa: E731  # Lagrange's form
        cost * (x - points[i - 1]) * (x - points[i - 2]) / ((points[i] - points[i - 1]) * (points[i] - points[i - 2])) for i, cost in enumerate(costs)
    )
    return sum(a.times * value(a.known or 0) for a in asks)


def _in_turn(net: Net, query: Query, asks: list[Ask]) -> float:
    """Questions one after another in one conversation, whose answers are kept: the first places of the sequence are those that become known."""
    known = [(torch.arange(query.tokens.length) < (a.known or 0))[None] for a in asks]
    return sum(_spent(net, replace(query, known=k), remember=True).total * a.times for k, a in zip(known, asks, strict=True))


def _spent(net: Net, query: Query, *, remember: bool = False) -> Counting:
    with Counting() as spent:
        net(query, remember=remember).distribution.each(query.tokens.kind[0])  # a place is answered by the head of its kind
    return spent


def checked(recipe: Recipe) -> list[Row]:
    """Every fact of a recipe beside its build."""
    dear = {f.size for f in recipe.facts if f.kind.startswith("multiply_adds")}
    counts = {size: counted(recipe.sized(size), costs=size in dear) for size in dict.fromkeys(f.size for f in recipe.facts)}
    return [_row(fact, counts[fact.size]) for fact in recipe.facts]


def _row(fact: Fact, counts: Counts) -> Row:
    ours = getattr(counts, fact.kind, None)
    if ours is None:
        raise BadArgument(f"there is no count of {fact.kind!r} here; a fact is of one of {', '.join(f.name for f in fields(Counts))}")
    gap = ours / fact.value - 1
    held = abs(gap) <= fact.rel
    verdict = "holds" if held else f"differs because {fact.differs}" if fact.differs else "does not hold"
    return Row(fact.kind, fact.size, ours, fact.value, gap, verdict, fact.of)


def described(recipe: Recipe, size: str | None = None) -> dict[str, Any]:
    """What `omniform show NAME --json` prints: a recipe at one size, and what is published of that size."""
    size = size if size is not None else next(iter(recipe.sizes), "tiny")
    counts = counted(recipe.sized(size))
    return {
        "name": recipe.name,
        "title": recipe.title,
        "family": recipe.family,
        "modality": recipe.modality,
        "sources": [asdict(s) for s in recipe.source],
        "sizes": [*recipe.sizes, "tiny"],
        "size": size,
        **{"multiply_adds_per_question" if name == "multiply_adds" else name: value for name, value in asdict(counts).items()},
        "facts": [asdict(_row(fact, counts)) for fact in recipe.facts if fact.size == size],
    }
