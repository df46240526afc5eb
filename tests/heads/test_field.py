"""Fields: tokens of a scale drawn together, each scale by itself."""
from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from omniform.backbones.attention import Attention, CrossAttention
from omniform.backbones.blocks import PreNorm, ToldTwice
from omniform.backbones.embed import TimeEmbedding
from omniform.backbones.mlp import Mlp
from omniform.backbones.stack import Stack
from omniform.core.distribution import Content, Sampling
from omniform.core.errors import ShapeError
from omniform.core.rng import Rng
from omniform.core.spec import Spec
from omniform.core.tokens import Axis, Space
from omniform.heads.field import FieldHead
from omniform.processes.flow import Flow
from omniform.processes.paths import Linear
from omniform.processes.solvers import Euler

PLACES = torch.tensor([(0, 0, 0), *((1, y, x) for y in (0, 1) for x in (0, 1)), *((2, y, x) for y in range(3) for x in range(3))]).float()
SPACE = Space(axes=(Axis("scale", 3), Axis("y", 3), Axis("x", 3)), channels=2, coord=PLACES)
B, L, D, HIDDEN = 2, 14, 6, 8
FLOW = Spec(Flow, {"path": Spec(Linear), "predict": "velocity", "per": "scale", "solver": Spec(Euler), "steps": 3})
PLACED = Spec(PreNorm, {"mixer": Spec(Attention, {"heads": 2}), "mlp": Spec(Mlp), "modulate": "zero"})
TOLD = Spec(ToldTwice, {"mixer": Spec(Attention, {"heads": 2}), "cross": Spec(CrossAttention, {"heads": 2}), "mlp": Spec(Mlp)})


def head(cross=False):
    torch.manual_seed(0)
    network = Spec(Stack, {"depth": 2, "final": "adaln", "block": TOLD if cross else PLACED})
    made = FieldHead(D, SPACE, inner=FLOW, network=network, time=Spec(TimeEmbedding), hidden=HIDDEN, cross=cross)
    with torch.no_grad():
        for p in made.parameters():
            p.copy_(torch.randn(p.shape) * 0.3)
    return made.eval()


def said(seed=1):
    g = torch.Generator().manual_seed(seed)
    return (torch.randn(B, L, n, generator=g) for n in (2, D))


@pytest.mark.parametrize("cross", [False, True])
def test_each_scale_is_denoised_by_itself_and_by_all_its_tokens(cross):
    part, (x, h), t = head(cross), said(), torch.full((B, L), 0.3)
    whole, first = part.denoised(x, t, h), 0
    for num in (1, 4, 9):
        here = slice(first, first + num)
        assert torch.allclose(part.denoised(x[:, here], t[:, here], h[:, here]), whole[:, here], atol=1e-5)
        for vary in (x, h):
            changed = vary.clone()
            changed[:, first] += 1
            moved = (part.denoised(changed if vary is x else x, t, changed if vary is h else h) - whole).abs().amax((0, 2)) > 1e-6
            assert moved.nonzero().flatten().tolist() == list(range(first, first + num))
        first += num


def test_the_nll_is_the_flow_s_loss_at_one_time_a_scale():
    part, (x, h) = head(), said()
    rng = Rng.seeded(3)
    mine = part(h).nll(Content(vec=x), rng=rng)
    flow, tokens = part.inner, part(h)._tokens(x)
    t, e = flow._times(tokens, rng.split("time")), rng.split("noise").normal(x.shape)
    for places in PLACES[:, 0].unique(return_inverse=True)[1][None] == torch.arange(3)[:, None]:
        assert len(t[:, places].unique()) == B
    z = t[..., None] * x + (1 - t[..., None]) * e
    assert torch.allclose(mine, 0.5 * (part.denoised(z, t, h) - (x - e)).square().sum(-1), atol=1e-5)


def test_drawing_is_euler_from_noise():
    part, (_, h) = head(), said()
    field = part(h[:, 5:])
    drawn = field.sample(rng=Rng.seeded(5, B), how=Sampling()).vec
    z = Rng.seeded(5, B).split("init").split("noise").normal((B, 9, 2))
    for step in range(3):
        z = z + part.denoised(z, torch.full((B, 9), step / 3), h[:, 5:]) / 3
    assert torch.allclose(drawn, z, atol=1e-5)


def test_guidance_mixes_what_is_said():
    part, (x, h) = head(), said()
    other, t, w = h.flip(0), torch.full((B, L), 0.5), torch.tensor([1.5, 2.0])
    mixed = type(part(h)).mix([part(h), part(other)], [w, 1 - w])
    expected = w[:, None, None] * part.denoised(x, t, h) + (1 - w)[:, None, None] * part.denoised(x, t, other)
    assert torch.allclose(mixed.spoken(x, t), expected, atol=1e-5)


def test_half_a_scale_is_no_field():
    part = head()
    with pytest.raises(ShapeError, match="a field is one of"):
        part.places(3)


def test_told_twice_the_same_and_crossed_in_silence_it_is_a_modulated_block():
    torch.manual_seed(0)
    twice, once = TOLD.build(width=HIDDEN), PLACED.but({"norm": "rms"}).build(width=HIDDEN, streams=1)
    with torch.no_grad():
        for p in twice.parameters():
            p.copy_(torch.randn(p.shape) * 0.3)
        twice.cross.out.weight.zero_()
        twice.cross.out.bias.zero_()
        once.mixer.load_state_dict(twice.mixer.state_dict())
        once.mlp.load_state_dict(twice.mlp.state_dict())
        for name in ("weight", "bias"):
            getattr(once.modulation[0].out, name).copy_(torch.cat([getattr(m.out, name) for m in twice.mods]))
    seen = []
    part = head(cross=True)
    part.network.blocks[0].forward = lambda x, env: seen.append((x, env)) or x
    part.denoised(*(torch.randn(B, 4, n) for n in (2,)), torch.rand(B, 4), torch.randn(B, 4, D))
    (x, env), = seen
    half = env.modulation[..., :HIDDEN]
    assert torch.allclose(twice(x, replace(env, modulation=torch.cat([half, half], -1))), once(x, replace(env, modulation=half)), atol=1e-5)
