"""Systems of ours in other people's libraries say the same: transformers by greedy text and logits, torch.export and ONNX by numbers."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from transformers import (
    AutoModelForCausalLM,
    AutoModelForMaskedLM,
    AutoModelForSeq2SeqLM,
    AutoTokenizer,
    BertConfig,
    BertForMaskedLM,
    MambaConfig,
    MambaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    Qwen2Config,
    Qwen2ForCausalLM,
    T5Config,
    T5ForConditionalGeneration,
)

import omniform as of
from omniform import recipes
from omniform.backbones.selective import SelectiveScan
from omniform.cli import PROGRAM
from omniform.codecs.ids import Ids
from omniform.codecs.text import BPE
from omniform.conditions.source import SourceText
from omniform.core.distribution import Sampling
from omniform.core.errors import BadArgument, RecipeError
from omniform.core.net import Context
from omniform.core.spec import Spec
from omniform.interop.adopting import adopt
from omniform.interop.leaving.calls import Call
from omniform.processes.masked import asked

from .cards import opened

SMALL = {"shape": (40,), "network.width": 32, "network.backbone.depth": 2}
ROTARY = {**SMALL, "network.backbone.rotary.head_width": 8, "network.backbone.block.mlp.hidden": 56}
TEXT = "Once upon é time"
SAID = ["the cat sat on the mat", "the dog sat on the log", "a cat and a dog and a bird"] * 4
SYSTEMS = {
    "gpt": ("gpt", SMALL),
    "gpt of another inner width, untied, over pairs": (
        "gpt",
        {**SMALL, "network.head.tied": False, "network.backbone.block.mlp.hidden": 40, "codec": Spec(BPE, {"tokenizer": BPE.trained(SAID, 280).tokenizer})},
    ),
    "llama": ("llama", ROTARY),
    "llama in halves, tied, not grouped": (
        "llama",
        {**ROTARY, "network.backbone.rotary.interleaved": False, "network.head.tied": True, "network.backbone.block.mixer.kv_heads": 4},
    ),
    "llama with biases": ("llama", {**ROTARY, "network.backbone.block.mixer.biases": "qkvo", "network.backbone.block.mlp.bias": True}),
    "llama stretched by one factor": ("llama", {**ROTARY, "network.backbone.rotary.frequencies": (0.5, 0.05, 0.005, 0.0005)}),
    "llama stretched pair by pair": (
        "llama",
        {**ROTARY, "network.backbone.rotary.frequencies": (1.0, 0.08, 0.004, 0.0003), "network.backbone.rotary.amplitude": 1.2},
    ),
    "mamba": ("mamba", {**SMALL, "network.backbone.block.mixer.states": 3}),
    "mamba of other sizes, untied, with biases": (
        "mamba",
        {
            **SMALL,
            "network.head.tied": False,
            "network.backbone.block.mixer": Spec(SelectiveScan, {"states": 5, "expand": 3, "taps": 2, "rank": 7, "bias": True}),
        },
    ),
    "qwen2": ("llama", {**ROTARY, "network.backbone.block.mixer.biases": "qkv", "network.backbone.rotary.base": 500.0}),
}


def stirred(system):
    g = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for p in system.parameters():
            p.add_(torch.randn(p.shape, generator=g) * 0.1)
    return system.eval()


@pytest.fixture(scope="module", params=SYSTEMS)
def left(request, tmp_path_factory):
    name, changes = SYSTEMS[request.param]
    system = stirred(of.build(name, changes=changes))
    return system, of.export(system, "transformers", tmp_path_factory.mktemp("out") / "model")


def test_transformers_goes_on_with_a_text_as_we_do(left):
    system, folder = left
    model, tokenizer = AutoModelForCausalLM.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
    said = tokenizer(TEXT, return_tensors="pt")
    assert said["input_ids"][0, 0] == system.codec.space.start and tokenizer.decode(said["input_ids"][0], skip_special_tokens=True) == TEXT
    given = system.codec.prompt([TEXT])
    assert said["input_ids"][0, 1:].tolist() == given.ids[0, :, 0].tolist()
    mine = system.generate(1, given=(given, torch.ones(given.length, dtype=torch.bool)), sampling=Sampling(0.0), decode=False)
    ids = [i for i, real in zip(mine.ids[0, :, 0].tolist(), mine.real[0].tolist(), strict=True) if real]
    want = model.generate(**said, max_length=41, do_sample=False)[0, 1:].tolist()
    assert ids == want[: len(ids)] and len(ids) > given.length
    with torch.no_grad():  # every nat of a text, its stop too
        tokens = system.codec.encode([TEXT])
        length = int(tokens.real.sum())
        fed = torch.cat([said["input_ids"], torch.tensor([[system.codec.space.stop]])], 1)
        nats = model(fed[:, :-1]).logits[0].log_softmax(-1)[torch.arange(length), fed[0, 1:]].sum()
    torch.testing.assert_close(-nats, system.score([TEXT])[0], rtol=1e-5, atol=1e-4)


def test_what_left_comes_back_as_the_same_model(left):
    system, folder = left
    again = of.load(folder)
    given = again.codec.prompt([TEXT])
    back = again.generate(1, given=(given, torch.ones(given.length, dtype=torch.bool)), length=40, sampling=Sampling(0.0))[0]
    prompt = system.codec.prompt([TEXT])
    assert back == system.generate(1, given=(prompt, torch.ones(prompt.length, dtype=torch.bool)), length=39, sampling=Sampling(0.0))[0]
    assert adopt(AutoModelForCausalLM.from_pretrained(folder)).recipe.against(again.recipe).keys() <= {"codec"}


def test_the_card_says_what_it_is(left):
    system, folder = left
    said = (folder / "README.md").read_text()
    assert "library_name: transformers" in said and system.recipe.source[0].title in said and f"{system.codec.space.stop} ends a text" in said


def test_the_lines_of_the_card_run(left, capsys):
    system, folder = left
    said = opened(folder)["tokenizer"].decode(opened(folder)["ids"][0], skip_special_tokens=True)
    given = system.codec.prompt(["Once"])
    mine = system.generate(1, given=(given, torch.ones(given.length, dtype=torch.bool)), length=len(said), sampling=Sampling(0.0))[0]
    assert said.startswith("Once") and said in capsys.readouterr().out and len(mine) > 4


# ---- what fills in, and what answers ---------------------------------------------------------------------------------

LITTLE = {"shape": (40,), "network.width": 32, "network.backbone.depth": 2}
BERTS = {
    "bert": LITTLE,
    "bert of tanh, untied, of one kind": {
        **LITTLE,
        "network.embed.kinds": 1,
        "network.head.tied": False,
        "network.head.transform": True,
        "network.backbone.block.mlp.activation": "gelu_tanh",
        "network.backbone.block.mlp.hidden": 40,
    },
    "bert over pairs": {**LITTLE, "codec": Spec(BPE, {"tokenizer": BPE.trained(SAID, 280).tokenizer}), "network.embed.mask_id": 281},
}


@pytest.mark.parametrize("name", BERTS)
@torch.no_grad()
def test_transformers_fills_in_what_we_do(name, tmp_path):
    system = stirred(of.build("bert", changes=BERTS[name]))
    folder = of.export(system, "transformers", tmp_path / "out")
    model, tokenizer = AutoModelForMaskedLM.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
    said = tokenizer("the cat sat", return_tensors="pt")
    tokens = system.codec.encode(["the cat sat"])
    length = int(tokens.real.sum())
    assert said["input_ids"][0].tolist() == tokens.ids[0, :length, 0].tolist()
    hidden = torch.arange(40)[None] % 3 == 1
    mine = system.network.open(Context(1))(asked(tokens, ~hidden, torch.zeros(1))).distribution.logits[:, :length, 0]
    theirs = model(input_ids=torch.where(hidden[:, :length], tokenizer.mask_token_id, said["input_ids"])).logits
    torch.testing.assert_close(mine, theirs, rtol=1e-5, atol=1e-5)
    assert torch.equal(mine.argmax(-1), theirs.argmax(-1))
    again, found = of.load(folder), opened(folder)
    prompt = again.codec.prompt([f"Once {tokenizer.mask_token} a time"])
    blanks = again.codec.blanks(prompt)
    assert int(blanks.sum()) == int(found["hidden"].sum()) == 1
    want = found["model"](**found["said"]).logits[0, found["hidden"]].argmax(-1)
    got = again.network.open(Context(1))(asked(prompt, ~blanks, torch.zeros(1))).distribution.logits[:, :, 0]
    assert torch.equal(got[blanks].argmax(-1), want)


ENCODER, DECODER = "conditions.source.0.encoder.", "network.backbone."
T5S = {
    "t5": {"network.width": 32},
    "v1.1, with a longer decoder": {
        "network.width": 32,
        "network.head.tied": False,
        "network.head.scaled": False,
        **{f"{stack}block.mlp.activation": "geglu_tanh" for stack in (ENCODER, DECODER)},
        **{f"{stack}block.mlp.hidden": 40 for stack in (ENCODER, DECODER)},
        ENCODER + "depth": 2,
        **{f"{stack}relative.{k}": v for stack in (ENCODER, DECODER) for k, v in (("buckets", 8), ("reach", 20))},
    },
}


@pytest.mark.parametrize("name", T5S)
def test_transformers_answers_as_we_do(name, tmp_path):
    system = stirred(of.build("t5", changes=T5S[name]))
    assert isinstance(system.conditioning.parts["source"], SourceText)
    folder = of.export(system, "transformers", tmp_path / "out")
    model, tokenizer = AutoModelForSeq2SeqLM.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
    said = tokenizer(["the cat sat", "a dog"], padding=True, return_tensors="pt")
    said.pop("token_type_ids", None)
    assert model.generation_config.use_cache == (name == "t5")  # else theirs counts the caches of its encoder
    want = model.generate(**said, max_new_tokens=20, do_sample=False)[:, 1:]
    got = system.generate(2, {"source": ["the cat sat", "a dog"]}, length=20, sampling=Sampling(0.0), decode=False)
    stop = system.codec.space.stop
    for mine, real, its in zip(got.ids[..., 0].tolist(), got.real.tolist(), want.tolist(), strict=True):
        ended = its.index(stop) if stop in its else len(its)
        assert [i for i, r in zip(mine, real, strict=True) if r][:ended] == its[:ended]
    with torch.no_grad():
        labels = tokenizer("mat", return_tensors="pt")["input_ids"]
        loss = model(**tokenizer("the cat sat", return_tensors="pt"), labels=labels).loss * labels.numel()
    torch.testing.assert_close(system.score(["mat"], {"source": ["the cat sat"]})[0], loss, rtol=1e-5, atol=1e-4)
    again = of.load(folder)
    torch.testing.assert_close(again.score(["mat"], {"source": ["the cat sat"]})[0], loss, rtol=1e-5, atol=1e-4)
    assert opened(folder)["ids"].shape[0] == 1


CAME = {
    "bert": lambda: BertForMaskedLM(
        BertConfig(vocab_size=41, hidden_size=42, num_attention_heads=3, intermediate_size=31, num_hidden_layers=3, type_vocab_size=5, hidden_act="gelu_new")
    ),
    "t5": lambda: T5ForConditionalGeneration(
        T5Config(vocab_size=41, d_model=24, d_kv=16, d_ff=32, num_layers=2, num_decoder_layers=3, num_heads=3, decoder_start_token_id=5)
    ),
    "mamba": lambda: MambaForCausalLM(
        MambaConfig(vocab_size=41, hidden_size=20, num_hidden_layers=2, state_size=5, expand=3, conv_kernel=2, time_step_rank=7, use_bias=True)
    ),
}


@pytest.mark.parametrize("name", CAME)
@torch.no_grad()
def test_what_came_leaves_as_it_was(name, tmp_path):
    model, ids = stirred(CAME[name]()), torch.randint(6, 41, (2, 9))
    auto = {"bert": AutoModelForMaskedLM, "t5": AutoModelForSeq2SeqLM, "mamba": AutoModelForCausalLM}[name]
    again = auto.from_pretrained(of.export(adopt(model), "transformers", tmp_path / "out"))
    asked_of = {"input_ids": ids, **({"decoder_input_ids": ids.flip(1)} if name == "t5" else {})}
    torch.testing.assert_close(again(**asked_of).logits, model(**asked_of).logits, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("kind", ["mistral", "qwen2"])
@torch.no_grad()
def test_a_window_leaves_as_it_came(kind, tmp_path):
    sizes = {"vocab_size": 41, "hidden_size": 24, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2}
    said = {"sliding_window": 3, "max_position_embeddings": 64}
    made = {
        "mistral": lambda: MistralForCausalLM(MistralConfig(**sizes, **said, head_dim=10)),
        "qwen2": lambda: Qwen2ForCausalLM(Qwen2Config(**sizes, **said, use_sliding_window=True, max_window_layers=0)),
    }
    model = stirred(made[kind]())
    folder = of.export(adopt(model), "transformers", tmp_path / "out")
    again, ids = AutoModelForCausalLM.from_pretrained(folder), torch.randint(41, (2, 9))
    assert again.config.model_type == kind and again.config.sliding_window == 3 and again.config.max_position_embeddings == 64
    torch.testing.assert_close(again(ids).logits, model(ids).logits, rtol=1e-5, atol=1e-5)
    assert "give it a first token of the prompt" in (folder / "README.md").read_text()


@pytest.mark.parametrize(
    "name, changes, says",
    [
        ("mdlm", {}, "LLaMA with its relatives, Mamba, BERT and T5 here; mdlm comes nearest to BERT, but network.embed.positions is"),
        ("bert", {"network.embed.mask_id": 7}, "network.embed.mask_id is 7 here and 257 there"),
        ("bert", {"network.head.transform": True}, "network.head.transform is True here and 'exact' there"),
        ("t5", {"network.head.scaled": False}, "comes nearest to T5, but network.head.tied is True here and False there"),
        ("t5", {"conditions.source.0.encoder.relative.reach": 64}, "conditions.source.encoder.relative.reach is 64 here and 128 there"),
        ("t5", {"conditions.source.0.codec": Spec(Ids, {"vocab": 258, "stop": 256})}, "reads its source by another codec than it writes by"),
        ("mamba", {"network.backbone.eps": 1e-3}, "comes nearest to Mamba, but network.backbone.eps is 0.001 here and 1e-05 there"),
        ("image-gpt", {}, "neither says a text token by token"),
        ("gpt", {**SMALL, "network.backbone.block.mlp.activation": "relu2"}, "nearest to GPT-2, but network.backbone.block.mlp.activation is 'relu2' here"),
        ("llama", {**ROTARY, "network.backbone.block.mixer.qk_norm": "rms"}, "qk_norm is 'rms' here and 'none' there"),
        ("llama", {**ROTARY, "network.backbone.rotary.frequencies": (1.0,) * 3}, "rotary.frequencies is"),
        ("primer", {}, r"nearest to GPT-2, but network.embed.positions is \[\] here and \[LearnedPositions\] there"),
        ("vq", {}, "a codec alone"),
    ],
)
def test_what_transformers_has_not_is_one_line_and_nothing_is_written(name, changes, says, tmp_path):
    with pytest.raises(RecipeError, match=says) as error:
        of.export(of.build(name, changes=changes), "transformers", tmp_path / "out")
    assert "\n" not in str(error.value) and not (tmp_path / "out").exists()


def test_a_format_that_is_none():
    with pytest.raises(BadArgument, match="no export to 'onx'; did you mean onnx"):
        of.export(of.build("gpt", changes=SMALL), "onx", "nowhere")


# ---- one call --------------------------------------------------------------------------------------------------------

CALLS = {
    "var": ({"network.width": 32, "network.backbone.depth": 1}, {"vec": (88, 8), "known": (88,), "label": ()}, "logits"),
    "dit": ({"network.width": 32, "network.backbone.depth": 1}, {"vec": (49, 4), "time": (1,), "label": ()}, "value"),
    "gpt": (SMALL, {"ids": (40, 1)}, "logits"),
    "maskgit": ({"network.width": 32, "network.backbone.depth": 1}, {"ids": (49, 1), "known": (49,), "label": ()}, "logits"),
}


def called(name):
    system = stirred(of.build(name, changes=CALLS[name][0]))
    call = Call(system)
    inputs = {n: x[torch.tensor([0, 1, 0])] for n, x in call.example.items()}  # three rows where two were traced
    g = torch.Generator().manual_seed(3)
    inputs = {n: torch.rand(x.shape, generator=g) if x.is_floating_point() else x for n, x in inputs.items()}
    if "known" in inputs:
        inputs["known"] = torch.rand(inputs["known"].shape, generator=g) < 0.5
    with torch.no_grad():
        return system, inputs, call(*inputs.values())[0]


@pytest.mark.parametrize("name", ["gpt", "maskgit"])
def test_a_call_as_a_program_of_torch(name, tmp_path):
    system, inputs, want = called(name)
    folder = of.export(system, "torch", tmp_path / "out")
    said = json.loads((folder / "call.json").read_text())
    assert {n: tuple(x["shape"][1:]) for n, x in said["inputs"].items()} == CALLS[name][1] and said["outputs"] == [CALLS[name][2]]
    got = torch.export.load(folder / "network.pt2").module()(*inputs.values())[0]
    torch.testing.assert_close(got, want, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", ["dit", "gpt", "var"])
def test_a_call_as_onnx(name, tmp_path):
    import onnxruntime

    system, inputs, want = called(name)
    folder = of.export(system, "onnx", tmp_path / "out")
    session = onnxruntime.InferenceSession(folder / "network.onnx")
    assert [x.name for x in session.get_inputs()] == list(inputs) and [x.name for x in session.get_outputs()] == [CALLS[name][2]]
    (got,) = session.run(None, {n: x.numpy() for n, x in inputs.items()})
    np.testing.assert_allclose(got, want.numpy(), rtol=1e-4, atol=1e-4)


def test_the_call_is_what_generation_asks():
    """The velocity of the exported call is that of the sampler's own question."""
    system, inputs, want = called("dit")
    heard = []

    class Ear:
        def __init__(self, net):
            self.net = net

        def __call__(self, query, *, remember=False):
            answer = self.net(query, remember=remember)
            heard.append((query, answer))
            return answer

    system.generate(2, {"label": [0, 1]}, scale=1.0, steps=2, wrap=Ear, decode=False)
    query, answer = heard[0]
    call = Call(system)
    with torch.no_grad():
        rows = slice(0, 2)
        time = query.time[rows] if query.time.shape[0] > 1 else query.time.expand(2, 1)
        got = call(query.tokens.vec[rows], time[:, :1], torch.tensor([0, 1]))[0]
    torch.testing.assert_close(got, answer.distribution.value[rows], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    "name, told, says",
    [("mar", True, "enters as prefix"), ("mar", False, "more than one call"), ("pixart", True, "where what is told is a class")],
)
def test_a_network_that_is_no_one_call(name, told, says, tmp_path):
    recipe = recipes.get(name) if told else recipes.get(name).but(conditions={})
    with pytest.raises(RecipeError, match=says):
        of.export(of.build(recipe), "torch", tmp_path / "out")
    assert not (tmp_path / "out").exists()


