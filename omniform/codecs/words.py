"""Text as bytes with a mark at the end of each word."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import final

from ..core.errors import BadArgument
from ..core.tokens import Axis, Space
from .text import TextCodec

WORD, END = 0xFE, 0xFF
"""Bytes that utf-8 never uses: the end of a word, and of the text."""


@final
class WordBytes(TextCodec):
    """utf-8 in words: white space belongs to the word before it (arXiv:2501.10322, section 2), and after each word stands the id 254.

    A sequence starts from 254 and ends with 255. longest: where a word is cut though it goes on (ours: 100 bytes, as in the published splitter). Any text comes
    back exactly.
    """

    word = WORD

    def __init__(self, shape: tuple[int, ...], long: str = "refuse", longest: int = 100):
        super().__init__(shape, WORD, long)
        if longest < 1:
            raise BadArgument(f"a word holds one byte at least, not {longest}")
        self.longest = longest
        self.space = Space(axes=(Axis("time", shape[0]),), vocab=(256,), stop=END, start=WORD, open=True)

    def words_of(self, text: str) -> list[bytes]:
        """The words of a text, none longer than there is room for."""
        found = [word.encode() for word in re.findall(r"\S*\s+|\S+", text)]
        return [word[i : i + self.longest] for word in found for i in range(0, len(word), self.longest)]

    def pieces_of(self, text: str) -> list[int]:
        return [piece for word in self.words_of(text) for piece in (*word, WORD)]

    def text_of(self, pieces: Sequence[int]) -> str:
        return bytes(pieces).decode(errors="replace")
