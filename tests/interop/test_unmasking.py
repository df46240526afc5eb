"""aMUSEd of ours in diffusers: the same codes from the same draws, shown in the same order."""

from __future__ import annotations

import diffusers
import pytest
import torch
from diffusers.schedulers import scheduling_amused

import omniform as of
from omniform.backbones.embed import Embed
from omniform.codecs.autoencoder import Autoencoder
from omniform.codecs.bottleneck import VQ
from omniform.codecs.convolutions import Convolutions
from omniform.codecs.ids import Ids
from omniform.core.distribution import Sampling
from omniform.core.errors import RecipeError
from omniform.core.rng import Rng
from omniform.core.spec import Spec
from omniform.processes.masked import asked

from .cards import opened
from .test_pictures import near, stirred

TOLD = {f"conditions.text.0.{k}": v for k, v in {"width": 24, "features": 10, "length": 6, "pooled": 7}.items()} | {
    "conditions.numbers.0.width": 24,
    "conditions.numbers.0.features": 6,
}
SMALL = {
    **TOLD,
    "network.width": 14,
    "network.backbone.wide": 24,
    "network.backbone.depth": 1,
    "network.backbone.heads": 2,
    "network.backbone.inner.depth": 2,
    "network.backbone.inner.block.mixer.heads": 3,
    "network.backbone.inner.block.cross.heads": 3,
    "network.backbone.inner.block.mlp.hidden": 44,
}
EMBED = Spec(Embed, {"extra_ids": 7, "mask_id": 35})
CONVOLUTIONS = {"widths": (8, 12), "depth": 1, "groups": 4}
OWN = Spec(Autoencoder, {"stride": 2, "bottleneck": Spec(VQ, {"codes": 33, "channels": 6}), "network": Spec(Convolutions, {**CONVOLUTIONS, "unit": True})})
CASES = {
    "over its own pictures": {**SMALL, "codec": OWN, "shape": (3, 10, 10), "network.embed": EMBED, "process.steps": 5},
    "given codes, a mask vector of its own, noise as MaskGIT's": {
        **SMALL, "codec": Spec(Ids, {"vocab": 33}), "shape": (5, 5), "process.steps": 4, "process.whole": False, "process.schedule": "linear",
    },
    "over squares": {
        **SMALL, "codec": Spec(Ids, {"vocab": 33}), "shape": (6, 6), "network.backbone.factor": 2, "network.backbone.channels": 16, "process.steps": 5,
    },  # not in 3 steps: cos(pi / 3) of 36 is 18 here, and 17 by single precision there
    "over pictures that are from -1 to 1 inside": {
        **SMALL, "codec": OWN.but({"network.unit": False}), "shape": (3, 10, 10), "process.steps": 2,
    },
}  # fmt: skip
NUMBERS = torch.tensor([[256.0, 256.0, 0.0, 0.0, 6.0]])


def built(name):
    return stirred(of.build("amused", changes=CASES[name]))


def said(system):
    g = torch.Generator().manual_seed(3)
    return torch.randn(1, 6, 10, generator=g), torch.randn(1, 7, generator=g)


class Draws:
    """The noise of our steps, for their scheduler to draw by."""

    def __init__(self, monkeypatch, codes):
        self.codes, self.step = codes, -1
        monkeypatch.setattr(scheduling_amused.torch, "multinomial", self.drawn)
        monkeypatch.setattr(scheduling_amused, "gumbel_noise", lambda t, generator=None: Rng(5).split(self.step).split("noise").gumbel(t.shape))

    def drawn(self, p, num, generator=None):
        self.step += 1
        return (p.log() + Rng(5).split(self.step).split("draw").gumbel((1, len(p), 1, self.codes))[0, :, 0]).argmax(-1)[:, None]


def walked(system, condition, scale=1.0):
    net, state, step = system.net(1, condition, scale=scale), system.process.init(system.codec.space.blank(1), rng=Rng(0)), 0
    while not bool(state.done.all()):
        state, step = system.process.step(net, state, rng=Rng(5).split(step)), step + 1
    return state.tokens


