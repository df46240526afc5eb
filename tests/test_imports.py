"""The house rules that a program can check: who imports whom, what a recipe may hold, how long files are, what they are called."""

from __future__ import annotations

import ast
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

from omniform import recipes

HOUSE = Path(recipes.__file__).parents[1]
FILES = sorted(HOUSE.rglob("*.py"))
SIBLINGS = ("codecs", "backbones", "heads", "conditions", "processes", "data")
BELOW: dict[str, set[str]] = {"core": {"core"}, **{room: {"core", room} for room in SIBLINGS}}
BELOW["system"] = {"core", "system", *SIBLINGS}
for _room in ("accelerators", "compressors", "training", "evaluation", "serving"):
    BELOW[_room] = BELOW["system"] | {_room}
BELOW["recipes"] = {*BELOW, "recipes"}
BELOW["catalogue"] = {*BELOW, "catalogue"}
BELOW["interop"] = BELOW["recipes"] | {"interop"}  # what a checkpoint is of is a recipe
BELOW["verbs"] = {*BELOW, "verbs"}
BELOW["demo"] = {*BELOW, "demo"}
BELOW["cli"] = {*BELOW, "cli"}
BELOW["__init__"] = {*BELOW}  # the door: it hands out the verbs when they are asked for
BELOW["__main__"] = {"cli"}
BANNED = ("utils", "util", "misc", "common", "helpers", "helper", "base", "manager", "handler", "scheduler", "v2", "new")
RECIPES = {name: HOUSE.parent / (module.replace(".", "/") + ".py") for name, module in recipes.modules().items()}


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(), str(path))


def name_of(path: Path) -> str:
    return str(path.relative_to(HOUSE))


def room(path: Path) -> str:
    """The room that a file is in; a file that stands in no room is one itself."""
    first = path.relative_to(HOUSE).parts[0]
    return first.removesuffix(".py")


def imported(path: Path) -> set[str]:
    """Rooms of omniform that a file imports, under whatever condition."""
    package = ["omniform", *path.relative_to(HOUSE).parts[:-1]]
    found: set[str] = set()
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            modules = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else []
            whole = ".".join([*above, *([node.module] if node.module else [])])
            modules = [f"{whole}.{alias.name}" for alias in node.names]
        else:
            continue
        found |= {m.split(".")[1] for m in modules if m.startswith("omniform.")}
    return {f for f in found if (HOUSE / f).is_dir() or (HOUSE / f"{f}.py").exists()}


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_imports_go_down_only(path):
    assert room(path) in BELOW, f"{name_of(path)} stands in no known room; say in tests/test_imports.py what it may import"
    assert imported(path) <= BELOW[room(path)]


def test_the_walk_sees_imports():
    assert imported(HOUSE / "system" / "system.py") == {"conditions", "core", "system"}
    assert imported(HOUSE / "processes" / "flow.py") == {"core", "processes"}
    assert imported(HOUSE / "backbones" / "attention" / "attention.py") == {"core", "backbones"}
    assert "codecs" in imported(RECIPES["dit"]) and "recipes" in imported(RECIPES["dit"])


@pytest.mark.parametrize("name", sorted(RECIPES))
def test_a_recipe_is_data(name):
    path = RECIPES[name]
    body = tree(path)
    for node in ast.walk(body):
        assert not isinstance(
            node,
            ast.FunctionDef
            | ast.AsyncFunctionDef
            | ast.ClassDef
            | ast.If
            | ast.IfExp
            | ast.For
            | ast.While
            | ast.Lambda
            | ast.Try
            | ast.ListComp
            | ast.SetComp
            | ast.DictComp
            | ast.GeneratorExp,
        ), f"{path.name}:{node.lineno} holds {type(node).__name__}"
    made = [t.id for node in body.body if isinstance(node, ast.Assign) for t in node.targets if isinstance(t, ast.Name)]
    assert made.count("RECIPE") == 1 and made[-1] == "RECIPE"
    assert recipes.get(name).name == name == path.stem.replace("_", "-")
    assert ast.get_docstring(body)
    for node in ast.walk(body := ast.parse(path.read_text())):
        if isinstance(node, ast.Call):
            node.keywords = [k for k in node.keywords if k.arg not in ("facts", "sizes")]
    said = [ast.unparse(node) for node in body.body if not isinstance(node, ast.Import | ast.ImportFrom | ast.Expr)]
    assert len("\n".join(said)) <= 2500, "a recipe that takes more than 25 lines of 100 characters, without its sizes and facts, wants a part"


def test_every_recipe_file_is_in_the_registry():
    files = {p for p in (HOUSE / "recipes").rglob("*.py") if p.stem != "__init__"}
    assert files == set(RECIPES.values())


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_a_file_keeps_to_the_house(path):
    text = path.read_text()
    assert len(text.splitlines()) <= 400
    for part in path.relative_to(HOUSE).with_suffix("").parts:
        assert not set(part.split("_")) & set(BANNED), f"{part} says nothing"
    assert ast.get_docstring(tree(path)), "a file says in its first line what it is"
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Call):
            called = node.func
            assert not (isinstance(called, ast.Name) and called.id == "print" and room(path) != "cli"), f"{name_of(path)}:{node.lineno} prints"
            assert not (isinstance(called, ast.Attribute) and called.attr == "cuda"), f"{name_of(path)}:{node.lineno} names a device"
            assert not (
                isinstance(called, ast.Attribute)
                and called.attr in ("load", "loads", "dump", "dumps")
                and isinstance(called.value, ast.Name)
                and called.value.id in ("pickle", "torch")
                and not any(k.arg == "weights_only" and isinstance(k.value, ast.Constant) and k.value.value is True for k in node.keywords)
            ), f"{name_of(path)}:{node.lineno} pickles"
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = [a.name for a in node.names] + [getattr(node, "module", None) or ""]
            assert "pickle" not in names


@pytest.mark.parametrize("module", ["omniform", "omniform.cli", "omniform.recipes", "omniform.catalogue", "omniform.catalogue.listing"])
def test_torch_is_imported_when_it_is_needed(module):
    said = subprocess.run([sys.executable, "-c", f"import sys, {module}; print('torch' in sys.modules)"], capture_output=True, text=True, check=True)
    assert said.stdout.strip() == "False"
