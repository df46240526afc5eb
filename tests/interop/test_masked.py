"""Masked transformers of diffusers are ours, number by number, and so are the steps of their scheduler."""

from __future__ import annotations

import json

import pytest
import torch
from diffusers import AmusedScheduler, UVit2DModel, VQModel
from diffusers.schedulers import scheduling_amused

import omniform as of
from omniform.core.errors import CheckpointError
from omniform.core.query import Answer
from omniform.core.rng import Rng
from omniform.core.tokens import Axis, Space
from omniform.heads.categorical import Categorical
from omniform.interop.adopting import adopt
from omniform.processes.masked import Masked, asked

from .test_autoencoders import BASE, blocks, pixels
from .test_pictures import near, stirred

AMUSED = {"hidden_size": 24, "num_attention_heads": 3, "num_hidden_layers": 2, "intermediate_size": 44, "in_channels": 14, "block_out_channels": 20}
AMUSED |= {"num_res_blocks": 2, "block_num_heads": 2, "cond_embed_dim": 7, "micro_cond_encode_dim": 6, "micro_cond_embed_dim": 30, "encoder_hidden_size": 10}
AMUSED |= {"vocab_size": 40, "codebook_size": 33, "sample_size": 5}
SQUARES = {**AMUSED, "downsample": True, "upsample": True, "sample_size": 6}
CONFIGS = {
    "amused": AMUSED,
    "amused of squares and one width": {**SQUARES, "block_out_channels": 24, "block_num_heads": 4, "num_hidden_layers": 1},
    "amused of another norm": {**SQUARES, "sample_size": 4, "num_res_blocks": 1, "layer_norm_eps": 1e-2, "vocab_size": 34},
}


def made(name):
    return stirred(UVit2DModel(**CONFIGS[name]))


def both(model, system):
    """What the two say of the same codes, half of which are hidden."""
    side, mask, g = model.config.sample_size, model.config.vocab_size - 1, torch.Generator().manual_seed(3)
    ids, known = torch.randint(33, (2, side, side), generator=g), torch.rand(2, side * side, generator=g) < 0.5
    text, pooled = torch.randn(2, 77, 10, generator=g), torch.randn(2, 7, generator=g)
    numbers = torch.tensor([[256.0, 200.0, 0.0, 3.0, 6.0], [512.0, 512.0, 1.0, 0.0, 5.0]])
    tokens = system.codec.encode(ids)
    assert torch.equal(system.codec.decode(tokens), ids)
    net = system.network.open(system.conditioning.context({"text": list(zip(text, pooled, strict=True)), "numbers": numbers}, 2))
    logits = net(asked(tokens, known, torch.zeros(2))).distribution.logits[:, :, 0]
    return logits, model(torch.where(known.view(2, side, side), ids, mask), text, pooled, numbers).flatten(2).mT


@pytest.mark.parametrize("name", CONFIGS)
def test_answers_are_equal(name):
    model = made(name)
    with torch.no_grad():
        near(*both(model, adopt(model)))


@pytest.mark.parametrize("name", ["amused", "amused of squares and one width"])
def test_gradients_are_equal(name):
    model = made(name)
    system = adopt(model)
    mine, its = both(model, system)
    mine.square().mean().backward()
    its.square().mean().backward()
    want, own = dict(model.named_parameters()), dict(system.named_parameters())
    backbone = "network.towers.main.backbone."
    pairs = [
        ("network.towers.main.embed.tables.0.weight", want["embed.embeddings.weight"].grad),
        (backbone + "tell.weight", want["cond_embed.linear_2.weight"].grad),
        ("conditioning.parts.text.into.0.weight", want["encoder_proj.weight"].grad),
        ("conditioning.parts.text.vector.weight", want["cond_embed.linear_1.weight"].grad[:, :7]),
        ("conditioning.parts.numbers.whole.weight", want["cond_embed.linear_1.weight"].grad[:, 7:]),
        (backbone + "first.0.0.depthwise.weight", want["down_block.res_blocks.0.depthwise.weight"].grad),
        (backbone + "last.1.0.response.gamma", want["up_block.res_blocks.1.channelwise_norm.gamma"].grad.flatten()),
        (backbone + "inner.blocks.0.norms.1.map.out.weight", torch.cat(want["transformer_layers.0.norm2.linear.weight"].grad.chunk(2)[::-1])),
    ]
    for ours, grad in pairs:
        near(own[ours].grad, grad, 1e-5)


