"""The autoencoder: shapes, players, learning, saving."""
from __future__ import annotations

import pytest
import torch
from safetensors.torch import load, save

from omniform.codecs.autoencoder import Autoencoder
from omniform.codecs.bottleneck import FSQ, KL, LFQ, RVQ, VQ
from omniform.codecs.critic import PatchCritic
from omniform.codecs.distortion import Logistic
from omniform.codecs.pyramid import Pyramid
from omniform.core.codec import player_parameters
from omniform.core.errors import BadArgument, CodecError, ShapeError
from omniform.core.rng import Rng
from omniform.core.spec import Spec, from_json, to_json

BOTTLENECKS = {
    "kl": Spec(KL, {"channels": 3}), "vq": Spec(VQ, {"codes": 32, "channels": 4}), "rvq": Spec(RVQ, {"codes": 16, "channels": 4}),
    "fsq": Spec(FSQ, {"levels": (4, 4, 4)}), "lfq": Spec(LFQ, {"bits": 6}),
    "pyramid": Spec(Pyramid, {"scales": (1, 2, 4), "codes": 32, "channels": 4})}


def squares(rows: int, size: int = 16, seed: int = 0) -> torch.Tensor:
    """White squares of some sizes at some places on black."""
    rng = Rng.seeded(seed)
    y, x, side = (rng.integers(high, (1, rows))[0][:, None, None] + low for high, low in ((8, 0), (8, 0), (5, 4)))
    i = torch.arange(size)
    inside = (i[:, None] >= y) & (i[:, None] < y + side) & (i >= x) & (i < x + side)
    return 2 * inside[:, None].float() - 1


def build(name: str, shape=(1, 16, 16), **args) -> Autoencoder:
    torch.manual_seed(0)
    return Spec(Autoencoder, {"bottleneck": BOTTLENECKS[name], "stride": 4, "width": 16, **args}).build(shape=shape)


@pytest.mark.parametrize("name", BOTTLENECKS)
def test_it_learns_a_batch(name):
    codec, data = build(name), squares(32)
    optimizer = torch.optim.AdamW(codec.parameters(), lr=3e-3)
    first = None
    for step in range(120):
        losses, = codec.loss(data, rng=Rng.seeded(step))
        optimizer.zero_grad()
        losses.mean().backward()
        optimizer.step()
        first = losses.parts["main"].detach() if first is None else first
    codec.eval().settle(data)
    with torch.no_grad():
        tokens = codec.encode(data)
        error = (codec.decode(tokens) - data).abs().sum()
    assert error < 0.35 * first
    assert tokens.coord.stride(0) == 0 and tokens.coord.shape == (32, codec.space.length, len(codec.space.axes))


@pytest.mark.parametrize("name", BOTTLENECKS)
def test_every_parameter_learns(name):
    codec = build(name)
    for module in codec.modules():                   # the zeros that residual blocks start from hide what is behind them
        if isinstance(module, torch.nn.Conv2d):
            torch.nn.init.normal_(module.weight, std=0.05)
    losses, = codec.loss(squares(16), rng=Rng.seeded(0))
    losses.mean().backward()
    assert [n for n, p in codec.named_parameters() if p.grad is None or not p.grad.any()] == []


@pytest.mark.parametrize(("shape", "stride", "grid"), [((3, 8, 24), 8, (1, 3)), ((1, 6, 4), 2, (3, 2)), ((1, 5, 7), 1, (5, 7)), ((2, 32, 16), 16, (2, 1))])
def test_shapes(shape, stride, grid):
    codec = Spec(Autoencoder, {"bottleneck": BOTTLENECKS["fsq"], "stride": stride, "width": 8}).build(shape=shape)
    data = torch.zeros(2, *shape)
    tokens = codec.encode(data)
    assert tuple(a.size for a in codec.space.axes) == grid and tokens.ids.shape == (2, grid[0] * grid[1], 1) and codec.decode(tokens).shape == data.shape


@pytest.mark.parametrize("name", BOTTLENECKS)
def test_it_is_saved_whole(name):
    codec, data = build(name), squares(16)
    codec.loss(data, rng=Rng.seeded(0))
    codec.eval().settle(data)
    spec = from_json(to_json(Spec(Autoencoder, {"bottleneck": BOTTLENECKS[name], "stride": 4, "width": 16})))
    again = spec.build(shape=(1, 16, 16)).eval()
    again.load_state_dict(load(save(codec.state_dict())))
    one, other = codec.encode(data), again.encode(data)
    assert torch.equal(codec.decode(one), again.decode(other))


def test_loss_is_a_function_of_its_rng():
    def cost(seed: int) -> torch.Tensor:
        return build("kl").loss(squares(8), rng=Rng.seeded(seed))[0].mean()
    assert torch.equal(cost(1), cost(1)) and not torch.equal(cost(1), cost(2))


def test_codec_and_critic_move_only_their_own():
    codec = build("vq", critic=Spec(PatchCritic, {"width": 8, "r1": 0.1}), distortion=Spec(Logistic))
    players = player_parameters(codec)
    assert {id(p) for p in players["critic"]} == {id(p) for p in codec.critic.parameters()}
    losses = codec.loss(squares(8), rng=Rng.seeded(0))
    assert [one.player for one in losses] == ["main", "critic"] and "adversarial" in losses[0].parts
    losses[0].mean().backward()
    assert all(p.grad is None for p in players["critic"]) and any(p.grad is not None for p in players["main"])
    before = [None if p.grad is None else p.grad.clone() for p in players["main"]]
    losses[1].mean().backward()
    assert all(p.grad is not None for p in players["critic"])
    assert all(a is None or torch.equal(a, p.grad) for a, p in zip(before, players["main"], strict=True))


def test_context_goes_through_the_codec():
    codec = build("pyramid").eval()
    tokens = codec.encode(squares(2))
    context = codec.context(tokens)
    assert context.shape == (2, 21, codec.channels)
    latent, following = codec.grown(None, tokens.ids[:, :1], 0)
    assert torch.equal(following, context[:, 1:5]) and codec.pictured(latent).shape == (2, 1, 16, 16)
    with pytest.raises(CodecError, match="use Pyramid"):
        build("vq").context(tokens)


def test_bad_data_and_arguments_are_refused():
    codec = build("vq")
    for data in (torch.zeros(2, 1, 15, 16), torch.zeros(2, 1, 16, 16, dtype=torch.long), ["a"]):
        for use in (codec.encode, codec.settle, lambda x: codec.loss(x, rng=Rng.seeded(0))):
            with pytest.raises(ShapeError):
                use(data)
    with pytest.raises(ShapeError, match="own space"):
        codec.decode(build("kl").encode(squares(1)))
    for args in ({"stride": 3}, {"stride": 32}, {"width": 0}, {"depth": -1}):
        with pytest.raises(BadArgument):
            build("vq", **args)
    with pytest.raises(BadArgument, match="by frame"):
        build("vq", shape=(2, 1, 16, 16))
