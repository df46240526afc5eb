"""The text half of CLIP is ours, number by number: states, vectors at a text's end, and captions read as they are told to SD3."""

from __future__ import annotations

import json

import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import CLIPConfig, CLIPModel, CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

import omniform as of
from omniform.core.errors import CheckpointError, ConditionError
from omniform.interop import clip
from omniform.interop.adopting import adopt
from omniform.interop.encoders import open_encoder
from omniform.interop.files import Weights, json_of

from .test_pictures import near, stirred

WORDS = ["!", "<s>", "of", *"a photo cat on mat that sits and looks at its own tail".split(), "<|endoftext|>"]
END = len(WORDS) - 1
TEXT = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 24, "vocab_size": len(WORDS)}
TEXT |= {"max_position_embeddings": 9, "eos_token_id": END, "bos_token_id": 1, "pad_token_id": 0}
VISION = {"hidden_size": 12, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 14, "image_size": 8, "patch_size": 4}
ORIGINALS = {
    "clip": lambda: CLIPTextModel(CLIPTextConfig(**TEXT)),
    "clip with gelu": lambda: CLIPTextModel(CLIPTextConfig(**{**TEXT, "hidden_act": "gelu", "layer_norm_eps": 1e-3})),
    "clip projected": lambda: CLIPTextModelWithProjection(CLIPTextConfig(**TEXT, projection_dim=6)),
    "clip whose end is called 2": lambda: CLIPTextModelWithProjection(CLIPTextConfig(**{**TEXT, "eos_token_id": 2}, projection_dim=6)),
    "clip, both halves": lambda: CLIPModel(CLIPConfig(text_config=TEXT, vision_config=VISION, projection_dim=6)),
}
SAID = ["a photo of a cat", "its own tail", "a cat that sits on a mat and looks at its own tail"]


def tokenized(folder, model, pad=None):
    tokenizer = Tokenizer(models.WordLevel({w: i for i, w in enumerate(WORDS)}, unk_token="!"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A <|endoftext|>", special_tokens=[("<s>", 1), ("<|endoftext|>", END)])
    model.save_pretrained(folder)
    (folder / "tokenizer.json").write_text(tokenizer.to_str())
    if pad is not None:
        (folder / "tokenizer_config.json").write_text(json.dumps({"pad_token": pad}))
    return tokenizer


def theirs(model, ids):
    """States and vector."""
    if isinstance(model, CLIPModel):
        said = model.text_model(ids)
        return said.last_hidden_state, model.text_projection(said.pooler_output)
    said = model(ids)
    return said.last_hidden_state, said.text_embeds if isinstance(model, CLIPTextModelWithProjection) else said.pooler_output


@pytest.mark.parametrize("pad", [None, "!"])
@pytest.mark.parametrize("name", ORIGINALS)
def test_captions_are_read_as_they_are_told(name, pad, tmp_path):
    """As many tokens as there are places, with the end's own code behind it or another."""
    model = stirred(ORIGINALS[name]())
    tokenizer = tokenized(tmp_path, model, pad)
    reader = clip.encoder("mine", tmp_path, json_of(tmp_path / "config.json"))
    assert (reader.features, reader.longest, reader.pooled) == (16, 9, 16 if name in ("clip", "clip with gelu") else 6)
    heard = reader.tokens(SAID)
    assert heard.tokens.shape == (3, 9, 16) and bool(heard.real.all())
    rows = [tokenizer.encode(s).ids for s in SAID]
    rows = [row[:8] + [END] if len(row) > 9 else row + [END if pad is None else 0] * (9 - len(row)) for row in rows]
    with torch.no_grad():
        for mine, its in zip((heard.tokens, heard.pooled), theirs(model, torch.tensor(rows)), strict=True):
            near(mine, its)
    short, _ = reader.one(SAID[0], 5)
    assert torch.equal(short[:4], reader.net(torch.tensor([rows[0][:4]]))[0]) and len(short) == 5


def test_gradients_are_equal(tmp_path):
    model = stirred(ORIGINALS["clip projected"]())
    tokenized(tmp_path, model)
    reader = clip.encoder("mine", tmp_path, json_of(tmp_path / "config.json"))
    net, ids = reader.net.requires_grad_(True), torch.tensor([[1, 3, 4, 2, END, 0, 0], [1, 5, 6, 7, 8, 9, END]])
    stream = net(ids)
    (stream.square().mean() + net.whole(stream, reader.end(ids)).square().mean()).backward()
    sum(y.square().mean() for y in theirs(model, ids)).backward()
    near(net.table.weight.grad, model.text_model.embeddings.token_embedding.weight.grad, 1e-5)
    near(net.body.blocks[1].mlp.feed.each[0].up.weight.grad, model.text_model.encoder.layers[1].mlp.fc1.weight.grad, 1e-5)
    near(net.out.weight.grad, model.text_projection.weight.grad, 1e-5)


def test_a_folder_of_the_text_half_is_loaded_as_what_it_is(tmp_path):
    tokenized(tmp_path, stirred(ORIGINALS["clip"]()))
    reader = of.load(tmp_path)
    assert torch.equal(reader.one(SAID[0])[0], clip.encoder("mine", tmp_path, json_of(tmp_path / "config.json")).one(SAID[0])[0])
    with pytest.raises(ConditionError, match="3 tokens at the least"):
        reader.one(SAID[0], 2)
    with pytest.raises(ConditionError, match="utf-8 can write"):
        reader.one("half \ud800")


@pytest.mark.parametrize(
    "change, says",
    [
        ({"hidden_act": "swish"}, "hidden_act='swish'"),
        ({"num_hidden_layers": 3}, "has no 'encoder.layers.2"),
        ({"num_hidden_layers": 1}, "'encoder.layers.1.*' has no place here"),
        ({"vocab_size": len(WORDS) + 1}, "config asks for"),
        ({"max_position_embeddings": 1 << 40}, "max_position_embeddings is"),
        ({"num_attention_heads": 3}, "3 heads of 16 numbers"),
        ({"eos_token_id": len(WORDS)}, "eos_token_id is 17"),
        ({"eos_token_id": [2]}, r"eos_token_id is \[2\]"),
        ({"projection_dim": "wide"}, "projection_dim is 'wide'"),
    ],
)
def test_a_configuration_that_is_not_built_here(change, says, tmp_path):
    tokenized(tmp_path, ORIGINALS["clip projected"]())
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**config, **change}))
    with pytest.raises(CheckpointError, match=says) as error:
        of.load(tmp_path)
    assert "\n" not in str(error.value)


