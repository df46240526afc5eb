"""Tokenizers of folders without a tokenizer.json, as that file's text: CLIP's pairs (vocab.json and merges.txt) and T5's pieces (spiece.model)."""

from __future__ import annotations

import base64
import json
import struct
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

from ..core.errors import CheckpointError
from .files import json_of

_Part = TypeVar("_Part")
_MOST = 64 << 20
"""Bytes of a file of pairs or pieces that is believed (ours)."""
_CLIP_WORDS = r"<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"
"""How CLIP's code cuts texts into words (openai/CLIP, simple_tokenizer.py)."""
_MARKS = ("unk_token", "pad_token")
_UNIGRAM = 1
"""The kind of model that T5's pieces are of (sentencepiece_model.proto, TrainerSpec.model_type)."""


def written(folder: Path, slow: str) -> str | None:
    """The JSON text of the tokenizer in a folder: its tokenizer.json, or what its older files make of a kind that is known
    ("clip", "t5"); None where it has neither."""
    whole = folder / "tokenizer.json"
    if whole.is_file():
        for table in _tables(json_of(whole).get("normalizer")):
            _sound(table, whole)
        return whole.read_text(encoding="utf-8")
    if slow not in _SLOW or not (folder / _SLOW[slow][0]).is_file():
        return None
    return json.dumps(json.loads(_SLOW[slow][1](folder).to_str()), ensure_ascii=False)


def _made(folder: Path, part: Callable[[], _Part]) -> _Part:
    """A part of the library's, out of a folder."""
    try:
        return part()
    except Exception as error:  # the library raises bare Exception
        raise CheckpointError(f"the tokenizer in {folder} cannot be built ({(str(error) or type(error).__name__).splitlines()[0]}); fetch it again") from error


def special(said: Mapping[str, Any], name: str, usual: str) -> str:
    """A mark that tokenizer_config.json names, as text or as an object around it."""
    mark = said.get(name)
    mark = mark.get("content") if isinstance(mark, Mapping) else mark
    return mark if isinstance(mark, str) else usual


def config_of(folder: Path) -> dict[str, Any]:
    """tokenizer_config.json, where there is one."""
    return json_of(folder / "tokenizer_config.json") if (folder / "tokenizer_config.json").is_file() else {}


def _marked(model: Tokenizer, said: Mapping[str, Any], marks: Mapping[str, str], where: Path) -> None:
    """What is cut out of a text before anything else looks at it: those that the configuration lists, then the marks that it names (name -> text), each as it
    says that they are."""
    listed = said.get("added_tokens_decoder", {})
    if not isinstance(listed, Mapping) or not all(isinstance(x, Mapping) and isinstance(x.get("content"), str) for x in listed.values()):
        raise CheckpointError(f"{where}: added_tokens_decoder of its tokenizer_config.json is no list of tokens; fetch it again")
    usual = {"special": True, "normalized": False}
    named = {text: _token(text, {**usual, **(said[name] if isinstance(said.get(name), Mapping) else {})}) for name, text in marks.items()}
    model.add_tokens(list({**named, **{x["content"]: _token(x["content"], x) for x in listed.values()}}.values()))


def _token(text: str, said: Mapping[str, Any]) -> AddedToken:
    return AddedToken(text, **{k: said[k] for k in ("single_word", "lstrip", "rstrip", "normalized", "special") if isinstance(said.get(k), bool)})


# ---- CLIP -----------------------------------------------------------------------------------------------------------


