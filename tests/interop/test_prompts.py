"""A pipeline of diffusers is told a prompt as there: its own text encoders, its own tokenizers, the same picture from the same noise."""

from __future__ import annotations

import inspect
import json
from dataclasses import replace

import diffusers
import numpy as np
import pytest
import torch
from click.testing import CliRunner
from diffusers.schedulers import scheduling_amused
from PIL import Image
from transformers import (
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTextModelWithProjection,
    CLIPTokenizer,
    T5Config,
    T5EncoderModel,
    T5Tokenizer,
)

import omniform as of
from omniform.cli import PROGRAM
from omniform.core.errors import CheckpointError
from omniform.core.rng import Rng
from omniform.interop.encoders import open_encoder

from .spelling import clip_files, t5_files
from .test_masked import AMUSED, VQ
from .test_pictures import PIXART, near, stirred
from .test_pipelines import VAE, as_latents, start
from .test_streams import FLUX, SD3, packed

WORDS = 13
PROMPTS = ["A photo of a CAT that sits on the mat", "  two red birds over a green house by the blue water, it's 3.14 times as fast! <|endoftext|> </s> ½ 日本 "]
STEPS = 3


def clip_part(place, wide, projected=None, layers=3, **more):
    codes = clip_files(place)
    said = {"hidden_size": wide, "num_attention_heads": 2, "num_hidden_layers": layers, "intermediate_size": 14, "max_position_embeddings": WORDS}
    marks = {"vocab_size": codes, "bos_token_id": codes - 2, "eos_token_id": codes - 1}
    config = CLIPTextConfig(**{**said, **marks, "projection_dim": projected or 5, **more})
    return stirred((CLIPTextModelWithProjection if projected else CLIPTextModel)(config)), CLIPTokenizer.from_pretrained(place, model_max_length=WORDS)


def t5_part(place, width=10):
    t5_files(place)
    tokenizer = T5Tokenizer.from_pretrained(place)
    config = T5Config(d_model=width, d_kv=4, d_ff=14, num_layers=2, num_heads=3, vocab_size=len(tokenizer) + 3, feed_forward_proj="gated-gelu")
    return stirred(T5EncoderModel(config), 0.05), tokenizer


def vae(channels):
    return stirred(diffusers.AutoencoderKL(**VAE, latent_channels=channels, scaling_factor=0.7, shift_factor=0.1), 0.05)


def sd3(place, t5=True):
    model = stirred(diffusers.SD3Transformer2DModel(**SD3))
    scheduler = diffusers.FlowMatchEulerDiscreteScheduler(shift=3.0)
    (one, first), (two, second) = clip_part(place / "1", 4, 3), clip_part(place / "2", 6, 4, layers=1, hidden_act="gelu", eos_token_id=2)
    second.pad_token = "!"  # as released: its tokenizer pads with another code, and its configuration calls the end 2
    three, third = t5_part(place / "3") if t5 else (None, None)
    return diffusers.StableDiffusion3Pipeline(model, scheduler, vae(5), one, first, two, second, three, third)


def flux(place, guided=True):
    said = {"use_dynamic_shifting": True, "shift": 3.0, "base_image_seq_len": 4, "max_image_seq_len": 16} if guided else {"shift": 1.0}
    (one, first), (two, second) = clip_part(place / "1", 8), t5_part(place / "2")
    model = stirred(diffusers.FluxTransformer2DModel(**{**FLUX, "guidance_embeds": guided, "pooled_projection_dim": 8}))
    return diffusers.FluxPipeline(diffusers.FlowMatchEulerDiscreteScheduler(**said), vae(3), one, first, two, second, model)


def pixart(place, make=diffusers.PixArtAlphaPipeline):
    model = stirred(diffusers.PixArtTransformer2DModel(**{**PIXART, "sample_size": 8, "out_channels": 8}))
    one, first = t5_part(place / "1")
    plain = stirred(diffusers.AutoencoderKL(**{**VAE, "sample_size": 16}, latent_channels=4, scaling_factor=0.7), 0.05)
    return make(first, one, plain, model, diffusers.DPMSolverMultistepScheduler())