def test_a_folder(tmp_path):
    model = made("amused")
    model.save_pretrained(tmp_path)
    system = of.load(tmp_path)
    with torch.no_grad():
        near(*both(model, system))
    codes = system.generate(2, seed=0, steps=3)
    assert codes.shape == (2, 5, 5) and 0 <= int(codes.min()) and int(codes.max()) < 33


@pytest.mark.parametrize(
    "change, says",
    [
        ({"use_bias": True}, "use_bias=True"),
        ({"ln_elementwise_affine": False}, "ln_elementwise_affine=False"),
        ({"hidden_dropout": 0.1}, "hidden_dropout=0.1"),
        ({"downsample": True}, "upsample=False"),
        ({"upsample": True}, "upsample=True"),
        ({"vocab_size": 33}, "does not fit itself"),
        ({"vocab_size": 1 << 40}, "vocab_size"),
        ({"vocab_size": 41}, "has shape"),
        ({"num_attention_heads": 5}, "does not fit itself"),
        ({"block_num_heads": 3}, "does not fit itself"),
        ({"micro_cond_embed_dim": 36}, "does not fit itself"),
        ({"layer_norm_eps": -1.0}, "does not fit itself"),
        ({"layer_norm_eps": float("nan")}, "layer_norm_eps"),
        ({"sample_size": 1 << 30}, "sample_size"),
        ({"num_hidden_layers": 1}, "transformer_layers.1"),
        ({"num_hidden_layers": 1 << 40}, "num_hidden_layers"),
        ({"num_res_blocks": "three"}, "num_res_blocks"),
        ({"downsample": True, "upsample": True}, "does not fit itself"),
        ({"downsample": True, "upsample": True, "sample_size": 4}, "downsample"),
    ],
)
def test_a_configuration_that_is_not_built_here(change, says, tmp_path):
    made("amused").save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**config, **change}))
    with pytest.raises(CheckpointError, match=says) as error:
        of.load(tmp_path)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("schedule, steps", [("cosine", 7), ("linear", 4), ("cosine", 16), ("cosine", 1)])
def test_the_scheduler_step_by_step(schedule, steps, monkeypatch):
    """Given the same noise: codes are drawn by the same Gumbel numbers, and beliefs disturbed by the same. (Where steps outnumber codes theirs draws the last
    code anew at each that is left; ours is done.)"""
    rows, length, codes = 2, 24, 9
    space = Space(axes=(Axis("y", 4), Axis("x", 6)), vocab=(codes,))
    table = 2 * torch.randn(steps, rows, length, codes, generator=torch.Generator().manual_seed(1))
    process = Masked(steps=steps, schedule=schedule, noise=2.0, whole=True)
    scheduler = AmusedScheduler(mask_token_id=codes, masking_schedule=schedule)
    scheduler.set_timesteps(steps, (2, 0))
    state = process.init(space.blank(rows), rng=Rng(0))
    sample = torch.full((rows, length), codes)
    hidden = []
    for i, timestep in enumerate(scheduler.timesteps):
        rng = Rng(5).split(i)
        logits = table[i]
        draw = (logits + rng.split("draw").gumbel((rows, length, 1, codes))[:, :, 0]).argmax(-1)
        monkeypatch.setattr(scheduling_amused.torch, "multinomial", lambda p, n, generator=None, draw=draw: draw.reshape(-1, 1))
        monkeypatch.setattr(scheduling_amused, "gumbel_noise", lambda t, generator=None, rng=rng: rng.split("noise").gumbel(t.shape))
        sample = scheduler.step(logits, timestep, sample).prev_sample
        state = process.step(lambda query, logits=logits: Answer(Categorical(logits[:, :, None])), state, rng=rng)
        assert torch.equal(torch.where(state.known, state.tokens.ids[..., 0], codes), sample)
        hidden.append(int((sample == codes).sum()))
    assert hidden[-1] == 0 and bool(state.done.all()) and hidden == sorted(hidden, reverse=True)


VQ = {**BASE, **blocks(2), "block_out_channels": (8, 12), "latent_channels": 6, "num_vq_embeddings": 33, "lookup_from_codebook": True}


def pipeline(place, **hides):
    """As save_pretrained lays out a pipeline, without its text encoder."""
    parts = {"transformer": made("amused"), "vqvae": stirred(VQModel(**VQ), 0.05), "scheduler": AmusedScheduler(**{"mask_token_id": 39, **hides})}
    for part, thing in parts.items():
        thing.save_pretrained(place / part)
    said = {part: ["diffusers", type(x).__name__] for part, x in parts.items()}
    (place / "model_index.json").write_text(json.dumps({"_class_name": "AmusedPipeline", **said}))
    return parts["transformer"], parts["vqvae"]


