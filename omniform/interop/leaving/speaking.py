"""Text models as folders of the `transformers` library: what a configuration says is read back first, and must be the very network that leaves.

An architecture is one row of `SPEAKERS`; how it speaks (token by token, by filling in, in answer to a text) one of `_KINDS`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from omniform.codecs.pretrained import Pretrained
from omniform.conditions.source import SourceText
from omniform.core.codec import Codec
from omniform.core.errors import RecipeError
from omniform.core.order import Raster
from omniform.core.spec import Spec
from omniform.interop import bert, language, t5
from omniform.interop.leaving.comparing import OTHER, Left, at, fitted, nearest_of, network_of, plain
from omniform.interop.leaving.spelling import MASK, START, STOP, spelled
from omniform.interop.ties import Reading
from omniform.processes.autoregress import Autoregress
from omniform.processes.feeds import Shift
from omniform.processes.masked import Masked
from omniform.system.system import CodecSystem, System

HAS = "of text models, transformers has GPT-2, LLaMA with its relatives, Mamba, BERT and T5 here"
_ROTATION = "backbone.rotary."


def to_transformers(system: System | CodecSystem) -> Left:
    """config.json, model.safetensors, and the tokenizer where the codec is one of text; generation_config.json where it goes on by itself."""
    import safetensors.torch

    if not isinstance(system, System):
        raise RecipeError(f"{system.recipe.name} is a codec alone, and {HAS}; of codecs, --to diffusers has some")
    kind, recipe = _kind(system), system.recipe
    mine, files = network_of(recipe, 1), spelled(system.codec, recipe.name, kind.marks, kind.form)
    ends, text = kind.ends(system), _read(system.codec, files)
    rows = [row for row in SPEAKERS if row.kind is kind and isinstance(at(mine, row.shows), int)]
    if not rows:
        raise RecipeError(f"{recipe.name} is another network than a stack of what those have; {HAS}; {OTHER}")
    configs = {row.of: {**row.written(system, mine), **ends} for row in rows}
    fits = [fitted(row.of, recipe, 1, configs[row.of], lambda config, row=row: row.read(config, text), row.free) for row in rows]  # type: ignore[misc]
    fit = nearest_of(recipe, HAS, fits)
    assert fit.reading is not None
    theirs = {name: x.detach().cpu().clone() for name, x in fit.reading.table.theirs(_own(system, mine, fit.reading)).items()}
    files |= {"config.json": {**fit.config, "dtype": "float32"}, "model.safetensors": safetensors.torch.save(theirs, metadata={"format": "pt"})}
    files |= {"generation_config.json": ends} if kind.goes_on else {}
    return Left(files, "\n".join(kind.opens(system, "tokenizer.json" in files)))


def _read(codec: Codec, files: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """What a reader hears of the tokenizer that is written."""
    if "tokenizer.json" not in files:
        return None
    text = codec.tokenizer if isinstance(codec, Pretrained) else json.dumps(files["tokenizer.json"])
    return {"tokenizer": text, "stop": codec.space.stop, "marks": {"mask_token": files["tokenizer_config.json"].get("mask_token", "[MASK]")}}


def _own(system: System, mine: Any, reading: Reading) -> dict[str, Tensor]:
    """Our tensors as the table knows them: pairs of a rotation as halves of a head."""
    names = {tie.ours for tie in reading.table.ties}
    own = {n: x for n, x in system.state_dict().items() if n in names}
    if not at(mine, _ROTATION + "interleaved", False):
        return own
    heads, kv, wide = (at(mine, f"backbone.block.mixer.{n}") for n in ("heads", "kv_heads", "head_width"))
    half = torch.cat([torch.arange(0, wide, 2), torch.arange(1, wide, 2)])
    turned = (heads + kv) * wide
    order = torch.cat([(torch.arange(0, turned, wide)[:, None] + half).flatten(), torch.arange(turned, turned + kv * wide)])
    return {n: x[order.to(x.device)] if ".mixer.qkv.each.0." in n else x for n, x in own.items()}


# ---- how it speaks ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Kind:
    """spoken: whether a process is of the kind. told: classes of what it is told. marks, form: how the two ids behind a codec's pieces are written, and a text
    among them. ends: ids that a configuration names. goes_on: whether it writes on by itself. opens: lines of Python, with a tokenizer or without."""

    spoken: Callable[[Spec], bool]
    told: tuple[type, ...]
    marks: tuple[str, str]
    form: str
    ends: Callable[[System], dict[str, Any]]
    goes_on: bool
    opens: Callable[[System, bool], list[str]]


def _in_turn(process: Spec) -> bool:
    feed = process.args.get("feed")
    ordered = process.make is Autoregress and process.args.get("order", Spec(Raster)).make is Raster
    return ordered and isinstance(feed, Spec) and feed.make is Shift


def _first(system: System) -> int | None:
    """The id that a sequence begins with; none where the first token is always given."""
    given = system.recipe.process.args["feed"].args.get("first") == "given"  # type: ignore[union-attr]
    if not given and system.codec.space.start is None:
        raise RecipeError(f"{system.recipe.name} asks for its first token with nothing before it, which transformers cannot; give its codec a start")
    return None if given else system.codec.space.start


def _said_ends(system: System) -> dict[str, Any]:
    start, stop = _first(system), system.codec.space.stop
    return {"bos_token_id": start, "eos_token_id": stop, "pad_token_id": stop}


def _answered_ends(system: System) -> dict[str, Any]:
    (source,) = (part for part in system.conditioning.parts.values() if isinstance(part, SourceText))
    start, stop, read = _first(system), system.codec.space.stop, source.codec.space
    if type(source.codec) is not type(system.codec) or (read.vocab, read.stop) != (system.codec.space.vocab, stop):
        raise RecipeError(f"{system.recipe.name} reads its source by another codec than it writes by, and T5 has one; give both the same")
    if start is None or stop is None:
        raise RecipeError(f"{system.recipe.name} has no id that an answer begins with and one that ends it, and T5 has both; give its codec a start and a stop")
    even = len(source.encoder.blocks) == len(system.network.towers["main"].backbone.blocks)  # transformers 5 has a cache for each block of the encoder
    return {"decoder_start_token_id": start, "eos_token_id": stop, "pad_token_id": stop, "use_cache": even}


def _begins(system: System) -> str:
    first = _first(system)
    return "a first token of the prompt" if first is None else f"the id {first}, which every sequence begins with"


def _goes_on(auto: str, prompt: str, needs: Callable[[System], str]) -> Callable[[System, bool], list[str]]:
    """needs: what a model without a tokenizer is given."""

    def lines(system: System, text: bool) -> list[str]:
        if not text:
            return [f"from transformers import {auto}", f"model = {auto}.from_pretrained(FOLDER)  # its ids are those of the data; give it {needs(system)}"]
        return [
            f"from transformers import {auto}, AutoTokenizer",
            f"model, tokenizer = {auto}.from_pretrained(FOLDER), AutoTokenizer.from_pretrained(FOLDER)",
            f'ids = model.generate(**tokenizer("{prompt}", return_tensors="pt"), do_sample=False)',
            "print(tokenizer.decode(ids[0], skip_special_tokens=True))",
        ]

    return lines


def _fills_in(system: System, text: bool) -> list[str]:
    auto = "AutoModelForMaskedLM"
    if not text:
        mask = system.network.towers["main"].embed.mask_id
        return [f"from transformers import {auto}", f"model = {auto}.from_pretrained(FOLDER)  # its ids are those of the data; {mask} where one is hidden"]
    return [
        f"from transformers import {auto}, AutoTokenizer",
        f"model, tokenizer = {auto}.from_pretrained(FOLDER), AutoTokenizer.from_pretrained(FOLDER)",
        'said = tokenizer(f"Once {tokenizer.mask_token} a time", return_tensors="pt")',
        'hidden = said["input_ids"][0] == tokenizer.mask_token_id',
        "print(tokenizer.decode(model(**said).logits[0, hidden].argmax(-1)))",
    ]


SAYS = _Kind(_in_turn, (), (STOP, START), f"{START} $A", _said_ends, True, _goes_on("AutoModelForCausalLM", "Once", _begins))
_READS = _goes_on("AutoModelForSeq2SeqLM", "Once", lambda system: "a text to read")
ANSWERS = _Kind(_in_turn, (SourceText,), (STOP, START), f"$A {STOP}", _answered_ends, True, _READS)
FILLS = _Kind(
    lambda process: process.make is Masked,
    (),
    (STOP, MASK),
    f"$A {STOP}",
    lambda system: {"eos_token_id": system.codec.space.stop, "pad_token_id": system.codec.space.stop},
    False,
    _fills_in,
)
_KINDS = (SAYS, ANSWERS, FILLS)


def _kind(system: System) -> _Kind:
    """How a system speaks, if it is one of text."""
    recipe, space = system.recipe, system.codec.space
    assert recipe.process is not None
    kinds = [kind for kind in _KINDS if kind.spoken(recipe.process)]
    if not kinds or len(space.axes) != 1 or len(space.vocab) != 1:
        raise RecipeError(f"{recipe.name} neither says a text token by token nor fills in what of one is hidden; {HAS}; {OTHER}")
    told = tuple(spec.make for spec, _ in recipe.conditions.values())
    for kind in kinds:
        if kind.told == told:
            return kind
    raise RecipeError(f"{recipe.name} is told {', '.join(recipe.conditions)}, and {HAS}, which are told nothing, or read a text (T5); {OTHER}")


# ---- configurations --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Speaker:
    """An architecture of transformers. shows: where such a network has a number. read: its reader, told the tokenizer. written: a configuration, from a
    system and its network as plain data. free: what that may say otherwise and be the same."""

    of: str
    kind: _Kind
    shows: str
    read: Callable[[Mapping[str, Any], Mapping[str, Any] | None], Reading]
    written: Callable[[System, Any], dict[str, Any]]
    free: tuple[str, ...] = ()


def _as_gpt2(system: System, mine: Any) -> dict[str, Any]:
    space = system.codec.space
    return {
        "architectures": ["GPT2LMHeadModel"],
        "model_type": "gpt2",
        "vocab_size": space.vocab[0],
        "n_positions": space.length,
        "n_embd": mine["width"],
        "n_layer": at(mine, "backbone.depth"),
        "n_head": at(mine, "backbone.block.mixer.heads"),
        "n_inner": at(mine, "backbone.block.mlp.hidden"),
        "activation_function": "gelu_new",
        "layer_norm_epsilon": at(mine, "backbone.block.eps"),
        "resid_pdrop": float(at(mine, "backbone.block.dropout", 0.0)),
        "embd_pdrop": 0.0,
        "attn_pdrop": 0.0,
        "tie_word_embeddings": bool(at(mine, "head.tied", False)),
    }


def _as_llama(system: System, mine: Any) -> dict[str, Any]:
    space, mixer = system.codec.space, at(mine, "backbone.block.mixer")
    wide, window = mixer.get("head_width") or mine["width"] // mixer["heads"], at(mine, "backbone.relative.size")
    kind = "qwen2" if mixer.get("biases") == "qkv" else "llama" if window is None else "mistral"
    seen = {"mistral": {"sliding_window": window}, "qwen2": {"sliding_window": window, "use_sliding_window": window is not None, "max_window_layers": 0}}
    base = float(at(mine, _ROTATION + "base", 10000.0))
    return {
        "architectures": [f"{kind.capitalize()}ForCausalLM"],
        "model_type": kind,
        "vocab_size": space.vocab[0],
        "max_position_embeddings": space.length,
        "hidden_size": mine["width"],
        "intermediate_size": at(mine, "backbone.block.mlp.hidden"),
        "num_hidden_layers": at(mine, "backbone.depth"),
        "num_attention_heads": mixer["heads"],
        "num_key_value_heads": mixer.get("kv_heads"),
        "head_dim": wide,
        "hidden_act": "silu",
        "attention_bias": mixer.get("biases") == "qkvo",
        "mlp_bias": bool(at(mine, "backbone.block.mlp.bias", True)),
        "rms_norm_eps": at(mine, "backbone.block.eps"),
        "rope_theta": base,
        "rope_parameters": {"rope_theta": base, **_stretched(space.length, mine, base, wide)},
        "attention_dropout": 0.0,
        **seen.get(kind, {}),
        "tie_word_embeddings": bool(at(mine, "head.tied", False)),
    }


def _stretched(length: int, mine: Any, base: float, head_width: int) -> dict[str, Any]:
    """How a context was stretched: by one factor, or by one a pair of the rotation."""
    own, amplitude = at(mine, _ROTATION + "frequencies"), float(at(mine, _ROTATION + "amplitude", 1.0))
    powers = [base ** (-2 * i / head_width) for i in range(head_width // 2)]
    if own is None and amplitude == 1 or len(own or powers) != len(powers):
        return {"rope_type": "default"}
    factors = [f / x for f, x in zip(powers, own or powers, strict=True)]
    if amplitude == 1 and max(factors) - min(factors) < 1e-9 * max(factors):
        return {"rope_type": "linear", "factor": factors[0]}
    each = {"short_factor": factors, "long_factor": factors, "attention_factor": amplitude, "factor": max(factors)}
    return {"rope_type": "longrope", **each, "original_max_position_embeddings": length}


def _as_mamba(system: System, mine: Any) -> dict[str, Any]:
    mixer = at(mine, "backbone.block.mixer")
    return {
        "architectures": ["MambaForCausalLM"],
        "model_type": "mamba",
        "vocab_size": system.codec.space.vocab[0],
        "hidden_size": mine["width"],
        "num_hidden_layers": at(mine, "backbone.depth"),
        "state_size": mixer["states"],
        "expand": mixer["expand"],
        "intermediate_size": mixer["expand"] * mine["width"],
        "conv_kernel": mixer["taps"],
        "time_step_rank": mixer["rank"],
        "use_bias": mixer["bias"],
        "use_conv_bias": True,
        "hidden_act": "silu",
        "layer_norm_epsilon": at(mine, "backbone.block.eps"),
        "tie_word_embeddings": bool(at(mine, "head.tied", False)),
    }


def _as_bert(system: System, mine: Any) -> dict[str, Any]:
    exact = at(mine, "backbone.block.mlp.activation") == "gelu"
    return {
        "architectures": ["BertForMaskedLM"],
        "model_type": "bert",
        "vocab_size": system.codec.space.vocab[0],
        "hidden_size": mine["width"],
        "num_hidden_layers": at(mine, "backbone.depth"),
        "num_attention_heads": at(mine, "backbone.block.mixer.heads"),
        "intermediate_size": at(mine, "backbone.block.mlp.hidden"),
        "hidden_act": "gelu" if exact else "gelu_new",
        "hidden_dropout_prob": at(mine, "backbone.block.dropout", 0.0),
        "attention_probs_dropout_prob": 0.0,
        "max_position_embeddings": system.codec.space.length,
        "type_vocab_size": max(at(mine, "embed.kinds", 0), 1),
        "layer_norm_eps": at(mine, "backbone.block.eps"),
        "tie_word_embeddings": bool(at(mine, "head.tied", False)),
    }


def _as_t5(system: System, mine: Any) -> dict[str, Any]:
    (encoder,) = (at(plain(spec, mine["width"]), "encoder") for spec, _ in system.recipe.conditions.values())
    gates = {ours: theirs for theirs, ours in t5.MLPS.items()}
    return {
        "architectures": ["T5ForConditionalGeneration"],
        "model_type": "t5",
        "is_encoder_decoder": True,
        "vocab_size": system.codec.space.vocab[0],
        "n_positions": system.codec.space.length,
        "d_model": mine["width"],
        "d_kv": at(mine, "backbone.block.mixer.head_width"),
        "d_ff": at(mine, "backbone.block.mlp.hidden"),
        "num_layers": at(encoder, "depth"),
        "num_decoder_layers": at(mine, "backbone.depth"),
        "num_heads": at(mine, "backbone.block.mixer.heads"),
        "relative_attention_num_buckets": at(mine, "backbone.relative.buckets"),
        "relative_attention_max_distance": at(mine, "backbone.relative.reach"),
        "dropout_rate": at(mine, "backbone.block.dropout", 0.0),
        "layer_norm_epsilon": at(mine, "backbone.block.eps"),
        "feed_forward_proj": gates.get(at(mine, "backbone.block.mlp.activation"), "relu"),
        "tie_word_embeddings": bool(at(mine, "head.scaled", False)),
    }


_ATTENDS, _TURNED = "backbone.block.mixer.heads", ("network." + _ROTATION + "interleaved",)
SPEAKERS = (
    Speaker("GPT-2", SAYS, _ATTENDS, language.gpt2, _as_gpt2),
    Speaker("LLaMA", SAYS, _ATTENDS, language.llama, _as_llama, _TURNED),
    Speaker("Mamba", SAYS, "backbone.block.mixer.states", language.mamba, _as_mamba),
    Speaker("BERT", FILLS, _ATTENDS, bert.bert, _as_bert),
    Speaker("T5", ANSWERS, _ATTENDS, t5.t5, _as_t5),
)
"""Every text model that leaves; pairs of a rotation are reordered as they do."""
