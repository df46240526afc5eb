"""Patches: exact inverses, where patches lie, unit variance."""
from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from omniform.codecs.patch import Patches, cut, paste
from omniform.core.errors import BadArgument, CodecError, ShapeError


def pixels(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed)) * 2 - 1


@given(st.integers(1, 4), st.integers(1, 4), st.integers(1, 4), st.integers(1, 3))
def test_paste_undoes_cut(patch, rows, columns, colours):
    x = pixels(2, colours, rows * patch, columns * patch)
    assert torch.equal(paste(cut(x, patch), colours, rows, columns), x)


def test_a_patch_is_where_its_coord_says():
    codec = Patches((3, 6, 4), patch=2)
    x = pixels(5, 3, 6, 4)
    tokens = codec.encode(x)
    for i, (y, c) in enumerate(tokens.coord[0].long().tolist()):
        assert torch.equal(tokens.vec[:, i], x[:, :, 2 * y:2 * y + 2, 2 * c:2 * c + 2].flatten(1))
    assert tokens.coord.stride(0) == 0 and tokens.doc.stride(0) == 0


def test_frames_are_cut_one_by_one():
    clip = pixels(2, 3, 1, 4, 4)
    codec, single = Patches((3, 1, 4, 4), patch=2), Patches((1, 4, 4), patch=2)
    tokens = codec.encode(clip)
    assert [a.name for a in codec.space.axes] == ["frame", "y", "x"]
    for frame in range(3):
        inside = tokens.coord[0, :, 0] == frame
        assert torch.equal(tokens.vec[:, inside], single.encode(clip[:, frame]).vec)
    assert torch.equal(codec.decode(tokens), clip)


def test_decode_undoes_encode_for_any_power_of_two():
    x = pixels(3, 1, 8, 8)
    assert torch.equal(Patches((1, 8, 8), patch=4, scale=2.0).decode(Patches((1, 8, 8), patch=4, scale=2.0).encode(x)), x)
    odd = Patches((1, 8, 8), patch=4, scale=1.7, shift=0.3)
    assert torch.allclose(odd.decode(odd.encode(x)), x, atol=1e-6)


def test_settle_brings_unit_variance_and_is_saved():
    codec = Patches((1, 8, 8), patch=2)
    x = pixels(64, 1, 8, 8) * 0.3 + 0.4
    codec.settle(x)
    vec = codec.encode(x).vec
    assert vec.std(correction=0) == pytest.approx(1, abs=1e-5) and vec.mean() == pytest.approx(0, abs=1e-5)
    again = Patches((1, 8, 8), patch=2)
    again.load_state_dict(codec.state_dict())
    assert torch.equal(again.encode(x).vec, vec)


@pytest.mark.parametrize(("data", "message"), [
    (torch.zeros(2, 3, 8, 8), "expects a batch of"), (torch.zeros(2, 1, 8, 8, dtype=torch.uint8), "expects floats"), ([1], "found list")])
def test_foreign_data_is_refused_in_one_line(data, message):
    with pytest.raises(ShapeError, match=message) as error:
        Patches((1, 8, 8), patch=2).encode(data)
    assert "\n" not in str(error.value)


def test_bad_arguments_are_refused():
    for arguments in ({"shape": (1, 9, 8), "patch": 2}, {"shape": (8,), "patch": 2}, {"shape": (1, 8, 8), "patch": 2, "scale": 0.0}):
        with pytest.raises(BadArgument):
            Patches(**arguments)
    codec = Patches((1, 8, 8), patch=2)
    with pytest.raises(CodecError, match="without variance"):
        codec.settle(torch.zeros(4, 1, 8, 8))
    with pytest.raises(ShapeError, match="its own space"):
        codec.decode(Patches((1, 8, 8), patch=4).encode(torch.zeros(1, 1, 8, 8)))