def amused(place):
    model = stirred(diffusers.UVit2DModel(**{**AMUSED, "encoder_hidden_size": 8}))
    one, first = clip_part(place / "1", 8, 7)
    return diffusers.AmusedPipeline(stirred(diffusers.VQModel(**VQ), 0.05), first, one, model, diffusers.AmusedScheduler(mask_token_id=39))


def saved(pipe, folder, slow):
    """As save_pretrained leaves it; slow: with the tokenizers' older files in place of tokenizer.json, as most of such folders have them."""
    pipe.set_progress_bar_config(disable=True)
    pipe.save_pretrained(folder)
    for place in folder.glob("tokenizer*") if slow else ():
        (place / "tokenizer.json").unlink()
        (t5_files if "T5" in json.loads((place / "tokenizer_config.json").read_text())["tokenizer_class"] else clip_files)(place)
    return of.load(folder)


def walked(system, vec, condition, scale):
    net = system.net(2, condition, scale=scale)
    state = system.process.init(system.codec.space.blank(2), rng=Rng.seeded(5, 2))
    state = replace(state, tokens=replace(state.tokens, vec=vec))
    while not bool(state.done.all()):
        state = system.process.step(net, state, rng=Rng.seeded(6, 2))
    return system.codec.decode(state.tokens) / 2 + 0.5


