"""Writes what is generated in the documents: the text between `<!-- NAME: begin -->` and `<!-- NAME: end -->`.

python docs/generate.py         # make docs

Before that it measures recipes that changed (--anew: all of them) and strikes from the catalogue what is built and so not planned any more.
"""

from __future__ import annotations

import re
import sys
from collections import Counter
from pathlib import Path

from omniform.catalogue import KINDS, STATUSES, claims, rows
from omniform.catalogue.computing import renew, renew_claims, strike
from omniform.catalogue.listing import systems
from omniform.cli.look import standing

ROOT = Path(__file__).parent.parent
PAGES = ("README.md", "docs/systems.md", "experiments/README.md")
FEW = 5  # sizes that are named; ours


def recipes_table() -> str:
    """The recipes of `omniform systems` as a table."""
    lines = ["| recipe | what | family | modality | sizes | source |", "| --- | --- | --- | --- | --- | --- |"]
    for row in systems():
        if not row["sizes"]:
            continue
        sizes = ", ".join(row["sizes"][:FEW]) + (f" + {len(row['sizes']) - FEW}" if len(row["sizes"]) > FEW else "")
        source = row["sources"][0]
        paper = f"arXiv:{source['arxiv']}" if source["arxiv"] else source["title"]
        lines.append(f"| `{row['name']}` | {row['title']} | {row['family']} | {row['modality']} | {sizes} | {paper} |")
    return "\n".join(lines)


def counted_table() -> str:
    """How many have come how far."""
    reached = Counter(step for row in systems() for step in row["status"])
    lines = ["| status | recipes and papers |", "| --- | --- |", *(f"| {step} | {reached[step]} |" for step in STATUSES)]
    return "\n".join([*lines, "", f"{len(rows())} papers, {sum(bool(row['sizes']) for row in systems())} recipes."])


def systems_table() -> str:
    """Recipes by how far they have come; then papers, kind by kind."""
    lines = ["## Recipes", "", "| recipe | family | modality | status | also | paper |", "| --- | --- | --- | --- | --- | --- |"]
    listed = {row["name"]: row for row in systems()}
    for row in listed.values():
        if row["sizes"]:
            also = ", ".join(f"`{name}`" for link, names in row["also"].items() if link != "experiment" for name in names)
            lines.append(f"| `{row['name']}` | {row['family']} | {row['modality']} | {standing(row)} | {also} | {row['sources'][0]['title']} |")
    for kind in KINDS:
        lines += ["", f"## Papers: {kind}", "", "| row | family | modality | what | status |", "| --- | --- | --- | --- | --- |"]
        for paper in rows().values():
            if paper.kind == kind:
                status = ", ".join(f"`{name}`" for name in paper.recipe) if paper.recipe else standing(listed[paper.id])
                lines.append(f"| {paper.id} | {paper.family} | {', '.join(paper.modality)} | {paper.what} | {status} |")
    return "\n".join(lines)


def claims_table() -> str:
    """Every claim with its verdict."""
    lines = ["| row | claim | verdict | because | seconds |", "| --- | --- | --- | --- | --- |"]
    cell = lambda text: str(text).replace("|", "\\|")  # noqa: E731
    for row, told in sorted(claims().items()):
        lines.append(f"| {row} | {cell(told['says'])} ({cell(told['source'])}) | {told['verdict']} | {cell(told['because'])} | {told['seconds']:g} |")
    return "\n".join(lines)


GENERATED = {"recipes": recipes_table, "counted": counted_table, "systems": systems_table, "claims": claims_table}


def renewed(text: str) -> str:
    """A page with its generated parts written anew."""
    for name, make in GENERATED.items():
        begin, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
        text = re.sub(f"{begin}.*?{end}", lambda _, b=begin, e=end, m=make: f"{b}\n{m()}\n{e}", text, flags=re.S)
    return text


if __name__ == "__main__":
    renew(anew="--anew" in sys.argv)
    renew_claims()
    strike()
    for page in PAGES:
        place = ROOT / page
        place.write_text(renewed(place.read_text(encoding="utf-8")), encoding="utf-8")
