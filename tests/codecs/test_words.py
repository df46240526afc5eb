"""Words of bytes, and pixels as whole numbers."""
from __future__ import annotations

import pytest
import torch

from omniform.codecs.pixels import Pixels
from omniform.codecs.words import WordBytes
from omniform.core.errors import BadArgument, CodecError, ShapeError

TEXTS = ["Hello, world!", "", "  two  spaces\n\tand a tab ", "naïve 漢字 🙂", "x" * 250, "one"]


@pytest.mark.parametrize("text", TEXTS)
def test_any_text_comes_back(text):
    codec = WordBytes((600,))
    assert codec.decode(codec.encode([text])) == [text]
    assert b"".join(codec.words_of(text)) == text.encode()


def test_white_space_belongs_to_the_word_before():
    codec = WordBytes((64,), longest=6)
    assert codec.words_of("Hello, big world\n") == [b"Hello,", b" ", b"big ", b"world\n"]
    assert WordBytes((64,)).words_of("Hello, big world\n") == [b"Hello, ", b"big ", b"world\n"]
    ids = codec.encode(["a b"]).ids[0, :6, 0].tolist()
    assert ids == [97, 32, 254, 98, 254, 255] and codec.space.start == codec.word == 254
    with pytest.raises(BadArgument, match="one byte at least"):
        WordBytes((8,), longest=0)
    with pytest.raises(CodecError, match="give shape more length"):
        WordBytes((4,)).encode(["a b c"])


@pytest.mark.parametrize(("shape", "axes"), [((3, 4, 5), ["channel", "y", "x"]), ((1, 4, 5), ["y", "x"])])
def test_pixels_come_back(shape, axes):
    codec = Pixels(shape, values=17)
    x = torch.randint(0, 17, (2, *shape), generator=torch.Generator().manual_seed(0)) / 8 - 1
    tokens = codec.encode(x)
    assert [a.name for a in codec.space.axes] == axes and torch.equal(tokens.ids[0, :, 0], ((x[0] + 1) * 8).long().flatten())
    assert torch.allclose(codec.decode(tokens), x)
    with pytest.raises(ShapeError, match="expects"):
        codec.encode(x[:, :, 1:])
    with pytest.raises(CodecError, match="-1 to 1"):
        codec.encode(x * 2)
