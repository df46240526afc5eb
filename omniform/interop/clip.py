"""The text half of CLIP out of the `transformers` library, as a frozen reader of captions."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, final

import torch
from tokenizers import Tokenizer
from torch import Tensor

from ..backbones.vision import TextTransformer
from ..core.encoder import FrozenEncoder
from ..core.errors import CheckpointError, ConditionError
from ..core.spec import Spec
from ..system.counting import Unstarted
from .files import Waiting, Weights, buildable, digest_of, parsed_tokenizer, weights_of
from .language import Asked
from .pieces import config_of, special, written
from .ties import Table, linear, same
from .vision import CLIP_BLOCK, blocks, body

_LONGEST = 1 << 16
"""Places that a configuration is believed to ask for (ours)."""
_OLD_END = 2
"""What configurations from before 2023 call the end of a text; it is the highest code of a row then (transformers pull request 24773)."""


@final
class ClipReader(FrozenEncoder):
    """CLIP's text half: always as many tokens as are asked for, a text's and then padding, which those before it do not see (so it was trained, and so SD3 is
    told). The vector is the last norm at the text's end, projected where the checkpoint has a projection.

    ends: the code that ends a text. highest: the end is where the highest code of a row is instead, for configurations that name it wrongly.
    """

    def __init__(self, name: str, net: TextTransformer, tokenizer: Tokenizer, ends: int, pad: int, digest: str, highest: bool = False):
        super().__init__(name, net.width, net.pooled, len(net.places), digest)
        self.net, self.tokenizer = net.eval().requires_grad_(False), tokenizer
        self.tokenizer.no_padding()
        self.tokenizer.no_truncation()
        self.ends, self.pad, self.highest = ends, pad, highest

    def read(self, text: str, length: int) -> tuple[Tensor, Tensor]:
        ids = torch.tensor([self.ids(text, length)])
        stream = self.net(ids)
        return stream[0], self.net.whole(stream, self.end(ids))[0]

    def deep(self, text: str, length: int) -> tuple[Tensor, Tensor]:
        """What its last block reads, in place of what it says (so SD3 and aMUSEd are told), and the vector."""
        ids = torch.tensor([self.ids(text, length)])
        stream, before = self.net.both(ids)
        return before[0], self.net.whole(stream, self.end(ids))[0]

    def ids(self, text: str, length: int) -> list[int]:
        """A text as it is read: cut where it is longer, but for its end."""
        if length < 3:
            raise ConditionError(f"{self.name} reads 3 tokens at the least (a text has a mark at both ends), and {length} are asked for")
        try:
            ids = self.tokenizer.encode(text).ids
        except TypeError as error:
            raise ConditionError(f"a caption is text that utf-8 can write, and {text[:40]!a} is not; take out what is half a character") from error
        ids = ids if len(ids) <= length else [*ids[: length - 1], ids[-1]]
        return ids + [self.pad] * (length - len(ids))

    def end(self, ids: Tensor) -> Tensor:
        """(B, M) -> (B,) where each text ends: the first such place."""
        return (ids if self.highest else (ids == self.ends).int()).argmax(-1)


def text_half(config: Mapping[str, Any], shapes: Mapping[str, Any]) -> tuple[Spec, Table]:
    """CLIPTextModel, with a projection where the file has one; of a whole CLIPModel its text half."""
    inner = config.get("text_config")
    config = {**inner, "projection_dim": config.get("projection_dim")} if isinstance(inner, Mapping) else config
    asked = Asked(config, "CLIP (texts)")
    stack = body(asked, asked("intermediate_size", int, 2048), True, asked("layer_norm_eps", float, 1e-5), final=True, activation="quick_gelu")
    out = asked("projection_dim", int, 512) if "text_projection.weight" in shapes else None
    arguments = {"width": asked("hidden_size", int, 512), "vocab": asked("vocab_size", int, 49408), "body": stack, "out": out}
    net = Spec(TextTransformer, {**arguments, "length": asked("max_position_embeddings", int, 77, most=_LONGEST)})
    ties = (
        same("table.weight", "embeddings.token_embedding.weight"),
        same("places", "embeddings.position_embedding.weight"),
        *linear("body.final", "final_layer_norm"),
        *blocks(net, CLIP_BLOCK, True),
        *([same("out.weight", "text_projection.weight")] if out else []),
    )
    computed = (r".*position_ids", "numbers of places, which are computed")
    other = (r"vision_model\..*|visual_projection\.weight|logit_scale", "the other half")
    return net, Table("CLIP (texts)", ties, (computed, other))


def waiting(name: str, config: Mapping[str, Any], weights: Weights, tokenizer: str, pad: int, digest: str = "") -> Waiting:
    """The reader of a configuration: compared with the file by names and shapes before anything is allocated. digest: that of its numbers, if not said."""
    names = {n.removeprefix("text_model."): n for n in weights.shapes}
    if len(names) < len(weights.shapes):
        raise CheckpointError(f"{weights.where} holds the same tensor with 'text_model.' before its name and without; fetch it again")
    spec, table = text_half(config, names)
    said = config.get("text_config") if isinstance(config.get("text_config"), Mapping) else config
    vocab, ends = spec.args["vocab"], said.get("eos_token_id", 49407)
    for what, number in (("eos_token_id", ends), ("the padding of its tokenizer", pad)):
        if isinstance(number, bool) or not isinstance(number, int) or not 0 <= number < vocab:
            raise CheckpointError(f"{weights.where}: {what} is {number!r}, which is not one of {vocab:,} codes; fetch its config again")
    pieces = parsed_tokenizer(tokenizer, weights.where)
    with buildable(weights.where), torch.device("meta"), Unstarted():
        own = {n: tuple(x.shape) for n, x in spec.build().state_dict().items()}
    table.check(own, {n: weights.shapes[full] for n, full in names.items()})

    def opened() -> ClipReader:
        net = spec.build()
        made = {n: x.to(torch.float32) for n, x in table.ours(own, lambda n: weights.read(names[n])).items()}
        net.load_state_dict(made)
        return ClipReader(name, net, pieces, ends, pad, digest or digest_of(made, tokenizer), ends == _OLD_END)

    return Waiting(spec.args["width"], spec.args["out"] or spec.args["width"], spec.args["length"], opened)


def reader(name: str, config: Mapping[str, Any], weights: Weights, tokenizer: str, pad: int) -> ClipReader:
    """As `waiting`, opened."""
    return waiting(name, config, weights, tokenizer, pad).opened()  # type: ignore[no-any-return]


def encoder(name: str, place: Path, config: Mapping[str, Any]) -> FrozenEncoder:
    """The text half in a folder."""
    return reader(name, config, weights_of(place), *tokenizer_of(place))


def tokenizer_of(place: Path) -> tuple[str, int]:
    """The tokenizer in a folder, and what it pads with."""
    tokenizer = written(place, "clip")
    if tokenizer is None:
        raise CheckpointError(f"{place} has no tokenizer.json and no vocab.json, and a text encoder reads by its own tokenizer; copy the whole folder")
    return tokenizer, padding(place, tokenizer)


def padding(place: Path, tokenizer: str) -> int:
    """What its tokenizer pads with: "<|endoftext|>" where nothing else is said."""
    mark = special(config_of(place), "pad_token", "<|endoftext|>")
    number = parsed_tokenizer(tokenizer, place).token_to_id(mark)
    if number is None:
        raise CheckpointError(f"{place} pads with {mark!r}, which its tokenizer does not know; fetch both again")
    return number
