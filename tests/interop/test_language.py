"""Text models of transformers are ours, number by number: logits, losses, gradients, and the tokens that greedy decoding says."""

from __future__ import annotations

import json

import pytest
import torch
from transformers import (
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    MambaConfig,
    MambaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    Qwen2Config,
    Qwen2ForCausalLM,
)

import omniform as of
from omniform.core.distribution import Sampling
from omniform.core.errors import BadArgument, CheckpointError
from omniform.core.net import Context
from omniform.core.query import Query
from omniform.interop.adopting import adopt

V, B, L = 101, 2, 17
SMALL = {"vocab_size": V, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4, "max_position_embeddings": 64}
SMALL |= {"bos_token_id": None, "eos_token_id": None, "pad_token_id": None}
GROUPED = {**SMALL, "num_key_value_heads": 2}
LLAMA3 = {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 32, "rope_theta": 1e4}
YARN = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 16, "rope_theta": 1e4}
FACTORS = [1.0, 1.5, 3.0, 8.0]
LONG = {"rope_type": "longrope", "rope_theta": 1e4, "short_factor": FACTORS, "long_factor": FACTORS, "original_max_position_embeddings": 64, "factor": 8.0}
LONG |= {"attention_factor": 1.1}
GPT = {"vocab_size": V, "n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 64, "bos_token_id": None, "eos_token_id": None}
MAMBA = {"vocab_size": V, "hidden_size": 24, "num_hidden_layers": 2, "state_size": 5, "bos_token_id": None, "eos_token_id": None, "pad_token_id": None}
ORIGINALS = {
    "gpt2": lambda: GPT2LMHeadModel(GPT2Config(**GPT)),
    "gpt2 untied, another inner width": lambda: GPT2LMHeadModel(GPT2Config(**GPT, n_inner=56, tie_word_embeddings=False, layer_norm_epsilon=1e-3)),
    "llama": lambda: LlamaForCausalLM(LlamaConfig(**GROUPED)),
    "llama tied, not grouped": lambda: LlamaForCausalLM(LlamaConfig(**SMALL, tie_word_embeddings=True)),
    "llama with biases and wide heads": lambda: LlamaForCausalLM(LlamaConfig(**GROUPED, attention_bias=True, mlp_bias=True, head_dim=16, rms_norm_eps=1e-3)),
    "llama stretched as 3.1": lambda: LlamaForCausalLM(LlamaConfig(**GROUPED, rope_parameters=LLAMA3)),
    "llama stretched by yarn": lambda: LlamaForCausalLM(LlamaConfig(**GROUPED, rope_parameters=YARN)),
    "llama stretched pair by pair": lambda: LlamaForCausalLM(LlamaConfig(**GROUPED, rope_parameters=LONG)),
    "llama stretched evenly": lambda: LlamaForCausalLM(LlamaConfig(**GROUPED, rope_parameters={"rope_type": "linear", "factor": 4.0, "rope_theta": 5e3})),
    "mamba": lambda: MambaForCausalLM(MambaConfig(**MAMBA)),
    "mamba untied, of other sizes": lambda: MambaForCausalLM(
        MambaConfig(**{**MAMBA, "state_size": 3}, expand=3, conv_kernel=2, time_step_rank=7, use_bias=True, tie_word_embeddings=False, layer_norm_epsilon=1e-3)
    ),
    "mamba of one block": lambda: MambaForCausalLM(MambaConfig(**{**MAMBA, "num_hidden_layers": 1, "hidden_size": 17, "state_size": 1}, conv_kernel=1)),
    "mistral": lambda: MistralForCausalLM(MistralConfig(**GROUPED, sliding_window=5)),
    "mistral that looks back to the beginning": lambda: MistralForCausalLM(MistralConfig(**GROUPED, sliding_window=None)),
    "qwen2": lambda: Qwen2ForCausalLM(Qwen2Config(**GROUPED)),
    "qwen2 with a window": lambda: Qwen2ForCausalLM(Qwen2Config(**GROUPED, use_sliding_window=True, sliding_window=4, max_window_layers=0)),
    "qwen2 tied": lambda: Qwen2ForCausalLM(Qwen2Config(**SMALL, num_key_value_heads=1, tie_word_embeddings=True)),
}


def stirred(model):
    """Weights far from their start: biases, gains and small tables count too."""
    g = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for p in model.parameters():
            p.add_(torch.randn(p.shape, generator=g) * 0.1)
    return model.eval()


def raw(system, ids):
    """The network's logits, every token at its own place."""
    turn = torch.arange(ids.shape[1])[None].expand(len(ids), -1)
    query = Query(system.codec.encode(ids), torch.ones_like(ids, dtype=torch.bool), turn, torch.zeros_like(turn), torch.zeros(len(ids)), pattern="causal")
    return system.network.open(Context(len(ids)))(query).distribution.logits[:, :, 0]


def near(x, y, tol=1e-5):
    assert x.shape == y.shape and float((x - y).abs().max()) <= tol * float(y.abs().max())


@pytest.fixture(scope="module", params=ORIGINALS)
def pair(request):
    torch.manual_seed(0)
    model = stirred(ORIGINALS[request.param]())
    return model, adopt(model), torch.randint(0, V, (B, L), generator=torch.Generator().manual_seed(2))


def test_logits_and_losses_are_equal(pair):
    model, system, ids = pair
    with torch.no_grad():
        near(raw(system, ids), model(ids).logits)
        near(system.score(ids).sum() / (B * (L - 1)), model(ids, labels=ids).loss)


def test_greedy_decoding_says_the_same(pair):
    model, system, ids = pair
    want = model.generate(ids, max_new_tokens=12, do_sample=False, pad_token_id=0)
    given = (ids, torch.ones_like(ids, dtype=torch.bool))
    assert torch.equal(system.generate(B, given=given, length=L + 12, sampling=Sampling(0.0)), want)


@pytest.mark.parametrize("name", ["gpt2", "llama with biases and wide heads"])
def test_gradients_are_equal(name):
    model = stirred(ORIGINALS[name]())
    system, ids = adopt(model), torch.randint(0, V, (B, L), generator=torch.Generator().manual_seed(2))
    model(ids, labels=ids).loss.backward()
    from omniform.core.batch import Batch
    from omniform.core.rng import Rng

    (losses,) = system.loss(Batch(ids, {}), rng=Rng.seeded(0, B))
    (losses.parts["main"] / losses.count).backward()
    ours = {n.removeprefix("network."): p.grad for n, p in system.named_parameters()}
    theirs = {n: p.grad for n, p in model.named_parameters()}
    first = "transformer.wte.weight" if name == "gpt2" else "model.embed_tokens.weight"
    near(ours["towers.main.embed.tables.0.weight"], theirs[first], 1e-5)
    last = "transformer.h.1.mlp.c_proj.weight" if name == "gpt2" else "model.layers.1.mlp.down_proj.weight"
    near(ours["towers.main.backbone.blocks.1.mlp.feed.each.0.down.weight"], theirs[last].T if name == "gpt2" else theirs[last], 1e-5)


@pytest.mark.parametrize(
    "ours, theirs", [("enter.weight", "in_proj.weight"), ("rate_bias", "dt_proj.bias"), ("decay", "A_log"), ("conv.weight", "conv1d.weight")]
)
def test_gradients_of_mamba_are_equal(ours, theirs):
    from omniform.core.batch import Batch
    from omniform.core.rng import Rng

    model = stirred(ORIGINALS["mamba"]())
    system, ids = adopt(model), torch.randint(0, V, (B, L), generator=torch.Generator().manual_seed(2))
    model(ids, labels=ids).loss.backward()
    (losses,) = system.loss(Batch(ids, {}), rng=Rng.seeded(0, B))
    (losses.parts["main"] / losses.count).backward()
    mine = dict(system.named_parameters())[f"network.towers.main.backbone.blocks.0.mixer.{ours}"].grad
    its = dict(model.named_parameters())[f"backbone.layers.0.mixer.{theirs}"].grad
    near(mine, its[:, 0].flip(1).T if theirs.startswith("conv") else its, 1e-5)


@pytest.mark.parametrize(
    "change, says",
    [
        ({"hidden_act": "relu"}, "hidden_act='relu'"),
        ({"use_conv_bias": False}, "use_conv_bias=False"),
        ({"state_size": 4}, "do not belong together"),
        ({"vocab_size": 7}, "embeddings"),
        ({"state_size": 1 << 50}, "state_size"),
        ({"time_step_rank": "much"}, "time_step_rank"),
        ({"time_step_rank": -1}, "time_step_rank"),
        ({"conv_kernel": 3}, "conv1d"),
        ({"expand": 0}, "expand"),
        ({"num_hidden_layers": 3}, "no 'backbone.layers.2"),
        ({"tie_word_embeddings": False}, "no 'lm_head.weight'"),
    ],
)
def test_a_mamba_that_is_not_built_here(change, says, tmp_path):
    stirred(ORIGINALS["mamba"]()).save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**config, **change}))
    with pytest.raises(CheckpointError, match=says) as error:
        of.load(tmp_path)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("shard", ["5GB", "20KB"])
