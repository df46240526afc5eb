"""Strings over a small alphabet: amino acids, the signs of a molecule's SMILES."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import final

from ..core.errors import BadArgument
from .text import TextCodec

AMINO_ACIDS = tuple("ACDEFGHIKLMNPQRSTVWY")

SMILES = tuple("[nH] [C@@H] [C@H] [C@] [C@@] [O-] [N+] [NH+] [NH2+] [NH3+] [N-] [n+] [S@] [S@@] [Si] Cl Br @@ %10 %11 %12".split()) + tuple(
    "CNOSPFIBcnosp()[]=#-+\\/@.:%0123456789HKLMRTVWXYZADEGUabdefghiklmrtuy"
)
"""What is often met in brackets, two-letter atoms, and every sign by itself, so that any SMILES can be spelled."""

ALPHABETS = {"amino acids": (AMINO_ACIDS, "X"), "smiles": (SMILES, "*")}
"""Name -> its symbols, and what stands for any other."""


@final
class Symbols(TextCodec):
    """The longest symbol of an alphabet that fits, again and again, as ids along "time".

    alphabet: "amino acids" (capitals; small letters are read as capitals) or "smiles". What is no symbol becomes the one id of what is unknown, written X or *.
    pieces: rows of the tables, where a published system has more than are used here; stop and start come after them.
    """

    def __init__(self, shape: tuple[int, ...], alphabet: str, pieces: int | None = None, long: str = "refuse"):
        if alphabet not in ALPHABETS:
            raise BadArgument(f"an alphabet is one of {', '.join(ALPHABETS)}, not {alphabet!r}")
        self.symbols, self.unknown = ALPHABETS[alphabet]
        if pieces is not None and pieces <= len(self.symbols):
            raise BadArgument(f"{alphabet} needs {len(self.symbols) + 1} rows and there are {pieces}")
        super().__init__(shape, pieces or len(self.symbols) + 1, long)
        self.capitals = alphabet == "amino acids"
        self._index = {symbol: i for i, symbol in enumerate(self.symbols)}
        self._cut = re.compile("|".join(re.escape(s) for s in sorted(self.symbols, key=len, reverse=True)) + "|.", re.DOTALL)

    def pieces_of(self, text: str) -> list[int]:
        return [self._index.get(s, len(self.symbols)) for s in self._cut.findall(text.upper() if self.capitals else text)]

    def text_of(self, pieces: Sequence[int]) -> str:
        return "".join(self.symbols[i] if i < len(self.symbols) else self.unknown for i in pieces)
