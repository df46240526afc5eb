"""Systems of ours in diffusers: the same noise, the same picture."""

from __future__ import annotations

import json

import diffusers
import pytest
import torch

import omniform as of
from omniform import recipes
from omniform.backbones.attention import Attention
from omniform.backbones.blocks import PreNorm, SingleStream
from omniform.backbones.embed import TimeEmbedding
from omniform.backbones.mlp import Mlp
from omniform.backbones.positions import Rotary
from omniform.backbones.stack import Stack
from omniform.codecs.autoencoder import Autoencoder
from omniform.codecs.bottleneck import KL
from omniform.codecs.causal import CausalConvolutions
from omniform.codecs.convolutions import Convolutions
from omniform.codecs.folded import Folded
from omniform.codecs.patch import Patches, paste
from omniform.conditions.caption import Sizes
from omniform.core.errors import RecipeError
from omniform.core.rng import Rng
from omniform.core.spec import Spec
from omniform.processes.flow import Flow
from omniform.processes.grids import Levels
from omniform.processes.paths import Betas, Linear
from omniform.processes.solvers import Ancestral, Ddim, DpmPP2M, Euler

from .cards import opened

B = 2
LATENT = Spec(Autoencoder, {"stride": 2, "bottleneck": Spec(KL, {"channels": 4}), "network": Spec(Convolutions, {"widths": (8, 16), "depth": 1, "groups": 4})})
CODEC = {"codec": Spec(Folded, {"inner": LATENT, "patch": 2}), "shape": (3, 16, 16)}
SMALL = {"network.width": 24, "network.backbone.depth": 2, "network.backbone.block.mixer.heads": 3}
NOISE = {"path": Spec(Betas), "predict": "noise", "times": "levels"}
SCALED = {"kind": "scaled", "low": 0.00085, "high": 0.012}
STRAIGHT = {"path": Spec(Linear), "solver": Spec(Euler)}
FEW = {"heads": 3, "qk_norm": "rms"}
JOINT = Spec(PreNorm, {"mixer": Spec(Attention, FEW), "mlp": Spec(Mlp), "modulate": "zero", "streams": 2})
SINGLE = Spec(SingleStream, {"mixer": Spec(Attention, {**FEW, "biases": "qkv"}), "mlp": Spec(Mlp)})
FLUX = {
    "network.width": 42,
    "network.backbone.rotary": Spec(Rotary, {"head_width": 14, "share": (2, 3), "interleaved": True}),
    "network.backbone.block": tuple(Spec(Stack, {"depth": n, "final": None, "block": b}) for n, b in ((1, JOINT), (2, SINGLE))),
}
CLIP = {
    "codec": Spec(Patches, {"patch": 2, "bounded": False}),
    "shape": (3, 5, 4, 8),
    "network.width": 28,
    "network.backbone.depth": 2,
    "network.backbone.block.mixer.heads": 2,
    "network.backbone.block.cross.heads": 2,
}
CASES = {
    "dit, learned variance, ddpm": (
        "dit",
        {
            **SMALL,
            **CODEC,
            "network.head.learned_variance": True,
            "network.time.closed": True,
            "process": Spec(Flow, {**NOISE, "path": Spec(Betas, SCALED), "solver": Spec(Ancestral), "steps": 8}),
        },
    ),
    "dit of the data, ddim, its clock fitted": (
        "dit",
        {**SMALL, **CODEC, "process": Spec(Flow, {**NOISE, "predict": "data", "solver": Spec(Ddim), "steps": 10})},
    ),
    "dit told the numbers of levels, dpm": (
        "dit",
        {
            **SMALL,
            "codec": Spec(Patches, {"patch": 2, "bounded": False}),
            "shape": (3, 8, 8),
            "network.time": recipes.get("dit").network.args["time"].but({"levels": 1000, "closed": True}),
            "process": Spec(Flow, {**NOISE, "solver": Spec(DpmPP2M), "steps": 6, "grid": Spec(Levels, {"spacing": "leading", "open": True})}),
        },
    ),
    "dit, a flow, closed": ("dit", {**SMALL, "network.time.closed": True}),
    "sit, whose time runs the other way": ("sit", {**SMALL, "process": Spec(Flow, {**STRAIGHT, "steps": 5})}),
    "pixart, dpm": (
        "pixart",
        {
            **SMALL,
            **CODEC,
            "network.backbone.block.cross.heads": 3,
            "process": Spec(Flow, {**NOISE, "path": Spec(Betas, SCALED), "solver": Spec(DpmPP2M), "steps": 5}),
        },
    ),
    "pixart that is told sizes": (
        "pixart",
        {
            **SMALL,
            **CODEC,
            "conditions": {**recipes.get("pixart").conditions, "size": (Spec(Sizes, {"groups": (2, 1), "usual": (64.0, 64.0, 1.0)}), "modulate")},
            "conditions.text.0.features": 10,
            "conditions.text.0.length": 6,
            "network.backbone.block.cross.heads": 3,
            "process": Spec(Flow, {**NOISE, "solver": Spec(Ddim), "steps": 4}),
        },
    ),
    "pixart-sigma of large latents": (
        "pixart-sigma",
        {
            **SMALL,
            "codec": Spec(Folded, {"inner": LATENT.but({"network.looks": False}), "patch": 16}),
            "shape": (3, 256, 256),
            "network.backbone.late": None,
            "network.backbone.block.cross.heads": 3,
            "process": Spec(Flow, {**NOISE, "solver": Spec(DpmPP2M), "steps": 2}),
        },
    ),
    "pixart as a flow": ("pixart", {**SMALL, **CODEC, "network.backbone.block.cross.heads": 3, "process.steps": 5}),
    "flux, shifted and guided": (
        "flux",
        {**CODEC, **FLUX, "process": Spec(Flow, {**STRAIGHT, "steps": 4, "grid": "shifted", "shift": 3.0})},
    ),
    "flux over tokens that are no squares of two": ("flux", {**FLUX, "process.steps": 3}),
    "flux that is not guided, of latents": (
        "flux",
        {
            **FLUX,
            "codec": Spec(Patches, {"patch": 2, "bounded": False}),
            "shape": (3, 4, 8),
            "conditions": {"text": recipes.get("flux").conditions["text"]},
            "conditions.text.0.features": 10,
            "conditions.text.0.pooled": 7,
            "conditions.text.0.length": 6,
            "process": Spec(Flow, {**STRAIGHT, "steps": 4}),
        },
    ),
    "ltx": ("ltx-video", {**CLIP, "network.backbone.rotary.heads": 2, "network.backbone.block.mlp.activation": "gelu", "process.steps": 3}),
    "ltx over an autoencoder": (
        "ltx-video",
        {
            **CLIP,
            "codec": Spec(
                Autoencoder,
                {"stride": 2, "bottleneck": Spec(KL, {"channels": 4}), "network": Spec(CausalConvolutions, {"widths": (4, 6), "depth": 1, "in_time": (True,)})},
            ),
            "shape": (5, 3, 4, 8),
            "network.backbone.rotary.heads": 2,
            "process.steps": 2,
        },
    ),
    "wan": ("wan", {**CLIP, "network.backbone.rotary.head_width": 14, "network.backbone.block.mlp.hidden": 40, "process.steps": 3, "process.shift": 3.0}),
    "wan, its clock of fewer waves, from data to noise": (
        "wan",
        {
            **CLIP,
            "network.backbone.rotary.head_width": 14,
            "network.backbone.block.norm_cross": False,
            "network.time": Spec(TimeEmbedding, {"features": 32}),
            "process": Spec(Flow, {**STRAIGHT, "steps": 4}),
        },
    ),
    "sd3, shifted": (
        "sd3",
        {**SMALL, **CODEC, "network.backbone.last.mixer.heads": 3, "process": Spec(Flow, {**STRAIGHT, "steps": 4, "grid": "shifted", "shift": 3.0})},
    ),
}


