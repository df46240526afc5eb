"""What there is."""

from __future__ import annotations

from typing import Any

from omniform import recipes
from omniform.core.errors import UnknownName, nearest


def systems(family: str | None = None, modality: str | None = None) -> list[dict[str, Any]]:
    """A row for each recipe: name, title, family, modality, sizes, sources."""
    rows = []
    for name in recipes.names():
        recipe = recipes.get(name)
        sources = [{"title": s.title, "arxiv": s.arxiv} for s in recipe.source]
        rows.append(
            {
                "name": name,
                "title": recipe.title,
                "family": recipe.family,
                "modality": recipe.modality,
                "sizes": ["tiny", *recipe.sizes],
                "sources": sources,
            }
        )
    for column, wanted in (("family", family), ("modality", modality)):
        known = sorted({row[column] for row in rows})
        if wanted is not None and wanted not in known:
            raise UnknownName(f"no recipe has the {column} {wanted!r}; {nearest(wanted, known)}")
        rows = [row for row in rows if wanted is None or row[column] == wanted] if wanted is not None else rows
    return rows