# ---- typed -----------------------------------------------------------------------------------------------------------


def typed(*words):
    from click.testing import CliRunner

    return CliRunner().invoke(PROGRAM, [str(w) for w in words])


def test_typed(tmp_path):
    of.save(of.build("gpt", changes=SMALL), tmp_path / "run", notes={"data": "some text", "steps": 7})
    done = typed("export", tmp_path / "run", "--to", "transformers", "--out", tmp_path / "out")
    assert done.exit_code == 0 and "model.safetensors" in done.output, done.output
    said = (tmp_path / "out" / "README.md").read_text()
    assert "- some text" in said and "- steps: 7" in said
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "letter.txt").write_text("mine")
    for words, says in (
        ((tmp_path / "run", "--to", "tensorflow", "--out", tmp_path / "x"), "no export to 'tensorflow'"),
        ((tmp_path / "none", "--to", "onnx", "--out", tmp_path / "x"), "no folder"),
        ((tmp_path / "run", "--to", "transformers", "--out", tmp_path / "full"), "did not write"),
        (("shipped:dit", "--to", "transformers", "--out", tmp_path / "x"), "transformers has GPT-2, LLaMA"),
    ):
        result = typed("export", *words)
        assert result.exit_code == 2 and says in result.stderr and len(result.stderr.strip().splitlines()) == 1, result.stderr
    assert not (tmp_path / "x").exists() and [p.name for p in (tmp_path / "full").iterdir()] == ["letter.txt"]
