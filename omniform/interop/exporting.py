"""Systems in other people's formats: what their configuration says is read back first, and must give the very network that leaves."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

import torch
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, processors
from torch import Tensor

from omniform import recipes
from omniform.codecs.pretrained import Pretrained
from omniform.codecs.text import BPE, Bytes
from omniform.core.errors import BadArgument, OmniformError, RecipeError, nearest
from omniform.core.order import Raster
from omniform.core.spec import Spec, differences
from omniform.interop import language
from omniform.interop.calls import as_onnx, as_program
from omniform.interop.card import card
from omniform.interop.comparing import Left, at, filled
from omniform.interop.departing import to_diffusers
from omniform.interop.ties import Reading
from omniform.processes.autoregress import Autoregress
from omniform.processes.feeds import Shift
from omniform.system.system import CodecSystem, System

START, STOP = "<|start|>", "<|stop|>"
"""How a start and a stop that are no piece of text are written in a tokenizer (ours)."""
_BLOCK = "network.backbone.block."


def exported(system: System | CodecSystem, to: str, notes: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """The files of a system in somebody's format, by name: "transformers", "diffusers", "torch" (a .pt2 of one network call) or "onnx" (the same call).

    notes: what is known of its training, for the model card. RecipeError where that format has no such architecture, naming what it has.
    """
    if to not in TARGETS:
        raise BadArgument(f"there is no export to {to!r}; {nearest(to, TARGETS)}")
    if not isinstance(system, System):
        raise RecipeError(f"{system.recipe.name} is a codec alone, and what leaves is a network; export a system that was trained on it")
    left = TARGETS[to](system)
    return {**left.files, "README.md": card(system, notes or {}, opens=left.opens, library=_LIBRARY[to])}


# ---- transformers ----------------------------------------------------------------------------------------------------


def to_transformers(system: System) -> Left:
    """config.json, generation_config.json, model.safetensors, and the tokenizer where the codec is one of text."""
    import safetensors.torch

    config, reading = _language(system)
    weights = _own(system, reading)
    theirs = {name: x.detach().cpu().clone() for name, x in reading.table.theirs(weights).items()}
    start, stop = _marks(system)
    ends = {"bos_token_id": start, "eos_token_id": stop, "pad_token_id": stop}
    text = _tokenizer(system)
    first = "a first token of the prompt" if start is None else f"the id {start}, which every sequence begins with"
    opens = [
        "from transformers import AutoModelForCausalLM" + (", AutoTokenizer" if text else ""),
        "model = AutoModelForCausalLM.from_pretrained(FOLDER)" + ("" if text else f"  # its ids are those of the data; give it {first}"),
    ]
    if text:
        opens += ["said = AutoTokenizer.from_pretrained(FOLDER)", 'model.generate(**said("Once", return_tensors="pt"))']
    files = {
        "config.json": {**config, **ends, "dtype": "float32"},
        "generation_config.json": ends,
        "model.safetensors": safetensors.torch.save(theirs, metadata={"format": "pt"}),
        **text,
    }
    return Left(files, "\n".join(opens))


def _language(system: System) -> tuple[dict[str, Any], Reading]:
    """A configuration of theirs for a language model of ours, and what reading it gives."""
    recipe, has = system.recipe, "of text models, transformers has GPT-2 and LLaMA with its relatives"
    process = recipe.process
    spoken = process is not None and process.make is Autoregress and process.args.get("order", Spec(Raster)).make is Raster
    if not spoken or not isinstance(process.args.get("feed"), Spec) or process.args["feed"].make is not Shift or len(system.codec.space.axes) != 1:
        raise RecipeError(f"{recipe.name} does not say a text token by token; {has}. Write --to onnx or --to torch for one call of any network")
    if recipe.conditions:
        raise RecipeError(f"{recipe.name} is told {', '.join(recipe.conditions)}, and {has}, which are told nothing; write --to onnx or --to torch")
    assert recipe.network is not None
    if not set(recipe.network.args) <= {"width", "init", "embed", "backbone", "head"} or not _shaped(system):
        raise RecipeError(f"{recipe.name} is another network than a stack of attention and MLPs; {has}. Write --to onnx or --to torch")
    found = []
    for read, made in ((language.gpt2, _as_gpt2), (language.llama, _as_llama)):
        config = made(system)
        try:
            reading = read(config)
        except OmniformError as error:  # a number of ours is not to their reader
            raise RecipeError(f"{recipe.name} has no counterpart in transformers: {error}") from error
        other = recipes.get(reading.recipe).but(reading.changes).network
        assert other is not None
        differs = {k: v for k, v in differences(_plain(system, recipe.network), _plain(system, other), "network").items() if k not in _FREE}
        if not differs:
            return config, reading
        found.append((len(differs), reading.of, differs))
    _, of, differs = min(found, key=lambda x: x[0])
    path, (here, there) = next(iter(differs.items()))
    said = [f"{x!r}" if not isinstance(x, Spec) else x.make.__name__ for x in (here, there)]
    raise RecipeError(f"{has}; {recipe.name} comes nearest to {of}, but {path} is {said[0]} here and {said[1]} there. Write --to onnx or --to torch")


_FREE = ("network.init", "network.embed.std", "network.head.small", "network.backbone.rotary.interleaved")
"""What two networks may differ in and be the same once they are trained; the pairs of a rotation are reordered as they leave."""


def _shaped(system: System) -> bool:
    """Whether the numbers that a configuration asks for are to be found."""
    own = system.network.state_dict()
    parts = ("mixer.qkv.each.0.weight", "mixer.out.each.0.weight", "mlp.feed.each.0.up.weight")
    return all(f"towers.main.backbone.blocks.0.{p}" in own for p in parts) and "towers.main.embed.tables.0.weight" in own


def _numbers(system: System) -> dict[str, Any]:
    """What is counted on the modules, where a recipe may leave it to a default."""
    tower = system.network.towers["main"]
    block = tower.backbone.blocks[0]
    return {
        "heads": block.mixer.heads,
        "kv": block.mixer.kv_heads,
        "head_width": block.mixer.head_width,
        "up": block.mlp.feed.each[0].up.weight.shape[0],
        "depth": len(tower.backbone.blocks),
    }


def _plain(system: System, network: Spec) -> Any:
    """A network as nested arguments with every default written out, and with what is counted on the modules in its place."""
    count = _numbers(system)
    made = filled(network)
    block = made.get("backbone", {}).get("block", {})
    block = block if isinstance(block, dict) else {}  # several that take turns are nobody's there
    mixer, mlp = block.get("mixer", {}), block.get("mlp", {})
    if isinstance(mixer, dict):
        mixer["kv_heads"] = mixer.get("kv_heads") or mixer.get("heads")
        mixer["head_width"] = mixer.get("head_width") or made["width"] // mixer["heads"]
    if isinstance(mlp, dict) and "hidden" in mlp:
        mlp["hidden"] = mlp["hidden"] or int(mlp.pop("ratio", 4.0) * made["width"])
        mlp.pop("ratio", None)
    rotary = made.get("backbone", {}).get("rotary")
    if isinstance(rotary, dict) and rotary.get("frequencies") is not None:
        rotary["frequencies"] = [round(f, 12) for f in rotary["frequencies"]]
    assert count["depth"] > 0
    return made


def _at(system: System, path: str, default: Any) -> Any:
    """An argument of the network's Specs by path, or the default of its class."""
    return at(filled(system.recipe.network), path, default)


