"""Codes made elsewhere, on a grid."""

from __future__ import annotations

import pytest
import torch

from omniform.codecs.ids import Ids
from omniform.core.errors import CodecError


def test_a_grid_of_codes_comes_back():
    codec, data = Ids((3, 4), 7), torch.arange(24).view(2, 3, 4) % 7
    tokens = codec.encode(data)
    assert [(a.name, a.size) for a in codec.space.axes] == [("y", 3), ("x", 4)] and tokens.ids[0, 5].tolist() == [data[0, 1, 1]]
    assert torch.equal(codec.decode(tokens), data) and bool(tokens.real.all())


@pytest.mark.parametrize("data", [torch.zeros(2, 12, dtype=torch.long), torch.zeros(2, 4, 3, dtype=torch.long), torch.zeros(2, 3, 4), "codes"])
def test_what_is_no_grid_of_that_size_is_refused(data):
    with pytest.raises(CodecError, match=r"\(batch, 3, 4\) whole numbers"):
        Ids((3, 4), 7).encode(data)


@pytest.mark.parametrize("code", [-1, 7])
def test_what_is_no_code_is_refused(code):
    with pytest.raises(CodecError, match="from 0 to 6"):
        Ids((3, 4), 7).encode(torch.full((1, 3, 4), code))