def stirred(system, by=0.1):
    g = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for p in system.parameters():
            p.add_(torch.randn(p.shape, generator=g) * by)
        head = system.network.towers["main"].head
        if head.learned_variance:
            head.out.weight[head.channels :] *= 0.1  # as far from its bounds as a trained one is: its exponential would blow rounding up
        for name, x in system.named_buffers():
            if name.endswith("bottleneck.centre"):
                x.copy_(torch.tensor([0.3, -0.2, 0.1, 0.5]))
            elif name.endswith("bottleneck.spread"):
                x.copy_(torch.tensor([0.7, 1.4, 1.1, 0.9]))
    return system.eval()


ROUGH = {"dit, learned variance, ddpm": 1e-4}
"""Its exponentials blow rounding up, step by step."""


def near(x, y, tol=1e-5):
    assert x.shape == y.shape and float((x - y).abs().max()) <= tol * float(y.abs().max())


def as_latents(system, vec):
    """Tokens as a picture of latents (channels, rows, columns)."""
    codec = system.codec
    *_, rows, columns = (a.size for a in codec.space.axes)
    if isinstance(codec, Patches):
        return paste(vec.unflatten(1, (*codec.shape[:-3], -1)), codec.colours, codec.rows, codec.columns)
    p = codec.patch if isinstance(codec, Folded) else 1
    return vec.reshape(len(vec), rows, columns, p, p, -1).permute(0, 5, 1, 3, 2, 4).flatten(4, 5).flatten(2, 3)


