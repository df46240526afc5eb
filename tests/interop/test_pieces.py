"""Tokenizers of folders without a tokenizer.json say what transformers' say, whatever a text holds; and files that are none are refused in a line."""

from __future__ import annotations

import base64
import json
import random
import struct
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer
from transformers import CLIPTokenizer, T5Tokenizer

from omniform.core.errors import CheckpointError
from omniform.interop.pieces import written

from .spelling import clip_files, t5_files

ODD = [
    "",
    " ",
    "a cat sat on the mat",
    "  A   CAT\tsat\non the mat!!  ",
    "it's the dog's; they'll've gone",
    "3.14159 and 2024",
    "ﬁne ﬂow café cafe\u0301 ｆｕｌｌ　ｗｉｄｔｈ",
    "Ünïcode — “quotes” … ½ ①",
    "日本語 русский العربية",
    "👩‍👩‍👧 🐈 e\u0301\u200b\ufeff",
    "<|startoftext|>a cat<|endoftext|> <|ENDOFTEXT|>",
    "a </s> b <pad> c <unk> <extra_id_3>x<extra_id_99> <extra_id_100>",
    "▁ a▁b",
    "\x00\x01 \x7f \r\n",
    "a" * 300,
    "http://x.y/z?a=b&c=[d]#{e}|f\\",
    "İstanbul ẞ ǅ",
]
CLIP = {
    "as it is": {},
    "padded with a mark": {"pad_token": "!"},
    "as objects": {
        "pad_token": {"__type": "AddedToken", "content": "!", "lstrip": True, "normalized": True},
        "eos_token": {"__type": "AddedToken", "content": "<|endoftext|>", "normalized": True, "rstrip": False},
    },
    "with marks that are normed": {"added_tokens_decoder": {"1": {"content": "!", "lstrip": True, "normalized": True, "special": True}}, "pad_token": "!"},
}
T5 = {
    "as it is": {},
    "fewer blanks": {"extra_ids": 7},
    "with blanks that take the space": {
        "added_tokens_decoder": {"0": {"content": "<pad>", "special": True}, "150": {"content": "<extra_id_3>", "lstrip": True, "rstrip": True}}
    },
}
KINDS = [("clip", CLIPTokenizer, clip_files, k, v) for k, v in CLIP.items()] + [("t5", T5Tokenizer, t5_files, k, v) for k, v in T5.items()]


def both(folder, slow, make, files, said):
    files(folder)
    if said:
        (folder / "tokenizer_config.json").write_text(json.dumps(said))
    text = written(folder, slow)
    assert text is not None
    return Tokenizer.from_str(text), make.from_pretrained(folder)


@pytest.mark.parametrize("slow, make, files, name, said", KINDS, ids=[f"{k[0]} {k[3]}" for k in KINDS])
def test_odd_texts(slow, make, files, name, said, tmp_path):
    mine, its = both(tmp_path, slow, make, files, said)
    for text in ODD:
        assert mine.encode(text).ids == its(text).input_ids, text


@pytest.mark.parametrize("slow, make, files", [("clip", CLIPTokenizer, clip_files), ("t5", T5Tokenizer, t5_files)])
def test_any_text(slow, make, files, tmp_path):
    mine, its = both(tmp_path, slow, make, files, {})

    @settings(max_examples=150, deadline=None)
    @given(st.text())
    def said(text):
        try:
            text.encode()
        except UnicodeEncodeError:
            return
        assert mine.encode(text).ids == its(text).input_ids

    said()


def test_sentencepiece_itself_says_the_same(tmp_path):
    """But for marks, which it does not know."""
    from sentencepiece import SentencePieceProcessor

    t5_files(tmp_path)
    mine, its = Tokenizer.from_str(written(tmp_path, "t5")), SentencePieceProcessor(str(tmp_path / "spiece.model"))
    for text in ODD:
        if "<" not in text:
            assert mine.encode(text).ids == [*its.encode(text), 1], text


def test_a_tokenizer_json_comes_first_and_nothing_is_none(tmp_path):
    assert written(tmp_path, "clip") is None and written(tmp_path, "t5") is None
    clip_files(tmp_path)
    whole = written(tmp_path, "clip")
    (tmp_path / "vocab.json").write_text("{")
    (tmp_path / "tokenizer.json").write_text(whole)
    assert written(tmp_path, "clip") == whole


