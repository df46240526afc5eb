"""Text: any text comes back exactly, documents end, prompts do not."""
from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load, save

from omniform.codecs.text import BPE, Bytes
from omniform.core.errors import BadArgument, CodecError, ShapeError
from omniform.core.spec import Spec, from_json, to_json

CORPUS = ["the quick brown fox jumps over the lazy dog", "the dog and the fox", "naïve café, 東京 — the end\n", "<stop> is only text"] * 5
TEXT = st.text(st.characters(exclude_categories=("Cs",)), max_size=40)


@pytest.fixture(scope="module")
def pieces() -> BPE:
    return BPE.trained(CORPUS, vocab=300, shape=(200,))


@given(st.lists(TEXT, min_size=1, max_size=3))
@settings(max_examples=60, deadline=None)
def test_bytes_come_back(texts):
    codec = Bytes((170,))
    tokens = codec.encode(texts)
    assert codec.decode(tokens) == texts
    for row, text in zip(tokens.ids[..., 0].tolist(), texts, strict=True):
        raw = text.encode()
        assert bytes(row[: len(raw)]) == raw and row[len(raw)] == codec.space.stop


def test_pieces_come_back(pieces):
    @given(st.lists(TEXT, min_size=1, max_size=3))
    @settings(max_examples=60, deadline=None)
    def check(texts):
        assert pieces.decode(pieces.encode(texts)) == texts
    check()


def test_pieces_are_fewer_than_bytes_on_what_was_learned(pieces):
    text = CORPUS[0]
    assert len(pieces.pieces_of(text)) < 0.7 * len(text.encode())


def test_a_document_ends_with_stop_and_padding():
    codec = Bytes((5,))
    tokens = codec.encode(["abc", "abcde", "", "é"])
    stop = codec.space.stop
    assert tokens.doc.tolist() == [[0, 0, 0, 0, -1], [0] * 5, [0, -1, -1, -1, -1], [0, 0, 0, -1, -1]]
    assert tokens.ids[0, :, 0].tolist()[:4] == [97, 98, 99, stop] and codec.decode(tokens) == ["abc", "abcde", "", "é"]
    assert codec.encode(["abcde", "fghij"]).doc.stride(0) == 0
    assert codec.space.open and codec.space.start == 257 and codec.space.vocab == (258,)


def test_a_prompt_is_not_ended():
    codec = Bytes((5,))
    tokens = codec.prompt(["abc", "d", ""])
    assert tokens.doc.tolist() == [[0, 0, 0], [0, -1, -1], [-1, -1, -1]] and codec.decode(tokens) == ["abc", "d", ""]
    assert codec.prompt([""]).length == 1 and codec.prompt(["abcde"]).length == 5


def test_anything_generated_can_be_read():
    codec = Bytes((4,))
    blank = codec.space.blank(3)
    blank.ids[..., 0] = torch.tensor([[0xE9, 65, 66, 67], [257, 65, 256, 66], [256, 65, 65, 65]])
    assert codec.decode(blank) == ["\ufffdABC", "A", ""]


def test_long_texts_are_refused_or_cut():
    with pytest.raises(CodecError, match="holds 4 tokens and text 1 has 5") as error:
        Bytes((4,)).encode(["abcd", "abcde"])
    assert "\n" not in str(error.value)
    codec = Bytes((4,), long="cut")
    assert codec.decode(codec.encode(["abcdef"])) == ["abcd"] and (codec.encode(["abcdef"]).doc == 0).all()


def test_what_is_not_text_is_refused(pieces):
    for codec in (Bytes((8,)), pieces):
        for data in ("abc", [1], torch.zeros(2, 8)):
            with pytest.raises(ShapeError, match="list of strings"):
                codec.encode(data)
        with pytest.raises(CodecError, match="surrogate"):
            codec.encode(["\ud800"])
        with pytest.raises(ShapeError):
            codec.decode(Bytes((8,)).space.blank(1).__class__(None, None, *(torch.zeros(1, 8, dtype=torch.long),) * 3))


def test_a_recipe_holds_the_tokenizer(pieces):
    spec = from_json(to_json(Spec(BPE, {"tokenizer": pieces.tokenizer})))
    again = spec.build(shape=(200,))
    again.load_state_dict(load(save(pieces.state_dict())))
    assert torch.equal(again.encode(CORPUS[:4]).ids, pieces.encode(CORPUS[:4]).ids) and again.space == pieces.space


def test_training_is_a_function_of_the_texts(pieces):
    assert BPE.trained(iter(CORPUS), vocab=300, shape=(200,)).tokenizer == pieces.tokenizer


def test_bad_arguments_are_refused():
    for make in (lambda: Bytes((1, 28, 28)), lambda: Bytes((8,), long="wrap"), lambda: BPE.trained(CORPUS, vocab=100)):
        with pytest.raises(BadArgument):
            make()
    with pytest.raises(CodecError, match="not JSON"):
        BPE((8,), "{}")
