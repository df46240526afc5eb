"""Text models of the `transformers` library and of GGUF files: GPT-2, LLaMA with its relatives (SmolLM2, Mistral, Qwen2), and Mamba, as our recipes."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from ..backbones.positions import SlidingWindow
from ..codecs.ids import Ids
from ..codecs.pretrained import Pretrained
from ..core.errors import CheckpointError, nearest
from ..core.spec import Spec
from ..processes.feeds import Shift
from .gguf import Gguf
from .ties import Reading, Table, Tie, joined, layers, linear, same, shaped, transposed

DEEPEST, LONGEST = 1000, 1 << 21
"""Blocks and places that a configuration is believed to ask for (ours): both are counted one by one before any weight is looked at."""
_MAIN = "network.towers.main."
_BLOCK = _MAIN + "backbone.blocks.{}."


class Asked:
    """A configuration that is read once, with every value checked for its kind, and refused where it asks for what is not built here."""

    def __init__(self, config: Mapping[str, Any], of: str):
        self.config, self.of = config, of

    def __call__(self, name: str, kind: type | tuple[type, ...], default: Any = None, *, null: bool = False, most: int = 1 << 24) -> Any:
        value = self.config.get(name)
        value = default if value is None else value
        if value is None and null:
            return None
        if kind is float and isinstance(value, int) and not isinstance(value, bool):
            value = float(value)
        if not isinstance(value, kind) or isinstance(value, bool) and kind is int:
            raise CheckpointError(f"{self.of}: its configuration says {name} is {value!r}, which is not what is expected there; fetch it again")
        if kind is int and not 0 < value <= most or kind is float and not math.isfinite(value):
            raise CheckpointError(f"{self.of}: its configuration says {name} is {value}, which nothing has; fetch it again")
        return value

    def only(self, name: str, allowed: Sequence[Any], default: Any = None) -> Any:
        """A setting of which only some values are built here."""
        value = self.config.get(name, default)
        if value not in allowed:
            raise CheckpointError(f"{self.of} has {name}={value!r} and {', '.join(map(repr, allowed))} is what is built here; use a checkpoint without it")
        return value


def _text(vocab: int, length: int, text: Mapping[str, Any] | None) -> dict[str, Any]:
    """The codec, and a feed that begins with what is given: such a model is never asked for its first token."""
    codec = Spec(Ids, {"vocab": vocab}) if text is None else Spec(Pretrained, {**text, "vocab": vocab})
    return {"codec": codec, "shape": (length,), "process.feed": Spec(Shift, {"first": "given"})}


# ---- GPT-2 ----------------------------------------------------------------------------------------------------------


def gpt2(config: Mapping[str, Any], text: Mapping[str, Any] | None = None) -> Reading:
    """GPT2LMHeadModel."""
    asked = Asked(config, "GPT-2")
    asked.only("activation_function", ("gelu_new", "gelu_pytorch_tanh"), "gelu_new")
    for name, usual in (("scale_attn_weights", True), ("scale_attn_by_inverse_layer_idx", False), ("add_cross_attention", False)):
        asked.only(name, (usual,), usual)
    width, depth = asked("n_embd", int, 768), asked("n_layer", int, 12, most=DEEPEST)
    tied = asked("tie_word_embeddings", bool, True)
    vocab = asked("vocab_size", int, 50257)
    changes = {
        **_text(vocab, asked("n_positions", int, 1024, most=LONGEST), text),
        "network.width": width,
        "network.backbone.depth": depth,
        "network.backbone.eps": asked("layer_norm_epsilon", float, 1e-5),
        "network.backbone.block.eps": asked("layer_norm_epsilon", float, 1e-5),
        "network.backbone.block.dropout": asked("resid_pdrop", float, 0.1),
        "network.backbone.block.mixer.heads": asked("n_head", int, 12),
        "network.backbone.block.mlp.hidden": asked("n_inner", int, 4 * width),
        "network.head.tied": tied,
    }

    def block(i: int) -> list[Tie]:
        ours, theirs = _BLOCK.format(i), f"transformer.h.{i}."
        named = (
            ("mixer.qkv.each.0", "attn.c_attn"),
            ("mixer.out.each.0", "attn.c_proj"),
            ("mlp.feed.each.0.up", "mlp.c_fc"),
            ("mlp.feed.each.0.down", "mlp.c_proj"),
        )
        ties = [t for a, b in named for t in (transposed(f"{ours}{a}.weight", f"{theirs}{b}.weight"), same(f"{ours}{a}.bias", f"{theirs}{b}.bias"))]
        return ties + [same(f"{ours}{a}.{x}", f"{theirs}{b}.{x}") for a, b in (("norm_mixer", "ln_1"), ("norm_mlp", "ln_2")) for x in ("weight", "bias")]

    ties = (
        same(_MAIN + "embed.tables.0.weight", "transformer.wte.weight"),
        same(_MAIN + "embed.positions.0.table", "transformer.wpe.weight"),
        *layers(depth, block),
        *(same(_MAIN + f"backbone.final.{x}", f"transformer.ln_f.{x}") for x in ("weight", "bias")),
        *(() if tied else (same(_MAIN + "head.out.weight", "lm_head.weight"),)),
    )
    masks = (r"transformer\.h\.\d+\.attn\.(masked_)?bias", "the causal mask, which is computed")
    return Reading("GPT-2", "gpt", changes, Table("GPT-2", ties, (masks, *_tied(tied))))


def _tied(tied: bool) -> tuple[tuple[str, str], ...]:
    return ((r"lm_head\.weight", "a copy of the embedding"),) if tied else ()


# ---- LLaMA and its relatives -----------------------------------------------------------------------------------------


def llama(config: Mapping[str, Any], text: Mapping[str, Any] | None = None) -> Reading:
    """LlamaForCausalLM, MistralForCausalLM, Qwen2ForCausalLM: they differ in biases, in who is grouped, and in how far they look."""
    kind = str(config.get("model_type", "llama"))
    of = {"llama": "LLaMA", "mistral": "Mistral", "qwen2": "Qwen2"}[kind]
    asked = Asked(config, of)
    asked.only("hidden_act", ("silu",), "silu")
    width, heads = asked("hidden_size", int, 4096), asked("num_attention_heads", int, 32)
    tied = asked("tie_word_embeddings", bool, False)
    length = asked("max_position_embeddings", int, 2048, most=LONGEST)
    length, window = _seen(asked, kind, length)
    biases = "qkv" if kind == "qwen2" else "qkvo" if asked("attention_bias", bool, False) else ""
    head_width = asked("head_dim", int, width // heads)
    eps = asked("rms_norm_eps", float, 1e-6)
    mlp_bias = asked("mlp_bias", bool, False)
    changes = {
        **_text(asked("vocab_size", int, 32000), length, text),
        "network.width": width,
        "network.backbone.depth": asked("num_hidden_layers", int, 32, most=DEEPEST),
        "network.backbone.eps": eps,
        "network.backbone.block.eps": eps,
        **{f"network.backbone.rotary.{k}": v for k, v in rotary(config, head_width, of).items()},
        "network.backbone.block.mixer.heads": heads,
        "network.backbone.block.mixer.kv_heads": asked("num_key_value_heads", int, heads),
        "network.backbone.block.mixer.head_width": head_width,
        "network.backbone.block.mixer.biases": biases,
        "network.backbone.block.mlp.hidden": asked("intermediate_size", int, 11008),
        "network.backbone.block.mlp.bias": mlp_bias,
        "network.head.tied": tied,
        **({} if window is None else {"network.backbone.relative": Spec(SlidingWindow, {"size": window})}),
    }
    return _llama(of, changes, biases, mlp_bias, _HUB)


def _seen(asked: Asked, kind: str, length: int) -> tuple[int, int | None]:
    """The longest context, and how far back its places look, if not to its beginning. Where some layers look further than others it ends where that would
    begin to matter."""
    none = asked.config.get("sliding_window", length) is None
    if none or kind != "mistral" and not asked("use_sliding_window", bool, False):
        return length, None
    depth, window = asked("num_hidden_layers", int, 32, most=DEEPEST), asked("sliding_window", int, 4096)
    first = 0 if asked.config.get("max_window_layers") == 0 else asked("max_window_layers", int, 28)
    said = asked("layer_types", (list, tuple), ["sliding_attention" if kind == "mistral" or i >= first else "full_attention" for i in range(depth)])
    near = [layer == "sliding_attention" for layer in said]
    if window >= length or not any(near):
        return length, None
    return (length, window) if all(near) else (window, None)


_HUB = {
    "table": "model.embed_tokens",
    "block": "model.layers.{}.",
    "q": "self_attn.q_proj",
    "k": "self_attn.k_proj",
    "v": "self_attn.v_proj",
    "o": "self_attn.o_proj",
    "gate": "mlp.gate_proj",
    "up": "mlp.up_proj",
    "down": "mlp.down_proj",
    "norm_mixer": "input_layernorm",
    "norm_mlp": "post_attention_layernorm",
    "final": "model.norm",
    "out": "lm_head",
}
_GGUF = {
    "table": "token_embd",
    "block": "blk.{}.",
    "q": "attn_q",
    "k": "attn_k",
    "v": "attn_v",
    "o": "attn_output",
    "gate": "ffn_gate",
    "up": "ffn_up",
    "down": "ffn_down",
    "norm_mixer": "attn_norm",
    "norm_mlp": "ffn_norm",
    "final": "output_norm",
    "out": "output",
}


def _llama(of: str, changes: Mapping[str, Any], biases: str, mlp_bias: bool, names: Mapping[str, str]) -> Reading:
    heads, kv = changes["network.backbone.block.mixer.heads"], changes["network.backbone.block.mixer.kv_heads"]
    sizes = [n * changes["network.backbone.block.mixer.head_width"] for n in (heads, kv, kv)]

    def block(i: int) -> list[Tie]:
        ours, theirs = _BLOCK.format(i), names["block"].format(i)
        said = lambda part, x: f"{theirs}{names[part]}.{x}"  # noqa: E731
        ties = [joined(f"{ours}mixer.qkv.each.0.{x}", [said(p, x) for p in "qkv"], sizes) for x in ("weight", *(["bias"] if "q" in biases else []))]
        ties += [same(f"{ours}mixer.out.each.0.{x}", said("o", x)) for x in ("weight", *(["bias"] if "o" in biases else []))]
        for x in ("weight", *(["bias"] if mlp_bias else [])):
            ties += [joined(f"{ours}mlp.feed.each.0.up.{x}", [said("gate", x), said("up", x)]), same(f"{ours}mlp.feed.each.0.down.{x}", said("down", x))]
        return ties + [same(f"{ours}{p}.weight", said(p, "weight")) for p in ("norm_mixer", "norm_mlp")]

    tied = changes["network.head.tied"]
    ties = (
        same(_MAIN + "embed.tables.0.weight", names["table"] + ".weight"),
        *layers(changes["network.backbone.depth"], block),
        same(_MAIN + "backbone.final.weight", names["final"] + ".weight"),
        *(() if tied else (same(_MAIN + "head.out.weight", names["out"] + ".weight"),)),
    )
    computed = ((r".*rotary_emb\.inv_freq", "frequencies, which are computed"), (r"rope_freqs\.weight", "frequencies, which are computed"))
    return Reading(of, "llama", changes, Table(of, ties, (*computed, *_tied(tied))))


def rotary(config: Mapping[str, Any], head_width: int, of: str) -> dict[str, Any]:
    """Arguments of positions.Rotary: pairs are halves. A context that was stretched has its frequencies written out."""
    asked = Asked(config, of)
    scaling = dict(config.get("rope_scaling") or config.get("rope_parameters") or {})
    base = scaling.get("rope_theta") or asked("rope_theta", float, 10000.0)
    made = {"head_width": head_width, "base": float(base), "interleaved": False}
    kind = scaling.get("rope_type", scaling.get("type", "default"))
    if kind == "default":
        return made
    frequency = [base ** (-2 * i / head_width) for i in range(head_width // 2)]
    inner = Asked(scaling, f"{of} (rope scaling {kind})")
    if kind == "longrope":
        return {**made, **_long(frequency, inner)}
    if kind not in ("linear", "llama3", "yarn"):
        raise CheckpointError(f"{of}: its context is stretched by {kind!r}; {nearest(str(kind), ('linear', 'llama3', 'yarn', 'longrope'))}")
    factor = inner("factor", float)
    if kind == "linear":
        return {**made, "frequencies": tuple(f / factor for f in frequency)}
    length = inner("original_max_position_embeddings", int, asked("max_position_embeddings", int, 2048) if kind == "yarn" else None)
    if kind == "llama3":
        low, high = inner("low_freq_factor", float), inner("high_freq_factor", float)
        return {**made, "frequencies": tuple(_llama3(f, factor, low, high, length) for f in frequency)}
    return {**made, **_yarn(frequency, inner, factor, float(base), head_width, length)}


def _long(frequency: Sequence[float], asked: Asked) -> dict[str, Any]:
    """LongRoPE (arXiv:2402.13753): a factor a pair. Others for longer texts than the first context would change places that were read already: refused."""
    short, long = (list(asked(f"{length}_factor", (list, tuple))) for length in ("short", "long"))
    if short != long or len(short) != len(frequency) or not all(isinstance(x, int | float) and 0 < x < math.inf for x in short):
        raise CheckpointError(f"{asked.of} has other factors for short texts than for long ones, or not one a pair; one for each of {len(frequency)} is read")
    amplitude = asked("attention_factor", float, 1.0)
    return {"frequencies": tuple(f / factor for f, factor in zip(frequency, short, strict=True)), "amplitude": amplitude}


def _llama3(frequency: float, factor: float, low: float, high: float, length: int) -> float:
    """Llama 3.1 (arXiv:2407.21783, section 3.4.2, and its code): long waves are slowed, short ones left, those between blended."""
    turns = length * frequency / (2 * math.pi)
    blend = min(max((turns - low) / (high - low), 0.0), 1.0)
    return frequency * ((1 - blend) / factor + blend)


def _yarn(frequency: Sequence[float], asked: Asked, factor: float, base: float, head_width: int, length: int) -> dict[str, Any]:
    """YaRN (arXiv:2309.00071, section 3.2): a ramp over the pairs between those that turn beta_fast and beta_slow times in the first context."""

    def pair(turns: float) -> float:
        return head_width * math.log(length / (turns * 2 * math.pi)) / (2 * math.log(base))

    fast, slow = pair(asked("beta_fast", float, 32.0)), pair(asked("beta_slow", float, 1.0))
    if asked("truncate", bool, True):
        fast, slow = math.floor(fast), math.ceil(slow)
    fast, slow = max(fast, 0), min(slow, head_width - 1)
    slow = slow + 0.001 if slow == fast else slow
    ramp = [min(max((i - fast) / (slow - fast), 0.0), 1.0) for i in range(len(frequency))]
    asked.only("mscale", (None,))
    amplitude = asked("attention_factor", float, 0.1 * math.log(factor) + 1.0 if factor > 1 else 1.0)
    return {"frequencies": tuple(f * (r / factor + 1 - r) for f, r in zip(frequency, ramp, strict=True)), "amplitude": amplitude}


# ---- Mamba -----------------------------------------------------------------------------------------------------------


def mamba(config: Mapping[str, Any], text: Mapping[str, Any] | None = None) -> Reading:
    """MambaForCausalLM. No config says how long its texts are, and none need be: 2048 tokens, as it was trained."""
    asked = Asked(config, "Mamba")
    asked.only("hidden_act", ("silu",), "silu")
    asked.only("use_conv_bias", (True,), True)
    width, depth = asked("hidden_size", int, 768), asked("num_hidden_layers", int, 32, most=DEEPEST)
    tied, bias = asked("tie_word_embeddings", bool, True), asked("use_bias", bool, False)
    expand, taps = asked("expand", int, 2, most=1 << 10), asked("conv_kernel", int, 4, most=1 << 10)
    asked.only("intermediate_size", (expand * width, None))
    rank = config.get("time_step_rank", "auto")
    eps, inner, mixer = asked("layer_norm_epsilon", float, 1e-5), expand * width, "network.backbone.block.mixer."
    changes = {
        **_text(asked("vocab_size", int, 50280), 2048, text),
        "network.width": width,
        "network.backbone.depth": depth,
        "network.backbone.eps": eps,
        "network.backbone.block.eps": eps,
        mixer + "states": asked("state_size", int, 16, most=1 << 16),
        mixer + "expand": expand,
        mixer + "taps": taps,
        mixer + "rank": math.ceil(width / 16) if rank == "auto" else asked("time_step_rank", int),
        mixer + "bias": bias,
        "network.head.tied": tied,
    }

    def block(i: int) -> list[Tie]:
        ours, theirs = _BLOCK.format(i) + "mixer.", f"backbone.layers.{i}.mixer."
        named = (("rate", "dt_proj.weight"), ("rate_bias", "dt_proj.bias"), ("decay", "A_log"), ("skip", "D"), ("conv.bias", "conv1d.bias"))
        conv = shaped(ours + "conv.weight", theirs + "conv1d.weight", (inner, taps), (inner, 1, taps))  # ours begin with the newest place
        return [
            same(f"{_BLOCK.format(i)}norm_mixer.weight", f"backbone.layers.{i}.norm.weight"),
            *linear(ours + "enter", theirs + "in_proj", bias),
            *linear(ours + "says", theirs + "x_proj", False),
            *linear(ours + "out", theirs + "out_proj", bias),
            *(same(ours + a, theirs + b) for a, b in named),
            conv.then(lambda x: x.flip(1).T, lambda x: x.T.flip(1)),
        ]

    ties = (
        same(_MAIN + "embed.tables.0.weight", "backbone.embeddings.weight"),
        *layers(depth, block),
        same(_MAIN + "backbone.final.weight", "backbone.norm_f.weight"),
        *(() if tied else (same(_MAIN + "head.out.weight", "lm_head.weight"),)),
    )
    return Reading("Mamba", "mamba", changes, Table("Mamba", ties, _tied(tied)))


# ---- GGUF ------------------------------------------------------------------------------------------------------------


def gguf_llama(file: Gguf, text: Mapping[str, Any] | None) -> Reading:
    """A LLaMA in a GGUF file. Its queries and keys are stored so that pairs of the rotation are neighbours."""
    get, of = file.get, "LLaMA (GGUF)"
    width, heads = get("{arch}.embedding_length", int), get("{arch}.attention.head_count", int)
    head_width = get("{arch}.attention.key_length", int, width // max(heads, 1))
    if get("{arch}.rope.scaling.type", str, "none") not in ("none", ""):
        raise CheckpointError(f"{file.where}: its context is stretched by rope scaling, which is not read from GGUF; use the model's original folder")
    if "rope_freqs.weight" in file.weights.shapes:
        raise CheckpointError(f"{file.where} brings frequencies of its own (rope_freqs), which are not read; use its original folder")
    if "token_embd.weight" not in file.weights.shapes:
        raise CheckpointError(f"{file.where} has no 'token_embd.weight'; was it converted to the end?")
    biased = "blk.0.attn_q.bias" in file.weights.shapes
    tied = "output.weight" not in file.weights.shapes
    eps = get("{arch}.attention.layer_norm_rms_epsilon", float)
    changes = {
        **_text(file.weights.shapes["token_embd.weight"][0], min(get("{arch}.context_length", int), LONGEST), text),
        "network.width": width,
        "network.backbone.depth": min(get("{arch}.block_count", int), DEEPEST),
        "network.backbone.eps": eps,
        "network.backbone.block.eps": eps,
        "network.backbone.rotary": Spec(*_rotary_spec(head_width, get("{arch}.rope.freq_base", float, 10000.0))),
        "network.backbone.block.mixer.heads": heads,
        "network.backbone.block.mixer.kv_heads": get("{arch}.attention.head_count_kv", int, heads),
        "network.backbone.block.mixer.head_width": head_width,
        "network.backbone.block.mixer.biases": "qkv" if biased else "",
        "network.backbone.block.mlp.hidden": get("{arch}.feed_forward_length", int),
        "network.head.tied": tied,
    }
    return _llama(of, changes, "qkv" if biased else "", False, _GGUF)


def _rotary_spec(head_width: int, base: float) -> tuple[type, dict[str, Any]]:
    from ..backbones.positions import Rotary

    return Rotary, {"head_width": head_width, "base": base, "interleaved": True}
