"""A pipeline of clips makes the clip that its class in diffusers makes: the same noise, the same captions, the same steps."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch
from click.testing import CliRunner
from diffusers import (
    AutoencoderKLLTXVideo,
    AutoencoderKLWan,
    FlowMatchEulerDiscreteScheduler,
    LTXPipeline,
    LTXVideoTransformer3DModel,
    UniPCMultistepScheduler,
    WanPipeline,
    WanTransformer3DModel,
)
from PIL import Image

import omniform as of
from omniform.cli import PROGRAM
from omniform.core.errors import CheckpointError
from omniform.core.rng import Rng

from .test_clips import latents, ltx
from .test_pictures import near, stirred
from .test_prompts import PROMPTS, t5_part
from .test_streams import LTX, WAN

STEPS, SHAPE = 4, (5, 3, 32, 64)
WAN_VAE = {"base_dim": 4, "dim_mult": [1, 2, 2, 2], "num_res_blocks": 1, **latents(3)}
UNIPC = {"use_flow_sigmas": True, "prediction_type": "flow_prediction", "flow_shift": 3.0}
SMALL = ltx([4, 8, 8], [8, 16], [True] * 2, [True] * 2, later=(["spatiotemporal"] * 2, [2, 2]), timestep_conditioning=True, patch_size=2, scaling_factor=0.7)
PLAIN = ltx([4, 6, 6], [4, 6, 6], [True, True, False], [True, True, False], patch_size=2)
BY_SIZE = {"use_dynamic_shifting": True, "base_image_seq_len": 4, "max_image_seq_len": 64, "base_shift": 0.95, "max_shift": 2.05, "shift_terminal": 0.1}


def wan(scheduler, **vae):
    model = stirred(WanTransformer3DModel(**WAN))
    return WanPipeline(None, None, stirred(AutoencoderKLWan(**{**WAN_VAE, **vae}), 0.05), scheduler, model)


def ltx_video(scheduler, vae=PLAIN):
    vae, model = stirred(AutoencoderKLLTXVideo(**vae), 0.05), stirred(LTXVideoTransformer3DModel(**LTX))
    said = latents(5)
    vae.latents_mean.copy_(torch.tensor(said["latents_mean"]))
    vae.latents_std.copy_(torch.tensor(said["latents_std"]))
    return LTXPipeline(scheduler, vae, None, None, model)


PIPELINES = {
    "wan": lambda: wan(UniPCMultistepScheduler(**UNIPC)),
    "wan by euler": lambda: wan(FlowMatchEulerDiscreteScheduler(shift=5.0)),
    "ltx": lambda: ltx_video(FlowMatchEulerDiscreteScheduler(**BY_SIZE)),
    "ltx of 0.9.5": lambda: ltx_video(FlowMatchEulerDiscreteScheduler(shift=2.0), SMALL),
}


def walked(system, vec, condition, scale):
    """Our steps from a given noise, guided."""
    net = system.net(len(vec), condition, scale=scale)
    state = system.process.init(system.codec.space.blank(len(vec)), rng=Rng.seeded(5, len(vec)))
    state = replace(state, tokens=replace(state.tokens, vec=vec))
    while not bool(state.done.all()):
        state = system.process.step(net, state, rng=Rng.seeded(6, len(vec)))
    return state.tokens


def packed(system, x):
    """Their latents (B, C, t, h, w) as our tokens, (row, column, channel) of a patch."""
    _, y, z = (a.size for a in system.codec.space.axes)
    p = x.shape[3] // y
    return x.unflatten(4, (z, p)).unflatten(3, (y, p)).permute(0, 2, 3, 5, 4, 6, 1).flatten(4).flatten(1, 3)


@torch.no_grad()
@pytest.mark.parametrize("scale", [1.0, 3.5])
@pytest.mark.parametrize("name", PIPELINES)
def test_clips_are_equal(name, scale, tmp_path):
    pipeline = PIPELINES[name]()
    pipeline.set_progress_bar_config(disable=True)
    pipeline.save_pretrained(tmp_path)
    system = of.load(tmp_path, shape=SHAPE)
    assert system.process.steps == 50 and system.recipe.guidance.args["scale"] == (5.0 if name.startswith("wan") else 3.0)
    system.process = system.process.but(steps=STEPS)
    g, frames, length = torch.Generator().manual_seed(3), system.codec.space.axes[0].size, 512 if name.startswith("wan") else 128
    features, unsaid = torch.randn(2, length, 10, generator=g), torch.zeros(2, length, 10)
    noise = torch.randn(2, 3 if name.startswith("wan") else 5, frames, SHAPE[2] // 8, SHAPE[3] // 8, generator=g)
    told = {"prompt_embeds": features, "negative_prompt_embeds": unsaid, "latents": noise}
    condition = {"text": list(features)}
    if name.startswith("ltx"):
        mask = torch.ones(2, length)
        mask[1, 7:] = 0
        told |= {"prompt_attention_mask": mask, "negative_prompt_attention_mask": torch.ones(2, length), "latents": noise.flatten(2).mT}
        condition = {"text": [features[0], features[1, :7]]}
    clip = pipeline(**told, num_frames=5, height=32, width=64, num_inference_steps=STEPS, guidance_scale=scale, output_type="pt").frames
    tokens = walked(system, packed(system, noise), condition, scale)
    mine = (system.codec.decode(tokens) + 1) / 2
    assert float(((clip > 0) & (clip < 1)).float().mean()) > 0.1
    near(mine, clip, 1e-4)


@torch.no_grad()
def test_ltx_reads_prompts(tmp_path):
    """Its T5 reads padding, which its transformer does not see."""
    pipeline = ltx_video(FlowMatchEulerDiscreteScheduler(**BY_SIZE))
    reader, tokenizer = t5_part(tmp_path / "parts")
    pipeline = LTXPipeline(pipeline.scheduler, pipeline.vae, reader, tokenizer, pipeline.transformer)
    pipeline.set_progress_bar_config(disable=True)
    pipeline.save_pretrained(tmp_path / "whole")
    system = of.load(tmp_path / "whole", shape=SHAPE)
    system.process = system.process.but(steps=STEPS)
    noise = torch.randn(2, 5, *(a.size for a in system.codec.space.axes), generator=torch.Generator().manual_seed(3))
    how = {"num_frames": 5, "height": 32, "width": 64, "num_inference_steps": STEPS, "guidance_scale": 3.5, "output_type": "latent"}
    said = pipeline(PROMPTS, latents=noise.flatten(2).mT, **how).frames
    near(walked(system, packed(system, noise), {"text": PROMPTS}, 3.5).vec, said, 1e-4)


def folder(place, name="wan", **index):
    """A pipeline as it lies in its folder, with other words in its index."""
    PIPELINES[name]().save_pretrained(place)
    said = json.loads((place / "model_index.json").read_text())
    (place / "model_index.json").write_text(json.dumps({**said, **index}))


def test_a_prompt_typed_becomes_a_clip(tmp_path):
    pipeline = ltx_video(FlowMatchEulerDiscreteScheduler(**BY_SIZE))
    reader, tokenizer = t5_part(tmp_path / "parts")
    LTXPipeline(pipeline.scheduler, pipeline.vae, reader, tokenizer, pipeline.transformer).save_pretrained(tmp_path / "whole")
    words = ["sample", str(tmp_path / "whole"), "--shape", "9,3,32,32", "--prompt", PROMPTS[0], "--steps", "2", "--out", str(tmp_path / "x.gif")]
    done = CliRunner().invoke(PROGRAM, words)
    assert done.exit_code == 0, done.output + done.stderr
    with Image.open(tmp_path / "x.gif") as clip:
        assert clip.n_frames == 9
    wrong = CliRunner().invoke(PROGRAM, [*words[:3], "9x3", *words[4:]])
    assert wrong.exit_code == 2 and "such as 25,3,256,256, found '9x3'" in wrong.stderr


@pytest.mark.parametrize("name, shape", [("wan", (81, 3, 480, 832)), ("ltx of 0.9.5", (161, 3, 512, 704))])
def test_how_long_clips_are_if_nobody_says_it(name, shape, tmp_path):
    folder(tmp_path, name)
    system = of.load(tmp_path)
    assert system.codec.shape == shape and [a.size for a in system.codec.space.axes][0] == {"wan": 21}.get(name, 41)
    of.save(of.load(tmp_path, shape=SHAPE), tmp_path / "mine")
    assert of.load(tmp_path / "mine").codec.shape == SHAPE
    with pytest.raises(CheckpointError, match="give none"):
        of.load(tmp_path / "mine", shape=SHAPE)


BAD_SHAPES = [((4, 3, 32, 64), "1 \\+ 4 n"), ((5, 3, 24, 64), "whose sides 16 divides, not of 24 x 64"), ((5, 3, 32), "1 \\+ 4 n"), ((5, 1, 32, 64), "3, rows")]


@pytest.mark.parametrize("shape, says", BAD_SHAPES)
def test_clips_that_it_does_not_make(shape, says, tmp_path):
    folder(tmp_path)
    with pytest.raises(CheckpointError, match=says):
        of.load(tmp_path, shape=shape)


def test_an_autoencoder_of_a_folder_takes_other_clips(tmp_path):
    stirred(AutoencoderKLWan(**WAN_VAE)).save_pretrained(tmp_path)
    assert of.load(tmp_path, shape=SHAPE).codec.shape == SHAPE


@pytest.mark.parametrize(
    "name, part, change, says",
    [
        ("wan", "model_index.json", {"transformer_2": ["diffusers", "WanTransformer3DModel"]}, "transformer_2"),
        ("wan", "model_index.json", {"boundary_ratio": 0.9}, "boundary_ratio=0.9"),
        ("wan", "model_index.json", {"expand_timesteps": True}, "expand_timesteps=True"),
        ("wan", "model_index.json", {"_class_name": "WanVideoToVideoPipeline"}, "WanVideoToVideoPipeline, and of its transformer WanPipeline"),
        ("wan", "model_index.json", {"vae": ["diffusers", "AutoencoderKLLTXVideo"]}, "over a AutoencoderKLWan"),
        ("wan", "model_index.json", {"scheduler": ["diffusers", "DPMSolverMultistepScheduler"]}, "with a DPMSolverMultistepScheduler"),
        ("wan", "vae/config.json", {"scale_factor_temporal": 8}, "scale_factor_temporal=8"),
        ("wan", "vae/config.json", {"z_dim": 4, "latents_mean": [0.0] * 4, "latents_std": [1.0] * 4}, "4 channels and its transformer reads 3"),
        ("wan", "scheduler/scheduler_config.json", {"prediction_type": "epsilon"}, "prediction_type='epsilon'"),
        ("ltx", "model_index.json", {"_class_name": "LTXConditionPipeline"}, "LTXConditionPipeline"),
        ("ltx", "model_index.json", {"scheduler": ["diffusers", "UniPCMultistepScheduler"]}, "with a UniPCMultistepScheduler"),
        ("ltx", "vae/config.json", {"latent_channels": 4}, "4 channels and its transformer reads 5"),
        ("ltx", "scheduler/scheduler_config.json", {"stochastic_sampling": True}, "stochastic_sampling=True"),
    ],
)
def test_a_pipeline_that_is_not_built_here(name, part, change, says, tmp_path):
    folder(tmp_path, name)
    file = tmp_path / part
    file.write_text(json.dumps({**json.loads(file.read_text()), **change}))
    with pytest.raises(CheckpointError, match=says) as error:
        of.load(tmp_path, shape=SHAPE)
    assert "\n" not in str(error.value)
