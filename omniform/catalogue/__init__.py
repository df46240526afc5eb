"""The catalogue: one row a paper, what becomes of it here, and how far that has come. Reads files only; torch is not needed.

A row lives in KIND.toml beside this file. What is linked by hand stands in the row (part, transform, objective); what can be found is found: a recipe by
the title or number of its first source, or by its name, an experiment by its file's name. How far a recipe has come is measured, not said: `records/`.
"""

from __future__ import annotations

import ast
import importlib
import json
import re
import tomllib
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from .. import recipes

HERE = Path(__file__).parent
RECORDS = HERE / "records"
EXPERIMENTS = HERE.parents[1] / "experiments"
LINKS = ("recipe", "part", "transform", "objective", "experiment")
"""What a paper may become here."""
KINDS = tuple(sorted(path.stem for path in HERE.glob("*.toml")))
STATUSES = ("builds", "sized", "partly sized", "contracted", "claimed", "built", "planned", "nothing")
"""built: there as a part, transform or objective, and in no recipe of the paper's own. planned: not built yet. nothing: nothing to build."""
FAMILIES = {"ar": "autoregressive", "gan": "adversarial", "nflow": "normalizing-flow", "multi": "several", "ssm": "state-space", "none": "-"}
"""The catalogue's words for families where recipes have others."""
_GREEK = {"α": "alpha", "δ": "delta", "Σ": "sigma", "σ": "sigma", "μ": "mu", "\\mu": "mu"}


@dataclass(frozen=True)
class Row:
    """A paper. what: it in a line. Links: names of recipes, `module:Name` of parts and transforms, file names of experiments without .py.

    planned: what it would become, and is not yet. nothing: why nothing is built of it. corrected: what was wrong in the row and is not any more.
    """

    id: str
    kind: str
    title: str
    family: str
    modality: tuple[str, ...]
    what: str = ""
    recipe: tuple[str, ...] = ()
    part: tuple[str, ...] = ()
    transform: tuple[str, ...] = ()
    objective: tuple[str, ...] = ()
    experiment: tuple[str, ...] = ()
    planned: tuple[str, ...] = ()
    nothing: str = ""
    corrected: str = ""
    arxiv: str = ""

    @property
    def built(self) -> tuple[str, ...]:
        """Which of LINKS there are."""
        return tuple(link for link in LINKS if getattr(self, link))


def plain(title: str) -> str:
    """A title without what spellings differ in."""
    for sign, word in _GREEK.items():
        title = title.replace(sign, word)
    return re.sub(r"[^a-z0-9]", "", title.lower())


@lru_cache(maxsize=1)
def first_sources() -> dict[str, tuple[str, str]]:
    """Recipe -> (arXiv number or "", title) of its first source, read from the files."""
    return {name: _first_source(module) for name, module in recipes.modules().items()}


def _first_source(module: str) -> tuple[str, str]:
    """Its own, or that of the recipe which it names or was made from."""
    tree = ast.parse(HERE.parent.joinpath(*module.split(".")[1:]).with_suffix(".py").read_text(encoding="utf-8"))
    others = {}
    for node in tree.body:
        if isinstance(node, ast.ImportFrom) and any(alias.name == "RECIPE" for alias in node.names):
            package = module.split(".")[: -node.level] if node.level else []
            others.update({alias.asname: ".".join([*package, node.module or ""]) for alias in node.names})
    made: Any = tree.body[-1].value  # type: ignore[attr-defined]
    said: Any = next((k.value for k in made.keywords if k.arg == "source"), made.func)
    if isinstance(said, ast.Tuple):
        said = said.elts[0].value if isinstance(said.elts[0], ast.Starred) else said.elts[0]
    if isinstance(said, ast.Attribute):  # OTHER.source, or OTHER.but
        return _first_source(others[said.value.id])  # type: ignore[attr-defined]
    words = dict(zip(("arxiv", "title"), map(_constant, said.args), strict=False)) | {k.arg: _constant(k.value) for k in said.keywords}
    return words.get("arxiv") or "", words["title"] or ""


def _constant(node: ast.expr) -> str | None:
    return ast.literal_eval(node) if isinstance(node, ast.Constant) else None


@lru_cache(maxsize=1)
def written() -> dict[str, dict[str, Any]]:
    """id -> what its file says, with the kind."""
    found: dict[str, dict[str, Any]] = {}
    for kind in KINDS:
        for row, said in tomllib.loads((HERE / f"{kind}.toml").read_text(encoding="utf-8")).items():
            if row in found:
                raise ValueError(f"the catalogue has two rows {row!r}: one in {found[row]['kind']}.toml, one in {kind}.toml")
            found[row] = {"kind": kind, **{key: tuple(value) if isinstance(value, list) else value for key, value in said.items()}}
    return found