@pytest.mark.parametrize("name", ["gpt2", "llama", "qwen2 tied", "mamba"])
def test_a_folder_of_transformers_whole_or_in_pieces(name, shard, tmp_path):
    model = stirred(ORIGINALS[name]())
    model.save_pretrained(tmp_path, max_shard_size=shard)
    assert (len(list(tmp_path.glob("*.safetensors"))) > 1) == (shard == "20KB")
    ids = torch.randint(0, V, (B, L), generator=torch.Generator().manual_seed(3))
    with torch.no_grad():
        near(raw(of.load(tmp_path), ids), model(ids).logits)


def test_pickled_weights_are_read_when_asked_for_and_nothing_else_in_them(tmp_path):
    model = stirred(ORIGINALS["llama"]())
    model.config.save_pretrained(tmp_path)
    torch.save(model.state_dict(), tmp_path / "pytorch_model.bin")
    with pytest.raises(CheckpointError, match="pickled=True"):
        of.load(tmp_path)
    ids = torch.randint(0, V, (B, L))
    with torch.no_grad():
        near(raw(of.load(tmp_path, pickled=True), ids), model(ids).logits)
    evidence = tmp_path / "executed"

    class Evil:
        def __reduce__(self):
            return (open, (str(evidence), "w"))

    torch.save({"weight": Evil()}, tmp_path / "pytorch_model.bin")
    with pytest.raises(CheckpointError, match="not a file of tensors alone"):
        of.load(tmp_path, pickled=True)
    assert not evidence.exists()


