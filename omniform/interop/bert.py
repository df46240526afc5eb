"""BERT of the `transformers` library: with its head a masked model of text, without it what a frozen text encoder reads by."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..codecs.ids import Ids
from ..codecs.pretrained import Pretrained
from ..core.errors import CheckpointError
from ..core.spec import Spec
from .files import Weights, parsed_tokenizer
from .language import DEEPEST, LONGEST, Asked
from .ties import Reading, Table, Tie, fused, layers, linear, same

_MAIN = "network.towers.main."
_ACTIVATIONS = {"gelu": "gelu", "gelu_new": "gelu_tanh", "gelu_pytorch_tanh": "gelu_tanh"}
_MASK = 103
"""[MASK] of BERT's own vocabularies, where a checkpoint brings no tokenizer that says so."""
_COPIES = (
    (r"(bert\.)?pooler\.dense\.(weight|bias)", "what next sentences were told by"),
    (r"cls\.seq_relationship\.(weight|bias)", "whether sentences follow each other"),
    (r"(bert\.)?embeddings\.position_ids", "0, 1, 2..."),
)


def _mask_id(text: Mapping[str, Any] | None, vocab: int) -> int:
    """The id that a hidden place is shown."""
    if text is None:
        return min(_MASK, vocab - 1)
    found = parsed_tokenizer(text["tokenizer"], "BERT").token_to_id(text["marks"]["mask_token"])
    if found is None or found >= vocab:
        raise CheckpointError(f"BERT: its tokenizer has no {text['marks']['mask_token']} among {vocab:,} ids; fetch the tokenizer that belongs to it")
    return int(found)


def block(ours: str, its: str) -> list[Tie]:
    """One layer of theirs, by what its names begin with on both sides."""
    ties = fused(ours + "mixer.qkv.each.0", [f"{its}attention.self.{x}" for x in ("query", "key", "value")])
    ties += linear(ours + "mixer.out.each.0", its + "attention.output.dense") + linear(ours + "norm_mixer", its + "attention.output.LayerNorm")
    ties += linear(ours + "mlp.feed.each.0.up", its + "intermediate.dense") + linear(ours + "mlp.feed.each.0.down", its + "output.dense")
    return ties + linear(ours + "norm_mlp", its + "output.LayerNorm")


@dataclass(frozen=True)
class Body:
    """What a BERT is in either use: changes to the recipe, and the ties of everything below the head."""

    changes: Mapping[str, object]
    ties: tuple[Tie, ...]


def body(config: Mapping[str, Any], text: Mapping[str, Any] | None, prefix: str = "bert.") -> Body:
    """From a configuration. prefix: of their names."""
    asked = Asked(config, "BERT")
    act = asked.only("hidden_act", tuple(_ACTIVATIONS), "gelu")
    for name, usual in (("position_embedding_type", "absolute"), ("is_decoder", False), ("add_cross_attention", False), ("embedding_size", None)):
        asked.only(name, (usual,), usual)
    vocab, depth, kinds = asked("vocab_size", int, 30522), asked("num_hidden_layers", int, 12, most=DEEPEST), asked("type_vocab_size", int, 2)
    eps, length = asked("layer_norm_eps", float, 1e-12), asked("max_position_embeddings", int, 512, most=LONGEST)
    codec = Spec(Ids, {"vocab": vocab}) if text is None else Spec(Pretrained, {**text, "vocab": vocab})
    changes = {
        "codec": codec,
        "shape": (length,),
        "network.width": asked("hidden_size", int, 768),
        "network.embed.kinds": kinds,
        "network.embed.eps": eps,
        "network.embed.mask_id": _mask_id(text, vocab),
        "network.backbone.depth": depth,
        "network.backbone.block.eps": eps,
        "network.backbone.block.dropout": asked("hidden_dropout_prob", float, 0.1),
        "network.backbone.block.mixer.heads": asked("num_attention_heads", int, 12),
        "network.backbone.block.mlp.hidden": asked("intermediate_size", int, 3072),
        "network.backbone.block.mlp.activation": _ACTIVATIONS[act],
        "network.head.transform": "exact" if act == "gelu" else True,
        "network.head.eps": eps,
    }
    theirs = prefix + "embeddings."
    ties = (
        same(_MAIN + "embed.tables.0.weight", theirs + "word_embeddings.weight"),
        same(_MAIN + "embed.positions.0.table", theirs + "position_embeddings.weight"),
        same(_MAIN + "embed.kinds.weight", theirs + "token_type_embeddings.weight"),
        *linear(_MAIN + "embed.norm", theirs + "LayerNorm"),
        *layers(depth, lambda i: block(f"{_MAIN}backbone.blocks.{i}.", f"{prefix}encoder.layer.{i}.")),
    )
    return Body(changes, ties)


def bert(config: Mapping[str, Any], text: Mapping[str, Any] | None = None) -> Reading:
    """BertForMaskedLM (and BertForPreTraining, whose question about sentences is left away)."""
    named = config.get("architectures")
    if isinstance(named, list) and named and not {"BertForMaskedLM", "BertForPreTraining"} & {str(name) for name in named}:
        raise CheckpointError(f"this BERT is a {named[0]}, which predicts no words; it reads captions (omniform train RECIPE --encoder) and generates nothing")
    found = body(config, text)
    tied = Asked(config, "BERT")("tie_word_embeddings", bool, True)
    out = [same(_MAIN + "head.bias", "cls.predictions.bias")] if tied else linear(_MAIN + "head.out", "cls.predictions.decoder")
    head = (*linear(_MAIN + "head.transform.0", "cls.predictions.transform.dense"), *linear(_MAIN + "head.transform.2", "cls.predictions.transform.LayerNorm"))
    copies = (r"cls\.predictions\.decoder\..*", "copies of the table and of the bias") if tied else (r"cls\.predictions\.bias", "a bias that nothing adds")
    return Reading("BERT", "bert", {**found.changes, "network.head.tied": tied}, Table("BERT", (*found.ties, *head, *out), (*_COPIES, copies)))


def today(weights: Weights) -> Weights:
    """Under the names that norms have today (in the first checkpoints: gamma and beta)."""
    names = {name.replace(".LayerNorm.gamma", ".LayerNorm.weight").replace(".LayerNorm.beta", ".LayerNorm.bias"): name for name in weights.shapes}
    return Weights(weights.where, {now: weights.shapes[name] for now, name in names.items()}, lambda now: weights.read(names[now]))


def headless() -> tuple[tuple[str, str], ...]:
    """What an encoder has no use for."""
    return (*_COPIES, (r"cls\..*", "the head"))
