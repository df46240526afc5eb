"""A distribution that an inner process generates: each place by itself, guidance inside, as many draws as asked."""

from __future__ import annotations

import pytest
import torch

from omniform.core.distribution import Content, Sampling
from omniform.core.rng import Rng
from omniform.core.spec import Spec
from omniform.core.tokens import Axis, Space
from omniform.heads.denoised import Denoised, DenoisedHead
from omniform.processes.flow import Flow
from omniform.processes.paths import Betas, Linear
from omniform.processes.solvers import Ancestral, Ddim

B, L, D, C = 2, 4, 8, 3
SPACE = Space(axes=(Axis("t", L),), channels=C)


def head(draws=3, learned=False, solver=Ddim):
    torch.manual_seed(0)
    flow = Spec(
        Flow, {"path": Spec(Betas if learned else Linear), "predict": "noise" if learned else "velocity", "solver": Spec(solver), "steps": 4, "per": "token"}
    )
    made = DenoisedHead(D, SPACE, flow, hidden=16, depth=2, draws=draws, learned_variance=learned)
    for p in made.parameters():
        if not p.any():
            torch.nn.init.normal_(p, std=0.3)
    return made


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.fixture(autouse=True)
def _no_grad():
    with torch.no_grad():
        yield


@pytest.mark.parametrize("draws", [1, 3])
def test_the_nll_of_a_place_is_its_own(draws):
    made, h, x = head(draws), normal(B, L, D), normal(B, L, C, seed=1)
    nll = lambda h, x: made(h).nll(Content(vec=x), rng=Rng.seeded(0))
    before = nll(h, x)
    assert before.shape == (B, L)
    for place in range(L):
        for other in (nll(h, x.index_fill(1, torch.tensor([place]), 2.0)), nll(h.index_fill(1, torch.tensor([place]), 2.0), x)):
            changed = (other - before).abs() > 1e-6
            assert bool(changed[:, place].all()) and int(changed.sum()) == B


def test_the_nll_is_the_mean_over_draws_of_the_flows_loss():
    """By hand, from the times and the noise that were drawn."""
    made, h, x = head(3), normal(B, L, D), normal(B, L, C, seed=1)
    rng = Rng.seeded(0)
    t = made.inner._times(made(h)._tokens(x.repeat(1, 3, 1)), rng.split("time"))
    e = rng.split("noise").normal((B, 3 * L, C))
    total = torch.zeros(B, L)
    for draw in range(3):
        span = slice(draw * L, (draw + 1) * L)
        at = t[:, span, None]
        said = made.mlp(at * x + (1 - at) * e[:, span], t[:, span], h)
        total += 0.5 * (said - (x - e[:, span])).square().sum(-1) / 3
    assert torch.allclose(made(h).nll(Content(vec=x), rng=Rng.seeded(0)), total, atol=1e-5)


@pytest.mark.parametrize("learned", [False, True])
def test_guidance_mixes_every_inner_question(learned):
    made, h, other = head(learned=learned, solver=Ancestral), normal(B, L, D), normal(B, L, D, seed=5)
    draw = lambda d: d.sample(rng=Rng.seeded(0, B), how=Sampling()).vec
    mix = lambda w: Denoised.mix([made(h), made(other)], [torch.full((B,), w), torch.full((B,), 1 - w)])
    assert torch.allclose(draw(mix(1.0)), draw(made(h)), atol=1e-5)
    assert not torch.allclose(draw(mix(3.0)), draw(made(h)), atol=1e-3)
    asked, mlp = [], made.mlp.forward
    made.mlp.forward = lambda x, t, h: (asked.append((x, t, h)), mlp(x, t, h))[1]
    mixed = mix(3.0)
    draw(mixed)
    assert len(asked) == 2 * 4
    for one, two in zip(asked[::2], asked[1::2], strict=True):
        assert torch.equal(one[0], two[0]) and torch.equal(one[2], h) and torch.equal(two[2], other), "both terms see the same noisy token"
    row_by_row = Denoised.mix([made(h), made(other)], [torch.tensor([1.0, 3.0]), torch.tensor([0.0, -2.0])])
    assert torch.allclose(draw(row_by_row)[0], draw(made(h))[0], atol=1e-5) and torch.allclose(draw(row_by_row)[1], draw(mixed)[1], atol=1e-5)


def test_places_and_temperature():
    made, h = head(solver=Ancestral), normal(B, L, D)
    index = torch.tensor([[2, 0], [3, 3]])
    assert torch.equal(made(h).gather(index).hidden[0], torch.stack([h[b, index[b]] for b in range(B)]))
    assert torch.equal(made(h).at(slice(1, 3)).hidden[0], h[:, 1:3])
    draw = lambda t: made(h).sample(rng=Rng.seeded(0, B), how=Sampling(t)).vec
    assert not torch.allclose(draw(1.0), draw(0.2)) and draw(1.0).shape == (B, L, C)


def test_how_sure_it_is_it_cannot_say():
    """Masked by confidence with a denoising head would order places by nothing but noise: it is refused where it is asked."""
    from omniform import recipes
    from omniform.core.errors import Intractable
    from omniform.system.build import assemble

    system = assemble(recipes.get("mar").sized("tiny").but({"network.width": 32, "codec.width": 8, "process.choose": "confidence"}))
    with pytest.raises(Intractable, match="'random'"):
        system.generate(1)
