"""No part is used by nobody: every public class of the rooms of parts is named by a recipe, by another part or by an experiment."""

from __future__ import annotations

import ast
from pathlib import Path

import omniform

HOUSE = Path(omniform.__file__).parent
ROOMS = ("codecs", "backbones", "heads", "conditions", "processes")
BESIDE = (HOUSE.parent / "experiments", HOUSE.parent / "examples")


def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def parts() -> dict[str, Path]:
    """Public classes by name, with their files; orders stand in core and are parts as well."""
    files = [path for room in ROOMS for path in (HOUSE / room).rglob("*.py")] + [HOUSE / "core" / "order.py"]
    return {node.name: path for path in files for node in tree(path).body if isinstance(node, ast.ClassDef) and not node.name.startswith("_")}


def named(node: ast.AST) -> set[str]:
    """Identifiers inside, also those of annotations; imports name nobody."""
    found = set()
    for inner in ast.walk(node):
        if isinstance(inner, ast.Name):
            found.add(inner.id)
        elif isinstance(inner, ast.Attribute):
            found.add(inner.attr)
    return found


def users() -> set[str]:
    """Classes that something names, a class's own body apart."""
    found: set[str] = set()
    files = [path for path in HOUSE.rglob("*.py") if path.name != "__init__.py"] + [path for place in BESIDE for path in place.rglob("*.py")]
    for path in files:
        renamed = {}
        for node in tree(path).body:
            if isinstance(node, ast.ImportFrom):
                renamed |= {alias.asname: alias.name for alias in node.names if alias.asname}
                continue
            names = named(node) - ({node.name} if isinstance(node, ast.ClassDef) else set())
            found |= names | {renamed[name] for name in names if name in renamed}
    return found


def test_no_part_is_used_by_nobody():
    used = users()
    idle = sorted(name for name in parts() if name not in used)
    assert not idle, f"nobody uses {', '.join(idle)}: put it into a recipe or an experiment, or delete it"


def test_a_class_that_only_names_itself_is_seen():
    class_alone = ast.parse("class Lonely:\n    def copy(self):\n        return Lonely()\n").body[0]
    assert "Lonely" in named(class_alone)  # and is taken away by users()
    assert {"Attention", "Flow", "Raster"} <= set(parts()) & users()
