"""Hidden places: how many are shown when, the bound of an oracle, the law of the samples."""

from __future__ import annotations

import itertools
import math

import pytest
import torch

from omniform.core.distribution import Sampling
from omniform.core.errors import BadArgument
from omniform.core.process import generate
from omniform.core.query import Answer
from omniform.core.rng import Rng
from omniform.core.tokens import Axis, Space
from omniform.heads.bits import Bits
from omniform.heads.categorical import Categorical
from omniform.processes.masked import SCHEDULES, Masked

L, V = 4, 3
SPACE = Space(axes=(Axis("time", L),), vocab=(V,))
EVERY = torch.tensor(list(itertools.product(range(V), repeat=L)))  # (81, 4)
JOINT = torch.softmax(1.5 * torch.randn(len(EVERY), dtype=torch.float64, generator=torch.Generator().manual_seed(0)), 0)
ENTROPY = float(-(JOINT * JOINT.log()).sum())


def _conditionals():
    """(4^L, L, V): log-probabilities of each place given what is known; a state is written with V for unknown."""
    table = []
    for state in itertools.product(range(V + 1), repeat=L):
        seen = torch.tensor(state)
        weight = ((EVERY == seen) | (seen == V)).all(-1) * JOINT
        table.append(torch.stack([(weight[:, None] * (EVERY == v)).sum(0) for v in range(V)], -1) / weight.sum())
    return torch.stack(table).log().clamp(min=-60)


TABLE = _conditionals()


class Oracle:
    """Answers with the true conditionals of the joint table, given what is known. Counts its questions."""

    def __init__(self):
        self.calls, self.known, self.progress = 0, [], []

    def __call__(self, query, *, remember=False):
        self.calls += 1
        self.known.append(query.known)
        self.progress.append(query.progress)
        state = torch.where(query.known, query.tokens.ids[..., 0], V)
        return Answer(Categorical(TABLE[(state * (V + 1) ** torch.arange(L - 1, -1, -1)).sum(-1)][:, :, None]))


class Still:
    """The same logits whatever is asked."""

    def __init__(self, logits):
        self.logits, self.known, self.progress = logits, [], []

    def __call__(self, query, *, remember=False):
        self.known.append(query.known)
        self.progress.append(query.progress)
        return Answer(Categorical(self.logits.expand(query.tokens.batch, -1, -1, -1)))


def tokens_of(ids):
    from dataclasses import replace

    return replace(SPACE.blank(len(ids)), ids=ids[..., None])


def test_the_bound_of_an_oracle_is_the_entropy():
    """Whatever the order, the conditionals multiply to the joint: the bound is exact in the mean over orders (MDLM's card)."""
    rows = 200
    process = Masked(weight="bound")
    exact = -(JOINT.log())
    total = sum(
        JOINT[i] * process.bound(Oracle(), tokens_of(EVERY[i : i + 1].expand(rows, -1)), rng=Rng.seeded(int(i), rows)).double().mean()
        for i in range(len(EVERY))
    )
    assert abs(float(total) - ENTROPY) < 0.01 * ENTROPY
    one = process.bound(Oracle(), tokens_of(EVERY[5:6].expand(4000, -1)), rng=Rng.seeded(3, 4000)).double()
    assert abs(float(one.mean() - mean_over_orders(5))) < 5 * float(one.std()) / math.sqrt(4000)
    assert float(mean_over_orders(5)) == pytest.approx(float(exact[5]), rel=1e-9)


def mean_over_orders(row):
    """E over random orders of the nll of one place after another, by hand."""
    total = 0.0
    orders = list(itertools.permutations(range(L)))
    for order in orders:
        known = torch.zeros(1, L, dtype=torch.bool)
        for place in order:
            fits = ((EVERY == EVERY[row]) | ~known).all(-1)
            after = fits & (EVERY[:, place] == EVERY[row, place])
            total -= math.log(float(JOINT[after].sum() / JOINT[fits].sum()))
            known[0, place] = True
    return total / len(orders)