def _as_gpt2(system: System) -> dict[str, Any]:
    count, space = _numbers(system), system.codec.space
    return {
        "architectures": ["GPT2LMHeadModel"],
        "model_type": "gpt2",
        "vocab_size": space.vocab[0],
        "n_positions": space.length,
        "n_embd": system.network.width,
        "n_layer": count["depth"],
        "n_head": count["heads"],
        "n_inner": count["up"],
        "activation_function": "gelu_new",
        "layer_norm_epsilon": _at(system, "backbone.block.eps", 1e-6),
        "resid_pdrop": float(_at(system, "backbone.block.dropout", 0.0)),
        "embd_pdrop": 0.0,
        "attn_pdrop": 0.0,
        "tie_word_embeddings": bool(_at(system, "head.tied", False)),
    }


def _as_llama(system: System) -> dict[str, Any]:
    count, space = _numbers(system), system.codec.space
    biases = _at(system, "backbone.block.mixer.biases", "qkvo")
    kind = "qwen2" if biases == "qkv" else "llama"
    base = float(_at(system, "backbone.rotary.base", 10000.0))
    return {
        "architectures": ["Qwen2ForCausalLM" if kind == "qwen2" else "LlamaForCausalLM"],
        "model_type": kind,
        "vocab_size": space.vocab[0],
        "max_position_embeddings": space.length,
        "hidden_size": system.network.width,
        "intermediate_size": count["up"] // 2,
        "num_hidden_layers": count["depth"],
        "num_attention_heads": count["heads"],
        "num_key_value_heads": count["kv"],
        "head_dim": count["head_width"],
        "hidden_act": "silu",
        "attention_bias": biases == "qkvo",
        "mlp_bias": bool(_at(system, "backbone.block.mlp.bias", True)),
        "rms_norm_eps": _at(system, "backbone.block.eps", 1e-6),
        "rope_theta": base,
        "rope_parameters": {"rope_theta": base, **_stretched(system, base, count["head_width"])},
        "attention_dropout": 0.0,
        "tie_word_embeddings": bool(_at(system, "head.tied", False)),
    }


