"""Tokens and the space they come from."""

from __future__ import annotations

import pytest
import torch

from omniform.core.distribution import Content
from omniform.core.errors import ShapeError
from omniform.core.tokens import Axis, Space, Tokens

SPACE = Space(axes=(Axis("y", 2), Axis("x", 3)), vocab=(8, 8), channels=2)
OPEN = Space(axes=(Axis("time", 6), Axis("book", 2)), vocab=(4,), open=True)


def test_places_are_the_grid_in_raster_order():
    assert SPACE.places.tolist() == [[0, 0], [0, 1], [0, 2], [1, 0], [1, 1], [1, 2]] and SPACE.length == 6
    assert SPACE.ravel(SPACE.places).tolist() == list(range(6)) and SPACE.index().tolist() == list(range(6))
    sparse = Space(axes=SPACE.axes, channels=1, coord=SPACE.places[[1, 5]])
    assert sparse.length == 2 and sparse.index().tolist() == [-1, 0, -1, -1, -1, 1]


def test_blank_says_nothing_and_shares_its_rows():
    blank = SPACE.blank(3)
    assert blank.ids.shape == (3, 6, 2) and blank.vec.shape == (3, 6, 2) and blank.real.all()
    assert blank.coord.stride(0) == blank.doc.stride(0) == 0
    assert Space(axes=SPACE.axes, vocab=(16,), bits=4).blank(1).ids.shape == (1, 6, 1)


def test_only_an_open_axis_has_an_extent():
    assert OPEN.blank(2, {"time": 3}).length == 6
    for space, extent in ((OPEN, {"time": 7}), (OPEN, {"time": 0}), (OPEN, {"book": 1}), (SPACE, {"y": 1})):
        with pytest.raises(ShapeError):
            space.blank(1, extent)


def test_gather_put_where_join():
    g = torch.Generator().manual_seed(0)
    tokens = Tokens(
        torch.randint(0, 8, (2, 6, 2), generator=g), torch.randn(2, 6, 2, generator=g), *(getattr(SPACE.blank(2), n) for n in ("coord", "kind", "doc"))
    )
    index = torch.tensor([[4, 0], [1, 5]])
    some = tokens.gather(index)
    for b in range(2):
        for j in range(2):
            assert torch.equal(some.ids[b, j], tokens.ids[b, index[b, j]]) and torch.equal(some.coord[b, j], tokens.coord[b, index[b, j]])
    other = Content(some.ids + 1, None)
    written = tokens.put(index, other)
    assert torch.equal(written.gather(index).ids, some.ids + 1) and torch.equal(written.vec, tokens.vec)
    untouched = torch.ones(2, 6, dtype=torch.bool).scatter(1, index, False)
    assert torch.equal(written.ids[untouched], tokens.ids[untouched])
    back = tokens.where(untouched, written)
    assert torch.equal(back.ids, written.ids)
    assert torch.equal(Tokens.join([tokens.at(slice(0, 2)), tokens.at(slice(2, 6))]).vec, tokens.vec)
    assert torch.equal(tokens.rows(torch.tensor([1, 1, 0])).ids[2], tokens.ids[0])