def _clip(folder: Path) -> Tokenizer:
    """Byte-level pairs, lower case, a mark at both ends (arXiv:2103.00020, section 2.4, and official code)."""
    vocab, merges, said = json_of(folder / "vocab.json"), folder / "merges.txt", config_of(folder)
    if not all(isinstance(n, int) and not isinstance(n, bool) and 0 <= n < 1 << 24 for n in vocab.values()):
        raise CheckpointError(f"{folder / 'vocab.json'} gives tokens something else than their numbers; fetch it again")
    if not merges.is_file() or merges.stat().st_size > _MOST:
        raise CheckpointError(f"{merges} is missing, or larger than any list of pairs; copy the whole folder")
    try:
        lines = merges.read_text(encoding="utf-8").split("\n")
    except UnicodeDecodeError as error:
        raise CheckpointError(f"{merges} is not text ({error}); fetch it again") from error
    pairs = [tuple(line.split()) for line in lines if line.strip() and not line.startswith("#version")]
    if not all(len(pair) == 2 for pair in pairs):
        raise CheckpointError(f"{merges} holds a line that is no pair; fetch it again")
    marks = {name: special(said, name, "<|startoftext|>" if name == "bos_token" else "<|endoftext|>") for name in ("bos_token", "eos_token", *_MARKS)}
    first, last = marks["bos_token"], marks["eos_token"]
    for mark in marks.values():
        if mark not in vocab:
            raise CheckpointError(f"{folder / 'vocab.json'} has no {mark!r}, which its tokenizer_config.json names; fetch both again")
    ends = {"continuing_subword_prefix": "", "end_of_word_suffix": "</w>"}
    model = Tokenizer(_made(folder, lambda: models.BPE(vocab=vocab, merges=pairs, unk_token=marks["unk_token"], **ends)))
    model.normalizer = normalizers.Sequence([normalizers.NFC(), normalizers.Replace(Regex(r"\s+"), " "), normalizers.Lowercase()])
    words = pre_tokenizers.Split(Regex(_CLIP_WORDS), "removed", invert=True)
    model.pre_tokenizer = pre_tokenizers.Sequence([words, pre_tokenizers.ByteLevel(add_prefix_space=False)])
    model.decoder = decoders.ByteLevel()
    _marked(model, said, marks, folder)
    model.post_processor = processors.TemplateProcessing(single=[first, "$A", last], special_tokens=[(m, vocab[m]) for m in dict.fromkeys((first, last))])
    return model


# ---- T5 -------------------------------------------------------------------------------------------------------------


def _t5(folder: Path) -> Tokenizer:
    """Pieces by their likelihood (arXiv:1804.10959), and those that stand for what is left out, the last first (T5, section 3.1.4)."""
    pieces, kind, unknown, charsmap = _model(folder / "spiece.model")
    said = config_of(folder)
    if kind != _UNIGRAM:
        raise CheckpointError(f"{folder / 'spiece.model'} is a model of the kind {kind}, and pieces by likelihood (1) are read; use a tokenizer.json")
    extra = said.get("extra_ids", 100)
    if isinstance(extra, bool) or not isinstance(extra, int) or not 0 <= extra < 1 << 16:
        raise CheckpointError(f"{folder}: extra_ids of its tokenizer_config.json is {extra!r}, which nothing has; fetch it again")
    blanks = [f"<extra_id_{n}>" for n in reversed(range(extra))]
    marks = {name: special(said, name, usual) for name, usual in (("eos_token", "</s>"), ("unk_token", "<unk>"), ("pad_token", "<pad>"))}
    last = marks["eos_token"]
    vocab = [*pieces, *((blank, 0.0) for blank in blanks)]
    if len({piece for piece, _ in vocab}) < len(vocab) or not set(marks.values()) <= {piece for piece, _ in pieces} or not 0 <= unknown < len(pieces):
        raise CheckpointError(f"{folder / 'spiece.model'} holds a piece twice, or has no {' or '.join(marks.values())}; fetch it again")
    model = Tokenizer(_made(folder, lambda: models.Unigram(vocab, unk_id=unknown, byte_fallback=False)))
    if charsmap:
        _sound(charsmap, folder / "spiece.model")
        model.normalizer = _made(folder, lambda: normalizers.Precompiled(charsmap))
    model.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace(replacement="▁", prepend_scheme="always")])
    model.decoder = decoders.Metaspace(replacement="▁", prepend_scheme="always")
    _marked(model, said, {**marks, **{blank: blank for blank in blanks}}, folder)
    model.post_processor = processors.TemplateProcessing(single=["$A", last], special_tokens=[(last, [piece for piece, _ in pieces].index(last))])
    return model


