"""make and .ci/run, with a Python that only notes what it is asked: what is installed when, what runs, what fails."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
STUB = """#!/bin/sh
echo "$@" >> "{log}"
case "$1 $2" in
  "-c import"*) [ -z "$OLD" ] || {{ echo "Omniform needs Python 3.11 or newer" >&2; exit 1; }} ;;
  "-m venv") mkdir -p .venv/bin && cp "$0" .venv/bin/python && cp "$0" .venv/bin/omniform && cp "$0" .venv/bin/ruff ;;
  "-m pytest") echo "3 passed in 0.01s"; exit ${{PYTEST_STATUS:-0}} ;;
  ".ci/touched.py ") echo tests/core ;;
esac
"""


@pytest.fixture
def clone(tmp_path):
    """A clone with the build files only, and a stand-in for Python."""
    for name in ("Makefile", "pyproject.toml", "constraints.txt", ".ci/run"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    (tmp_path / "python").write_text(STUB.format(log=tmp_path / "log"))
    (tmp_path / "python").chmod(0o755)
    (tmp_path / "log").touch()
    return tmp_path


def ran(clone: Path, *command: str, **more: str) -> tuple[subprocess.CompletedProcess, list[str]]:
    """A command in the clone, and what Python was asked meanwhile."""
    before = len((clone / "log").read_text().splitlines())
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("MAKE", "MFLAGS"))}
    done = subprocess.run(
        command, cwd=clone, capture_output=True, text=True, env={**environment, "PYTHON": "./python", **more}
    )
    return done, (clone / "log").read_text().splitlines()[before:]


def test_demo_installs_once_and_passes_arguments_on(clone):
    done, asked = ran(clone, "make", "demo", "ARGS=--minutes 30")
    assert done.returncode == 0, done.stderr
    assert asked[1] == "-m venv --clear .venv"
    assert asked[2].endswith("-c constraints.txt -e .") and asked[2].startswith("-m pip install")
    assert asked[-1] == "demo --minutes 30"
    assert ran(clone, "make", "demo")[1] == ["demo"]


def test_a_newer_pyproject_installs_again(clone):
    ran(clone, "make", "demo")
    later = (clone / ".venv/installed").stat().st_mtime + 5
    os.utime(clone / "constraints.txt", (later, later))
    asked = ran(clone, "make", "demo")[1]
    assert [line.split()[1] for line in asked[:-1]] == ["pip"] and asked[-1] == "demo"


def test_tests_bring_what_they_need(clone):
    ran(clone, "make", "demo")
    done, asked = ran(clone, "make", "test")
    assert done.returncode == 0
    assert asked[0].endswith("-e .[test]")
    assert asked[1].startswith("-m pytest -n 2")


def test_an_install_that_fails_is_not_taken_for_done(clone):
    (clone / "python").write_text(
        (clone / "python").read_text().replace('"-m venv")', '"-m pip") exit 1 ;;\n  "-m venv")')
    )
    assert ran(clone, "make", "demo")[0].returncode != 0
    assert not (clone / ".venv/installed").exists()


def test_an_old_python_is_refused_in_one_line(clone):
    done, asked = ran(clone, "make", "demo", OLD="1")
    assert done.returncode != 0 and "3.11 or newer" in done.stderr
    assert not (clone / ".venv").exists() and len(asked) == 1


def test_make_alone_says_what_there_is(clone):
    done, asked = ran(clone, "make")
    assert asked == [] and all(
        f"make {verb} " in done.stdout for verb in ("demo", "test", "fast", "check", "docs", "bench", "claims", "clean")
    )


def test_ci_runs_the_suite_and_ends_with_its_closing_line(clone):
    done, asked = ran(clone, "./.ci/run")
    assert done.returncode == 0, done.stderr
    assert done.stdout.rstrip().splitlines()[-1] == "3 passed in 0.01s"
    assert any(line == "-m venv --clear .venv" for line in asked)


def test_ci_fails_when_the_suite_does(clone):
    assert ran(clone, "./.ci/run", PYTEST_STATUS="1")[0].returncode != 0


# ---- make fast ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def touched():
    spec = importlib.util.spec_from_file_location("touched", ROOT / ".ci" / "touched.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("path", "tests"),
    [
        ("omniform/codecs/patch.py", ["tests/codecs/test_patch.py"]),
        ("omniform/codecs/__init__.py", ["tests/codecs", "tests/test_codecs.py"]),
        ("Makefile", ["tests/docs/test_makefile.py"]),
        ("examples/write_text.py", ["tests/docs/test_examples.py"]),
        ("omniform/verbs/learning.py", ["tests/verbs", "tests/test_verbs.py"]),
        ("tests/core/test_rng.py", ["tests/core/test_rng.py"]),
        ("tests/contracts/conftest.py", ["tests/contracts"]),
        ("omniform/recipes/image/dit.py", ["tests/contracts"]),
    ],
)
def test_a_changed_file_means_its_tests(touched, path, tests):
    assert touched.tests_of(path) == tests


def test_a_changed_page_runs_alone(touched):
    page = "tests/docs/test_documents.py::test_page_runs[docs/guide.md]"
    assert page in touched.tests_of("docs/guide.md")
    assert not any("test_page_runs" in test for test in touched.tests_of("docs/glossary.md"))
    assert touched.selected(["docs/guide.md", "tests/docs/test_documents.py"])[-2:] == [
        "tests/docs/test_documents.py",
        "tests/test_imports.py",
    ]


def test_nothing_changed_means_the_core(touched):
    assert touched.selected([]) == ["tests/core", "tests/test_imports.py"]


def test_a_room_contains_its_files(touched):
    assert touched.selected(["omniform/codecs/__init__.py", "omniform/codecs/patch.py"]) == [
        "tests/codecs",
        "tests/core",
        "tests/test_imports.py",
    ]