def test_the_training_loss_with_weight_bound_has_the_bound_as_its_mean():
    """(1 / (1 - t)) times the nll of the hidden, t uniform: the same integral (MDLM, equation 10)."""
    rows = 20000
    drawn = torch.multinomial(JOINT, rows, True, generator=torch.Generator().manual_seed(0))
    losses = Masked(weight="bound").loss(Oracle(), tokens_of(EVERY[drawn]), rng=Rng.seeded(0))
    assert float(losses.count) == rows * L
    assert float(losses.parts["main"]) / rows == pytest.approx(ENTROPY, rel=0.03)


def test_runs_have_a_time_and_a_size_each():
    process = Masked(weight="bound", run=2)
    hide, weight = process._hidden(SPACE.blank(50), Rng.seeded(0))
    assert weight.shape == (50, L) and torch.equal(weight[:, 0], weight[:, 1]) and not torch.equal(weight[:, 1], weight[:, 2])
    net = Oracle()
    process.bound(net, tokens_of(EVERY[:7]), rng=Rng.seeded(0, 7), draws=8)
    for known in net.known:
        assert bool(((~known).reshape(7, 2, 2).sum(-1) >= 1).all())
    sizes = torch.stack([(~known).reshape(7, 2, 2).sum(-1) for known in net.known])
    assert bool((sizes == 1).any()) and bool((sizes == 2).any())
    assert torch.equal(sizes.sort(0).values[:, 0, 0], torch.tensor([1] * 4 + [2] * 4))  # stratified over sizes


@pytest.mark.parametrize("choose", ["confidence", "random"])
@pytest.mark.parametrize("schedule", SCHEDULES)
def test_the_counts_follow_the_schedule(choose, schedule):
    """After step t of T, floor(N gamma((t + 1) / T)) stay hidden, at least one is shown and one kept for the next step (MaskGIT's parallel_decode)."""
    space = Space(axes=(Axis("time", 40),), vocab=(5,))
    gamma = {"cosine": lambda u: math.cos(math.pi * u / 2), "linear": lambda u: 1 - u, "arccos": lambda u: math.acos(u) * 2 / math.pi}[schedule]
    for steps in (1, 3, 8, 12, 40):
        net = Still(torch.randn(1, 40, 1, 5, generator=torch.Generator().manual_seed(0)))
        generate(Masked(steps, schedule, choose), net, space.blank(2), rng=Rng.seeded(0, 2))
        hidden, expected = [int((~k[0]).sum()) for k in net.known], [40]
        for t in range(steps - 1):
            expected.append(max(min(math.floor(40 * gamma((t + 1) / steps) + 1e-4), expected[-1] - 1), min(1, expected[-1] - 1)))
        assert hidden == expected
        assert all(bool((a & ~b).sum() == 0) for a, b in zip(net.known, net.known[1:], strict=False)), "what is shown stays"


@pytest.mark.parametrize("choose", ["confidence", "random"])
def test_as_many_steps_as_places_show_one_at_a_time(choose):
    space = Space(axes=(Axis("time", 12),), vocab=(5,))
    net = Still(torch.randn(1, 12, 1, 5, generator=torch.Generator().manual_seed(0)))
    states = []
    generate(Masked(12, "linear", choose, noise=0.0), net, space.blank(3), rng=Rng.seeded(0, 3), watch=states.append)
    assert [s.known.sum(1).tolist() for s in states] == [[n] * 3 for n in range(1, 13)]
    assert bool(states[-1].done.all()) and float(states[-1].progress.min()) == 1


