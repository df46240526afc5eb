"""What there is, and what of it one asked for."""

from __future__ import annotations

from typing import Any

from ..core.errors import UnknownName, nearest
from . import STATUSES, entries


def systems(family: str | None = None, modality: str | None = None, status: str | None = None) -> list[dict[str, Any]]:
    """A row for each recipe, then one for each paper of the catalogue that is no recipe here: name, title, family, modality, status, sizes, sources...

    status: how far it has come, as measured (`omniform.catalogue.STATUSES`). modality: of several, one.
    """
    rows = entries()
    for column, wanted in (("family", family), ("modality", modality), ("status", status)):
        if wanted is None:
            continue
        known = list(STATUSES) if column == "status" else sorted({word for row in rows for word in _words(row[column])})
        if wanted not in known:
            raise UnknownName(f"nothing has the {column} {wanted!r}; {nearest(wanted, known)}")
        rows = [row for row in rows if wanted in _words(row[column])]
    return rows


def _words(cell: str | list[str]) -> list[str]:
    return cell if isinstance(cell, list) else cell.split(", ")