class Given:
    """A generator that hands out the same noises one after the other, as tokens or as latents."""

    def __init__(self, system):
        self.system, self.g = system, torch.Generator().manual_seed(4)

    def normal(self, shape):
        return torch.randn(shape, generator=self.g)

    def latents(self, shape, **_):
        space = self.system.codec.space
        return as_latents(self.system, self.normal((shape[0], space.length, space.channels)))


def start(system, rows=B):
    return system.process.init(system.codec.space.blank(rows), rng=Rng.seeded(5, rows))


@torch.no_grad()
def walked(system, condition, scale=1.0, rows=B):
    net, state, noise = system.net(rows, condition, scale=scale), start(system, rows), Given(system)
    while not bool(state.done.all()):
        state = system.process.step(net, state, rng=noise)
    return state.tokens


def told(system, rows=B):
    """A condition, as ours and as their arguments."""
    if "label" in system.conditioning.parts:
        label = torch.tensor([0, 5])[:rows]
        return {"label": label}, {"class_labels": label}
    part, g = system.conditioning.parts["text"], torch.Generator().manual_seed(3)
    features, pooled = torch.randn(rows, part.length, part.features, generator=g), torch.randn(rows, part.pooled, generator=g)
    if not part.pooled:
        return {"text": list(features)}, {"encoder_hidden_states": features, "added_cond_kwargs": {"resolution": None, "aspect_ratio": None}}
    return {"text": list(zip(features, pooled, strict=True))}, {"encoder_hidden_states": features, "pooled_projections": pooled}


def part(folder, name):
    config = json.loads((folder / name / f"{'scheduler_' if name == 'scheduler' else ''}config.json").read_text())
    return getattr(diffusers, config["_class_name"]).from_pretrained(folder, subfolder=name), config


def packed(x):
    """Latents as FLUX's pipeline packs them."""
    return x.unflatten(2, (-1, 2)).unflatten(4, (-1, 2)).permute(0, 2, 4, 1, 3, 5).flatten(3).flatten(1, 2)


LAID = {
    "flux": lambda system, vec: packed(as_latents(system, vec)) if isinstance(system.codec, Folded | Patches) else vec,
    "ltx-video": lambda system, vec: vec,
    "wan": lambda system, vec: as_latents(system, vec).transpose(1, 2),
}
"""How a transformer there takes tokens, if not as a picture of latents."""


WHOLE = {"dit": "DiTPipeline", "pixart": "PixArtAlphaPipeline", "pixart-sigma": "PixArtSigmaPipeline", "sd3": "StableDiffusion3Pipeline"}
WHOLE |= {"flux": "FluxPipeline"}