def test_without_noise_the_surest_are_shown_first():
    space = Space(axes=(Axis("time", 12),), vocab=(5,))
    logits = torch.zeros(1, 12, 1, 5)
    logits[0, :, 0, 2] = torch.randperm(12, generator=torch.Generator().manual_seed(0)).float() + 1
    states = []
    generate(Masked(12, "linear", "confidence", noise=0.0, sampling=Sampling(0.0)), Still(logits), space.blank(1), rng=Rng.seeded(0, 1), watch=states.append)
    shown = [int((b.known & ~a.known).nonzero()[0, 1]) for a, b in zip(states, states[1:], strict=False)]
    assert shown == logits[0, :, 0, 2].argsort(descending=True).tolist()[1:]
    other = []
    generate(Masked(12, "linear", "confidence", noise=50.0, sampling=Sampling(0.0)), Still(logits), space.blank(1), rng=Rng.seeded(0, 1), watch=other.append)
    assert not torch.equal(states[3].known, other[3].known)


def test_random_orders_are_uniform_and_the_rows_own():
    space = Space(axes=(Axis("time", 3),), vocab=(2,))
    net = Still(torch.zeros(1, 3, 1, 2))
    states = []
    generate(Masked(3, "linear", "random"), net, space.blank(3000), rng=Rng.seeded(0, 3000), watch=states.append)
    first = states[0].known.int().argmax(1)
    assert float((torch.bincount(first, minlength=3) / 3000 - 1 / 3).abs().max()) < 0.04
    second = (states[1].known & ~states[0].known).int().argmax(1)
    assert float((torch.bincount(first * 3 + second, minlength=9)[[1, 2, 3, 5, 6, 7]] / 3000 - 1 / 6).abs().max()) < 0.04


@pytest.mark.parametrize("choose", ["random", "independent"])
def test_samples_of_an_oracle_have_its_law(choose):
    """One place at a time (random: exactly; independent: in the limit of many steps) the joint table is drawn from."""
    rows = 6000
    process = Masked(L if choose == "random" else 200, "linear", choose)
    net = Oracle()
    ids = generate(process, net, SPACE.blank(rows), rng=Rng.seeded(0, rows)).ids[..., 0]
    counts = torch.bincount((ids * V ** torch.arange(L - 1, -1, -1)).sum(-1), minlength=V**L) / rows
    noise = float((2 / math.pi * JOINT * (1 - JOINT) / rows).sqrt().sum()) / 2  # expected total variation of so many true draws
    assert float((counts - JOINT).abs().sum()) / 2 < 1.35 * noise


def test_independent_asks_only_when_something_changes():
    net = Oracle()
    generate(Masked(500, "linear", "independent"), net, SPACE.blank(1), rng=Rng.seeded(0, 1))
    assert net.calls <= L


def test_few_steps_are_worse_than_many():
    """Together means independently: the price of parallel decoding, in total variation."""
    rows, gaps = 6000, []
    for steps in (1, 2, 4):
        ids = generate(Masked(steps, "linear", "random"), Oracle(), SPACE.blank(rows), rng=Rng.seeded(0, rows)).ids[..., 0]
        counts = torch.bincount((ids * V ** torch.arange(L - 1, -1, -1)).sum(-1), minlength=V**L) / rows
        gaps.append(float((counts - JOINT).abs().sum()) / 2)
    assert gaps[0] > gaps[1] > gaps[2]


def test_ratios_and_smoothing():
    many = Space(axes=(Axis("time", 50),), vocab=(V,)).blank(40)
    shares = torch.cat([Masked(ratio=(0.7, 1.0, 0.25))._hidden(many, Rng.seeded(i))[0].float().mean(1)[:1] for i in range(300)])
    assert 0.7 <= float(shares.min()) and float((shares >= 0.98).float().mean()) > 0.04
    assert float(shares.mean()) == pytest.approx(0.7 + 0.25 * 0.6, abs=0.1)
    hide, weight = Masked()._hidden(many, Rng.seeded(0))
    assert weight.eq(1).all() and float(hide.float().mean()) == pytest.approx(2 / math.pi, abs=0.03)  # the mean of the cosine
    logits = torch.randn(1, L, 1, V, generator=torch.Generator().manual_seed(0))
    plain, smooth = (Masked(smoothing=s).loss(Still(logits), tokens_of(EVERY[:9]), rng=Rng.seeded(1)) for s in (0.0, 0.1))
    hide, _ = Masked()._hidden(tokens_of(EVERY[:9]), Rng.seeded(1))
    uniform = -(logits.log_softmax(-1).mean(-1)[..., 0] * hide).sum()
    assert float(smooth.parts["main"]) == pytest.approx(0.9 * float(plain.parts["main"]) + 0.1 * float(uniform), rel=1e-5)