def _model(path: Path) -> tuple[list[tuple[str, float]], int, int, bytes]:
    """Pieces with their scores, the kind of model, which piece is the unknown, and the table of characters (sentencepiece_model.proto, fields 1, 2, 3)."""
    if path.stat().st_size > _MOST:
        raise CheckpointError(f"{path} has {path.stat().st_size:,} bytes, more than any list of pieces; is it what its name says?")
    pieces: list[tuple[str, float]] = []
    kind, unknown, charsmap = _UNIGRAM, 0, b""
    try:
        for field, value in _fields(path.read_bytes()):
            if field == 1:
                said = dict(_fields(value))
                pieces.append((said[1].decode(), struct.unpack("<f", said.get(2, bytes(4)))[0]))
            elif field == 2:
                said = dict(_fields(value))
                kind, unknown = said.get(3, kind), said.get(40, unknown)
            elif field == 3:
                charsmap = dict(_fields(value)).get(2, b"")
    except (ValueError, KeyError, TypeError, AttributeError, IndexError, struct.error) as error:
        raise CheckpointError(f"{path} is not a model of pieces ({type(error).__name__}: {str(error)[:80]}); fetch it again") from error
    return pieces, kind, unknown, charsmap


def _tables(normalizer: Any) -> Iterator[bytes]:
    """Tables of characters within a tokenizer.json."""
    left = [normalizer]
    while left:
        part = left.pop()
        left += part.values() if isinstance(part, Mapping) else part if isinstance(part, list) else ()
        said = part.get("precompiled_charsmap") if isinstance(part, Mapping) else None
        if isinstance(said, str):
            try:
                yield base64.b64decode(said, validate=True)
            except ValueError as error:
                raise CheckpointError(f"the tokenizer's table of characters is not base64 ({error}); fetch it again") from error


def _sound(charsmap: bytes, path: Path) -> None:
    """Refuses a table of characters that a text could lead out of: the library that walks it does not look where it steps.

    A length, a double array of whole numbers (darts-clone's), and the texts that its leaves point at, each up to a zero.
    """
    size = int.from_bytes(charsmap[:4], "little")
    units, texts = np.frombuffer(charsmap[4 : 4 + size - size % 4], "<u4").astype(np.int64), charsmap[4 + size :]
    offset = (units >> 10) << ((units & 512) >> 6)
    visited, front = np.zeros(len(units), bool), np.array([offset[0] if len(units) else 0])
    starts = np.array([n for n in range(len(texts) + 1) if n == len(texts) or texts[n] & 0xC0 != 0x80])
    while len(front):
        if int((front | 255).max()) >= len(units):
            raise CheckpointError(f"{path} has a table of characters that leads out of itself; fetch it again")
        visited[front] = True
        there = front[:, None] ^ np.arange(1, 256)
        there = there[(units[there] & (1 << 31 | 255)) == np.arange(1, 256)]
        leaves = there ^ offset[there]
        front = np.unique(leaves[(leaves >= len(units)) | ~visited[np.minimum(leaves, len(units) - 1)]])
        ends = leaves[(units[there] >> 8) & 1 == 1]
        ends = ends[ends < len(units)]  # the others are refused above
        if not np.isin(units[ends] & 0x7FFFFFFF, starts).all():
            raise CheckpointError(f"{path} has a table of characters that points at no character; fetch it again")


def _fields(message: bytes) -> Iterator[tuple[int, Any]]:
    """Number and value of each field of a message of protocol buffers: whole numbers, or bytes that lie within it (its encoding's wire types 0, 1, 2 and 5)."""
    if not isinstance(message, bytes):
        raise TypeError("a number where a message is expected")
    at = 0

    def number() -> int:
        nonlocal at
        value = 0
        for shift in range(0, 70, 7):
            value |= (message[at] & 127) << shift
            at += 1
            if message[at - 1] < 128:
                return value
        raise ValueError("a number of more than ten bytes")

    while at < len(message):
        key = number()
        wire = key & 7
        if wire == 0:
            yield key >> 3, number()
            continue
        if wire not in (1, 2, 5):
            raise ValueError(f"wire type {wire}")
        length = number() if wire == 2 else 8 if wire == 1 else 4
        if length > len(message) - at:
            raise ValueError(f"a field of {length:,} bytes where {len(message) - at:,} are left")
        yield key >> 3, message[at : at + length]
        at += length


_SLOW = {"clip": ("vocab.json", _clip), "t5": ("spiece.model", _t5)}
"""By the kind of tokenizer: the file that it begins with, and how it is built."""
