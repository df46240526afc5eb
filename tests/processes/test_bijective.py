"""Invertible maps: they invert, and say how much they stretch."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from omniform.backbones.attention import Attention
from omniform.backbones.blocks import PreNorm
from omniform.backbones.embed import Embed
from omniform.backbones.mlp import Mlp
from omniform.backbones.positions import LearnedPositions
from omniform.backbones.stack import Stack
from omniform.conditions.conditioning import ClassLabel
from omniform.core.errors import BadArgument
from omniform.core.net import Context
from omniform.core.process import generate
from omniform.core.rng import Rng
from omniform.core.spec import Spec
from omniform.core.tokens import Axis, Space
from omniform.heads.affine import Affine, AffineHead
from omniform.processes.bijective import Bijective
from omniform.system.network import Network

L, C = 3, 2
SPACE = Space(axes=(Axis("time", L),), channels=C)


def network(maps, seed=0):
    torch.manual_seed(seed)
    made = Network(
        16,
        SPACE,
        Spec(Embed, {"positions": (Spec(LearnedPositions),)}),
        Spec(Stack, {"depth": 1, "block": Spec(PreNorm, {"mixer": Spec(Attention, {"heads": 2}), "mlp": Spec(Mlp)})}),
        Spec(AffineHead),
        stages=maps,
    ).eval()
    for tower in made.towers.values():
        torch.nn.init.normal_(tower.head.out.weight, std=0.15)
    return made


class InDouble:
    """float32 noise, float64 network: a session whose questions are double."""

    def __init__(self, session):
        self.session = session

    def __call__(self, query, *, remember=False):
        return self.session(replace(query, tokens=replace(query.tokens, vec=query.tokens.vec.double())), remember=remember)

    def forget(self, turn):
        self.session.forget(turn)


@torch.no_grad()
@pytest.mark.parametrize("first", ["asked", "kept"])
@pytest.mark.parametrize("maps", [1, 2, 3])
def test_data_to_base_and_back(maps, first):
    net, process = network(maps), Bijective(SPACE, maps=maps, noise=0.0, denoise=False, first=first)
    rows, rng = 5, Rng.seeded(0, 5)
    made = generate(process, net.open(Context(rows), memory="kv"), SPACE.blank(rows), rng=rng)
    base = process.init(SPACE.blank(rows), rng=rng.split("init")).tokens.vec
    back, _, _ = process.forward_map(net.open(Context(rows)), made)
    assert float((back.vec - base).abs().max()) < 1e-4 and float((made.vec - base).abs().max()) > 0.1
    assert torch.equal(made.vec[:, 0], base[:, 0]) == (first == "kept" and maps == 1), "the first of one order is the last of the next"


@pytest.mark.parametrize("first", ["asked", "kept"])
@pytest.mark.parametrize("maps", [1, 2, 3])
def test_the_log_determinant_is_the_jacobians(maps, first):
    net, process = network(maps).double(), Bijective(SPACE, maps=maps, noise=0.0, first=first)
    x = torch.randn(1, L, C, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    blank = SPACE.blank(1)

    def base_of(flat):
        affine = process.forward_map(InDouble(net.open(Context(1))), replace(blank, vec=flat.reshape(1, L, C)))
        return affine[0].vec.double().flatten()

    jacobian = torch.autograd.functional.jacobian(base_of, x.flatten())
    log_det = process.forward_map(InDouble(net.open(Context(1))), replace(blank, vec=x))[1]
    assert torch.allclose(torch.linalg.slogdet(jacobian.double()).logabsdet, log_det.double(), atol=1e-4)
    z = base_of(x.flatten())
    exact = 0.5 * z.square().sum() + 0.5 * L * C * math.log(2 * math.pi) - torch.linalg.slogdet(jacobian.double()).logabsdet
    assert torch.allclose(process.bound(InDouble(net.open(Context(1))), replace(blank, vec=x), rng=Rng.seeded(0, 1))[0].double(), exact, atol=1e-4)
    triangle = jacobian.reshape(L, C, L, C).abs().sum((1, 3))
    upper = triangle.triu(1)
    assert bool((upper == 0).all()) == (maps == 1), "one map is triangular in its order; the next turns it round"


@torch.no_grad()
def test_the_density_integrates_to_one():
    """Importance sampling from a wide Gaussian: E[p / q] = 1."""
    space = Space(axes=(Axis("time", 2),), channels=1)
    torch.manual_seed(1)
    net = Network(
        16,
        space,
        Spec(Embed),
        Spec(Stack, {"depth": 1, "block": Spec(PreNorm, {"mixer": Spec(Attention, {"heads": 2}), "mlp": Spec(Mlp)})}),
        Spec(AffineHead),
        stages=2,
    )
    for tower in net.eval().towers.values():
        torch.nn.init.normal_(tower.head.out.weight, std=0.1)
    n, wide = 40000, 2.5
    x = wide * torch.randn(n, 2, 1, generator=torch.Generator().manual_seed(0))
    nats = Bijective(space, maps=2, noise=0.0).bound(net.open(Context(n)), replace(space.blank(n), vec=x), rng=Rng.seeded(0, n))
    q = torch.distributions.Normal(0, wide).log_prob(x).sum((1, 2))
    ratio = torch.exp(-nats - q)
    assert abs(float(ratio.mean()) - 1) < 5 * float(ratio.std()) / math.sqrt(n) < 0.1


@torch.no_grad()
def test_denoising_is_tweedies_formula():
    """x + sigma^2 grad log p(x), the gradient by finite differences."""
    net, sigma = network(2), 0.3
    noisy = Bijective(SPACE, maps=2, noise=sigma, denoise=False)
    clean = Bijective(SPACE, maps=2, noise=sigma, denoise=True)
    x, y = (generate(p, net.open(Context(2), memory="kv"), SPACE.blank(2), rng=Rng.seeded(4, 2)) for p in (noisy, clean))
    exact, double = Bijective(SPACE, maps=2, noise=0.0), network(2).double()
    h, slope = 1e-3, torch.zeros_like(x.vec, dtype=torch.float64)
    score = lambda v: exact.bound(InDouble(double.open(Context(2))), replace(x, vec=v), rng=Rng.seeded(0, 2))  # noqa: E731
    for i in range(L):
        for c in range(C):
            step = torch.zeros(1, L, C, dtype=torch.float64)
            step[0, i, c] = h
            slope[:, i, c] = (score(x.vec.double() + step) - score(x.vec.double() - step)) / (2 * h)
    assert torch.allclose(y.vec.double(), x.vec.double() - sigma**2 * slope, atol=3e-3)
    assert float((y.vec - x.vec).abs().max()) > 0.01


@torch.no_grad()
@pytest.mark.parametrize("first", ["asked", "kept"])
def test_padding_changes_nothing(first):
    """Rows of two of the three places say what rows of two places say, whatever stands in the padding: maps in reverse lay it out first."""
    net, process = network(3), Bijective(SPACE, maps=3, noise=0.0, denoise=False, first=first)
    short = SPACE.blank(4).at(slice(0, 2))
    said = torch.randn(4, 2, C, generator=torch.Generator().manual_seed(2))
    alone = process.bound(net.open(Context(4)), replace(short, vec=said), rng=Rng.seeded(0, 4))
    blank = SPACE.blank(4)
    for filler in (0.0, 7.0):
        vec = torch.cat([said, torch.full((4, 1, C), filler)], 1)
        doc = torch.where(torch.arange(L) < 2, 0, -1).expand(4, -1).clone()
        padded = replace(blank, vec=vec, doc=doc)
        assert torch.allclose(process.bound(net.open(Context(4)), padded, rng=Rng.seeded(0, 4)), alone, atol=1e-5)
    apart = generate(process, net.open(Context(4), memory="kv"), padded, rng=Rng.seeded(0, 4))
    back, _, _ = process.forward_map(net.open(Context(4)), apart)
    base = process.init(padded, rng=Rng.seeded(0, 4).split("init")).tokens.vec
    assert torch.allclose(back.vec[:, :2], base[:, :2], atol=1e-4), "what is padded inverts"
    turned = Bijective.laid(replace(padded, kind=torch.arange(L).expand(4, -1)), 1)
    assert turned.doc.tolist() == [[-1, 0, 0]] * 4 and turned.kind.tolist() == [[2, 1, 0]] * 4


@torch.no_grad()
def test_the_denoising_step_is_asked_at_the_end_of_the_sample():
    """A guidance that rises over progress is whole where the sample is."""
    net, asked = network(2), []

    class Heard:
        def __init__(self, session):
            self.session = session

        def __call__(self, query, *, remember=False):
            asked.append((remember, query.progress))
            return self.session(query, remember=remember)

        def forget(self, turn):
            self.session.forget(turn)

    generate(Bijective(SPACE, maps=2, noise=0.3), Heard(net.open(Context(2), memory="kv")), SPACE.blank(2), rng=Rng.seeded(4, 2))
    last = [progress for remember, progress in asked if not remember]
    assert len(last) == 2 and all(bool((progress == 1).all()) for progress in last)


@torch.no_grad()
def test_temperature_scales_the_base():
    process = Bijective(SPACE, maps=2, noise=0.0)
    hot, cold = (process.but(temperature=t).init(SPACE.blank(2), rng=Rng.seeded(0, 2)).tokens.vec for t in (1.0, 0.5))
    assert torch.allclose(cold, hot / 2)


def test_refusals():
    with pytest.raises(BadArgument, match="at least one map"):
        Bijective(SPACE, maps=0)
    with pytest.raises(BadArgument, match="continuous tokens"):
        Bijective(Space(axes=SPACE.axes, vocab=(4,)))


def test_guidance_by_a_product_of_gaussians():
    """Of the guided density on a grid; without guidance, and where both say the same, it is the first; the ratio of variances counts as 1 at the most."""
    first, second = Affine(torch.tensor([[[0.7]]]), torch.tensor([[[-0.4]]]), True), Affine(torch.tensor([[[-0.3]]]), torch.tensor([[[0.2]]]), True)
    x = torch.linspace(-30, 30, 60_001, dtype=torch.float64)
    log = lambda d: torch.distributions.Normal(d.shift.double(), d.log_scale.double().exp()).log_prob(x).flatten()  # noqa: E731
    weights = [torch.tensor([3.0]), torch.tensor([-2.0])]
    density = (3 * log(first) - 2 * log(second)).softmax(0)
    mean = (density * x).sum()
    mixed = Affine.mix([first, second], weights)
    assert torch.allclose(mixed.shift.double().flatten(), mean, atol=1e-4)
    assert torch.allclose(mixed.log_scale.double().exp().flatten() ** 2, (density * (x - mean) ** 2).sum(), atol=1e-4)
    for other, w in ((second, [torch.ones(1), torch.zeros(1)]), (first, weights)):
        same = Affine.mix([first, other], w)
        assert torch.allclose(same.shift, first.shift) and torch.allclose(same.log_scale, first.log_scale)
    wide = Affine.mix([second, first], weights)  # the second is the surer: its precision would win
    assert torch.isfinite(wide.shift).all() and torch.allclose(wide.log_scale, second.log_scale) and wide.product


@torch.no_grad()
def test_a_scale_by_softplus_is_one_at_the_start():
    head = AffineHead(4, SPACE, bound=4.0, softplus=True)
    said = head(torch.randn(2, 3, 4))
    assert torch.allclose(said.log_scale, torch.zeros(2, 3, C), atol=1e-6) and not said.shift.any()
    torch.nn.init.normal_(head.out.weight, std=50.0)
    said = head(torch.randn(2, 3, 4))
    assert float(said.shift.abs().max()) <= 4 and float(said.log_scale.exp().max()) <= 4.6


@torch.no_grad()
def test_a_class_that_one_map_is_told_is_unheard_by_the_others():
    from omniform import recipes
    from omniform.system.build import assemble

    system = assemble(recipes.get("starflow").sized("tiny").but({"shape": (1, 16, 16)})).eval()
    for p in system.parameters():
        if not p.any():
            p.normal_(std=0.3)
    heard = {}
    for label in (2, 5):
        context = system.conditioning.context({"label": torch.tensor([label])}, 1)
        net = system.network.open(context)

        def ear(query, *, remember=False, net=net, label=label):
            answer = net(query)
            heard[query.stage, label] = answer.distribution.shift
            return answer

        system.process.forward_map(ear, system.codec.space.blank(1))
    assert torch.equal(heard["b0", 2], heard["b0", 5]) and not torch.allclose(heard["deep", 2], heard["deep", 5])


@torch.no_grad()
def test_each_map_may_be_told_something_of_its_own():
    """Its columns of a wide vector onto every token; unsaid is the mean of the classes; a width that fits nothing is refused."""
    net, label = network(2), ClassLabel(16, 3, mean=True, stages=2, std=1.0)
    blank = SPACE.blank(1)
    told = Context(1, add=label.encode([2]).pooled)
    answer = lambda context: Bijective(SPACE, maps=2, noise=0.0, first="kept").forward_map(net.open(context), blank)[0].vec  # noqa: E731
    other = told.add.clone()
    other[:, 16:] = other[:, 16:].flip(1)
    assert not torch.allclose(answer(told), answer(Context(1, add=other)))
    one = Bijective(SPACE, maps=1, noise=0.0, first="kept")
    first = lambda add: one.forward_map(net.open(Context(1, add=add)), blank)[0].vec  # noqa: E731
    assert torch.equal(first(told.add), first(other)) and torch.equal(first(told.add), first(told.add[:, :16]))
    assert torch.allclose(label.null(4).pooled, label.table.weight.mean(0).expand(4, -1)) and len(label.table.weight) == 3
    with pytest.raises(BadArgument, match="is a vector of 16, or as many as the network has stages"):
        first(torch.zeros(1, 48))


@torch.no_grad()
def test_the_tokens_of_a_reversed_map_may_lie_where_their_turns_do():
    """The second map's places: its tower with a reversed table of places says the same."""
    one, other = network(2), network(2)
    table = other.towers["b1"].embed.positions[0].table
    table.copy_(table.flip(0))
    x = replace(SPACE.blank(2), vec=torch.randn(2, L, C))
    mapped = lambda net, **how: Bijective(SPACE, maps=2, noise=0.0, **how).forward_map(net.open(Context(2)), x)[0].vec  # noqa: E731
    assert torch.equal(mapped(one, places="turns"), mapped(other)) and not torch.allclose(mapped(one, places="turns"), mapped(one))
    with pytest.raises(BadArgument, match="'own' places or those of their 'turns'"):
        Bijective(SPACE, places="odd")