def test_laws_of_the_hidden_share():
    many = Space(axes=(Axis("time", 50),), vocab=(V,)).blank(40)
    counts = torch.stack([Masked(ratio=("beta", 12, 3))._hidden(many, Rng.seeded(i))[0].sum(1) for i in range(400)])
    assert bool((counts == counts[:, :1]).all()), "one share a batch"
    share = counts[:, 0].double() / 50
    assert float(share.mean()) == pytest.approx(12 / 15, abs=0.02) and float(share.var()) == pytest.approx(36 / (225 * 16), rel=0.3)
    few = Space(axes=(Axis("time", 2),), vocab=(V,)).blank(3)
    assert all(int(n) == 1 for i in range(20) for n in Masked(ratio=("beta", 12, 3))._hidden(few, Rng.seeded(i))[0].sum(1)), "never everything"
    counts = torch.cat([Masked(ratio=("uniform", 0.5, 1.0))._hidden(many, Rng.seeded(i))[0].sum(1) for i in range(20)])
    assert int(counts.min()) in (25, 26) and int(counts.max()) == 50 and float(counts.double().mean()) == pytest.approx(38, abs=0.5)


def test_a_temperature_that_falls():
    """At the last step what is drawn is the mode, whatever the first temperature; at the others it is not."""
    logits = torch.randn(1, 1, 1, V, generator=torch.Generator().manual_seed(0)).expand(1, 400, 1, V)
    space = Space(axes=(Axis("time", 400),), vocab=(V,))
    net, states = Still(logits), []
    generate(Masked(4, "linear", noise=100.0, temperature=20.0), net, space.blank(1), rng=Rng.seeded(0, 1), watch=states.append)
    best = states[-1].tokens.ids[..., 0] == int(logits[0, 0, 0].argmax())
    first, last = states[0].known, ~states[-2].known
    assert 0.2 < float(best[first].float().mean()) < 0.5 and bool(best[last].all())


class Said:
    """A generator whose Gumbel noise is given."""

    def __init__(self, draws):
        self.draws = list(draws)

    def split(self, label):
        return self

    def gumbel(self, shape):
        return self.draws.pop(0).reshape(shape)


def test_choosing_by_logits_and_cooling_as_titok_does():
    """Logits divided by 0.5 + 0.8 f; a code is the greatest of them and noise times f T; those of the greatest sum of their logit and such noise are shown."""
    g, num, steps, warm = torch.Generator().manual_seed(0), 24, 5, 3.0
    space = Space(axes=(Axis("time", num),), vocab=(V,))
    logits = torch.randn(1, num, V, generator=g) * 2 + 3 * torch.randn(1, num, 1, generator=g)
    process = Masked(steps, "arccos", choose="logit", noise=warm, temperature=warm, cool=(0.5, 0.8))
    state = process.init(space.blank(2), rng=Rng.seeded(0, 2))
    ids = torch.full((2, num), V)
    for step in range(steps):
        f = 1 - (step + 1) / steps
        draws, noise = (-(-torch.rand(2, num, *more, generator=g).log()).log() for more in ((V,), ()))
        sharp = logits.expand(2, -1, -1) / (0.5 + 0.8 * f)
        code = (sharp + f * warm * draws).argmax(-1)
        belief = torch.where(ids == V, sharp.gather(-1, code[..., None])[..., 0] + f * warm * noise, torch.inf)
        hidden = max(1, min(math.floor(num * math.acos(1 - f) * 2 / math.pi), int((ids[0] == V).sum()) - 1)) if step + 1 < steps else 0
        shown = torch.zeros_like(belief, dtype=torch.bool).scatter(1, belief.argsort(-1)[:, hidden:], True)
        ids = torch.where((ids == V) & shown, code, ids)
        state = process.step(Still(logits[:, :, None]), state, rng=Said([draws, noise]))
        assert torch.equal(torch.where(state.known, state.tokens.ids[..., 0], V), ids)
    assert bool(state.done.all())
    with pytest.raises(BadArgument, match="choosing by logits needs a categorical head, not Bits"):
        process.step(lambda query: Answer(Bits(torch.zeros(2, num, 2))), process.init(space.blank(2), rng=Rng.seeded(0, 2)), rng=Rng.seeded(0, 2))


