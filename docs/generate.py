"""Writes what is generated in the documents: the text between `<!-- NAME: begin -->` and `<!-- NAME: end -->`.

python docs/generate.py         # make docs
"""

from __future__ import annotations

import re
from pathlib import Path

from omniform.verbs.listing import systems

ROOT = Path(__file__).parent.parent
PAGES = ("README.md",)
FEW = 5  # sizes that are named; ours


def recipes_table() -> str:
    """`omniform systems` as a table."""
    lines = ["| recipe | what | family | modality | sizes | source |", "| --- | --- | --- | --- | --- | --- |"]
    for row in systems():
        sizes = ", ".join(row["sizes"][:FEW]) + (f" + {len(row['sizes']) - FEW}" if len(row["sizes"]) > FEW else "")
        source = row["sources"][0]
        paper = f"arXiv:{source['arxiv']}" if source["arxiv"] else source["title"]
        lines.append(f"| `{row['name']}` | {row['title']} | {row['family']} | {row['modality']} | {sizes} | {paper} |")
    return "\n".join(lines)


GENERATED = {"recipes": recipes_table}


def renewed(text: str) -> str:
    """A page with its generated parts written anew."""
    for name, make in GENERATED.items():
        begin, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
        text = re.sub(f"{begin}.*?{end}", lambda _, b=begin, e=end, m=make: f"{b}\n{m()}\n{e}", text, flags=re.S)
    return text


if __name__ == "__main__":
    for page in PAGES:
        place = ROOT / page
        place.write_text(renewed(place.read_text(encoding="utf-8")), encoding="utf-8")
