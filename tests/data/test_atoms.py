"""Molecules and crystals."""

from __future__ import annotations

import pytest
import torch

from omniform.core.errors import BadArgument
from omniform.data import open_data
from omniform.data.atoms import ELEMENTS


def test_molecules_are_molecules_and_crystals_have_cells():
    data = open_data("atoms")
    batch = data.train.batch(range(len(data.train)))
    molecule = batch.condition["label"] == 1
    rows, real = batch.data[molecule], batch.data[molecule][..., 0] > 0
    assert not rows[..., 4:].any() and not rows[~real].any() and torch.allclose(rows[..., 1:4].sum(1), torch.zeros(3), atol=1e-5)
    gap = torch.cdist(rows[..., 1:4], rows[..., 1:4]) + torch.eye(24) * 9 + 9 * (~real[:, :, None] | ~real[:, None, :])
    near = gap.amin(-1)[real]
    assert float(near.min()) > 0.05 and float(near.max()) < 0.3, "a nearest neighbour is a bond away, in nm"
    cells, real = batch.data[~molecule], batch.data[~molecule][..., 0] > 0
    assert not cells[..., 1:4].any() and (cells[real][:, 7:] > 0).all() and (cells[..., 4:7] >= 0).all() and (cells[..., 4:7] <= 1).all()
    assert (real.int().diff(dim=1) <= 0).all(), "atoms come first"


def test_one_kind_of_at_most_so_many_atoms():
    some = open_data("atoms", kind="molecule", atoms=9)
    data = some.train.batch(range(len(some.train)))
    assert some.shape == (9, 13) and (data.condition["label"] == 1).all()
    with pytest.raises(BadArgument, match="kind"):
        open_data("atoms", kind="protein")


def test_elements_are_in_their_order():
    assert len(ELEMENTS) == len(set(ELEMENTS)) == 99
    assert [ELEMENTS[n - 1] for n in (1, 6, 8, 26, 47, 79, 92)] == ["H", "C", "O", "Fe", "Ag", "Au", "U"]
