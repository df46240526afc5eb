"""Strings over small alphabets."""

from __future__ import annotations

import pytest

from omniform.codecs.symbols import SMILES, Symbols
from omniform.core.errors import BadArgument, CodecError


@pytest.mark.parametrize("text", ["CC(=O)Oc1ccccc1C(=O)O", "C[C@@H](N)C(=O)[O-]", "Clc1ccc(Br)cc1", "[Zr+4]", "F/C=C\\F", "[13CH4]", ""])
def test_a_molecule_comes_back(text):
    codec = Symbols((40,), alphabet="smiles")
    assert codec.decode(codec.encode([text])) == [text]


def test_the_longest_symbol_is_taken():
    codec = Symbols((40,), alphabet="smiles")
    assert codec.pieces_of("C[C@@H]Cl") == [SMILES.index("C"), SMILES.index("[C@@H]"), SMILES.index("Cl")]
    assert len(set(SMILES)) == len(SMILES)


def test_proteins_have_twenty_letters_and_one_that_stands_for_others():
    codec = Symbols((6,), alphabet="amino acids", pieces=23)
    assert codec.space.vocab == (25,) and codec.pieces_of("ACDY") == [0, 1, 2, 19]
    assert codec.decode(codec.encode(["acdU", "MKB"])) == ["ACDX", "MKX"]
    with pytest.raises(CodecError, match="holds 6 tokens"):
        codec.encode(["MKVLAAG"])


def test_what_cannot_be_is_refused():
    with pytest.raises(BadArgument, match="one of amino acids, smiles"):
        Symbols((6,), alphabet="latin")
    with pytest.raises(BadArgument, match="needs 21 rows"):
        Symbols((6,), alphabet="amino acids", pieces=20)
