"""Atoms as latent tokens."""

from __future__ import annotations

import math

import pytest
import torch

from omniform import recipes
from omniform.codecs.atoms import Atoms, _turns, cell_matrix
from omniform.core.errors import BadArgument, ShapeError
from omniform.core.rng import Rng


def codec(**changes: object) -> Atoms:
    torch.manual_seed(0)
    spec = recipes.get("adit-vae").sized("tiny").codec
    return spec.but({"encoder.depth": 1, "decoder.depth": 1, "width": 32, **changes}).build(shape=(8, 13)).eval()


def water() -> torch.Tensor:
    rows = torch.zeros(1, 8, 13)
    rows[0, :3, :4] = torch.tensor([[0.08, 0.3, 0.0, 0.0], [0.01, 0.396, 0.0, 0.0], [0.01, 0.276, 0.093, 0.0]])
    return rows


def salt() -> torch.Tensor:
    rows = torch.zeros(1, 8, 13)
    rows[0, :2] = torch.tensor([[0.11, 0, 0, 0, 0, 0, 0, *[0.4] * 3, *[1 / 3] * 3], [0.17, 0, 0, 0, 0.5, 0.5, 0.5, *[0.4] * 3, *[1 / 3] * 3]])
    return rows


def test_a_cell_has_the_lengths_and_angles_that_it_was_made_of():
    lengths, angles = torch.tensor([[3.0, 4.0, 5.0]]), torch.tensor([[1.2, 1.4, 1.9]])
    edges = cell_matrix(lengths, angles)[0]
    assert torch.allclose(edges.norm(dim=-1), lengths[0])
    for number, (i, j) in enumerate(((1, 2), (0, 2), (0, 1))):
        assert float(torch.acos(edges[i] @ edges[j] / edges[i].norm() / edges[j].norm())) == pytest.approx(float(angles[0, number]), abs=1e-5)


def test_turns_are_rotations():
    turn = _turns(Rng.seeded(0), 5)
    assert torch.allclose(turn @ turn.mT, torch.eye(3).expand(5, 3, 3), atol=1e-5) and torch.allclose(torch.linalg.det(turn), torch.ones(5), atol=1e-5)


def test_a_molecule_is_centred_and_a_crystal_is_placed_by_its_cell():
    made = codec()
    read = made._read(torch.cat([water(), salt()]))
    assert read.crystal.tolist() == [False, True] and read.real.sum(1).tolist() == [3, 2]
    assert torch.allclose(read.place[0, :3].mean(0), torch.zeros(3), atol=1e-7)
    assert float((read.place[0, 0] - read.place[0, 1]).norm()) == pytest.approx(0.096, abs=1e-6)
    assert torch.allclose(read.place[1, 1], 0.5 * cell_matrix(torch.full((1, 3), 0.4), torch.full((1, 3), math.pi / 3))[0].sum(0), atol=1e-6)
    moved = made._turned(read, Rng.seeded(3))
    for row in (0, 1):  # turned and shifted, never bent: a crystal up to whole edges of its cell
        a, b = (x.place[row, 1] - x.place[row, 0] for x in (read, moved))
        if not row:
            assert float(a.norm()) == pytest.approx(float(b.norm()), abs=1e-6)
        else:
            assert torch.allclose((moved.fraction[1, 1] - moved.fraction[1, 0]).remainder(1), torch.full((3,), 0.5), atol=1e-5)


def test_padding_says_nothing_and_changes_nothing():
    made = codec()
    alone, padded = water(), water()
    padded[0, 3:, 1:] = 0.7  # rows without a number are not read
    assert torch.equal(made.encode(alone).vec[:, :3], made.encode(padded).vec[:, :3]) and made.encode(alone).doc[0].tolist() == [0] * 3 + [-1] * 5
    short = codec().decode(made.encode(alone).at(slice(0, 3)))
    assert torch.allclose(short, made.decode(made.encode(alone)), atol=1e-5) and not short[0, 3:].any() and (short[0, :3, 0] >= 0.01).all()


def test_without_numbered_places_atoms_have_no_order():
    data = torch.cat([water(), salt()])
    data[1, 2] = data[1, 1]
    order = [2, 0, 1, 3, 4, 5, 6, 7]
    for numbered in (False, True):
        made = codec() if numbered else codec(positions=())
        gap = (made.encode(data[:, order]).vec - made.encode(data).vec[:, order])[:, :3].detach().abs().max()
        assert (float(gap) > 1e-3) is numbered


def test_it_costs_what_its_parts_cost():
    made, data = codec(), torch.cat([water(), salt()])
    (loss,) = made.loss(data, rng=Rng.seeded(0))
    assert int(loss.count) == 5 and set(loss.parts) == {"main", "place", "fraction", "cell", "kl"}
    (first,), (second,) = (made.loss(x, rng=Rng.seeded(0)) for x in (water(), salt()))
    assert not bool(first.parts["fraction"]) and not bool(first.parts["cell"]) and bool(first.parts["place"])
    assert not bool(second.parts["place"]) and bool(second.parts["cell"])


def test_settled_tokens_have_unit_variance():
    made = codec()
    data = torch.cat([water(), salt()]).repeat(32, 1, 1)
    data[:, :2, 0] += torch.randint(0, 20, (64, 2), generator=torch.Generator().manual_seed(0)) / 100
    made.settle(data)
    tokens = made.encode(data, rng=Rng.seeded(0, 64))
    real = tokens.vec[tokens.real]
    assert torch.allclose(real.var(0), torch.ones(8), atol=0.3) and torch.allclose(real.mean(0), torch.zeros(8), atol=0.3)


def test_what_does_not_fit_is_refused():
    with pytest.raises(BadArgument, match="atoms, 13"):
        recipes.get("adit-vae").sized("tiny").codec.build(shape=(8, 3))
    with pytest.raises(ShapeError, match="up to 8"):
        codec().decode(codec().space.blank(1)._mapped(lambda x: torch.cat([x, x], 1)))
