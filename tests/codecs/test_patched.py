"""LTX-Video's network of clips: each layer frame by frame, what a frame may know, a decoder that is told how noisy its latents are, and the codec around it."""
from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

import omniform as of
from omniform.codecs.autoencoder import Autoencoder
from omniform.codecs.bottleneck import KL
from omniform.codecs.causal import CausalConvolutions
from omniform.codecs.convolutions import Convolutions, Widening
from omniform.codecs.patched import Even, Held, Packed, PatchedConvolutions, Shared, Told, ToldLast, Unpacked, fold, unfold
from omniform.core.batch import Batch
from omniform.core.errors import BadArgument
from omniform.core.rng import Rng
from omniform.core.spec import Spec, from_json, to_json

from .test_causal import clip, frames_of

SMALL = {"patch": 2, "widths": (8, 16, 16), "depths": (1, 1, 1), "down": ("both", "none"), "up": ("unfolded", "none")}


def codec(shape=(5, 2, 8, 12), noise=0.0, **args) -> Autoencoder:
    torch.manual_seed(0)
    network = Spec(PatchedConvolutions, {**SMALL, **args})
    spec = Spec(Autoencoder, {"stride": 4, "bottleneck": Spec(KL, {"channels": 3}), "network": network, "noise": noise})
    return from_json(to_json(spec)).build(shape=shape).eval()


def held(layer: Held, frames: list[torch.Tensor], t: int) -> torch.Tensor:
    """What a convolution in time says around frame t; past the ends the nearest frame counts."""
    back = layer.ends[4]
    seen = [frames[min(max(t + k - back, 0), len(frames) - 1)] for k in range(3)]
    return sum(F.conv2d(x, layer.weight[:, :, k], padding=1) for k, x in enumerate(seen)) + layer.bias[:, None, None]


@torch.no_grad()
@pytest.mark.parametrize("causal", [True, False])
def test_a_convolution_sees_frames_that_stand_still_past_the_ends(causal):
    layer, x = Held(3, 5, causal), clip(2, 3, 4, 5, 6)
    whole = torch.stack([held(layer, frames_of(x), t) for t in range(4)], 2)
    assert torch.allclose(layer(x), whole, atol=1e-5)
    halved = Held(3, 5, causal, 2)
    halved.load_state_dict(layer.state_dict())
    assert torch.allclose(halved(x[:, :, :3]), torch.stack([held(layer, frames_of(x[:, :, :3]), t)[..., ::2, ::2] for t in (0, 2)], 2), atol=1e-5)


@torch.no_grad()
def test_folding_and_its_inverse():
    x = clip(2, 3, 4, 6, 4)
    y = fold(x, (2, 3, 2))
    assert y.shape == (2, 36, 2, 2, 2) and torch.equal(unfold(y, (2, 3, 2)), x)
    for (c, t, h, w), number in (((1, 0, 2, 1), 12 + 5), ((2, 1, 0, 1), 24 + 7)):
        assert torch.equal(y[:, number, 1, 0, 1], x[:, c, 2 + t, h, 2 + w])
    assert torch.equal(fold(x, (1, 2, 2))[:, :, 0], F.pixel_unshuffle(x[:, :, 0], 2))


@torch.no_grad()
def test_what_is_folded_is_seen_beside_the_convolution():
    layer, x = Packed(4, 8, (2, 1, 1), True), clip(2, 4, 5, 2, 3)
    said = layer(x)
    frames = [x[:, :, 0], *frames_of(x)]  # the first twice
    for j in range(3):
        conv = [held(layer.conv, frames, 2 * j + i) for i in (0, 1)]  # 4 channels each
        expected = torch.stack(conv, 2).flatten(1, 2) + torch.stack(frames[2 * j : 2 * j + 2], 2).flatten(1, 2)
        assert torch.allclose(said[:, :, j], expected, atol=1e-5)
    narrow = Packed(4, 2, (2, 1, 1), True)
    torch.nn.init.zeros_(narrow.conv.weight)
    torch.nn.init.zeros_(narrow.conv.bias)
    means = torch.stack([torch.stack([frames[2 * j + i][:, 2 * c + d] for d in (0, 1) for i in (0, 1)]).mean(0) for j in range(3) for c in (0, 1)], 1)
    assert torch.allclose(narrow(x), means.unflatten(1, (3, 2)).transpose(1, 2), atol=1e-6)


