"""T5 of transformers is ours, number by number: logits, losses, gradients, greedy tokens; and its encoder alone reads captions."""

from __future__ import annotations

import json

import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import T5Config, T5EncoderModel, T5ForConditionalGeneration

import omniform as of
from omniform.core.batch import Batch
from omniform.core.distribution import Sampling
from omniform.core.errors import CheckpointError
from omniform.core.query import Query
from omniform.core.rng import Rng
from omniform.interop import t5
from omniform.interop.adopting import adopt
from omniform.interop.encoders import open_encoder
from omniform.interop.files import json_of

from .test_pictures import near, stirred

V, B = 61, 2
SMALL = {"vocab_size": V, "d_model": 24, "d_kv": 8, "d_ff": 32, "num_layers": 2, "num_heads": 2, "decoder_start_token_id": 0, "initializer_factor": 0.5}
CONFIGS = {
    "v1.0": SMALL,
    "v1.0, another decoder": {**SMALL, "num_decoder_layers": 3, "d_kv": 16, "layer_norm_epsilon": 1e-3, "decoder_start_token_id": 5},
    "few buckets": {**SMALL, "relative_attention_num_buckets": 8, "relative_attention_max_distance": 11, "num_heads": 3},
    "v1.1": {**SMALL, "feed_forward_proj": "gated-gelu", "tie_word_embeddings": False},
    "gated by silu, not of its own output": {**SMALL, "feed_forward_proj": "gated-silu", "tie_word_embeddings": False},
}


def original(name):
    torch.manual_seed(0)
    model = stirred(T5ForConditionalGeneration(T5Config(**CONFIGS[name])), 0.05)
    if name == "v1.1":
        model.lm_head.weight = torch.nn.Parameter(torch.randn(V, 24) * 0.3)
    return model.eval()


def data(length=9):
    """Sources of two lengths, with their padding, and what is to be written."""
    g = torch.Generator().manual_seed(2)
    ids, target = torch.randint(2, V, (B, 37), generator=g), torch.randint(2, V, (B, length), generator=g)
    source = ids.clone()
    source[1, 23:] = -1
    return source, target


def logits(system, source, target):
    """Of the tokens after a decoder's input."""
    turn = torch.arange(target.shape[1])[None].expand(B, -1)
    known, zero = torch.ones_like(target, dtype=torch.bool), torch.zeros_like(turn)
    query = Query(system.codec.encode(target), known, turn, zero, torch.zeros(B), pattern="causal")
    return system.network.open(system.conditioning.context({"source": source}, B))(query).distribution.logits[:, :, 0]


def asked(source):
    return {"input_ids": source.clamp(min=0), "attention_mask": (source >= 0).long()}


@pytest.fixture(scope="module", params=CONFIGS)
def pair(request):
    model = original(request.param)
    return model, adopt(model)


def test_logits_and_losses_are_equal(pair):
    model, system = pair
    source, target = data()
    with torch.no_grad():
        near(logits(system, source, target), model(**asked(source), decoder_input_ids=target).logits)
        loss = model(**asked(source), labels=target).loss
        near(system.score(target, {"source": source}).sum() / target.numel(), loss)


def test_greedy_decoding_says_the_same(pair):
    """Up to what ends a text, with a cache and without."""
    model, system = pair
    source, _ = data()
    cached = model.config.num_layers == model.config.num_decoder_layers  # else theirs counts the caches of its encoder
    want = model.generate(**asked(source), max_new_tokens=20, do_sample=False, use_cache=cached)[:, 1:]
    got = system.generate(B, {"source": source}, length=20, sampling=Sampling(0.0))
    for mine, its in zip(got.tolist(), want.tolist(), strict=True):
        stop = its.index(1) if 1 in its else len(its)
        assert mine == its[:stop] + [-1] * (len(mine) - stop)
    slow = system.generate(B, {"source": source}, length=20, sampling=Sampling(0.0), memory="recall")
    assert torch.equal(slow, got)


@pytest.mark.parametrize("name", ["v1.0", "v1.1"])
def test_gradients_are_equal(name):
    """The shared table's is the sum of three; that of the encoder comes through cross-attention."""
    model = original(name)
    system, (source, target) = adopt(model), data()
    model(**asked(source), labels=target).loss.backward()
    (losses,) = system.loss(Batch(target, {"source": source}), rng=Rng.seeded(0, B))
    (losses.parts["main"] / losses.count).backward()
    ours, theirs = dict(system.named_parameters()), dict(model.named_parameters())
    near(ours["network.towers.main.embed.tables.0.weight"].grad, theirs["shared.weight"].grad, 1e-5)
    near(
        ours["conditioning.parts.source.encoder.relative.table"].grad.T,
        theirs["encoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight"].grad,
        1e-5,
    )
    near(ours["network.towers.main.backbone.blocks.1.cross.q.weight"].grad, theirs["decoder.block.1.layer.1.EncDecAttention.q.weight"].grad, 1e-5)