@pytest.mark.parametrize(
    "change, says",
    [
        ({"model_type": "mamba3"}, "'mamba3', and gpt2, llama"),
        ({"hidden_act": "relu"}, "hidden_act='relu' and 'silu' is what is built here"),
        ({"hidden_size": "large"}, "hidden_size is 'large'"),
        ({"hidden_size": -4}, "hidden_size is -4"),
        ({"num_hidden_layers": 3}, "has no 'model.layers.2"),
        ({"num_hidden_layers": 1}, "'model.layers.1.*' has no place here"),
        ({"intermediate_size": 40}, "has shape \\(48, 32\\) and its config asks for \\(40, 32\\)"),
        ({"num_attention_heads": 5}, "cannot be built here"),
        ({"rope_scaling": {"rope_type": "dynamic", "factor": 2.0}, "rope_parameters": None}, "stretched by 'dynamic'"),
        ({"rope_scaling": {**LONG, "long_factor": FACTORS[::-1]}, "rope_parameters": None}, "other factors for short texts than for long"),
        ({"rope_scaling": {**LONG, "short_factor": ["a"] * 4, "long_factor": ["a"] * 4}, "rope_parameters": None}, "one for each of 4"),
        ({"vocab_size": 1 << 50}, "vocab_size is"),
    ],
)
def test_a_configuration_that_does_not_fit(change, says, tmp_path):
    ORIGINALS["llama"]().save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**config, **change}))
    with pytest.raises(CheckpointError, match=says) as error:
        of.load(tmp_path)
    assert "\n" not in str(error.value)


def test_without_a_prompt_there_is_nothing_to_go_on_with():
    system = adopt(ORIGINALS["llama"]())
    with pytest.raises(BadArgument, match="give a prompt"):
        system.generate(1)


def test_an_adopted_system_is_saved_loaded_and_trained_as_ours(tmp_path):
    system = adopt(stirred(ORIGINALS["llama"]()))
    of.save(system, tmp_path / "mine")
    ids = torch.randint(0, V, (B, L))
    again = of.load(tmp_path / "mine")
    assert torch.equal(raw(again, ids), raw(system, ids))
    assert again.recipe.against(system.recipe) == {}
