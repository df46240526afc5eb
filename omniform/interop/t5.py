"""T5 of the `transformers` library: the whole of it as our recipe, and its encoder alone as a reader of captions."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, final

import torch
from torch import Tensor

from .. import recipes
from ..codecs.ids import Ids
from ..codecs.pretrained import Pretrained
from ..conditions.source import SourceText
from ..core.encoder import FrozenEncoder
from ..core.errors import CheckpointError, ConditionError
from ..core.spec import Spec
from ..system.counting import Unstarted
from . import text as texts
from .files import Waiting, Weights, buildable, digest_of, weights_of
from .language import DEEPEST, LONGEST, Asked
from .ties import Reading, Table, Tie, copied, joined, layers, same, transposed

SOURCE, MAIN = "conditioning.parts.source.", "network.towers.main."
_E, _D = "conditions.source.0.encoder.", "network.backbone."
MLPS = {"relu": "relu", "gated-gelu": "geglu_tanh", "gated-silu": "swiglu", "gelu": "gelu", "gelu_new": "gelu_tanh", "silu": "silu"}
_READ = 512
"""Tokens that a source or an answer may have where a configuration says nothing: as T5 was trained (section 3.1.2)."""


def _common(asked: Asked, start: str, depth: int, mlp: str, looks: tuple[str, ...]) -> dict[str, Any]:
    """Changes of a stack."""
    eps, heads = asked("layer_norm_epsilon", float, 1e-6), asked("num_heads", int, 8)
    changes = {
        start + "depth": depth,
        start + "eps": eps,
        start + "block.eps": eps,
        start + "block.dropout": asked("dropout_rate", float, 0.1),
        start + "block.mlp.hidden": asked("d_ff", int, 2048),
        start + "block.mlp.activation": mlp,
        start + "relative.heads": heads,
        start + "relative.buckets": asked("relative_attention_num_buckets", int, 32, most=1 << 12),
        start + "relative.reach": asked("relative_attention_max_distance", int, 128),
    }
    for look in looks:
        changes |= {f"{start}block.{look}.heads": heads, f"{start}block.{look}.head_width": asked("d_kv", int, 64)}
    return changes


def _stack(ours: str, theirs: str, depth: int, gated: bool, crossed: bool) -> list[Tie]:
    def block(i: int) -> list[Tie]:
        here, there, last = f"{ours}blocks.{i}.", f"{theirs}block.{i}.layer.", 1 + crossed
        up = ["wi_0", "wi_1"] if gated else ["wi"]
        ties = [
            same(here + "norm_mixer.weight", there + "0.layer_norm.weight"),
            joined(here + "mixer.qkv.each.0.weight", [f"{there}0.SelfAttention.{x}.weight" for x in "qkv"]),
            same(here + "mixer.out.each.0.weight", there + "0.SelfAttention.o.weight"),
            same(here + "norm_mlp.weight", f"{there}{last}.layer_norm.weight"),
            joined(here + "mlp.feed.each.0.up.weight", [f"{there}{last}.DenseReluDense.{x}.weight" for x in up]),
            same(here + "mlp.feed.each.0.down.weight", f"{there}{last}.DenseReluDense.wo.weight"),
        ]
        if crossed:
            ties += [same(f"{here}{a}.weight", f"{there}1.{b}.weight") for a, b in (("norm_cross", "layer_norm"), ("cross.q", "EncDecAttention.q"))]
            ties += [joined(here + "cross.kv.weight", [f"{there}1.EncDecAttention.{x}.weight" for x in "kv"])]
            ties += [same(here + "cross.out.weight", there + "1.EncDecAttention.o.weight")]
        return ties

    bias = transposed(ours + "relative.table", theirs + "block.0.layer.0.SelfAttention.relative_attention_bias.weight")
    return [bias, *layers(depth, block), same(ours + "final.weight", theirs + "final_layer_norm.weight")]


_IGNORED = (
    (r"(encoder|decoder)\.embed_tokens\.weight", "copies of the shared table"),
    (r"decoder\.block\.0\.layer\.1\.EncDecAttention\.relative_attention_bias\.weight", "a bias that nothing uses"),
)


def today(weights: Weights) -> Weights:
    """With an output map of its own, which is not written where it is the table."""
    if "lm_head.weight" in weights.shapes or "shared.weight" not in weights.shapes:
        return weights
    shapes = {**weights.shapes, "lm_head.weight": weights.shapes["shared.weight"]}
    return Weights(weights.where, shapes, lambda name: weights.read("shared.weight" if name == "lm_head.weight" else name))


def _number(asked: Asked, name: str, usual: int, vocab: int) -> int:
    """A token's."""
    value = asked.config.get(name, usual)
    value = usual if value is None else value[0] if isinstance(value, list) and value else value
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < vocab:
        raise CheckpointError(f"{asked.of}: its configuration says {name} is {value!r}, which is not one of {vocab:,} codes; fetch it again")
    return value