@torch.no_grad()
def test_a_pipeline_step_by_step(tmp_path, monkeypatch):
    """As AmusedPipeline walks, guided; what is unsaid is a text of zeros."""
    model, vqvae = pipeline(tmp_path, mask_token_id=35, masking_schedule="linear")
    system, steps = of.load(tmp_path), 6
    assert system.codec.shape == (3, 10, 10) and (system.process.steps, system.process.noise) == (12, 2.0) and system.guidance.scale == 10.0
    system.process = system.process.but(steps=steps)
    scheduler = AmusedScheduler(35, "linear")
    scheduler.set_timesteps(steps, (2, 0))
    g = torch.Generator().manual_seed(3)
    text, pooled = torch.randn(2, 77, 10, generator=g), torch.randn(2, 7, generator=g)
    numbers = torch.tensor([[10.0, 10.0, 0.0, 0.0, 6.0]]).expand(4, -1)
    net = system.net(2, {"text": list(zip(text, pooled, strict=True)), "numbers": numbers[:2]}, scale=3.0)
    state, sample = system.process.init(system.codec.space.blank(2), rng=Rng(0)), torch.full((2, 5, 5), 35)
    for i, timestep in enumerate(scheduler.timesteps):
        rng = Rng(5).split(i)
        every = model(sample.repeat(2, 1, 1), torch.cat([torch.zeros_like(text), text]), torch.cat([torch.zeros_like(pooled), pooled]), numbers)
        nothing, told = every.chunk(2)
        logits = nothing + 3 * (told - nothing)
        draw = (logits.flatten(2).mT + rng.split("draw").gumbel((2, 25, 1, 33))[:, :, 0]).argmax(-1)
        monkeypatch.setattr(scheduling_amused.torch, "multinomial", lambda p, n, generator=None, draw=draw: draw.reshape(-1, 1))
        monkeypatch.setattr(scheduling_amused, "gumbel_noise", lambda t, generator=None, rng=rng: rng.split("noise").gumbel(t.shape))
        sample = scheduler.step(logits, timestep, sample).prev_sample
        state = system.process.step(net, state, rng=rng)
        assert torch.equal(torch.where(state.known, state.tokens.ids[..., 0], 35), sample.flatten(1))
    theirs = vqvae.decode(sample, force_not_quantize=True, shape=(2, 5, 5, 6)).sample.clip(0, 1)
    near(system.codec.decode(state.tokens), 2 * theirs - 1)
    x = pixels(system)
    assert torch.equal(system.codec.encode(x).ids.flatten(), vqvae.quantize(vqvae.encode((x + 1) / 2).latents)[2][2])
    said = system.generate(1, {}, steps=3)
    of.save(system, tmp_path / "mine")
    assert said.shape == (1, 3, 10, 10) and torch.equal(of.load(tmp_path / "mine").generate(1, {}, steps=3), said)


@pytest.mark.parametrize(
    "file, change, says",
    [
        ("vqvae/config.json", {"lookup_from_codebook": False}, "lookup_from_codebook=False"),
        ("vqvae/config.json", {"num_vq_embeddings": 32}, "32 codes and its transformer speaks of 33"),
        ("scheduler/scheduler_config.json", {"mask_token_id": 32}, "hides by code 32"),
        ("scheduler/scheduler_config.json", {"mask_token_id": 40}, "hides by code 40"),
        ("scheduler/scheduler_config.json", {"mask_token_id": "mask"}, "mask_token_id"),
        ("scheduler/scheduler_config.json", {"masking_schedule": "square"}, "masking_schedule='square'"),
        ("transformer/config.json", {"sample_size": 1 << 30}, "sample_size"),
        ("model_index.json", {"scheduler": ["diffusers", "DDIMScheduler"]}, "AmusedScheduler is built here"),
        ("model_index.json", {"transformer": None}, "no transformer"),
    ],
)
def test_a_pipeline_that_is_not_built_here(file, change, says, tmp_path):
    pipeline(tmp_path)
    (tmp_path / file).write_text(json.dumps({**json.loads((tmp_path / file).read_text()), **change}))
    with pytest.raises(CheckpointError, match=says) as error:
        of.load(tmp_path)
    assert "\n" not in str(error.value)
