"""Prints the tests of what differs from the last commit, one path a line; a core subset where nothing does.

A changed omniform/ROOM/.../FILE.py means tests/ROOM/test_FILE.py where there is one, else all of tests/ROOM. A changed
recipe means the contracts, of that recipe alone (of six, where more have changed: make test has the rest).
"""

from __future__ import annotations

import subprocess
from pathlib import Path

ROOT = Path(__file__).parent.parent
TESTS = ROOT / "tests"
ALWAYS = ("tests/core", "tests/test_imports.py")
MOST = 6  # recipes whose contracts are run; ours: all of one take four seconds
BUILD = ("Makefile", ".ci/", "pyproject.toml", "constraints.txt")


def changed() -> list[str]:
    """Paths that differ from the last commit, new ones included."""
    command = ["git", "status", "--porcelain", "--untracked-files=all", "--no-renames"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return [line[3:].strip('"') for line in listed.splitlines()]


def tests_of(path: str) -> list[str]:
    """The tests that speak of a file, whether they exist or not."""
    parts, name = Path(path).parts, Path(path).name
    if parts[0] == "tests":
        return [path] if name.startswith("test_") else [str(Path(path).parent)] if len(parts) > 2 else []
    if path.startswith(BUILD):
        return ["tests/docs/test_makefile.py"]
    if parts[0] == "examples":
        return ["tests/docs/test_examples.py"]
    if path.endswith(".md") or parts[0] == "docs":
        return page_tests(path)
    if parts[0] != "omniform" or len(parts) < 3:
        return []
    if parts[1] == "recipes":
        return ["tests/contracts"]
    own = (TESTS / parts[1]).rglob(f"test_{Path(path).stem}.py")
    return [str(p.relative_to(ROOT)) for p in own] or [f"tests/{parts[1]}", f"tests/test_{parts[1]}.py"]


def page_tests(path: str) -> list[str]:
    """What is looked at in a document, and its blocks if it has any: those of all pages take a minute."""
    page, tests = ROOT / path, "tests/docs/test_documents.py"
    looked = [f"{tests}::test_links_lead_somewhere", f"{tests}::test_paths_and_parts_exist"]
    looked += [f"{tests}::test_generated_parts_are_current"]
    runs = page.suffix == ".md" and page.is_file() and any(f in page.read_text() for f in ("```bash\n", "```python\n"))
    return [*looked, f"{tests}::test_page_runs[{path}]"] if runs else looked


def selected(paths: list[str]) -> list[str]:
    """Existing tests without those that others contain, and the filter that keeps contracts to the changed recipes."""
    found = {test for path in paths for test in tests_of(path)} | set(ALWAYS)
    there = sorted(test for test in found if _holds_tests(test))
    kept = [test for test in there if not any(_contains(other, test) for other in there)]
    recipes = sorted(
        {
            Path(p).stem.replace("_", "-")
            for p in paths
            if p.startswith("omniform/recipes/") and not p.endswith("__init__.py")
        }
    )
    if "tests/contracts" in kept and recipes and not any(p.startswith("tests/contracts") for p in paths):
        kept.remove("tests/contracts")
        kept += contracts_of(recipes[:MOST])
    return kept


def _contains(one: str, other: str) -> bool:
    return one != other and (Path(one) in Path(other).parents or other.startswith(f"{one}::"))


def _holds_tests(test: str) -> bool:
    path = ROOT / test.split("::")[0]
    return path.is_file() or (path.is_dir() and any(path.rglob("test_*.py")))


def contracts_of(recipes: list[str]) -> list[str]:
    """The contract tests whose case is one of these recipes."""
    import os
    import sys

    listed = subprocess.run(
        [sys.executable, "-m", "pytest", "--collect-only", "tests/contracts"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTEST_ADDOPTS": ""},
    ).stdout
    return [line for line in listed.splitlines() if "[" in line and line.split("[", 1)[1].rstrip("]") in recipes]


if __name__ == "__main__":
    print("\n".join(selected(changed())))
