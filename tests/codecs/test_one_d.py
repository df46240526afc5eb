"""Latent tokens without a grid, between towers that are given."""
from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from omniform.codecs.bottleneck import FSQ, KL, VQ
from omniform.codecs.one_d import OneD
from omniform.codecs.pyramid import Pyramid
from omniform.core.errors import BadArgument, ShapeError
from omniform.core.net import Block, Env
from omniform.core.rng import Rng
from omniform.core.spec import Spec


class Tower(Block):
    """A small transformer block that checks what it is told."""

    def __init__(self, width: int, dues: bool = False):
        super().__init__()
        self.norm, self.attention = nn.LayerNorm(width), nn.MultiheadAttention(width, 2, batch_first=True)
        self.mlp = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width))
        self.dues = dues

    def forward(self, x: Tensor, env: Env) -> Tensor:
        assert env.coord.shape[:2] == env.kind.shape == env.turn.shape == env.known.shape == x.shape[:2] and env.pattern == "full"
        if self.dues:
            env.due("balance", x.square().mean())
        h = self.norm(x)
        x = x + self.attention(h, h, h, need_weights=False)[0]
        return x + self.mlp(x)


def build(bottleneck: Spec | None = None, latents: int = 5, more: dict | None = None, **tower) -> OneD:
    torch.manual_seed(0)
    towers = {"encoder": Spec(Tower, tower), "decoder": Spec(Tower, tower)}
    return Spec(OneD, {"patch": 4, "latents": latents, "width": 32, **towers, **(more or {}),
                       "bottleneck": bottleneck or Spec(VQ, {"codes": 32, "channels": 6, "normalise": True, "ema": 0.9})}).build(shape=(1, 8, 12))


def bars(rows: int) -> Tensor:
    """One white column each."""
    return 2 * (torch.arange(12) == (torch.arange(rows) % 12)[:, None])[:, None, None].expand(-1, 1, 8, -1).float() - 1


@pytest.mark.parametrize(("bottleneck", "content"), [(Spec(KL, {"channels": 3}), "vec"), (Spec(FSQ, {"levels": (4, 4)}), "ids"), (None, "ids")])
def test_tokens_lie_on_one_axis(bottleneck, content):
    codec = build(bottleneck)
    tokens = codec.encode(bars(3))
    assert [(a.name, a.size) for a in codec.space.axes] == [("latent", 5)] and getattr(tokens, content).shape[:2] == (3, 5)
    assert tokens.coord[0, :, 0].tolist() == [0, 1, 2, 3, 4] and codec.decode(tokens).shape == (3, 1, 8, 12)


def test_it_learns_a_batch_and_every_parameter_learns():
    codec, data = build(), bars(12)
    optimizer = torch.optim.AdamW(codec.parameters(), lr=3e-3)
    first = None
    for step in range(350):
        losses, = codec.loss(data, rng=Rng.seeded(step))
        optimizer.zero_grad()
        losses.mean().backward()
        optimizer.step()
        first = losses.parts["main"].detach() if first is None else first
    assert [n for n, p in codec.named_parameters() if p.grad is None or not p.grad.any()] == []
    codec.eval().settle(data)
    with torch.no_grad():
        assert (codec.decode(codec.encode(data)) - data).square().sum() < 0.1 * first


def test_a_picture_passes_through_its_tokens_only():
    codec = build().eval()
    tokens = codec.encode(bars(2))
    with torch.no_grad():
        same = codec.decode(tokens.where(torch.zeros_like(tokens.real), tokens.rows(torch.tensor([0, 0]))))
    assert torch.allclose(same[0], same[1], atol=1e-6)


def test_the_towers_dues_are_paid():
    losses, = build(dues=True).loss(bars(4), rng=Rng.seeded(0))
    assert losses.parts["balance"] / losses.count > 0


class Heard(Block):
    """Keeps what it was told and gives it back."""

    def forward(self, x: Tensor, env: Env) -> Tensor:
        self.x, self.env = x, env
        return x


def test_a_class_token_stands_before_the_patches_and_is_left_behind():
    codec = build(more={"first": True, "encoder": Spec(Heard), "decoder": Spec(Heard)}).eval()
    with torch.no_grad():
        codec.decode(codec.encode(bars(2)))
    for side, tower in enumerate((codec.encoder, codec.decoder)):
        assert tower.x.shape == (2, 1 + 6 + 5, 32) and tower.env.kind[0].tolist() == [2] + [0] * 6 + [1] * 5
        assert tower.env.coord[0].tolist() == [[3, 0], *([y, x] for y in (0, 1) for x in (0, 1, 2)), *([2, i] for i in range(5))]
        torch.testing.assert_close(tower.x[:, 0], codec.norms[2 * side](codec.first[side] + codec.patch_place[side, 0]).expand(2, -1))
    codec, data = build(more={"first": True}), bars(4)
    codec.loss(data, rng=Rng.seeded(0))[0].mean().backward()
    assert codec.first.grad.any(-1).all()


def test_latents_are_regrouped():
    """Number n of the K x width of a picture is number n of the width x K that is narrowed, as written in a row."""
    codec = build(Spec(KL, {"channels": 3}), more={"regrouped": True, "encoder": Spec(Heard)})
    said = codec._latent(bars(2), {})
    h = codec.norms[1](codec.encoder.x[:, -5:])
    for picture in range(2):
        numbers = h[picture].flatten()
        for k in range(5):
            torch.testing.assert_close(said[picture, :, k, 0], codec.squeeze(numbers[k::5]))


def test_pictures_from_nought_to_one():
    """It is the codec without, its first and last maps changed."""
    plain, unit = build(), build(more={"unit": True})
    with torch.no_grad():
        plain.into.bias += plain.into.weight.sum(1) / 2
        plain.into.weight /= 2
        plain.out_of.weight *= 2
        plain.out_of.bias.mul_(2).sub_(1)
        latent = unit._latent(bars(3), {})
        torch.testing.assert_close(latent, plain._latent(bars(3), {}))
        torch.testing.assert_close(unit._said(latent, {}), plain._said(latent, {}))


def test_what_does_not_fit_is_refused():
    with pytest.raises(BadArgument, match="use VQ"):
        build(Spec(Pyramid, {"scales": (1, (5, 1)), "codes": 4, "channels": 2}))
    with pytest.raises(BadArgument):
        build(latents=0)
    with pytest.raises(ShapeError):
        build().encode(torch.zeros(1, 1, 8, 8))