@lru_cache(maxsize=1)
def rows() -> dict[str, Row]:
    """Every paper by its id, with the links that are found."""
    titles: dict[str, str] = {}
    for row, said in written().items():
        titles[plain(said["title"])] = row
        if said.get("arxiv"):
            titles[said["arxiv"]] = row
    of: dict[str, list[str]] = {}
    for name, (arxiv, title) in first_sources().items():
        row = titles.get(plain(title)) or titles.get(arxiv) or (name if name in written() else None)
        if row is not None:
            of.setdefault(row, []).append(name)
    found = {}
    for row, said in written().items():
        linked = tuple(dict.fromkeys((*said.get("recipe", ()), *of.get(row, ()))))
        there = row in claims() or (EXPERIMENTS / f"{row.replace('-', '_')}.py").exists()
        experiment = tuple(dict.fromkeys((*said.get("experiment", ()), *([row] if there else []))))
        found[row] = Row(**{**said, "id": row, "recipe": linked, "experiment": experiment})
    return found


@lru_cache(maxsize=1)
def claims() -> dict[str, dict[str, Any]]:
    """Row -> what its experiment found last, of the experiments whose result is not stale."""
    return {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in sorted((RECORDS / "claims").glob("*.json"))}


def record(name: str) -> dict[str, Any]:
    """What was measured of a recipe; {} where nothing was yet."""
    path = RECORDS / "recipes" / f"{name}.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}


def reached(recorded: dict[str, Any]) -> tuple[str, ...]:
    """How far a recipe has come: builds, sized or partly sized, contracted."""
    steps = ["builds"] if recorded.get("builds") else []
    facts = recorded.get("facts", {})
    if facts.get("holds"):
        steps.append("partly sized" if facts["differs"] else "sized")
    if recorded.get("contracts", {}).get("of") == recorded.get("fingerprint") is not None:
        steps.append("contracted")
    return tuple(steps)


def entries() -> list[dict[str, Any]]:
    """What `omniform systems` lists: every recipe, then every paper that is no recipe here."""
    row_of = {name: row for row in rows().values() for name in row.recipe}
    found = [_recipe(name, row_of.get(name)) for name in recipes.names()]
    return [*found, *(_paper(row) for row in rows().values() if not row.recipe)]


def _recipe(name: str, row: Row | None) -> dict[str, Any]:
    recorded = record(name) or described(name)
    claim = claims().get(name if row is None else row.id)  # a recipe that is no paper of the catalogue has its own
    return {
        **{key: recorded[key] for key in ("name", "title", "family", "modality", "sizes", "sources")},
        "row": None if row is None else row.id,
        "status": [*reached(recorded), *(["claimed"] if claim else [])],
        "verdict": claim["verdict"] if claim else None,
        "facts": recorded.get("facts"),
        "also": {} if row is None else {link: list(getattr(row, link)) for link in row.built if link != "recipe"},
        "planned": [] if row is None else list(row.planned),
        "nothing": None,
        "what": None if row is None else row.what,
    }


def _paper(row: Row) -> dict[str, Any]:
    claim = claims().get(row.id)
    made = [link for link in row.built if link != "experiment"]
    done = [*(["built"] if made else []), *(["claimed"] if claim else [])]
    status = done or (["nothing"] if row.nothing else ["planned"])
    return {
        "name": row.id,
        "title": row.title,
        "family": FAMILIES.get(row.family, row.family),
        "modality": ", ".join(row.modality),
        "sizes": [],
        "sources": [{"title": row.title, "arxiv": row.arxiv or None}],
        "row": row.id,
        "status": status,
        "verdict": claim["verdict"] if claim else None,
        "facts": None,
        "also": {link: list(getattr(row, link)) for link in row.built},
        "planned": list(row.planned),
        "nothing": row.nothing or None,
        "what": row.what or row.nothing,
    }


def described(name: str) -> dict[str, Any]:
    """What the listing says of a recipe, from the recipe itself."""
    recipe = importlib.import_module(recipes.modules()[name]).RECIPE
    return {
        "name": recipe.name,
        "title": recipe.title,
        "family": recipe.family,
        "modality": recipe.modality,
        "sizes": ["tiny", *recipe.sizes],
        "sources": [{"title": s.title, "arxiv": s.arxiv} for s in recipe.source],
    }
