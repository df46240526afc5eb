"""README.md and docs/: every command and every Python block runs, in order, page by page; links lead somewhere.

What is generated is current, and what must be complete is complete.
"""

from __future__ import annotations

import importlib
import importlib.util
import re
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from omniform import recipes

ROOT = Path(__file__).parents[2]
PAGES = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *(ROOT / "docs").rglob("*.md")])
name_of = lambda page: str(page.relative_to(ROOT))  # noqa: E731
LANGUAGES = {"bash", "python", "text"}
INSTALLS = ("python3 -m venv .venv", ".venv/bin/pip install -c constraints.txt -e .")


@dataclass(frozen=True)
class Block:
    """A fenced block: its language, what else the fence says, its text and the line that it starts on."""

    language: str
    note: str
    text: str
    line: int


def blocks_of(page: Path) -> list[Block]:
    """The fenced blocks of a page."""
    found: list[Block] = []
    lines = page.read_text(encoding="utf-8").split("\n")
    fence: tuple[int, str] | None = None
    for number, line in enumerate(lines, 1):
        if not line.startswith("```"):
            continue
        if fence is None:
            fence = (number, line.removeprefix("```").strip())
            continue
        first, said = fence
        language, _, note = said.partition(" ")
        found.append(Block(language, note, "\n".join(lines[first : number - 1]) + "\n", first + 1))
        fence = None
    assert fence is None, f"{page}: the block of line {fence} does not end"
    return found


def lines_of(block: Block) -> list[str]:
    """The commands of a shell block: continued lines joined, remarks left out."""
    joined = re.sub(r"\\\n\s*", " ", block.text)
    return [
        " ".join(shlex.split(line, comments=True, posix=False))
        for line in joined.split("\n")
        if line.split("#")[0].strip()
    ]


@pytest.mark.parametrize("page", [p for p in PAGES if any(b.language != "text" for b in blocks_of(p))], ids=name_of)
def test_page_runs(page, desk, typed, executed):
    namespace: dict[str, Any] = {"__name__": "document"}
    for block in blocks_of(page):
        if block.language == "bash" and not block.note:
            for line in lines_of(block):
                typed(line)
        elif block.language == "python":
            executed("\n" * (block.line - 1) + block.text, str(page), namespace)


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_only_make_and_install_lines_are_not_run(page):
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.M))
    for block in blocks_of(page):
        assert block.language in LANGUAGES, f"{page}:{block.line} is {block.language!r}"
        assert block.note in ("", "no-run") and (not block.note or block.language == "bash")
        for line in lines_of(block) if block.note else ():
            program, *words = shlex.split(line)
            if program == "make":
                assert words[0] in targets, f"{page}:{block.line}: the Makefile has no {words[0]}"
            else:
                assert line in INSTALLS, f"{page}:{block.line}: {line} is not run"


# ---- what a page points at ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_lead_somewhere(page):
    text = page.read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)\s]+)\)", text) + re.findall(r"src(?:set)?=\"([^\"]+)\"", text):
        place, _, anchor = target.partition("#")
        other = (page.parent / place).resolve() if place else page
        assert other.exists(), f"{page}: {target} leads nowhere"
        if anchor:
            heads = re.findall(r"^#+ (.*)$", other.read_text(encoding="utf-8"), re.M)
            slugs = {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}
            assert anchor in slugs, f"{page}: {other} has no heading {anchor}"


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_paths_and_parts_exist(page):
    """`omniform/...` and `docs/...` in backquotes are files; `module:Name` is there."""
    text = page.read_text(encoding="utf-8")
    for path in re.findall(r"`((?:omniform|docs|tests|scripts|benchmarks|examples)/[\w./-]*)`", text):
        assert (ROOT / path).exists(), f"{page} speaks of {path}"
    for module, name in re.findall(r"`([a-z_.]+):([A-Za-z_.]+)`", text):
        thing: Any = importlib.import_module(f"omniform.{module}")
        for part in name.split("."):
            declared = {*getattr(thing, "__dataclass_fields__", ()), *getattr(thing, "__annotations__", ())}
            assert hasattr(thing, part) or part in declared, f"{page} speaks of {module}:{name}"
            thing = getattr(thing, part, None)


@pytest.mark.parametrize("page", [*PAGES, ROOT / "Makefile", *sorted((ROOT / "examples").glob("*.py"))], ids=name_of)
def test_no_machine_is_named(page):
    text = page.read_text(encoding="utf-8")
    assert not re.search(r"(?<![\w.])/(home|root|work|Users|tmp)/", text), "a path of one machine"
    assert not re.findall(r"https?://\S+", text), "a host"


# ---- what is generated, and what must be complete -------------------------------------------------------------------


def test_generated_parts_are_current(tmp_path):
    spec = importlib.util.spec_from_file_location("generate", ROOT / "docs" / "generate.py")
    generate = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(generate)
    for page in generate.PAGES:
        text = (ROOT / page).read_text(encoding="utf-8")
        assert generate.renewed(text) == text, f"{page} is not current; write make docs"


def test_every_recipe_is_walked():
    """docs/families.md speaks of every recipe, and of none that is not there."""
    said = set(re.findall(r"`recipe: ([a-z0-9-]+)`", (ROOT / "docs" / "families.md").read_text(encoding="utf-8")))
    assert said == set(recipes.names())


def test_the_picture_of_the_house_shows_every_room():
    svg = (ROOT / "docs" / "pictures" / "house.svg").read_text(encoding="utf-8")
    words = " ".join(ElementTree.fromstring(svg).itertext()).split()
    rooms = {p.name for p in (ROOT / "omniform").iterdir() if p.is_dir() and (p / "__init__.py").exists()}
    assert rooms <= set(words)
    written = (ROOT / "docs" / "house.md").read_text(encoding="utf-8")
    assert all(f"`{room}`" in written for room in rooms)


@pytest.mark.parametrize("page", sorted((ROOT / "docs" / "decisions").glob("*.md")), ids=name_of)
def test_a_decision_has_its_form(page):
    text = page.read_text(encoding="utf-8")
    heads = re.findall(r"^## (.*)$", text, re.M)
    assert re.match(rf"# {page.name[:4]} \S", text) and re.search(r"^20\d\d-\d\d-\d\d$", text, re.M)
    assert heads[:3] == ["Context", "Choice", "Rejected"]
    assert len(text.split("\n")) <= 60, "a decision is a page"


def test_decisions_are_numbered_without_gaps():
    numbers = [int(p.name[:4]) for p in sorted((ROOT / "docs" / "decisions").glob("*.md"))]
    assert numbers == list(range(1, len(numbers) + 1))


def test_the_first_screen_of_the_readme():
    """One sentence, the two commands, at most eight lines of Python before the first heading below."""
    first = (ROOT / "README.md").read_text(encoding="utf-8").split("\n## ", 1)[0]
    blocks = [b for b in blocks_of(ROOT / "README.md") if b.text in first]
    assert [b.text for b in blocks if b.note] == ["make demo\nmake test\n"]
    assert len([line for line in next(b.text for b in blocks if b.language == "python").split("\n") if line]) <= 8