@pytest.mark.parametrize(
    "bad", [{"steps": 0}, {"schedule": "sine"}, {"choose": "best"}, {"ratio": ("beta", 1.5, 2)}, {"ratio": ("uniform", 0.9, 0.5)}, {"ratio": ("gamma", 1, 1)}]
)
def test_refusals(bad):
    with pytest.raises(BadArgument):
        Masked(**bad)


def test_smoothing_is_of_codes_and_of_nothing_else():
    class Binary:
        def __call__(self, query, *, remember=False):
            return Answer(Bits(torch.zeros(query.tokens.batch, L, 2)))

    with pytest.raises(BadArgument, match="needs a categorical head, not Bits"):
        Masked(smoothing=0.1).loss(Binary(), tokens_of(EVERY[:4]), rng=Rng.seeded(0))


def test_a_timed_model_is_told_the_share_that_is_shown():
    process, heard = Masked(steps=4, timed=True), []
    space = Space(axes=(Axis("place", 8),), vocab=(4,))

    def net(query, remember=False):
        heard.append((query.time[:, 0], query.known.float().mean(1)))
        return Answer(Categorical(torch.zeros(2, 8, 1, 4)))

    process.loss(net, space.blank(2), rng=Rng.seeded(0))
    generate(process, net, space.blank(2), rng=Rng.seeded(0, 2))
    assert len(heard) == 5 and all(torch.allclose(time, shown) for time, shown in heard)
    assert heard[1][0].tolist() == [0, 0] and 0 < float(heard[-1][0][0]) < 1


def test_of_the_places_to_be_answered_some_show_a_random_code_and_some_their_own():
    """BERT, section 3.1: 15 % of the places are asked about; 80 % of them are hidden, 10 % show a random code, 10 % their own. All of them are paid for."""
    space = Space(axes=(Axis("time", 100),), vocab=(50,))
    tokens = space.blank(400)
    object.__setattr__(tokens, "ids", torch.randint(0, 50, (400, 100, 1), generator=torch.Generator().manual_seed(0)))
    posed = Masked(ratio=0.15, spoil=(0.1, 0.1), space=space).pose(tokens, rng=Rng.seeded(0, 400))
    logits = torch.zeros(400, 100, 1, 50)
    nats, asked = posed.price(Answer(Categorical(logits)))
    assert asked.sum(1).eq(15).all() and torch.allclose(nats[asked], torch.tensor(50.0).log()) and not nats[~asked].any()
    other = (posed.query.tokens.ids != tokens.ids)[..., 0]
    share = lambda x: float((x & asked).sum() / asked.sum())  # noqa: E731
    assert share(~posed.query.known) == pytest.approx(0.8, abs=0.02) and share(other) == pytest.approx(0.1 * 49 / 50, abs=0.01)
    assert share(posed.query.known & ~other) == pytest.approx(0.1 + 0.1 / 50, abs=0.015)
    assert not (other & ~asked).any() and posed.query.known[~asked].all()
    plain, none = (Masked(ratio=0.15, space=space, **more).pose(tokens, rng=Rng.seeded(0, 400)).query for more in ({}, {"spoil": (0.0, 0.0)}))
    assert torch.equal(plain.known, none.known) and torch.equal(plain.known, ~asked) and plain.tokens is tokens
    with pytest.raises(BadArgument, match="spoiled by codes"):
        Masked(spoil=(0.1, 0.1))