@pytest.mark.parametrize("shard", ["5GB", "20KB"])
@pytest.mark.parametrize("name", ["v1.0", "v1.1"])
def test_a_folder_whole_or_in_pieces(name, shard, tmp_path):
    model, (source, target) = original(name), data()
    model.save_pretrained(tmp_path, max_shard_size=shard)
    with torch.no_grad():
        near(logits(of.load(tmp_path), source, target), model(**asked(source), decoder_input_ids=target).logits)


def test_what_is_adopted_is_saved_loaded_and_learns(tmp_path):
    system, (source, target) = adopt(original("v1.0")), data()
    of.save(system, tmp_path)
    assert torch.equal(logits(of.load(tmp_path), source, target), logits(system, source, target))


def test_a_whole_that_is_tied_and_is_not_is_refused():
    model = original("v1.0")
    model.lm_head.weight = torch.nn.Parameter(torch.randn(V, 24))
    with pytest.raises(CheckpointError, match="'lm_head.weight' differs from 'shared.weight'"):
        adopt(model)


WORDS = ["<pad>", "</s>", "<unk>", *"the cat sat on a mat and looked at its own tail for some time".split()]


def tokenized(folder, model):
    """A folder with a tokenizer that ends each text by itself."""
    tokenizer = Tokenizer(models.WordLevel({w: i for i, w in enumerate(dict.fromkeys(WORDS))}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    model.save_pretrained(folder)
    (folder / "tokenizer.json").write_text(tokenizer.to_str())
    return tokenizer


def test_texts_are_read_by_its_own_tokenizer_and_end_once(tmp_path):
    model = original("v1.0")
    tokenizer = tokenized(tmp_path, model)
    system, said = of.load(tmp_path), ["the cat sat", "a mat and its own tail"]
    ids = [tokenizer.encode(s).ids for s in said]
    assert system.codec.encode(said).ids[0, :4, 0].tolist() == ids[0] and ids[0][-1] == 1
    padded = torch.full((2, 7), -1)
    for row, i in zip(padded, ids, strict=True):
        row[: len(i)] = torch.tensor(i)
    want = model.generate(**asked(padded), max_new_tokens=6, do_sample=False)[:, 1:]
    got = system.generate(2, {"source": said}, length=6, sampling=Sampling(0.0))
    assert got == [tokenizer.decode(row[: row.index(1)] if 1 in row else row) for row in want.tolist()]


@pytest.mark.parametrize("alone", [True, False])
def test_the_encoder_alone_reads_captions(alone, tmp_path):
    model = original("v1.1") if not alone else stirred(T5EncoderModel(T5Config(**CONFIGS["v1.1"])), 0.05)
    tokenizer = tokenized(tmp_path, model)
    reader = t5.encoder("mine", tmp_path, json_of(tmp_path / "config.json"))
    assert (reader.features, reader.pooled, reader.longest) == (24, 0, 512)
    heard = reader.tokens(["the cat sat", "looked at its own tail"])
    for row, text in enumerate(("the cat sat", "looked at its own tail")):
        ids = torch.tensor([tokenizer.encode(text).ids])
        with torch.no_grad():
            near(heard.tokens[row, heard.real[row]], (model if alone else model.encoder)(input_ids=ids).last_hidden_state[0])
    found = adopt(model, tokenizer={"tokenizer": tokenizer.to_str()}) if alone else open_encoder(str(tmp_path))
    assert (found.digest, of.load(tmp_path).digest if alone else found.digest) == (reader.digest,) * 2
    tokens, _ = reader.one("the cat sat on a mat", 4)
    ids = torch.tensor([[*tokenizer.encode("the cat sat").ids]])
    assert torch.equal(tokens, reader.source.states(ids, None)[0])


@pytest.mark.parametrize(
    "change, says",
    [
        ({"feed_forward_proj": "gated-relu"}, "feed_forward_proj='gated-relu' and 'relu'"),
        ({"feed_forward_proj": "gated-gelu"}, "has no 'decoder.block.0.layer.2.DenseReluDense.wi_0"),
        ({"num_layers": 3}, "has no 'encoder.block.2"),
        ({"num_decoder_layers": 1}, "'decoder.block.1.*' has no place here"),
        ({"d_model": -1}, "d_model is -1"),
        ({"d_ff": 33}, r"config asks for \(33, 24\)"),
        ({"num_heads": "two"}, "num_heads is 'two'"),
        ({"relative_attention_num_buckets": 2}, "do not halve"),
        ({"relative_attention_num_buckets": 16}, r"config asks for \(16, 2\)"),
        ({"eos_token_id": V}, "eos_token_id is 61"),
        ({"decoder_start_token_id": "first"}, "decoder_start_token_id is 'first'"),
        ({"n_positions": 1 << 60}, "n_positions is"),
        ({"num_layers": 1 << 40}, "num_layers is"),
    ],
)
def test_a_configuration_that_is_not_built_here(change, says, tmp_path):
    tokenized(tmp_path, original("v1.0"))
    config = {**json.loads((tmp_path / "config.json").read_text()), **change}
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(CheckpointError, match=says) as error:
        of.load(tmp_path)
    assert "\n" not in str(error.value)