def t5(config: Mapping[str, Any], text: Mapping[str, Any] | None = None) -> Reading:
    """T5ForConditionalGeneration: v1.0, whose output is the table of unit variance, and v1.1, which has an output map of its own."""
    asked = Asked(config, "T5")
    mlp = MLPS[asked.only("feed_forward_proj", tuple(MLPS), "relu")]
    width, vocab = asked("d_model", int, 512), asked("vocab_size", int, 32128)
    scaled = asked("scale_decoder_outputs", bool, config.get("tie_word_embeddings") is not False)  # since 2026 the first, before that the second
    read = asked("num_layers", int, 6, most=DEEPEST)
    write = asked("num_decoder_layers", int, read, most=DEEPEST)
    length = asked("n_positions", int, _READ, most=LONGEST)
    pad = _number(asked, "pad_token_id", 0, vocab)
    start, stop = _number(asked, "decoder_start_token_id", pad, vocab), _number(asked, "eos_token_id", 1, vocab)
    ids = Spec(Ids, {"vocab": vocab, "start": start, "stop": stop})
    codec = ids if text is None else Spec(Pretrained, {**text, "vocab": vocab, "start": start, "stop": stop})
    changes = {
        "codec": codec,
        "shape": (length,),
        "conditions.source.0.codec": codec,
        "conditions.source.0.length": length,
        "network.width": width,
        "network.head.tied": scaled,
        "network.head.scaled": scaled,
        **_common(asked, _E, read, mlp, ("mixer",)),
        **_common(asked, _D, write, mlp, ("mixer", "cross")),
    }
    gated, table = "gated" in str(config.get("feed_forward_proj", "relu")), MAIN + "embed.tables.0.weight"
    ties = (
        *([copied(table, ["shared.weight", "lm_head.weight"])] if scaled else [same(table, "shared.weight"), same(MAIN + "head.out.weight", "lm_head.weight")]),
        *_stack(SOURCE + "encoder.", "encoder.", read, gated, False),
        *_stack(MAIN + "backbone.", "decoder.", write, gated, True),
    )
    return Reading("T5", "t5", changes, Table("T5", ties, _IGNORED))


@final
class T5Reader(FrozenEncoder):
    """T5's encoder: a text's tokens and the one that ends it, each seeing all. It has no vector of a whole text. pad: the code of padding."""

    def __init__(self, name: str, source: SourceText, digest: str, pad: int = 0):
        codec: Any = source.codec
        super().__init__(name, source.width, 0, codec.shape[0], digest)
        self.source, self.codec, self.pad = source.eval().requires_grad_(False), codec, pad

    def read(self, text: str, length: int) -> tuple[Tensor, Tensor]:
        return self._states(self.ids(text, length)), torch.zeros(0)

    def padded(self, text: str, length: int) -> Tensor:
        """(length, C): padded to that, and padding is read like anything else (so SD3 and FLUX are told)."""
        ids = self.ids(text, length)
        return self._states(ids + [self.pad] * (length - len(ids)))

    def ids(self, text: str, length: int) -> list[int]:
        """A text as it is read: cut where it is longer, but for its end."""
        try:
            return [*self.codec.pieces_of(text)[: length - 1], self.codec.space.stop]
        except TypeError as error:
            raise ConditionError(f"a caption is text that utf-8 can write, and {text[:40]!a} is not; take out what is half a character") from error

    def _states(self, ids: list[int]) -> Tensor:
        return self.source.states(torch.tensor([ids]), None)[0]


def alone(weights: Weights) -> bool:
    """Whether there is an encoder and nothing that writes."""
    return not any(name.startswith("decoder.") for name in weights.shapes)


def encoder(name: str, place: Path, config: Mapping[str, Any]) -> FrozenEncoder:
    """T5EncoderModel in a folder, or the encoder of a whole T5."""
    return reader(name, config, weights_of(place), tokenizer_of(place))


def tokenizer_of(place: Path) -> dict[str, Any]:
    """The tokenizer in a folder, as arguments of `codecs.pretrained:Pretrained`."""
    said = texts.of_folder(place, "t5")
    if said is None:
        raise CheckpointError(f"{place} has no tokenizer.json and no spiece.model, and a text encoder reads by its own tokenizer; copy the whole folder")
    return said


def waiting(name: str, config: Mapping[str, Any], weights: Weights, said: Mapping[str, Any], digest: str = "") -> Waiting:
    """The reader of a configuration: compared with the file by names and shapes before anything is allocated. said: arguments of its tokenizer
    (codecs.pretrained:Pretrained). digest: that of its numbers, if not said."""
    reading = t5(config, said)
    pad = _number(Asked(config, "T5"), "pad_token_id", 0, Asked(config, "T5")("vocab_size", int, 32128))
    ours = tuple(tie for tie in reading.table.ties if tie.ours.startswith(SOURCE))
    cut = [Tie(tie.ours.removeprefix(SOURCE), tie.theirs, tie.there, tie.back) for tie in ours]
    table = Table("T5 (encoder)", (same("table.weight", "shared.weight"), *cut), (*_IGNORED, (r"decoder\..*|lm_head\.weight", "what writes")))
    with buildable(weights.where):
        recipe = recipes.get("t5").but(reading.changes, sizes={}, tiny={}, facts=()).but({"conditions.source.0.tied": False})
        spec, width = recipe.conditions["source"][0], reading.changes["network.width"]
        with torch.device("meta"), Unstarted():
            own = {n: tuple(x.shape) for n, x in spec.build(width=width).state_dict().items()}
        table.check(own, weights.shapes)

    def opened() -> T5Reader:
        source = spec.build(width=width)
        made = {n: x.to(torch.float32) for n, x in table.ours(own, weights.read).items()}
        source.load_state_dict(made)
        return T5Reader(name, source, digest or digest_of(made, said["tokenizer"]), pad)

    return Waiting(int(str(width)), 0, int(str(reading.changes["conditions.source.0.length"])), opened)


def reader(name: str, config: Mapping[str, Any], weights: Weights, said: Mapping[str, Any]) -> T5Reader:
    """As `waiting`, opened."""
    return waiting(name, config, weights, said).opened()  # type: ignore[no-any-return]