@torch.no_grad()
@pytest.mark.parametrize("past", [True, False])
def test_what_is_unfolded_leaves_its_first_frame_out(past):
    layer, x = Unpacked(16, 4, False, past), clip(2, 16, 2, 2, 3)
    said = layer(x)
    assert said.shape == (2, 4, 3, 4, 6)
    wide = torch.stack([held(layer.conv, frames_of(x), t) for t in range(2)], 2)
    for f, y, z in ((0, 1, 2), (1, 3, 0), (2, 0, 5)):  # frame f is half (f + 1) % 2 of latent (f + 1) // 2
        part = 4 * ((f + 1) % 2) + 2 * (y % 2) + z % 2
        place = ((f + 1) // 2, y // 2, z // 2)
        expected = wide[:, part::8, *place]
        beside = x[:, part::8, *place].repeat(1, 2) if past else 0  # two channels, as often as four need
        assert torch.allclose(said[:, :, f, y, z], expected + beside, atol=1e-5)


@torch.no_grad()
def test_norms_are_moved_by_what_a_time_says():
    x, time = clip(2, 8, 3, 2, 2), torch.tensor([0.0, 150.0])
    assert torch.allclose(Even()(x).square().mean(1), torch.ones(2, 3, 2, 2), atol=1e-5)
    block = Widening(8, 8, lambda _: Even(), lambda a, b, side: Held(a, b, False))
    told = Told(8, [block])
    angle = time[:, None] * 10000.0 ** (-torch.arange(128) / 128)
    said = told.clock.net(torch.cat([angle.cos(), angle.sin()], 1)).unflatten(1, (4, 8)) + told.tables[0]
    shift, scale, then_shift, then_scale = said[..., None, None, None].unbind(1)
    h = block.convs[0](F.silu(Even()(x) * (1 + scale) + shift))
    assert torch.allclose(told(x, time), x + block.convs[1](F.silu(Even()(h) * (1 + then_scale) + then_shift)), atol=1e-5)
    for part in (told.clock.net[2].weight, told.clock.net[2].bias, told.tables[0]):
        torch.nn.init.zeros_(part)
    assert torch.equal(told(x, time), block(x))  # a clock that says nothing
    last = ToldLast(8)
    for part in (last.clock.net[2].weight, last.clock.net[2].bias, last.table):
        torch.nn.init.zeros_(part)
    assert torch.equal(last(x, time), Even()(x))


@torch.no_grad()
def test_one_variance_and_no_frame_of_the_encoder_knows_a_later_one():
    part, x = codec(), clip(2, 5, 2, 8, 12)
    z = part.encoder(x)
    assert z.shape == (2, 6, 3, 2, 3) and all(torch.equal(z[:, 3], z[:, c]) for c in (4, 5))
    assert torch.equal(Shared()(clip(1, 4, 1, 1, 1))[:, :3], clip(1, 4, 1, 1, 1)[:, :3])
    for latent, frames in ((0, 1), (1, 3)):
        assert torch.allclose(part.encoder(x[:, :frames]), z[:, :, : latent + 1], atol=1e-5)
    low = z[:, :3]
    assert part.decoder(low).shape == x.shape and not torch.allclose(part.decoder(low[:, :, :1]), part.decoder(low)[:, :1], atol=1e-3)  # it looks ahead
    blind = codec(causal=(True, True))
    assert torch.allclose(blind.decoder(low[:, :, :2]), blind.decoder(low)[:, :3], atol=1e-5)


def test_noise_is_told_to_the_decoder():
    part, x = codec(time=0.05, noise=0.2), clip(2, 5, 2, 8, 12).clamp(-1, 1)
    z = clip(2, 3, 3, 2, 3)
    with torch.no_grad():
        assert torch.equal(part.decoder(z), part.decoder(z, torch.full((2,), 0.05))) and not torch.equal(part.decoder(z), part.decoder(z, torch.zeros(2)))
        (one,), (two,) = (part.loss(x, rng=Rng.seeded(n)) for n in (0, 1))
        (again,) = part.loss(x, rng=Rng.seeded(0))
        assert float(one.mean()) == float(again.mean()) != float(two.mean())
        seen = {}
        part.decoder.forward, whole = lambda z, time=None: seen.update(z=z, time=time) or whole(z, time), part.decoder.forward
        part.loss(x, rng=Rng.seeded(3))
        latent = part.bottleneck(part.encoder(x), 1, Rng.seeded(3))[0]
        share = seen["time"][:, None, None, None, None]
        noise = (seen["z"] - (1 - share) * latent) / share
        assert 0 < float(share.min()) and float(share.max()) < 0.2 and abs(float(noise.std()) - 1) < 0.2 and abs(float(noise.mean())) < 0.3
        part.decoder.forward = whole
    (loss,) = part.loss(x, rng=Rng.seeded(0))
    loss.mean().backward()
    assert [n for n, p in part.named_parameters() if p.grad is None or not p.grad.any()] == []


def test_what_does_not_fit_is_refused():
    wrong = (
        ({"widths": (8, 16)}, "as many depths as widths"),
        ({"down": ("half", "none")}, "a step is one of"),
        ({"down": ("both", "none"), "widths": (8, 12, 12)}, "do not make 12"),
        ({"up": ("none", "none")}, "0 times two"),
        ({"back": ((3, 12, 12), (1, 1, 1))}, "do not unfold into 3"),
        ({"up": ("widened", "none"), "time": 0.0}, "told no time"),
    )
    for args, says in wrong:
        with pytest.raises(BadArgument, match=says):
            PatchedConvolutions(**{**SMALL, **args})
    for network in (Spec(PatchedConvolutions, SMALL), Spec(CausalConvolutions, {"widths": (4, 6, 6), "depth": 1, "in_time": (True, False)})):
        with pytest.raises(BadArgument, match="whose decoder is told a time"):
            Autoencoder((5, 2, 8, 12), Spec(KL, {"channels": 3}), 4, network=network, noise=0.1)
    with pytest.raises(BadArgument, match="0 to 1"):
        codec(noise=1.5, time=0.0)
    with pytest.raises(BadArgument, match="whose decoder is told a time"):
        Autoencoder((2, 8, 12), Spec(KL, {"channels": 3}), 4, network=Spec(Convolutions, {"widths": (4, 4, 4), "groups": 2}), noise=0.1)


def test_ltx_learns_on_the_latents_of_clips():
    own = of.build("ltx-vae", changes={"shape": (5, 1, 16, 16)})
    system = of.build("ltx-video", codec=own, changes={"network.backbone.depth": 1})
    space = system.codec.space
    assert [a.size for a in space.axes] == [3, 2, 2] and space.channels == 8
    (loss,) = system.loss(Batch(clip(2, 5, 1, 16, 16).clamp(-1, 1), {"text": ["1 and 2", "3 and 4"]}), rng=Rng.seeded(0))
    loss.mean().backward()
    assert all(p.grad is None for p in system.codec.parameters()) and any(p.grad is not None and p.grad.any() for p in system.network.parameters())
    assert system.generate(1, {"text": ["1 and 2"]}, steps=2).shape == (1, 5, 1, 16, 16)