@pytest.mark.parametrize("name", CASES)
@torch.no_grad()
def test_the_lines_of_the_card_give_the_same_picture(name, tmp_path, monkeypatch):
    recipe, changes = CASES[name]
    system = stirred(of.build(recipe, changes=changes))
    folder = of.export(system, "diffusers", tmp_path / "out")
    condition, named = told(system, 1)
    noise, lay = start(system, 1).tokens.vec, LAID.get(recipe, as_latents)
    monkeypatch.setattr("diffusers.schedulers.scheduling_ddpm.randn_tensor", Given(system).latents)
    monkeypatch.setattr("diffusers.pipelines.dit.pipeline_dit.randn_tensor", lambda **_: as_latents(system, noise))
    alone = "pipeline(" in (folder / "README.md").read_text()
    given = {"features": named.get("encoder_hidden_states"), "pooled": named.get("pooled_projections"), "noise": lay(system, noise)}
    found = opened(folder, given, {} if alone else {"x = torch.randn": "x = noise"})
    tokens = walked(system, condition, system.guidance.scale if alone else 1.0, 1)
    if not alone:
        ends = as_latents if recipe == "flux" and isinstance(system.codec, Folded | Patches) else lay
        near(found["x"], ends(system, tokens.vec), ROUGH.get(name, 1e-5))
    if "picture" in found and not alone:
        near(found["picture"], system.codec.decode(tokens), ROUGH.get(name, 1e-5))
    elif alone:
        shown = torch.tensor(list(found["picture"].get_flattened_data())).view(16, 16, 3).permute(2, 0, 1)
        assert float((shown - (system.codec.decode(tokens)[0] / 2 + 0.5) * 255).abs().max()) <= 0.5 + 1e-2
    assert ("vae" in {p.name for p in folder.iterdir()}) == ("picture" in found)
    if "picture" in found:
        assert json.loads((folder / "model_index.json").read_text())["_class_name"] == WHOLE[recipe]


PICTURES = [name for name in CASES if CASES[name][0] not in LAID and "sizes" not in name and "large" not in name]


@pytest.mark.parametrize("name", PICTURES)
def test_the_same_noise_is_the_same_picture(name, tmp_path, monkeypatch):
    (recipe, changes), tol = CASES[name], ROUGH.get(name, 1e-5)
    system = stirred(of.build(recipe, changes=changes))
    folder = of.export(system, "diffusers", tmp_path / "out")
    (model, config), (scheduler, said) = part(folder, "transformer"), part(folder, "scheduler")
    monkeypatch.setattr("diffusers.schedulers.scheduling_ddpm.randn_tensor", Given(system).latents)
    steps, (condition, named) = system.process.steps, told(system)
    if said.get("use_dynamic_shifting"):
        scheduler.set_timesteps(sigmas=[1 - i / steps for i in range(steps)], mu=said["base_shift"])
    else:
        scheduler.set_timesteps(steps)
    x, channels = as_latents(system, start(system).tokens.vec), config["in_channels"]
    with torch.no_grad():
        for t in scheduler.timesteps:
            answer = model(x, timestep=t.expand(B), **named).sample
            x = scheduler.step(answer if said.get("variance_type") == "learned_range" else answer[:, :channels], t, x).prev_sample
    tokens = walked(system, condition)
    near(as_latents(system, tokens.vec), x, tol)
    if (folder / "vae").is_dir():
        vae, settings = part(folder, "vae")
        with torch.no_grad():
            near(system.codec.decode(tokens), vae.decode(x / settings["scaling_factor"]).sample.clamp(-1, 1), tol)
            picture = torch.rand(B, 3, 16, 16, generator=torch.Generator().manual_seed(6)) * 2 - 1
            near(as_latents(system, system.codec.encode(picture).vec), vae.encode(picture).latent_dist.mode() * settings["scaling_factor"], tol)
        again = of.load(folder)  # no configuration says how many steps, nor how long captions are
        again.process = again.process.but(steps=steps)
        if "text" in again.conditioning.parts:
            again.conditioning.parts["text"].length = system.conditioning.parts["text"].length
        near(walked(again, condition).vec, tokens.vec, tol)
    else:
        assert isinstance(system.codec, Patches) or "network" not in system.recipe.codec.args


@torch.no_grad()
def test_the_pipeline_itself_with_guidance(tmp_path, monkeypatch):
    changes = {**SMALL, **CODEC, "network.time.closed": True, "process": Spec(Flow, {**NOISE, "solver": Spec(Ddim), "steps": 4})}
    system = stirred(of.build("dit", changes={**changes, "conditions": recipes.get("dit").but({"conditions.label.0.classes": 7}).conditions}))
    pipeline = diffusers.DiTPipeline.from_pretrained(of.export(system, "diffusers", tmp_path / "out"))
    pipeline.set_progress_bar_config(disable=True)
    monkeypatch.setattr("diffusers.pipelines.dit.pipeline_dit.randn_tensor", lambda **_: as_latents(system, start(system).tokens.vec))
    theirs = pipeline(class_labels=[3, 5], guidance_scale=2.5, num_inference_steps=4, output_type="pt").images
    near(system.codec.decode(walked(system, {"label": [3, 5]}, 2.5)) / 2 + 0.5, theirs)


