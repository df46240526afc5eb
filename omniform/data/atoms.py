"""Atoms in space: small molecules and crystals, a row an atom."""

from __future__ import annotations

import gzip
import json
import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, final

from omniform.core.batch import Batch
from omniform.core.errors import DataError
from omniform.data.dataset import Dataset, Split, hold_out, indexed
from omniform.data.options import one_of, whole
from omniform.data.packages import fetch

if TYPE_CHECKING:
    from torch import Tensor

SEED, HELD = 2_503, 0.1  # ours
KINDS = ("crystal", "molecule")
ELEMENTS = ("H He Li Be B C N O F Ne Na Mg Al Si P S Cl Ar K Ca Sc Ti V Cr Mn Fe Co Ni Cu Zn Ga Ge As Se Br Kr Rb Sr Y Zr Nb Mo Tc Ru Rh Pd Ag Cd In Sn Sb Te "
            "I Xe Cs Ba La Ce Pr Nd Pm Sm Eu Gd Tb Dy Ho Er Tm Yb Lu Hf Ta W Re Os Ir Pt Au Hg Tl Pb Bi Po At Rn Fr Ra Ac Th Pa U Np Pu Am Cm Bk Cf Es").split()
"""In the order of their numbers, from 1 to 99."""
LICENCE = "BSD-3-Clause (molecules), MIT (crystals)"
CRYSTALS = "pymatgen/analysis/prototypes/aflow_prototypes.json.gz"
_NUMBER = {symbol: number for number, symbol in enumerate(ELEMENTS, 1)}
_ATOM, _FIELD = re.compile(r"<atom\b[^>]*>"), re.compile(r'(elementType|x3|y3|z3)\s*=\s*"([^"]*)"')


def atoms(*, atoms: int = 24, kind: str = "both") -> Dataset:
    """Molecules with their hydrogens (Avogadro's) and crystals (AFLOW's prototypes) of at most so many atoms, labelled "crystal" or "molecule"; a tenth is held
    out.

    An example is (atoms, 13): a row an atom of its number / 100; x, y, z in nm, centred (a molecule's); three fractions of the cell, its three lengths in nm
    and its three angles in half turns (a crystal's). What is not said is 0, and so are rows without an atom. kind: "both", or one of the labels.
    """
    import torch

    whole("atoms", atoms, 1, 512)
    one_of("kind", kind, ("both", *KINDS))
    found = [(0, rows) for rows in _crystals(fetch("pymatgen")) if kind != "molecule"] + [
        (1, rows) for rows in _molecules(fetch("libavogadro-data")) if kind != "crystal"
    ]
    found = [(label, rows) for label, rows in found if 0 < len(rows) <= atoms]
    packed = torch.zeros(len(found), atoms, 13)
    for data, (_, rows) in zip(packed, found, strict=True):
        data[: len(rows)] = torch.tensor(rows)
    labels = torch.tensor([label for label, _ in found])
    train, test = (Clusters(packed[index], labels[index]) for index in hold_out(len(found), HELD, SEED))
    return Dataset(
        name="atoms", modality="three_d", shape=(atoms, 13), classes=KINDS, train=train, test=test, licence=LICENCE,
        origin=f"{int((labels == 1).sum())} molecules (Debian's libavogadro-data) and {int((labels == 0).sum())} crystals (AFLOW's prototypes in pymatgen) of "
        f"at most {atoms} atoms",
    )  # fmt: skip


@final
class Clusters(Split):
    """Examples (N, atoms, 13) held in memory, with labels."""

    def __init__(self, packed: Tensor, labels: Tensor):
        self._packed, self._labels = packed, labels

    def __len__(self) -> int:
        return len(self._packed)

    def batch(self, indices: Sequence[int] | Tensor) -> Batch:
        index = indexed(indices, len(self))
        return Batch(self._packed[index], {"label": self._labels[index]})


def _molecules(folder: Path) -> list[list[list[float]]]:
    found = []
    for path in sorted((folder / "usr/share/avogadro2/molecules").rglob("*.cml")):
        said = [dict(_FIELD.findall(atom)) for atom in _ATOM.findall(path.read_text(errors="replace"))]
        if not said or any(len(atom) < 4 or atom["elementType"] not in _NUMBER for atom in said):
            continue
        places = [[float(atom[axis]) / 10 for axis in ("x3", "y3", "z3")] for atom in said]
        middle = [sum(column) / len(places) for column in zip(*places, strict=True)]
        found.append(
            [
                [_NUMBER[atom["elementType"]] / 100, *(x - m for x, m in zip(place, middle, strict=True)), *[0.0] * 9]
                for atom, place in zip(said, places, strict=True)
            ]
        )
    return found


def _crystals(folder: Path) -> list[list[list[float]]]:
    path = folder / CRYSTALS
    try:
        said: list[dict[str, Any]] = json.loads(gzip.decompress(path.read_bytes()))
        found = []
        for each in said:
            lattice, sites = each["snl"]["lattice"], each["snl"]["sites"]
            cell = [*(lattice[n] / 10 for n in "abc"), *(lattice[n] / 180 for n in ("alpha", "beta", "gamma"))]
            rows = [(_NUMBER.get(site["species"][0]["element"]), [x % 1 for x in site["abc"]]) for site in sites]
            if all(number for number, _ in rows):
                found.append([[number / 100, 0.0, 0.0, 0.0, *(0.0 if math.isclose(x, 1) else x for x in abc), *cell] for number, abc in rows if number])
    except (OSError, ValueError, KeyError, IndexError) as error:
        raise DataError(f"cannot read {path} ({error}); delete its folder and open the data set again") from error
    return found
