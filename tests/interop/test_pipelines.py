"""A pipeline of diffusers generates what it generates there: the same noise, the same pictures."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from diffusers import (
    AutoencoderKL,
    DDIMScheduler,
    DPMSolverMultistepScheduler,
    FlowMatchEulerDiscreteScheduler,
    FluxTransformer2DModel,
    PixArtTransformer2DModel,
    SD3Transformer2DModel,
)

import omniform as of
from omniform.core.errors import CheckpointError

from .test_autoencoders import BASE, blocks
from .test_pictures import DIT, PIXART, dit, near, stirred
from .test_streams import FLUX, SD3, flowed

VAE = {**BASE, **blocks(2), "block_out_channels": (8, 12), "sample_size": 12}


def folder(place, model, scheduler, channels):
    """As save_pretrained lays out a pipeline, without its text encoders."""
    vae = stirred(AutoencoderKL(**VAE, latent_channels=channels, scaling_factor=0.7, shift_factor=0.1), 0.05)
    for part, thing in (("transformer", model), ("vae", vae), ("scheduler", scheduler)):
        thing.save_pretrained(place / part)
    said = {part: ["diffusers", type(x).__name__] for part, x in (("transformer", model), ("vae", vae), ("scheduler", scheduler))}
    (place / "model_index.json").write_text(json.dumps({"_class_name": "Pipeline", **said}))
    return vae


def start(system):
    """The noise that our process starts from, as their latents."""
    from omniform.core.rng import Rng

    state = system.process.init(system.codec.space.blank(2), rng=Rng.seeded(5, 2).split("init"))
    return state.tokens.vec


def as_latents(system, vec):
    """Our tokens (row, column, channel of a patch) as their picture of latents."""
    (rows, columns), p = (a.size for a in system.codec.space.axes), system.codec.patch
    return vec.reshape(len(vec), rows, columns, p, p, -1).permute(0, 5, 1, 3, 2, 4).flatten(4, 5).flatten(2, 3)


def walked(system, vec, condition):
    """Our steps from a given noise, without guidance."""
    from dataclasses import replace

    from omniform.core.rng import Rng

    net = system.net(2, condition, scale=1.0)
    state = system.process.init(system.codec.space.blank(2), rng=Rng.seeded(5, 2))
    state = replace(state, tokens=replace(state.tokens, vec=vec))
    while not bool(state.done.all()):
        state = system.process.step(net, state, rng=Rng.seeded(6, 2))
    return state.tokens


@torch.no_grad()
def test_dit_with_its_autoencoder_and_ddim(tmp_path):
    model = dit({**DIT, "out_channels": 8})
    vae = folder(tmp_path, model, DDIMScheduler(clip_sample=False), 4)
    system = of.load(tmp_path)
    system.process = system.process.but(steps=5)
    vec, label, scheduler = start(system), torch.tensor([3, 7]), DDIMScheduler(clip_sample=False)
    scheduler.set_timesteps(5)
    x = as_latents(system, vec)
    for t in scheduler.timesteps:
        x = scheduler.step(model(x, t.expand(2), label).sample[:, :4], t, x).prev_sample
    tokens = walked(system, vec, {"label": label})
    near(as_latents(system, tokens.vec), x, 1e-4)  # single precision, five times over
    near(system.codec.decode(tokens), vae.decode(x / 0.7 + 0.1).sample.clamp(-1, 1), 1e-4)
    said = system.generate(1, {"label": 3}, steps=3)
    of.save(system, tmp_path / "mine")
    assert said.shape == (1, 3, 12, 12) and torch.equal(of.load(tmp_path / "mine").generate(1, {"label": 3}, steps=3), said)


@torch.no_grad()
def test_pixart_with_its_autoencoder_and_dpm(tmp_path):
    model, config = stirred(PixArtTransformer2DModel(**PIXART)), {"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012}
    vae = folder(tmp_path, model, DPMSolverMultistepScheduler(**config), 4)
    system = of.load(tmp_path)
    system.process = system.process.but(steps=5)
    features = torch.randn(2, 120, 10, generator=torch.Generator().manual_seed(3))
    vec, scheduler = start(system), DPMSolverMultistepScheduler(**config)
    scheduler.set_timesteps(5)
    x = as_latents(system, vec)
    for t in scheduler.timesteps:
        said = model(x, features, t.expand(2), added_cond_kwargs={"resolution": None, "aspect_ratio": None}).sample
        x = scheduler.step(said[:, :4], t, x).prev_sample
    tokens = walked(system, vec, {"text": list(features)})
    near(as_latents(system, tokens.vec), x, 1e-4)
    near(system.codec.decode(tokens), vae.decode(x / 0.7 + 0.1).sample.clamp(-1, 1), 1e-4)


@torch.no_grad()
def test_dit_as_a_flow(tmp_path):
    """A scheduler of flows says that a DiT is told shares of noise and answers with noise less data."""
    model = dit(DIT)
    folder(tmp_path, model, FlowMatchEulerDiscreteScheduler(), 4)
    system = of.load(tmp_path)
    system.process = system.process.but(steps=4)
    vec, label, scheduler = start(system), torch.tensor([3, 7]), FlowMatchEulerDiscreteScheduler()
    scheduler.set_timesteps(4)
    x = as_latents(system, vec)
    for t in scheduler.timesteps:
        x = scheduler.step(model(x, t.expand(2), label).sample, t, x).prev_sample
    near(as_latents(system, walked(system, vec, {"label": label}).vec), x, 1e-4)


@torch.no_grad()
def test_sd3_with_its_autoencoder_and_euler(tmp_path):
    model = stirred(SD3Transformer2DModel(**SD3))
    vae = folder(tmp_path, model, FlowMatchEulerDiscreteScheduler(shift=3.0), 5)
    system = of.load(tmp_path)
    system.process = system.process.but(steps=4)
    g = torch.Generator().manual_seed(3)
    features, pooled = torch.randn(2, 333, 10, generator=g), torch.randn(2, 7, generator=g)
    vec, scheduler = start(system), FlowMatchEulerDiscreteScheduler(shift=3.0)
    scheduler.set_timesteps(4)
    x = as_latents(system, vec)
    for t in scheduler.timesteps:
        x = scheduler.step(model(x, features, pooled, t.expand(2)).sample, t, x).prev_sample
    tokens = walked(system, vec, {"text": list(zip(features, pooled, strict=True))})
    near(as_latents(system, tokens.vec), x, 1e-4)
    near(system.codec.decode(tokens), vae.decode(x / 0.7 + 0.1).sample.clamp(-1, 1), 1e-4)


@torch.no_grad()
@pytest.mark.parametrize("guided", [True, False])
def test_flux_with_its_autoencoder_and_euler(tmp_path, guided):
    """As FluxPipeline walks: even shares of noise from 1 to 1 / steps, shifted by the number of tokens (dev), or as they are (schnell)."""
    said = {"use_dynamic_shifting": True, "shift": 3.0, "base_image_seq_len": 4, "max_image_seq_len": 16} if guided else {"shift": 1.0}
    model, steps = stirred(FluxTransformer2DModel(**{**FLUX, "guidance_embeds": guided})), 4
    scheduler = FlowMatchEulerDiscreteScheduler(**said)
    vae = folder(tmp_path, model, scheduler, 3)
    system = of.load(tmp_path)
    system.process = system.process.but(steps=steps)
    g = torch.Generator().manual_seed(3)
    features, pooled = torch.randn(2, 512 if guided else 256, 10, generator=g), torch.randn(2, 7, generator=g)
    vec = start(system)
    x = as_latents(system, vec)
    mu = 0.5 + (9 - 4) * (1.15 - 0.5) / (16 - 4)
    scheduler.set_timesteps(sigmas=np.linspace(1.0, 1 / steps, steps), mu=mu if guided else None)
    for t in scheduler.timesteps:
        x = scheduler.step(flowed(model, x, features, pooled, t.expand(2) / 1000), t, x).prev_sample
    told = {"text": list(zip(features, pooled, strict=True)), **({"guidance": torch.tensor([[3.5], [1.0]])} if guided else {})}
    tokens = walked(system, vec, told)
    near(as_latents(system, tokens.vec), x, 1e-4)
    near(system.codec.decode(tokens), vae.decode(x / 0.7 + 0.1).sample.clamp(-1, 1), 1e-4)


def test_a_flux_whose_autoencoder_is_anothers(tmp_path):
    folder(tmp_path, stirred(FluxTransformer2DModel(**FLUX)), FlowMatchEulerDiscreteScheduler(), 4)
    with pytest.raises(CheckpointError, match="4 channels and its transformer reads 3"):
        of.load(tmp_path)
    file = tmp_path / "vae" / "config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "sample_size": 10}))
    with pytest.raises(CheckpointError, match="5 x 5 latents"):
        of.load(tmp_path)


@pytest.mark.parametrize("name, length", [("PixArtAlphaPipeline", 120), ("PixArtSigmaPipeline", 300), ("Pipeline", 120)])
def test_how_long_captions_are_is_said_by_the_class_of_the_pipeline(name, length, tmp_path):
    folder(tmp_path, stirred(PixArtTransformer2DModel(**PIXART)), DPMSolverMultistepScheduler(), 4)
    file = tmp_path / "model_index.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "_class_name": name}))
    assert of.load(tmp_path).conditioning.parts["text"].length == length


@pytest.mark.parametrize(
    "part, change, says",
    [
        ("model_index.json", {"vae": ["diffusers", "AutoencoderKLWan"]}, "over a AutoencoderKLWan"),
        ("model_index.json", {"scheduler": ["diffusers", "UniPCMultistepScheduler"]}, "UniPCMultistepScheduler"),
        ("model_index.json", {"transformer": None}, "no transformer in its model_index.json"),
        ("vae/config.json", {"latent_channels": 5}, "5 channels and its transformer reads 4"),
        ("scheduler/scheduler_config.json", {"clip_sample": True}, "clip_sample=True"),
        ("model_index.json", {"transformer": ["diffusers", "SD3Transformer2DModel"]}, "FlowMatchEulerDiscreteScheduler is built here"),
    ],
)
def test_a_pipeline_that_is_not_built_here(part, change, says, tmp_path):
    folder(tmp_path, dit(DIT), DDIMScheduler(clip_sample=False), 4)
    file = tmp_path / part
    file.write_text(json.dumps({**json.loads(file.read_text()), **change}))
    with pytest.raises(CheckpointError, match=says):
        of.load(tmp_path)
