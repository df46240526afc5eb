"""What every recipe promises, over every recipe at a size where it takes a fraction of a second."""

from __future__ import annotations

import json
import re
from dataclasses import replace

import pytest
import torch

from omniform.codecs.ids import Ids
from omniform.conditions.guidance import ClassifierFree
from omniform.core.batch import Parts
from omniform.core.codec import player_parameters
from omniform.core.errors import Intractable
from omniform.core.process import generate
from omniform.core.query import Query
from omniform.core.rng import Rng
from omniform.processes.blocks import Recorded
from omniform.system.build import assemble, load, save
from omniform.system.recipe import Recipe


def learned(system):
    """Every parameter that the system's loss trains, by name: all but a frozen codec's."""
    alone = not hasattr(system, "network")
    return {n: p for n, p in system.named_parameters() if p.requires_grad and (alone or not n.startswith("codec."))}


def cost(system, batch, player, seed=7):
    losses = {loss.player: loss for loss in system.loss(batch, rng=Rng.seeded(seed))}
    return losses[player].mean()


# ---- builds and learns -----------------------------------------------------------------------------------------------


def test_builds_and_says_what_it_is(any_case):
    system = any_case.fresh()
    assert any_case.recipe.name == any_case.name
    assert sum(p.numel() for p in system.parameters()) > 0
    assert [n for n, p in system.named_parameters() if not torch.isfinite(p).all()] == []
    again = any_case.fresh()
    assert all(torch.equal(a, b) for a, b in zip(system.parameters(), again.parameters(), strict=True))
    other = any_case.fresh(seed=1)
    assert any(not torch.equal(a, b) for a, b in zip(system.parameters(), other.parameters(), strict=True))


def test_loss_is_finite_on_data_as_it_comes(any_case):
    system = any_case.fresh()
    batch = any_case.batch(3, raw=True) if hasattr(system, "network") else replace(any_case.raw_batch(3), condition={})
    losses = system.loss(batch, rng=Rng.seeded(0))
    assert losses[0].player == "main" and len({x.player for x in losses}) == len(losses)
    assert set(x.player for x in losses) == set(player_parameters(system))
    for loss in losses:
        assert "main" in loss.parts or not hasattr(system, "network")
        assert float(loss.count) > 0 and all(x.dim() == 0 and bool(torch.isfinite(x)) for x in loss.parts.values())


def test_loss_falls(any_case):
    system = any_case.fresh()
    batch = any_case.batch(4) if hasattr(system, "network") else any_case.raw_batch(4)
    for player, parameters in player_parameters(system).items():
        mine = [p for p in parameters if any(p is q for q in learned(system).values())]
        optimizer = torch.optim.AdamW(mine, lr=3e-3)
        before = sum(float(cost(system, batch, player, seed).detach()) for seed in (101, 102, 103)) / 3
        for step in range(30):
            optimizer.zero_grad()
            loss = cost(system, batch, player, step)
            assert bool(torch.isfinite(loss))
            loss.backward()
            optimizer.step()
        after = sum(float(cost(system, batch, player, seed).detach()) for seed in (101, 102, 103)) / 3
        assert after < before - 0.02 * abs(before), f"{player}: {before:.4f} -> {after:.4f} in 30 steps"


def test_every_parameter_gets_a_gradient(any_case):
    system = any_case.stirred(any_case.fresh())
    batch = any_case.batch(4) if hasattr(system, "network") else any_case.raw_batch(4)
    if hasattr(system, "network"):
        system.generate(1, any_case.told(1), decode=False)  # what a sample leaves behind, kept tables say, does not stand in the way of gradients
    for seed in range(4):
        sum(loss.mean() for loss in system.loss(batch, rng=Rng.seeded(seed))).backward()
    excused = any_case.recipe.ungraded
    silent = [n for n, p in learned(system).items() if p.grad is None or not bool(p.grad.any())]
    assert [n for n in silent if not any(n.startswith(e) for e in excused)] == []
    assert [e for e in excused if not any(n.startswith(e) for n in silent)] == [], "excused, but it does get a gradient"
    assert all(reason.strip() for reason in excused.values())


# ---- one question in training, in generation, from memory ------------------------------------------------------------


