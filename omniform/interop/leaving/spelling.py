"""A codec of text as the tokenizer files of `transformers`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, processors

from omniform.codecs.pretrained import Pretrained
from omniform.codecs.text import BPE, Bytes
from omniform.core.codec import Codec
from omniform.core.errors import RecipeError

START, STOP, MASK = "<|start|>", "<|stop|>", "<|mask|>"
"""How a start, a stop and a hidden place that are no piece of text are written in a tokenizer (ours)."""


def spelled(codec: Codec, of: str, marks: Sequence[str], form: str) -> dict[str, Any]:
    """tokenizer.json and its configuration; nothing where the codec is not one of text. of: whose it is. marks: how the two ids behind its pieces are written.
    form: of a text among them ("<|start|> $A")."""
    if isinstance(codec, Pretrained):
        said: dict[str, Any] = {"tokenizer_class": "PreTrainedTokenizerFast", "chat_template": codec.template, **codec.marks}
        return {"tokenizer.json": json.loads(codec.tokenizer), "tokenizer_config.json": {k: v for k, v in said.items() if v}}
    if isinstance(codec, Bytes):
        model = Tokenizer(models.BPE(vocab={letter: i for i, letter in enumerate(_alphabet())}, merges=[]))
        model.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
        model.decoder = decoders.ByteLevel()
    elif isinstance(codec, BPE):
        model = Tokenizer.from_str(codec.tokenizer)
    else:
        return {}
    ids = {mark: codec.pieces + i for i, mark in enumerate(marks)}
    model.add_special_tokens([AddedToken(mark, special=True, normalized=False) for mark in marks])
    if any(model.token_to_id(mark) != i for mark, i in ids.items()):
        raise RecipeError(f"the tokenizer of {of} has {' or '.join(marks)} among its pieces already; train it on other text")
    model.post_processor = processors.TemplateProcessing(single=form, special_tokens=[(mark, i) for mark, i in ids.items() if mark in form])
    names = {START: "bos_token", MASK: "mask_token", STOP: "eos_token"}
    said = {"tokenizer_class": "PreTrainedTokenizerFast", **{names[mark]: mark for mark in marks}, "pad_token": STOP, "clean_up_tokenization_spaces": False}
    return {"tokenizer.json": json.loads(model.to_str()), "tokenizer_config.json": {**said, "model_max_length": codec.space.length}}


def _alphabet() -> list[str]:
    """The letter that stands for each byte in a byte-level tokenizer: itself where it can be printed, else one from 256 on (GPT-2's code)."""
    printed = {*range(33, 127), *range(161, 173), *range(174, 256)}
    others = iter(range(256, 512))
    return [chr(b) if b in printed else chr(next(others)) for b in range(256)]