def _stretched(system: System, base: float, head_width: int) -> dict[str, Any]:
    """How a context was stretched: by one factor, or by one a pair of the rotation."""
    own, amplitude = _at(system, "backbone.rotary.frequencies", None), float(_at(system, "backbone.rotary.amplitude", 1.0))
    powers = [base ** (-2 * i / head_width) for i in range(head_width // 2)]
    if own is None and amplitude == 1 or len(own or powers) != len(powers):
        return {"rope_type": "default"}
    factors = [f / x for f, x in zip(powers, own or powers, strict=True)]
    if amplitude == 1 and max(factors) - min(factors) < 1e-9 * max(factors):
        return {"rope_type": "linear", "factor": factors[0]}
    each = {"short_factor": factors, "long_factor": factors, "attention_factor": amplitude, "factor": max(factors)}
    return {"rope_type": "longrope", **each, "original_max_position_embeddings": system.codec.space.length}


def _own(system: System, reading: Reading) -> dict[str, Tensor]:
    """Our tensors as the table knows them: pairs of the rotation as halves of a head."""
    own = {n: x for n, x in system.state_dict().items() if n.startswith("network.")}
    if reading.recipe != "llama" or not _at(system, "backbone.rotary.interleaved", False):
        return own
    count = _numbers(system)
    wide = count["head_width"]
    half = torch.cat([torch.arange(0, wide, 2), torch.arange(1, wide, 2)])
    turned = (count["heads"] + count["kv"]) * wide
    order = torch.cat([(torch.arange(0, turned, wide)[:, None] + half).flatten(), torch.arange(turned, turned + count["kv"] * wide)])
    return {n: x[order.to(x.device)] if ".mixer.qkv.each.0." in n else x for n, x in own.items()}


def _marks(system: System) -> tuple[int | None, int | None]:
    """The ids that a sequence begins and ends with; no first one where the first token is always given."""
    space, feed = system.codec.space, system.recipe.process.args["feed"]  # type: ignore[union-attr]
    given = feed.args.get("first") == "given"
    if not given and space.start is None:
        raise RecipeError(f"{system.recipe.name} asks for its first token with nothing before it, which transformers cannot; give its codec a start")
    return (None if given else space.start), space.stop


def _tokenizer(system: System) -> dict[str, Any]:
    """tokenizer.json and its configuration, where the codec is one of text."""
    codec = system.codec
    if isinstance(codec, Pretrained):
        said: dict[str, Any] = {"tokenizer_class": "PreTrainedTokenizerFast", "chat_template": codec.template, **codec.marks}
        return {"tokenizer.json": json.loads(codec.tokenizer), "tokenizer_config.json": {k: v for k, v in said.items() if v}}
    if isinstance(codec, Bytes):
        ordered = _alphabet()
        model = Tokenizer(models.BPE(vocab={letter: i for i, letter in enumerate(ordered)}, merges=[]))
        model.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
        model.decoder = decoders.ByteLevel()
    elif isinstance(codec, BPE):
        model = Tokenizer.from_str(codec.tokenizer)
    else:
        return {}
    start, stop = codec.space.start, codec.space.stop
    model.add_special_tokens([AddedToken(STOP, special=True, normalized=False), AddedToken(START, special=True, normalized=False)])
    if (model.token_to_id(START), model.token_to_id(STOP)) != (start, stop):
        raise RecipeError(f"the tokenizer of {system.recipe.name} has {START} or {STOP} among its pieces already; train it on other text")
    model.post_processor = processors.TemplateProcessing(single=f"{START} $A", special_tokens=[(START, start)])
    said = {"tokenizer_class": "PreTrainedTokenizerFast", "bos_token": START, "eos_token": STOP, "pad_token": STOP, "clean_up_tokenization_spaces": False}
    return {"tokenizer.json": json.loads(model.to_str()), "tokenizer_config.json": {**said, "model_max_length": codec.space.length}}


def _alphabet() -> list[str]:
    """The letter that stands for each byte in a byte-level tokenizer: itself where it can be printed, else one from 256 on (GPT-2's code)."""
    printed = {*range(33, 127), *range(161, 173), *range(174, 256)}
    others = iter(range(256, 512))
    return [chr(b) if b in printed else chr(next(others)) for b in range(256)]


TARGETS: dict[str, Callable[[System], Left]] = {
    "transformers": to_transformers,
    "diffusers": to_diffusers,
    "torch": lambda system: Left(*as_program(system)),
    "onnx": lambda system: Left(*as_onnx(system)),
}
"""Where a system can go."""
_LIBRARY = {"transformers": "transformers", "diffusers": "diffusers", "torch": "pytorch", "onnx": "onnx"}
"""How the hub calls what opens it."""