def asked_of_flux(system, features, pooled, noise):
    return {"prompt_embeds": features, "pooled_prompt_embeds": pooled, "guidance_scale": 3.5, "latents": packed(noise)}


def asked_of_sd3(system, features, pooled, noise):
    sigmas = [1 - i / 4 for i in range(4)]
    return {"prompt_embeds": features, "pooled_prompt_embeds": pooled, "guidance_scale": 1.0, "latents": noise, "sigmas": sigmas}


def asked_of_pixart(system, features, pooled, noise):
    mask = torch.ones(features.shape[:2])
    told = {"prompt_embeds": features, "prompt_attention_mask": mask, "negative_prompt": None, "use_resolution_binning": False}
    return {**told, "guidance_scale": 1.0, "latents": noise}


PIPELINES = {
    "flux, shifted and guided": (diffusers.FluxPipeline, asked_of_flux, ("text_encoder", "tokenizer", "text_encoder_2", "tokenizer_2")),
    "sd3, shifted": (diffusers.StableDiffusion3Pipeline, asked_of_sd3, [f"{x}{n}" for x in ("text_encoder", "tokenizer") for n in ("", "_2", "_3")]),
    "pixart, dpm": (diffusers.PixArtAlphaPipeline, asked_of_pixart, ("text_encoder", "tokenizer")),
}


@pytest.mark.parametrize("name", PIPELINES)
@torch.no_grad()
def test_the_pipeline_itself_told_features(name, tmp_path):
    kind, asked_of, left_out = PIPELINES[name]
    system = stirred(of.build(CASES[name][0], changes=CASES[name][1]))
    folder = of.export(system, "diffusers", tmp_path / "out")
    assert json.loads((folder / "model_index.json").read_text())["_class_name"] == kind.__name__
    pipeline = kind.from_pretrained(folder, **dict.fromkeys(left_out))
    pipeline.set_progress_bar_config(disable=True)
    condition, named = told(system)
    noise = as_latents(system, start(system).tokens.vec)
    said = asked_of(system, named["encoder_hidden_states"], named.get("pooled_projections"), noise)
    theirs = pipeline(**said, height=16, width=16, num_inference_steps=system.process.steps, output_type="pt").images
    near(system.codec.decode(walked(system, condition)) / 2 + 0.5, theirs)


@pytest.mark.parametrize(
    "name, changes, says",
    [
        ("gpt", {}, "generates by Autoregress, not from noise to data"),
        ("micro-budget-diffusion-microdit", {}, "another network than a stack of attention and MLPs over latents"),
        ("lightningdit", {}, "comes nearest to DiT, but network.backbone.final is Modulated"),
        ("dit", {"network.backbone.block.mlp.ratio": 3.0}, "network.backbone.block.mlp.hidden is 384 here and 512 there"),
        ("dit", {"shape": (1, 28, 56)}, "over latents of 7 x 14"),
        ("ltx-video", {"process.shown.kinds": ("first",), "process.shown.shares": None}, "is always shown clean places"),
        ("ltx-video", {"network.backbone.block.norm": "layer"}, "comes nearest to LTX-Video, but network.backbone.block.norm is 'layer' here"),
        ("wan", {"conditions.text.0.mask": True}, "comes nearest to Wan, but conditions.text.mask is True here and False there"),
        ("flux", {"codec.bottleneck.channels": 3}, "FLUX, LTX-Video and Wan here, which are over pictures whose tokens are fours"),
        ("titok-maskgit", {}, "of masked transformers, diffusers has aMUSEd"),
        ("sit", {}, "walks a Linear path by Heun"),
        ("dit", {"process": Spec(Flow, {**NOISE, "solver": Spec(Ddim), "steps": 7})}, "a number of steps that divides 1000"),
        ("dit", {"process": Spec(Flow, {**NOISE, "solver": Spec(Ddim), "steps": 250})}, "network.time.closed=true"),
        ("dit", {"network.time.features": 128}, "another embedding than 256"),
    ],
)
def test_what_diffusers_has_not_is_one_line_and_nothing_is_written(name, changes, says, tmp_path):
    with pytest.raises(RecipeError, match=says) as error:
        of.export(of.build(name, changes=changes), "diffusers", tmp_path / "out")
    assert "\n" not in str(error.value) and not (tmp_path / "out").exists()
