"""BERT of transformers is ours: logits of a masked model, losses, gradients; and without its head what a frozen encoder reads by."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner
from transformers import BertConfig, BertForMaskedLM, BertForPreTraining, BertModel

import omniform as of
from omniform.cli import PROGRAM
from omniform.core.errors import CheckpointError, OmniformError
from omniform.core.net import Context
from omniform.interop.adopting import adopt
from omniform.processes.masked import asked

_SPEC = importlib.util.spec_from_file_location("berts", Path(__file__).with_name("berts.py"))
berts = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(berts)
LITTLE, V, folder, wordpieces = berts.LITTLE, berts.V, berts.folder, berts.wordpieces
B, L = 3, 11
ORIGINALS = {
    "as published": LITTLE,
    "untied, tanh, coarse norms": {**LITTLE, "tie_word_embeddings": False, "hidden_act": "gelu_new", "layer_norm_eps": 1e-3},
    "odd sizes": {**LITTLE, "hidden_size": 42, "num_attention_heads": 3, "intermediate_size": 31, "num_hidden_layers": 3, "type_vocab_size": 5},
    "one of everything": {**LITTLE, "hidden_size": 9, "num_attention_heads": 1, "num_hidden_layers": 1, "type_vocab_size": 1, "max_position_embeddings": L},
}


def stirred(model):
    """Weights far from their start: biases, gains and small tables count too."""
    g = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for p in model.parameters():
            p.add_(torch.randn(p.shape, generator=g) * 0.1)
    return model.eval()


def near(x, y, tol=1e-5):
    assert x.shape == y.shape and float((x - y).abs().max()) <= tol * float(y.abs().max())


def posed(system, ids, hidden):
    """The question with some places hidden; -1 in ids is padding."""
    return asked(system.codec.encode(ids), ~hidden, torch.zeros(len(ids)))


@pytest.fixture(scope="module", params=ORIGINALS)
def pair(request):
    torch.manual_seed(0)
    model = stirred(BertForMaskedLM(BertConfig(**ORIGINALS[request.param])))
    g = torch.Generator().manual_seed(2)
    return model, adopt(model), torch.randint(5, V, (B, L), generator=g), torch.rand(B, L, generator=g) < 0.3


def test_logits_and_the_masked_loss_are_equal(pair):
    model, system, ids, hidden = pair
    mask = system.network.towers["main"].embed.mask_id
    with torch.no_grad():
        want = model(torch.where(hidden, mask, ids), labels=torch.where(hidden, ids, -100))
        said = system.network.open(Context(B))(posed(system, ids, hidden)).distribution
        near(said.logits[:, :, 0], want.logits)
        near(said.nll(system.codec.encode(ids), rng=None)[hidden].mean(), want.loss)
        shown = system.network.open(Context(B))(posed(system, torch.where(hidden, mask, ids), torch.zeros_like(hidden))).distribution
        near(shown.logits[:, :, 0], want.logits)


def test_padding_is_not_seen(pair):
    model, system, ids, hidden = pair
    short = ids.clone()
    short[1, 7:] = -1
    with torch.no_grad():
        want = model(short.clamp(min=0), attention_mask=(short >= 0).long()).logits
        near(system.network.open(Context(B))(posed(system, short, torch.zeros_like(hidden))).distribution.logits[1, :7, 0], want[1, :7])


def test_segments_are_kinds(pair):
    model, system, ids, _ = pair
    kinds = torch.randint(0, model.config.type_vocab_size, ids.shape, generator=torch.Generator().manual_seed(3))
    query = posed(system, ids, torch.zeros_like(ids, dtype=torch.bool))
    object.__setattr__(query.tokens, "kind", kinds)
    with torch.no_grad():
        near(system.network.open(Context(B))(query).distribution.logits[:, :, 0], model(ids, token_type_ids=kinds).logits)


def test_gradients_are_equal():
    model = stirred(BertForMaskedLM(BertConfig(**LITTLE)))
    system = adopt(model)
    g = torch.Generator().manual_seed(2)
    ids, hidden = torch.randint(5, V, (B, L), generator=g), torch.rand(B, L, generator=g) < 0.3
    model(torch.where(hidden, system.network.towers["main"].embed.mask_id, ids), labels=torch.where(hidden, ids, -100)).loss.backward()
    system.network.open(Context(B))(posed(system, ids, hidden)).distribution.nll(system.codec.encode(ids), rng=None)[hidden].mean().backward()
    ours, theirs = ({n: p.grad for n, p in m.named_parameters()} for m in (system, model))
    near(ours["network.towers.main.embed.tables.0.weight"], theirs["bert.embeddings.word_embeddings.weight"], 1e-5)
    near(ours["network.towers.main.backbone.blocks.0.mlp.feed.each.0.up.weight"], theirs["bert.encoder.layer.0.intermediate.dense.weight"], 1e-5)
    near(ours["network.towers.main.head.bias"], theirs["cls.predictions.bias"], 1e-5)


def test_a_folder_with_its_tokenizer_fills_in_words(tmp_path):
    model = stirred(BertForMaskedLM(BertConfig(**LITTLE)))
    system = of.load(folder(tmp_path, model))
    ids = torch.tensor([wordpieces().encode("the [MASK] cat").ids])
    prompt = system.codec.prompt(["the [MASK] cat"])
    assert torch.equal(prompt.ids[..., 0], ids) and system.codec.blanks(prompt).tolist() == [[False, False, True, False, False]]
    with torch.no_grad():
        ids[0, 2] = model(ids).logits[0, 2].argmax()
    said = CliRunner().invoke(PROGRAM, ["sample", str(tmp_path), "--prompt", "the [MASK] cat", "--temperature", "0"])
    assert said.exit_code == 0 and said.stdout.strip() == wordpieces().decode(ids[0].tolist())
    said = CliRunner().invoke(PROGRAM, ["sample", str(tmp_path), "--prompt", "the cat"])
    assert said.exit_code == 2 and "write [MASK] where a word is missing" in said.stderr


def test_old_names_and_what_is_left_away(tmp_path):
    from safetensors.torch import load_file, save_file

    model = stirred(BertForPreTraining(BertConfig(**LITTLE)))
    folder(tmp_path, model)
    weights = load_file(tmp_path / "model.safetensors")
    old = {n.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta"): x for n, x in weights.items()}
    assert old.keys() != weights.keys()
    save_file(old, tmp_path / "model.safetensors")
    system, ids = of.load(tmp_path), torch.randint(5, V, (B, L))
    tokens = of.recipes.get("bert")  # the recipe that it became
    assert system.recipe.name == tokens.name
    with torch.no_grad():
        codec = system.codec
        blank = codec.space.blank(B, {"time": L})
        object.__setattr__(blank, "ids", ids[..., None])
        query = asked(blank, torch.ones(B, L, dtype=torch.bool), torch.zeros(B))
        near(system.network.open(Context(B))(query).distribution.logits[:, :, 0], model(ids).prediction_logits)


def test_a_bert_that_predicts_nothing_says_what_it_is_for(tmp_path):
    with pytest.raises(CheckpointError, match="is a BertModel, which predicts no words; it reads captions"):
        of.load(folder(tmp_path, BertModel(BertConfig(**LITTLE))))
    with pytest.raises(CheckpointError, match="has no 'bert.embeddings.LayerNorm.bias'|has no"):
        adopt(BertModel(BertConfig(**LITTLE)))


@pytest.mark.parametrize(
    "change, says",
    [
        ({"hidden_act": "swish7"}, "hidden_act='swish7' and 'gelu'"),
        ({"position_embedding_type": "relative_key"}, "position_embedding_type='relative_key'"),
        ({"is_decoder": True}, "is_decoder=True"),
        ({"hidden_size": "large"}, "hidden_size is 'large'"),
        ({"num_attention_heads": 5}, "cannot be built here"),
        ({"num_hidden_layers": 10**9}, "num_hidden_layers is 1000000000"),
        ({"num_hidden_layers": 3}, "has no 'bert.encoder.layer.2"),
        ({"num_hidden_layers": 1}, "has no place here"),
        ({"vocab_size": 4}, r"has no \[MASK\] among 4 ids"),
        ({"layer_norm_eps": float("inf")}, "layer_norm_eps is inf"),
        ({"type_vocab_size": 3}, "has shape"),
        ({"tie_word_embeddings": "no"}, "tie_word_embeddings is 'no'"),
    ],
)
def test_what_a_configuration_lies_about_is_one_line(change, says, tmp_path):
    folder(tmp_path, BertForMaskedLM(BertConfig(**LITTLE)))
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**config, **change}))
    with pytest.raises(CheckpointError, match=says) as caught:
        of.load(tmp_path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["tokenizer.json", "config.json", "model.safetensors"])
@pytest.mark.parametrize("content", [b"", b"{}", b"[1, 2", b"\xff\xfe", b'{"model": {"type": "WordPiece", "vocab": 3}}'])
def test_broken_files_are_one_line(name, content, tmp_path):
    folder(tmp_path, BertForMaskedLM(BertConfig(**LITTLE)))
    (tmp_path / name).write_bytes(content)
    for read in (of.load, lambda place: of.build("pixart", encoder=str(place))):
        with pytest.raises(OmniformError) as caught:
            read(tmp_path)
        assert "\n" not in str(caught.value)