@pytest.mark.parametrize("scale", [1, 3])
def test_cached_equals_recalled(remembering, scale):
    case = remembering
    options = {"scale": scale} if case.system.guidance is not None else {}
    _, events = case.watched(2, memory="kv", events=True, **options)
    asked = [event for event in events if not isinstance(event, torch.Tensor)]
    again = case.replayed(events, 2, memory="recall", **options)
    assert len(asked) == len(again) > 1 and any(remember for _, remember, _ in asked)
    for (_, _, one), (_, _, other) in zip(asked, again, strict=True):
        for x, y in zip(one, other, strict=True):
            case.near(x, y)


def answered(seen, turn):
    """The answers of a training question at the slots of a turn (B, L), in the order of places."""
    query, _, found = seen
    places = (query.turn == turn).int().argsort(dim=1, descending=True, stable=True)[:, : int((query.turn[0] == turn).sum())]
    return [x.gather(1, places.reshape(*places.shape, *(1,) * (x.dim() - 2)).expand(*places.shape, *x.shape[2:])) for x in found]


def test_teacher_forcing_equals_sampling(ordered):
    case, rng = ordered, Rng.seeded(1, 3)
    tokens, seen = case.watched(3, scale=None if case.system.guidance is None else 1)
    (question,) = case.taught(lambda net: case.system.process.loss(net, tokens, rng=rng.split("init")), 3)
    assert len(seen) == int(question[0].turn.max()) + 1
    for turn, (_, _, found) in enumerate(seen):
        (real,) = answered((question[0], None, [tokens.real]), turn)  # a row that has ended is asked on while others are not, and is padding in training
        for x, y in zip(found, answered(question, turn), strict=True):
            case.near(torch.where(real.reshape(*real.shape, *(1,) * (x.dim() - 2)), x, y), y)