@pytest.mark.parametrize("name", CASES)
@torch.no_grad()
def test_the_lines_of_the_card_show_the_same_codes(name, tmp_path, monkeypatch):
    system = built(name)
    folder, (features, pooled) = of.export(system, "diffusers", tmp_path / "out"), said(system)
    Draws(monkeypatch, 33)
    found = opened(folder, {"features": features, "pooled": pooled})
    assert torch.equal(found["numbers"], NUMBERS)
    tokens = walked(system, {"text": [(features[0], pooled[0])], "numbers": NUMBERS})
    assert torch.equal(found["x"].flatten(), tokens.ids.flatten()) and len(tokens.ids.unique()) > 1
    shown = torch.where(torch.arange(tokens.length).view_as(found["x"]) % 2 == 0, found["x"], found["scheduler"].config.mask_token_id)
    known = (torch.arange(tokens.length) % 2 == 0)[None]
    net = system.net(1, {"text": [(features[0], pooled[0])], "numbers": NUMBERS}, scale=1.0)
    mine = net(asked(tokens, known, torch.zeros(1))).distribution.logits[:, :, 0]
    near(mine, found["model"](shown, features, pooled, NUMBERS).flatten(2).mT)
    whole = name == "over its own pictures"
    assert ("picture" in found) == whole == (folder / "model_index.json").is_file()
    again = of.load(folder if whole else folder / "transformer")
    again.conditioning.parts["text"].length = 6  # no configuration says how long captions are
    if whole:
        near(2 * found["picture"] - 1, system.codec.decode(tokens))
        near(again.codec.decode(tokens), system.codec.decode(tokens))
    net = again.net(1, {"text": [(features[0], pooled[0])], "numbers": NUMBERS}, scale=1.0)
    near(net(asked(tokens, known, torch.zeros(1))).distribution.logits[:, :, 0], mine)


@torch.no_grad()
def test_the_pipeline_itself_with_guidance(tmp_path, monkeypatch):
    system = built("over its own pictures")
    folder, (features, pooled) = of.export(system, "diffusers", tmp_path / "out"), said(system)
    pipeline = diffusers.AmusedPipeline.from_pretrained(folder, text_encoder=None, tokenizer=None)
    pipeline.set_progress_bar_config(disable=True)
    Draws(monkeypatch, 33)
    nothing = {"negative_prompt_embeds": torch.zeros_like(pooled), "negative_encoder_hidden_states": torch.zeros_like(features)}
    theirs = pipeline(
        prompt_embeds=pooled, encoder_hidden_states=features, **nothing, guidance_scale=3.0, num_inference_steps=5, temperature=(2, 0), output_type="pt"
    ).images
    numbers = torch.tensor([[10.0, 10.0, 0.0, 0.0, 6.0]])
    system.conditioning.parts["numbers"].usual = numbers[0]  # their pipeline says numbers where it says no text
    tokens = walked(system, {"text": [(features[0], pooled[0])], "numbers": numbers}, 3.0)
    near(system.codec.decode(tokens) / 2 + 0.5, theirs)


@pytest.mark.parametrize(
    "changes, says",
    [
        ({"process.schedule": "arccos"}, "AmusedScheduler cannot"),
        ({"process.sampling": Sampling(top_k=3)}, "AmusedScheduler cannot"),
        ({"process.temperature": 1.0}, "AmusedScheduler cannot"),
        ({"conditions": {}}, "another network than a U-ViT that is told a text and five numbers"),
        ({"network.backbone.inner.block.mixer.biases": "qkvo"}, "nearest to aMUSEd, but network.backbone.inner.block.mixer.biases is 'qkvo' here"),
        ({"network.backbone.factor": 3, "shape": (6, 6)}, "network.backbone.factor is 3 here and 2 there"),
    ],
)
def test_what_diffusers_has_not_is_one_line_and_nothing_is_written(changes, says, tmp_path):
    with pytest.raises(RecipeError, match=says) as error:
        of.export(of.build("amused", changes={**CASES["over squares"], **changes}), "diffusers", tmp_path / "out")
    assert "\n" not in str(error.value) and not (tmp_path / "out").exists()