@torch.no_grad()
@pytest.mark.parametrize("first", ["asked", "kept"])
def test_the_map_next_to_the_data_may_read_from_the_end(first):
    """The other maps turned round are these with everything turned round; it inverts, and keeps what is given where it is."""
    one, other = network(3), network(3)
    for tower in other.towers.values():
        tower.embed.positions[0].table.copy_(tower.embed.positions[0].table.flip(0))
    x = replace(SPACE.blank(2), vec=torch.randn(2, L, C))
    odd, even = (Bijective(SPACE, maps=3, noise=0.0, denoise=False, first=first, backward=b) for b in ("odd", "even"))
    z, log_det, _ = even.forward_map(one.open(Context(2)), x)
    back, same_det, _ = odd.forward_map(other.open(Context(2)), replace(x, vec=x.vec.flip(1)))
    assert torch.allclose(z.vec, back.vec.flip(1), atol=1e-6) and torch.allclose(log_det, same_det, atol=1e-6)
    assert not torch.allclose(z.vec, odd.forward_map(one.open(Context(2)), x)[0].vec)
    seen, rng = [], Rng.seeded(0, 2)
    made = generate(even, one.open(Context(2), memory="kv"), SPACE.blank(2), rng=rng, watch=lambda state: seen.append(state.so_far().vec))
    base = even.init(SPACE.blank(2), rng=rng.split("init")).tokens.vec
    assert torch.allclose(even.forward_map(one.open(Context(2)), made)[0].vec, base, atol=1e-4)
    assert torch.equal(seen[-2][:, 1:], made.vec[:, 1:]), "all but the first place are as they will be, one step before the end"
    kept = torch.tensor([[False, True, True], [False, False, True]])
    given = generate(even, one.open(Context(2), memory="kv"), replace(SPACE.blank(2), vec=x.vec), rng=rng, given=kept)
    assert torch.equal(given.vec[kept], x.vec[kept]) and not torch.equal(given.vec[:, 0], made.vec[:, 0])
    with pytest.raises(BadArgument, match="the 'odd' or the 'even' ones, not 'all'"):
        Bijective(SPACE, backward="all")


@torch.no_grad()
def test_what_is_hidden_may_be_read_as_numbers():
    embed = Embed(16, SPACE, hidden="content")
    query = Bijective(SPACE, maps=1)._asked(SPACE.blank(1), 0, slice(None), torch.zeros(1), "causal")
    assert embed.mask is None and torch.allclose(embed(query)[:, 0], embed.enter(embed.blank))
    with pytest.raises(BadArgument, match="write hidden=True for a mask vector"):
        Embed(16, SPACE, hidden="content", beside=True)


def test_what_keeps_its_first_token_needs_a_second():
    space = Space(axes=(Axis("time", 1),), channels=1)
    with pytest.raises(BadArgument, match="'asked' about or 'kept'"):
        Bijective(space, first="given")
    with pytest.raises(BadArgument, match="write first='asked'"):
        Bijective(space, first="kept").init(space.blank(1), rng=Rng.seeded(0, 1))