def compared(system, pipe, scale, **how):
    """Both from the same noise; and what is done if nobody says otherwise."""
    usual = inspect.signature(type(pipe).__call__).parameters
    if not isinstance(pipe, diffusers.FluxPipeline):
        assert (system.process.steps, system.guidance.scale) == (usual["num_inference_steps"].default, usual["guidance_scale"].default)
    system.process = system.process.but(steps=STEPS)
    vec = start(system)
    x = as_latents(system, vec)
    if isinstance(pipe, diffusers.FluxPipeline):
        x = packed(x, x.shape[2] // 2, x.shape[3] // 2)[0]
    theirs = pipe(PROMPTS, latents=x, num_inference_steps=STEPS, output_type="pt", **how).images
    near(walked(system, vec, {"text": PROMPTS}, scale), theirs, 1e-4)


@torch.no_grad()
@pytest.mark.parametrize("slow, t5", [(True, True), (False, True), (True, False)])
def test_sd3(slow, t5, tmp_path):
    pipe = sd3(tmp_path / "parts", t5)
    system = saved(pipe, tmp_path / "whole", slow)
    caption = system.conditioning.parts["text"]
    assert (caption.encoder, caption.length, caption.digest) == (str(tmp_path / "whole"), WORDS + 256, caption.reader.digest)
    assert not caption.reader._built  # nothing is opened before there is a text to read
    compared(system, pipe, 4.5, guidance_scale=4.5, height=12, width=12)


@torch.no_grad()
@pytest.mark.parametrize("guided", [True, False])
def test_flux(guided, tmp_path):
    pipe = flux(tmp_path / "parts", guided)
    system = saved(pipe, tmp_path / "whole", True)
    compared(system, pipe, 1.0, guidance_scale=3.5, height=12, width=12, max_sequence_length=512 if guided else 256)


@torch.no_grad()
@pytest.mark.parametrize("make, length", [(diffusers.PixArtAlphaPipeline, 120), (diffusers.PixArtSigmaPipeline, 300)])
def test_pixart(make, length, tmp_path):
    pipe = pixart(tmp_path / "parts", make)
    system = saved(pipe, tmp_path / "whole", True)
    assert system.conditioning.parts["text"].length == length
    compared(system, pipe, 4.5, guidance_scale=4.5, use_resolution_binning=False, clean_caption=False)


@torch.no_grad()
def test_amused(tmp_path, monkeypatch):
    pipe = amused(tmp_path / "parts")
    system = saved(pipe, tmp_path / "whole", True)
    assert system.conditioning.parts["text"].length == WORDS
    system.process, steps = system.process.but(steps=STEPS), iter(range(STEPS))
    net, state, drawn = system.net(2, {"text": PROMPTS}, scale=10.0), system.process.init(system.codec.space.blank(2), rng=Rng(0)), []

    def multinomial(p, n, generator=None):
        drawn.append(Rng(5).split(next(steps)))
        noise = drawn[-1].split("draw").gumbel((2, 25, 1, 33))[:, :, 0]
        return (p.log().view(2, 25, 33) + noise).argmax(-1).reshape(-1, 1)

    monkeypatch.setattr(scheduling_amused.torch, "multinomial", multinomial)
    monkeypatch.setattr(scheduling_amused, "gumbel_noise", lambda t, generator=None: drawn[-1].split("noise").gumbel(t.shape))
    theirs = pipe(PROMPTS, num_inference_steps=STEPS, output_type="pt").images
    for number in range(STEPS):
        state = system.process.step(net, state, rng=Rng(5).split(number))
    near(system.codec.decode(state.tokens) / 2 + 0.5, theirs, 1e-4)


def test_what_is_saved_is_read_by_the_same_encoder_and_no_other(tmp_path):
    system = saved(sd3(tmp_path / "parts"), tmp_path / "whole", True)
    of.save(system, tmp_path / "mine")
    again = of.load(tmp_path / "mine")
    told = {"text": PROMPTS[0]}
    assert torch.equal(again.generate(1, told, steps=2), system.generate(1, told, steps=2))
    assert not torch.equal(again.generate(1, told, steps=2), again.generate(1, {"text": PROMPTS[1]}, steps=2))
    file = tmp_path / "whole" / "text_encoder" / "model.safetensors"
    body = bytearray(file.read_bytes())
    body[-1] ^= 1
    file.write_bytes(body)
    with pytest.raises(CheckpointError, match="is not the one that this system was trained with"):
        of.load(tmp_path / "mine")


def test_a_folder_without_its_text_encoders_is_told_features(tmp_path, caplog):
    pipe = flux(tmp_path / "parts")
    saved(pipe, tmp_path / "whole", False)
    (tmp_path / "whole" / "tokenizer_2").rename(tmp_path / "gone")
    system = of.load(tmp_path / "whole")
    caption = system.conditioning.parts["text"]
    assert (caption.encoder, caption.reader) == ("", None) and "captions are features" in caplog.text
    assert system.generate(1, {"text": [(torch.randn(512, 10), torch.randn(8))]}, steps=1).shape == (1, 3, 12, 12)
    with pytest.raises(CheckpointError, match="without its text encoders"):
        open_encoder(str(tmp_path / "whole"))


def test_a_pipeline_is_an_encoder_of_what_is_built_here(tmp_path):
    """SD3's as the encoder of a recipe: 154 tokens, of which T5 has what CLIP leaves."""
    saved(sd3(tmp_path / "parts"), tmp_path / "whole", True)
    reader = open_encoder(str(tmp_path / "whole"))
    assert (reader.features, reader.pooled, reader.longest) == (10, 7, WORDS + 512)
    tokens, pooled = reader.one(PROMPTS[0], 20)
    assert tokens.shape == (20, 10) and pooled.shape == (7,) and not tokens[:WORDS, 10:].any()
    system = of.build("sd3", size="tiny", data="glyphs", encoder=str(tmp_path / "whole"))
    caption = system.conditioning.parts["text"]
    assert (caption.features, caption.pooled, caption.digest) == (10, 7, reader.digest)
    assert system.generate(1, {"text": "a cat"}, steps=1).shape == (1, 1, 28, 28)


def test_what_was_told_prompts_leaves_without_its_encoders(tmp_path):
    system = saved(sd3(tmp_path / "parts"), tmp_path / "whole", True)
    system.process = system.process.but(steps=2)
    again = of.load(of.export(system, "diffusers", tmp_path / "out"))
    again.conditioning.parts["text"].length = WORDS + 256  # which no configuration says
    read = system.conditioning.parts["text"].reader.one(PROMPTS[0], WORDS + 256)
    told = lambda one, x: one.generate(1, {"text": [x]}, steps=2, scale=1.0)  # noqa: E731
    near(told(again, read), told(system, PROMPTS[0]))


@torch.no_grad()
def test_folders_of_transformers_with_the_older_files_of_a_tokenizer(tmp_path):
    model, tokenizer = clip_part(tmp_path / "clip", 8, 6)
    model.save_pretrained(tmp_path / "clip")
    reader = open_encoder(str(tmp_path / "clip"))
    whole, spieces = t5_part(tmp_path / "t5")
    whole.save_pretrained(tmp_path / "t5")
    states = open_encoder(str(tmp_path / "t5"))
    for text in PROMPTS:
        ids = tokenizer(text, padding="max_length", truncation=True, return_tensors="pt").input_ids
        near(reader.one(text)[1], model(ids).text_embeds[0])
        near(states.one(text)[0], whole(**spieces(text, return_tensors="pt")).last_hidden_state[0])


@pytest.mark.parametrize(
    "file, change, says",
    [
        ("text_encoder/config.json", {"model_type": "umt5"}, "of the kind 'umt5', and this pipeline's text_encoder is a CLIP here"),
        ("text_encoder/config.json", {"hidden_size": 12}, "has shape"),
        ("text_encoder_2/config.json", {"model_type": "clip_text_model"}, "this pipeline's text_encoder_2 is a T5 here"),
        ("text_encoder_2/config.json", {"d_ff": 1 << 23}, "has shape"),
        ("tokenizer/tokenizer_config.json", {"model_max_length": "long"}, "model_max_length is 'long'"),
        ("tokenizer/tokenizer_config.json", {"model_max_length": 2}, "three tokens at the least"),
        ("transformer/config.json", {"joint_attention_dim": 11}, "say 10 numbers a token and its transformer reads 11"),
        ("transformer/config.json", {"pooled_projection_dim": 9}, "say 8 numbers a text and its transformer reads 9"),
    ],
)
def test_text_encoders_that_are_anothers(file, change, says, tmp_path):
    saved(flux(tmp_path / "parts"), tmp_path / "whole", True)
    place = tmp_path / "whole" / file
    place.write_text(json.dumps({**json.loads(place.read_text()), **change}))
    with pytest.raises(CheckpointError, match=says) as error:
        of.load(tmp_path / "whole")
    assert "\n" not in str(error.value)


def test_a_prompt_on_the_command_line(tmp_path):
    saved(pixart(tmp_path / "parts"), tmp_path / "whole", True)
    folder, picture = str(tmp_path / "whole"), tmp_path / "cat.png"
    done = CliRunner().invoke(PROGRAM, ["sample", folder, "--prompt", "a cat", "--steps", "2", "--out", str(picture)])
    assert done.exit_code == 0, done.output
    told = of.load(folder).generate(1, {"text": "a cat"}, steps=2)
    shown = torch.from_numpy(np.array(Image.open(picture).convert("RGB"))).permute(2, 0, 1)
    assert shown.shape == (3, 48, 48)  # small pictures are shown larger
    assert float((shown[:, ::3, ::3] / 127.5 - 1 - told[0].clamp(-1, 1)).abs().max()) < 0.01
    done = CliRunner().invoke(PROGRAM, ["sample", "shipped:dit", "--prompt", "a cat"])
    assert done.exit_code == 2 and "takes no --prompt" in done.output
    both = CliRunner().invoke(PROGRAM, ["sample", folder, "--prompt", "a cat", "--condition", "text=a dog"])
    assert both.exit_code == 2 and "say the text once" in both.output