def test_the_table_of_characters_in_a_tokenizer_json_is_looked_at_too(tmp_path):
    t5_files(tmp_path)
    said = json.loads(written(tmp_path, "t5"))
    table = bytearray(base64.b64decode(said["normalizer"]["precompiled_charsmap"]))
    table[4:8] = b"\xff\x03\xff\xff"  # its first step is beyond its end
    for normalizer in ({**said["normalizer"], "precompiled_charsmap": base64.b64encode(table).decode()}, {"type": "Precompiled", "precompiled_charsmap": "?"}):
        for shape in (normalizer, {"type": "Sequence", "normalizers": [{"type": "NFC"}, {"type": "Sequence", "normalizers": [normalizer]}]}):
            (tmp_path / "tokenizer.json").write_text(json.dumps({**said, "normalizer": shape}))
            with pytest.raises(CheckpointError, match="leads out of itself|not base64"):
                written(tmp_path, "t5")
    (tmp_path / "tokenizer.json").write_text(json.dumps(said))
    assert Tokenizer.from_str(written(tmp_path, "t5")).encode("ﬁ").ids


def field(number, body):
    return bytes([number << 3 | 2, len(body)]) + body


PIECES = b"".join(field(1, field(1, p) + b"\x15" + struct.pack("<f", -1.0)) for p in (b"<pad>", b"</s>", b"<unk>", b"a"))
PROTO = PIECES + field(2, bytes([3 << 3, 1]) + bytes([0xC0, 0x02, 2]))


@pytest.mark.parametrize(
    "slow, file, body, says",
    [
        ("clip", "vocab.json", b"[]", "an object is expected"),
        ("clip", "vocab.json", b'{"a": "b"}', "something else than their numbers"),
        ("clip", "vocab.json", b'{"a": 1}', r"has no '<\|startoftext\|>'"),
        ("clip", "merges.txt", None, "merges.txt is missing"),
        ("clip", "merges.txt", b"\xff\xfe", "is not text"),
        ("clip", "merges.txt", b"#version: 0.2\na b c\n", "no pair"),
        ("clip", "merges.txt", b"no token\n", "cannot be built"),
        ("clip", "tokenizer_config.json", b'{"added_tokens_decoder": [1]}', "added_tokens_decoder"),
        ("clip", "tokenizer_config.json", b'{"pad_token": "<gone>"}', "has no '<gone>'"),
        ("t5", "tokenizer_config.json", b'{"extra_ids": 1000000000000}', "extra_ids"),
        ("t5", "spiece.model", b"", "has no </s>"),
        ("t5", "spiece.model", b"\x0a\xff\xff\xff\xff\x0f", "not a model of pieces"),
        ("t5", "spiece.model", b"\xff" * 12, "not a model of pieces"),
        ("t5", "spiece.model", b"\x0b", "wire type 3"),
        ("t5", "spiece.model", b"\x08\x01", "not a model of pieces"),
        ("t5", "spiece.model", PIECES[:-3], "not a model of pieces"),
        ("t5", "spiece.model", PROTO + PIECES, "holds a piece twice"),
        ("t5", "spiece.model", PIECES + field(2, bytes([3 << 3, 2])), "of the kind 2"),
        ("t5", "spiece.model", PIECES + field(2, bytes([0xC0, 0x02, 9])), "holds a piece twice, or"),
        ("t5", "spiece.model", PROTO + field(3, field(2, b"\xff\xff\xff\xff")), "leads out of itself"),
    ],
)
def test_files_that_are_no_tokenizer(slow, file, body, says, tmp_path):
    {"clip": clip_files, "t5": t5_files}[slow](tmp_path)
    (tmp_path / file).unlink(missing_ok=True)
    if body is not None:
        (tmp_path / file).write_bytes(body)
    with pytest.raises(CheckpointError, match=says) as error:
        written(tmp_path, slow)
    assert "\n" not in str(error.value)


def test_a_model_written_by_hand(tmp_path):
    (tmp_path / "spiece.model").write_bytes(PROTO)
    assert Tokenizer.from_str(written(tmp_path, "t5")).encode("a").ids == [2, 3, 1]  # "▁" is no piece


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 1 << 32), many=st.sampled_from([1, 30, 3000]))
def test_damaged_pieces_are_refused_or_read_any_text(seed, many):
    """Never a panic of the library below: it walks the table of characters without looking."""
    draw = random.Random(seed)
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        t5_files(folder)
        body = bytearray((folder / "spiece.model").read_bytes())
        table = body.index(b"nmt_nfkc")
        for _ in range(many):
            body[draw.randrange(draw.choice([0, table]), len(body))] = draw.randrange(256)
        (folder / "spiece.model").write_bytes(body)
        try:
            model = Tokenizer.from_str(written(folder, "t5"))
        except CheckpointError:
            return
        for text in ODD:
            model.encode(text)
