"""Prints the tests of what differs from the last commit, one path a line; a core subset where nothing does.

A changed omniform/ROOM/.../FILE.py means tests/ROOM/test_FILE.py where there is one, else all of tests/ROOM. A changed recipe means the contracts, of that recipe alone.
"""
from __future__ import annotations

import subprocess
from pathlib import Path

ROOT = Path(__file__).parent.parent
TESTS = ROOT / "tests"
ALWAYS = ("tests/core", "tests/test_imports.py")
DOCUMENTS = ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "Makefile", ".ci/", "docs/", "examples/", "pyproject.toml")


def changed() -> list[str]:
    """Paths that differ from the last commit, new ones included."""
    listed = subprocess.run(["git", "status", "--porcelain", "--untracked-files=all", "--no-renames"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return [line[3:].strip('"') for line in listed.splitlines()]


def tests_of(path: str) -> list[str]:
    """The tests that speak of a file."""
    parts = Path(path).parts
    if parts[0] == "tests":
        return [path] if Path(path).name.startswith("test_") else [str(Path(path).parent)] if len(parts) > 2 else []
    if path.startswith(DOCUMENTS):
        return ["tests/docs"]
    if parts[0] != "omniform" or len(parts) < 3:
        return []
    if parts[1] == "recipes" and (TESTS / "contracts").is_dir():
        return ["tests/contracts"]
    own = f"test_{Path(path).stem}.py"
    room = TESTS / parts[1]
    return [str(p.relative_to(ROOT)) for p in room.rglob(own)] or [f"tests/{parts[1]}"]


def selected(paths: list[str]) -> list[str]:
    """Existing tests without those that others contain, and the filter that keeps contracts to the changed recipes."""
    found = {test for path in paths for test in tests_of(path)} | set(ALWAYS)
    there = sorted(test for test in found if (ROOT / test).exists())
    kept = [test for test in there if not any(test != other and Path(other) in Path(test).parents for other in there)]
    recipes = sorted({Path(p).stem.replace("_", "-") for p in paths if p.startswith("omniform/recipes/") and not p.endswith("__init__.py")})
    if "tests/contracts" in kept and recipes and not any(p.startswith("tests/contracts") for p in paths):
        kept.remove("tests/contracts")
        kept += contracts_of(recipes)
    return kept


def contracts_of(recipes: list[str]) -> list[str]:
    """The contract tests whose case is one of these recipes."""
    import os
    import sys

    listed = subprocess.run([sys.executable, "-m", "pytest", "--collect-only", "tests/contracts"], cwd=ROOT, capture_output=True, text=True,
                            env={**os.environ, "PYTEST_ADDOPTS": ""}).stdout
    return [line for line in listed.splitlines() if "[" in line and line.split("[", 1)[1].rstrip("]") in recipes]


if __name__ == "__main__":
    print("\n".join(selected(changed())))