def test_what_a_folder_lacks_or_holds_twice(tmp_path):
    model = ORIGINALS["clip"]()
    tokenized(tmp_path, model, pad="<nothing>")
    with pytest.raises(CheckpointError, match="pads with '<nothing>'"):
        of.load(tmp_path)
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(CheckpointError, match="its tokenizer.json is not one"):
        of.load(tmp_path)
    (tmp_path / "tokenizer.json").unlink()
    with pytest.raises(CheckpointError, match=r"has no tokenizer\.json"):
        of.load(tmp_path)
    twice = Weights("twice", {"final_layer_norm.bias": (16,), "text_model.final_layer_norm.bias": (16,)}, lambda name: torch.zeros(16))
    with pytest.raises(CheckpointError, match="the same tensor"):
        clip.reader("twice", model.config.to_dict(), twice, "", 0)


def test_a_live_module_needs_its_tokenizer(tmp_path):
    model = stirred(ORIGINALS["clip projected"]())
    tokenizer = tokenized(tmp_path, model)
    assert adopt(model, tokenizer={"tokenizer": tokenizer.to_str()}).digest == of.load(tmp_path).digest
    with pytest.raises(CheckpointError, match="give tokenizer="):
        adopt(model)


@pytest.mark.parametrize("name", ["clip projected", "clip, both halves"])
def test_captions_of_a_system_are_read_by_it(name, tmp_path):
    """SD3's way in: a token a place, and one vector besides."""
    tokenized(tmp_path, stirred(ORIGINALS[name]()))
    system = of.build("sd3", encoder=str(tmp_path))
    part, reader = system.conditioning.parts["text"], open_encoder(str(tmp_path))
    assert (part.features, part.pooled) == (16, 6) and part.digest == reader.digest
    want, got = reader.one(SAID[0], part.length), part._row(SAID[0])
    assert all(torch.equal(a, b) for a, b in zip(got, want, strict=True))
