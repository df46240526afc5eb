"""The causal network of clips: each layer frame by frame, what a frame may know, and the codec around it."""
from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

import omniform as of
from omniform.codecs.autoencoder import Autoencoder
from omniform.codecs.bottleneck import FSQ, KL
from omniform.codecs.causal import Causal, CausalConvolutions, Glance, Lengthened, Level, Shortened
from omniform.codecs.critic import PatchCritic
from omniform.core.batch import Batch
from omniform.core.errors import BadArgument, ShapeError
from omniform.core.rng import Rng
from omniform.core.spec import Spec, from_json, to_json

SMALL = {"widths": (4, 6, 6), "depth": 1, "in_time": (True, True)}


def clip(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def frames_of(x: torch.Tensor) -> list[torch.Tensor]:
    return list(x.unbind(2))


def codec(shape=(9, 2, 8, 12), **args) -> Autoencoder:
    torch.manual_seed(0)
    spec = Spec(Autoencoder, {"stride": 4, "bottleneck": Spec(KL, {"channels": 3}), "network": Spec(CausalConvolutions, SMALL), **args})
    made = spec.build(shape=shape)
    for p in made.parameters():
        if not p.any():
            torch.nn.init.normal_(p, std=0.3)
    return made.eval()


def said(layer: torch.nn.Module, frames: list[torch.Tensor | None]) -> torch.Tensor:
    """What a convolution in time says at its last tap's frame, of those that there are."""
    maps = [F.conv2d(x, layer.weight[:, :, k], padding=layer.kernel_size[1] // 2) for k, x in enumerate(frames) if x is not None]
    return sum(maps) + layer.bias[:, None, None]


@torch.no_grad()
def test_a_causal_convolution_is_a_sum_over_the_frames_until_now():
    layer, x = Causal(3, 5), clip(2, 3, 4, 5, 6)
    frames = [None, None, *frames_of(x)]
    assert torch.allclose(layer(x), torch.stack([said(layer, frames[t : t + 3]) for t in range(4)], 2), atol=1e-6)


@torch.no_grad()
@pytest.mark.parametrize("n", [0, 1, 3])
def test_time_is_halved_behind_the_first_frame(n):
    layer, x = Shortened(3, True), clip(2, 3, 1 + 2 * n, 4, 6)
    small = [F.conv2d(F.pad(f, (0, 1, 0, 1)), layer.conv.weight, layer.conv.bias, stride=2) for f in frames_of(x)]
    expected = [small[0], *(said(layer.time, small[2 * j : 2 * j + 3]) for j in range(n))]
    assert torch.allclose(layer(x), torch.stack(expected, 2), atol=1e-6)


@torch.no_grad()
@pytest.mark.parametrize("n", [0, 1, 3])
def test_time_is_doubled_behind_the_first_frame(n):
    layer, x = Lengthened(6, True), clip(2, 6, 1 + n, 2, 3)
    first, *rest = frames_of(x)
    seen = [None, None, *rest]  # the memory of the first frame is zeros
    both = [said(layer.time, seen[i : i + 3]).chunk(2, 1) for i in range(n)]
    frames = [first, *(half for pair in both for half in pair)]
    expected = [F.conv2d(f.repeat_interleave(2, 2).repeat_interleave(2, 3), layer.conv.weight, layer.conv.bias, padding=1) for f in frames]
    assert torch.allclose(layer(x), torch.stack(expected, 2), atol=1e-6)


@torch.no_grad()
def test_norm_and_attention_look_at_one_frame():
    norm, x = Level(4), clip(2, 4, 3, 2, 5)
    norm.weight.copy_(torch.arange(1.0, 5.0))
    assert torch.allclose(norm(x), x / x.square().mean(1, keepdim=True).sqrt() * torch.arange(1.0, 5.0)[:, None, None, None], atol=1e-5)
    look = Glance(4)
    assert torch.equal(look(x), x + look.out.bias[:, None, None, None])  # at its start it says nothing
    torch.nn.init.normal_(look.out.weight)
    for t, frame in enumerate(frames_of(x)):
        rows = look.norm(frame).flatten(2).mT
        q, k, v = look.qkv(rows).chunk(3, -1)
        expected = look.out((q @ k.mT / 2).softmax(-1) @ v).mT.unflatten(2, (2, 5)) + frame
        assert torch.allclose(look(x)[:, :, t], expected, atol=1e-5)


@torch.no_grad()
def test_no_frame_knows_a_later_one_and_a_picture_is_a_clip_of_one():
    part, x = codec(), clip(2, 9, 2, 8, 12)
    z = part.encoder(x)
    assert z.shape == (2, 6, 3, 2, 3)
    for latent, frames in ((0, 1), (1, 5)):  # the latents of a piece are those of the whole
        assert torch.allclose(part.encoder(x[:, :frames]), z[:, :, : latent + 1], atol=1e-5)
        low = z[:, :3]
        assert torch.allclose(part.decoder(low[:, :, : latent + 1]), part.decoder(low)[:, :frames], atol=1e-5)
    for frame, latent in ((0, 0), (1, 1), (4, 1), (5, 2), (8, 2)):
        other = x.clone()
        other[:, frame] += 1
        moved = (part.encoder(other) - z).abs().amax((0, 1, 3, 4)) > 1e-5
        assert not moved[:latent].any() and moved[latent]


def test_the_codec_of_clips(tmp_path):
    part, x = codec(), clip(2, 9, 2, 8, 12).clamp(-1, 1)
    assert [(a.name, a.size) for a in part.space.axes] == [("frame", 3), ("y", 2), ("x", 3)] and part.space.length == 18
    part.settle(x)
    with torch.no_grad():
        tokens = part.encode(x)
        mean = part.bottleneck.gaussian(part.encoder(x))[0]
        assert torch.allclose(tokens.vec[:, 7] * part.bottleneck.spread + part.bottleneck.centre, mean[:, :, 1, 0, 1], atol=1e-5)
        assert tokens.coord[0, 7].tolist() == [1, 0, 1]
        assert torch.allclose(part.decode(tokens), part.decoder(mean).clamp(-1, 1), atol=1e-5)
        again = from_json(to_json(Spec(Autoencoder, {"stride": 4, "bottleneck": Spec(KL, {"channels": 3}), "network": Spec(CausalConvolutions, SMALL)})))
        again = again.build(shape=(9, 2, 8, 12)).eval()
        again.load_state_dict(part.state_dict())
        assert torch.equal(again.encode(x).vec, tokens.vec)
        codes = codec(bottleneck=Spec(FSQ, {"levels": (4, 4)}))
        assert codes.encode(x).ids.shape == (2, 18, 1) and codes.decode(codes.encode(x)).shape == x.shape
    (loss,) = part.loss(x, rng=Rng.seeded(0))
    loss.mean().backward()
    assert [n for n, p in part.named_parameters() if p.grad is None or not p.grad.any()] == [] and float(loss.count) == x.numel()


def test_what_does_not_fit_is_refused():
    for shape, says in (((8, 2, 8, 12), "1 \\+ 4 n frames and found 8; cut them to 5 or 9"), ((2, 8, 12), "network is of clips"), ((9, 2, 8, 10), "stride")):
        with pytest.raises(BadArgument, match=says):
            codec(shape)
    with pytest.raises(BadArgument, match="look at pictures"):
        codec(critic=Spec(PatchCritic))
    with pytest.raises(BadArgument, match="stride is 8 .* one of 4"):
        codec((9, 2, 16, 16), stride=8)
    wrong = (({"widths": (4, 5)}, "even ones"), ({"widths": ()}, "widths"), ({"in_time": (True,)}, "2 halvings .* speaks of 1"), ({"depth": 0}, "depth"))
    for args, says in wrong:
        with pytest.raises(BadArgument, match=says):
            CausalConvolutions(**{**SMALL, **args})
    with pytest.raises(ShapeError, match="batch of"):
        codec().encode(clip(2, 5, 2, 8, 12))


def test_wan_learns_on_the_latents_of_clips():
    own = of.build("wan-vae", changes={"shape": (5, 1, 16, 16)})
    system = of.build("wan", codec=own, changes={"network.backbone.depth": 1})
    space = system.codec.space
    assert [a.size for a in space.axes] == [2, 4, 4] and space.channels == 8
    x = clip(2, 5, 1, 16, 16).clamp(-1, 1)
    (loss,) = system.loss(Batch(x, {"text": ["1 and 2", "3 and 4"]}), rng=Rng.seeded(0))
    loss.mean().backward()
    assert all(p.grad is None for p in system.codec.parameters()) and any(p.grad is not None and p.grad.any() for p in system.network.parameters())
    assert system.generate(1, {"text": ["1 and 2"]}, steps=2).shape == (1, 5, 1, 16, 16)