def test_teacher_forcing_equals_sampling_in_blocks(blockwise):
    case = blockwise
    process = case.system.process
    tokens, seen = case.watched(2, scale=None if case.system.guidance is None else 1)
    turn = process.order.turns(tokens.coord, rng=Rng.seeded(1, 2).split("init").split("order"))
    drawn = [(query, found) for query, remember, found in seen if not remember]
    assert {int(query.turn.max()) // 2 for query, _ in drawn} == set(range(int(turn.max()) + 1))
    for query, found in drawn:
        block = int(query.turn.max()) // 2
        places = (turn[0] == block).nonzero()[:, 0]
        index = places[None].expand(2, -1)
        known = torch.ones_like(turn, dtype=torch.bool).index_copy(1, places, query.known)
        time = None if query.time is None else torch.ones(turn.shape).index_copy(1, places, query.time.expand(-1, len(places)).float())
        whole = replace(query, tokens=tokens.put(index, query.tokens), known=known, turn=turn, lane=torch.zeros_like(turn), time=time)
        (question,) = case.taught(lambda net, whole=whole: Recorded(net, tokens, turn)(whole), 2)
        for x, y in zip(found, question[2], strict=True):
            case.near(x, y[:, tokens.length + places])


def test_teacher_forcing_equals_sampling_in_maps(bijective):
    case = bijective
    process = case.system.process.but(denoise=False)
    tokens, seen = case.watched(2, process=process, scale=None if case.system.guidance is None else 1)
    taught = {query.stage: found for query, _, found in case.taught(lambda net: process.forward_map(net, tokens), 2, silent=False)}
    assert len(seen) == len(process.asks(tokens)) and len(taught) == process.maps
    for query, _, found in seen:
        turn = int(query.turn[0, 0])
        for x, y in zip(found, taught[query.stage], strict=True):
            first = y.shape[1] - tokens.length  # -1 where the first token is kept, and not asked about
            case.near(x, y[:, turn + first : turn + first + 1], 1e-3)


@pytest.mark.parametrize("first", [0, 1])
def test_teacher_forcing_equals_sampling_in_parts(interleaved, first):
    """Of a text and then a picture, and of a picture (given) and then its text."""
    case, (said, seen) = interleaved, interleaved.system.codec.space.segments
    process, wanted = case.system.process, case.content(2)
    given = None if first == 0 else wanted.kind == 1
    blank = case.system.codec.space.blank(2) if first == 0 else wanted
    asked = case.witness(2)
    with torch.no_grad():
        tokens = generate(process, asked, blank, rng=Rng.seeded(1, 2), given=given)
    base = torch.tensor(process._turns((0, 1) if first == 0 else (1, 0)))[None]
    text = process.inners[0].pose(tokens.at(said), rng=Rng.seeded(0, 2)).query
    places = tokens.at(seen)
    clean = Query(places, torch.ones_like(places.doc, dtype=torch.bool), places.doc, places.doc, text.progress, torch.ones(2, 1))

    def taught(query):
        whole, where = process.composed(tokens, [text, query], base)
        ((_, _, (h, *_)),) = case.taught(lambda net: net(whole), 2, silent=False)
        return [h[:, w] for w in where]

    slots = [h[0] for query, _, h in asked.seen if int(query.tokens.kind[0, 0]) == 0]
    case.near(torch.cat(slots, 1), taught(clean)[0])
    drawn = [(query, h[0]) for query, remember, h in asked.seen if int(query.tokens.kind[0, 0]) == 1 and not remember]
    assert len(slots) > 1 and bool(drawn) == (first == 0)
    for query, h in drawn:
        case.near(h, taught(query)[1])


@torch.no_grad()
def test_parts_see_what_comes_before_them_and_no_more(interleaved):
    """Of the training question: a text's slot reads no later letter, and a picture only where it comes first; a picture reads all of itself."""
    case = interleaved
    process, (said, seen) = case.system.process, case.system.codec.space.segments
    one, other = case.content(2), case.content(2, seed=9)

    def answers(tokens, order):
        posed = [p.pose(tokens.at(w), rng=Rng.seeded(0)) for p, w in zip(process.inners, (said, seen), strict=True)]
        whole, where = process.composed(tokens, [p.query for p in posed], torch.tensor(process._turns(order))[None])
        ((_, _, (h, *_)),) = case.taught(lambda net: net(whole), 2, silent=False)
        return [*(h[:, w] for w in where), posed[1].query.known]

    half = torch.arange(one.length) < said.stop // 2
    for order in ((0, 1), (1, 0)):
        before = answers(one, order)
        late = answers(one.where(half | (one.kind == 1), other), order)  # other letters from the middle on
        case.near(late[0][:, : said.stop // 2], before[0][:, : said.stop // 2], 1e-5)
        assert torch.allclose(late[1], before[1], atol=1e-5) == (order == (1, 0))
        seen_so = answers(one.where(torch.arange(one.length) <= seen.start, other), order)  # other patches, but for the first
        assert torch.allclose(seen_so[1][:, 0], before[1][:, 0], atol=1e-5) != bool(before[2][:, 1:].any()), "a patch reads all that is shown of its picture"
        assert torch.allclose(seen_so[0], before[0], atol=1e-5) == (order == (0, 1))


def test_a_row_that_has_ended_says_nothing_more(interleaved):
    """The picture after a short text is that of the short text alone, whatever longer texts stand in the batch."""
    case = interleaved
    codec, (said, _) = case.system.codec, case.system.codec.space.segments
    wanted = case.content(2)
    ids = wanted.ids.clone()
    ids[0, 2:] = codec.space.stop
    ends = torch.where(torch.arange(wanted.length) < said.stop, torch.arange(wanted.length), -1)
    keep = (ends >= 0) & torch.stack([ends <= 2, ends >= 0])
    both = case.sample(2, given=(replace(wanted, ids=ids), keep))
    alone = case.sample(1, given=(replace(wanted, ids=ids).rows(torch.tensor([0])), keep[:1]))
    case.alike(alone, both.rows(torch.tensor([0])))
    assert both.doc[0, : said.stop].tolist() == [0] * 3 + [-1] * (said.stop - 3) and bool((both.doc[1] == 0).all())


def test_a_slot_is_fed_nothing_of_its_own_turn_or_later(ordered):
    case = ordered
    process, tokens, other = case.system.process, case.content(3), case.content(3, seed=9)
    turn = process.order.turns(tokens.coord, rng=Rng.seeded(0, 3))
    plan = process.feed.plan(tokens, turn, process.order)
    before, known = process.feed.fed(tokens, plan, slice(None))
    fed_later = False
    for now in range(int(turn.max()) + 1):
        mixed = tokens.where(turn < now, other)
        after, still = process.feed.fed(mixed, plan, slice(None))
        slots = turn <= now
        for x, y in ((before.ids, after.ids), (before.vec, after.vec)):
            assert x is None or torch.equal(x[slots], y[slots]), f"the feed of turn {now} depends on itself or on the future"
            fed_later = fed_later or (x is not None and not torch.equal(x, y))
        assert torch.equal(known, still)
    assert fed_later, "the feed says nothing at all"


def test_an_answer_does_not_depend_on_its_own_turn_or_later(ordered):
    case = ordered
    process, tokens, other = case.system.process, case.content(3), case.content(3, seed=9)
    ask = lambda said: case.taught(lambda net: process.loss(net, said, rng=Rng.seeded(0, 3)), 3)[0]  # noqa: E731
    query, _, before = ask(tokens)
    for now in (0, int(query.turn.max()) // 2, int(query.turn.max())):
        _, _, after = ask(tokens.where(query.turn < now, other))
        for x, y in zip(before, after, strict=True):
            case.near(x[query.turn <= now], y[query.turn <= now], 1e-5)
            assert now == int(query.turn.max()) or not torch.allclose(x, y), "the answers say nothing of what came before"


# ---- guidance and randomness -----------------------------------------------------------------------------------------


def test_guidance_acts(guided):
    case = guided
    assert case.differs(case.sample(scale=1), case.sample(scale=3))
    assert case.differs(case.sample(scale=1), case.sample(scale=1, told={}))


def test_guidance_that_rises_acts(guided):
    case = guided
    system, mine = case.system, case.system.guidance
    try:
        system.guidance = ClassifierFree(4.0, "rising")
        risen, rising = case.watched()
        flattened, flat = case.watched(scale=1)
        system.guidance = ClassifierFree(4.0)
        steady, constant = case.watched()
    finally:
        system.guidance = mine
    if len(rising) == 1:  # who asks once asks at the beginning, where a rising weight is that of no guidance
        assert not case.differs(risen, flattened) and case.differs(risen, steady)
        return
    progress = torch.stack([query.progress for query, _, _ in rising])
    assert float(progress.min()) >= 0 and 0 < float(progress.max()) <= 1
    for tokens, other in ((flattened, flat), (steady, constant)):
        assert case.differs(risen, tokens) or any(
            not torch.allclose(x, y, rtol=1e-3, atol=1e-3)
            for (_, _, one), (_, _, two) in zip(rising, other, strict=True)
            for x, y in zip(one, two, strict=True)
        )


def test_randomness_determines(case):
    one = case.sample(seed=1)
    case.alike(one, case.sample(seed=1), rel=0)
    if not case.system.process.chance:  # a forecast: the same whatever the seed
        case.alike(one, case.sample(seed=2), rel=0)
        return
    assert case.differs(one, case.sample(seed=2))
    assert case.differs(one.rows(torch.tensor([0])), one.rows(torch.tensor([1])))


def test_a_row_does_not_depend_on_its_batch(case):
    told = case.told(4)
    whole = case.sample(4, seed=3)
    some = {k: (v[[3, 1]] if isinstance(v, torch.Tensor) else [v[3], v[1]]) for k, v in told.items()}
    case.alike(case.sample(2, seed=3, told=some, rows=[3, 1]), whole.rows(torch.tensor([3, 1])))


# ---- given -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("which", ["prompt", "scattered", "all"])
def test_given_places_are_kept_exactly(case, which):
    wanted = case.content(3, seed=4)
    length = wanted.length
    keep = {"prompt": torch.arange(length) < length // 2, "scattered": torch.arange(length) % 3 == 1, "all": torch.ones(length, dtype=torch.bool)}[which]
    made = case.sample(3, given=(wanted, keep))
    for x, y in ((made.ids, wanted.ids), (made.vec, wanted.vec)):
        assert x is None or torch.equal(x[:, keep], y[:, keep])
    assert bool(torch.isfinite(made.vec).all()) if made.vec is not None else True


def test_given_may_differ_from_row_to_row(case):
    wanted = case.content(3, seed=4)
    keep = torch.arange(wanted.length)[None] % 4 == torch.arange(3)[:, None]
    made = case.sample(3, given=(wanted, keep))
    for x, y in ((made.ids, wanted.ids), (made.vec, wanted.vec)):
        assert x is None or torch.equal(x[keep], y[keep])


def test_what_is_given_is_heard(case):
    length = case.content(1).length
    first = torch.arange(length)
    if hasattr(case.system.process, "order"):  # a prompt is what comes first in the order
        first = case.system.process.order.turns(case.content(1).coord, rng=Rng.seeded(1, 1))[0]
    if hasattr(case.system.process, "backwards") and case.system.process.backwards(0):  # in that of the map next to the data
        first = first.flip(0)
    keep = first < int(first.max() + 1) // 2
    one, other = (case.sample(3, given=(case.content(3, seed=s), keep)) for s in (4, 5))
    rest = (~keep)[None].expand(3, -1)
    assert case.differs(one, other, rest) and case.differs(one, case.sample(3), rest)


# ---- scores, storage, sources ----------------------------------------------------------------------------------------


def test_scores_where_the_family_has_them(case):
    system, tokens, told = case.system, case.content(3), case.told(3)
    if system.process.likelihood is None or not has_likelihood(system):
        with pytest.raises(Intractable):
            system.score(tokens, told)
        return
    nats = system.score(tokens, told)
    assert nats.shape == (3,) and bool(torch.isfinite(nats).all())
    fewer = {k: v[:2] for k, v in told.items()}
    case.near(system.score(tokens.rows(torch.tensor([0, 1])), fewer), nats[:2])
    assert not torch.allclose(nats, system.score(case.content(3, seed=8), told))


def has_likelihood(system):
    """Whether what the head speaks can be scored."""
    net = system.network
    return all(t.head(torch.zeros(1, 1, net.width)).exact for t in net.towers.values())


def test_saved_and_loaded_it_is_the_same(any_case, tmp_path):
    system = any_case.system if any_case.recipe.network is not None else any_case.fresh()
    save(system, tmp_path / "it", notes={"why": "test"})
    again = load(tmp_path / "it")
    mine, theirs = system.state_dict(), again.state_dict()
    assert mine.keys() == theirs.keys() and all(torch.equal(mine[k], theirs[k]) for k in mine)
    assert again.recipe.to_json() == system.recipe.to_json() and not again.training
    if any_case.recipe.network is not None:
        options = {"seed": 5, "decode": False}
        any_case.alike(again.generate(2, any_case.told(2), **options), system.generate(2, any_case.told(2), **options), rel=0)


def test_a_recipe_goes_through_json(any_case):
    recipe = any_case.recipe
    back = Recipe.from_json(json.loads(json.dumps(recipe.to_json())))
    assert back.to_json() == recipe.to_json() and back.against(recipe) == {}
    one, other = assemble(recipe), assemble(back)
    assert all(torch.equal(a, b) for a, b in zip(one.state_dict().values(), other.state_dict().values(), strict=True))


def test_sources_are_cited(any_case):
    recipe = any_case.recipe
    assert recipe.source
    for source in recipe.source:
        assert source.title.strip()
        assert re.fullmatch(r"\d{4}\.\d{4,5}", source.arxiv) if source.arxiv else re.search(r"(19|20)\d\d", source.title), (
            f"{source.title}: an arXiv number, or a year in the title"
        )
        said = json.dumps([source.title, source.code, source.at, source.arxiv])
        assert "http" not in said and "www." not in said
    assert recipe.title and recipe.family and recipe.modality
    assert all(fact.of and (fact.size == "tiny" or fact.size in recipe.sizes) for fact in recipe.facts)


def test_samples_decode_to_data(case):
    tokens = case.sample(2)
    with torch.no_grad():
        data = case.system.codec.decode(tokens)
    shape = case.recipe.shape
    if isinstance(data, Parts):
        texts, data = data.each
        assert len(texts) == 2 and all(isinstance(x, str) for x in texts)
    if len(shape) == 1 and case.recipe.codec.make is not Ids and case.recipe.modality != "timeseries":
        assert len(data) == 2 and all(isinstance(x, str) for x in data)
    else:
        assert tuple(data.shape) == (2, *shape)
    seen = []
    with torch.no_grad():
        again = generate(case.system.process, case.system.net(2, case.told(2)), case.system.codec.space.blank(2), rng=Rng.seeded(1, 2), watch=seen.append)
    case.alike(again, tokens)
    assert len(seen) >= 1 and bool(seen[-1].done.all())
