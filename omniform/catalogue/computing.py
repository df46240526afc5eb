"""How far each recipe has come, measured and written to `records/`: builds on meta, facts against the build, contracts that held, claims that are current."""

from __future__ import annotations

import ast
import hashlib
import json
import os
import re
from dataclasses import asdict
from pathlib import Path
from typing import Any

from .. import recipes
from ..core.errors import OmniformError
from ..core.spec import to_json
from ..system.facts import built, checked
from . import EXPERIMENTS, HERE, LINKS, RECORDS, claims, described, record, rows, written


def fingerprint(name: str) -> str:
    """Of all that a recipe says: parts, sizes and facts."""
    recipe = recipes.get(name)
    sizes = {size: to_json(changes) for size, changes in {**recipe.sizes, "tiny": recipe.tiny}.items()}
    said = json.dumps([recipe.to_json(), sizes, [asdict(fact) for fact in recipe.facts]], sort_keys=True, default=str)
    return hashlib.sha256(said.encode()).hexdigest()[:16]


def measured(name: str) -> dict[str, Any]:
    """A recipe built at all of its sizes and held against its facts."""
    recipe = recipes.get(name)
    builds = True
    try:
        for size in (*recipe.sizes, "tiny"):
            built(recipe.sized(size))
    except (OmniformError, RuntimeError):
        builds = False
    verdicts = [row.verdict for row in checked(recipe)] if builds else []
    held = verdicts.count("holds")
    return {**described(name), "fingerprint": fingerprint(name), "builds": builds, "facts": {"holds": held, "differs": len(verdicts) - held}}


def renew(names: list[str] | None = None, *, anew: bool = False) -> None:
    """Records of recipes that are new or changed (anew: of all); those of recipes that are gone go."""
    for name in recipes.names() if names is None else names:
        past = record(name)
        if not anew and past.get("fingerprint") == fingerprint(name):
            continue
        made = measured(name)
        if "contracts" in past:
            made["contracts"] = past["contracts"]
        _write(RECORDS / "recipes" / f"{name}.json", made)
    for path in (RECORDS / "recipes").glob("*.json"):
        if path.stem not in recipes.modules():
            path.unlink()


def contracted(name: str, num: int | None) -> None:
    """The contracts of a recipe have all held, `num` of them (None: one has not)."""
    past = record(name) or measured(name)
    made = {key: value for key, value in past.items() if key != "contracts"}
    if num is not None:
        made["contracts"] = {"of": fingerprint(name), "held": num}
    if made != past or not record(name):
        _write(RECORDS / "recipes" / f"{name}.json", made)


def digest(file: Path) -> str:
    """Of what an experiment's file does: comments, layout and docstrings may change."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node, clean=False) is not None:
            del node.body[0]
    return hashlib.sha256(ast.dump(tree).encode()).hexdigest()[:16]


def results() -> dict[str, dict[str, Any]]:
    """File name without ending -> what experiments/results says, of the results that are not stale."""
    found = {}
    for path in sorted((EXPERIMENTS / "results").glob("*.json")):
        file, told = EXPERIMENTS / f"{path.stem}.py", json.loads(path.read_text(encoding="utf-8"))
        if file.exists() and told["code"] == digest(file):
            found[path.stem] = told
    return found


def renew_claims() -> None:
    """What `omniform systems` says of experiments, from their results."""
    fresh = {told["row"]: {key: told[key] for key in ("says", "source", "recipes", "verdict", "because", "seconds", "exact")} for told in results().values()}
    for row, said in fresh.items():
        if claims().get(row) != said:
            _write(RECORDS / "claims" / f"{row}.json", said)
    for path in (RECORDS / "claims").glob("*.json"):
        if path.stem not in fresh:
            path.unlink()
    claims.cache_clear()
    rows.cache_clear()


def strike() -> None:
    """What is built is not planned any more: takes it out of the rows' files."""
    for row in rows().values():
        left = [link for link in row.planned if link not in row.built]
        if left == list(row.planned):
            continue
        file = HERE / f"{row.kind}.toml"
        head, body = f"[{row.id}]\n", file.read_text(encoding="utf-8")
        before, after = body.split(head, 1)
        line = f"planned = {json.dumps(left)}\n" if left else ""
        file.write_text(before + head + re.sub(r"^planned = .*\n", line, after, count=1, flags=re.M), encoding="utf-8")
    for cached in (written, rows):
        cached.cache_clear()


def resolve(link: str, name: str) -> Any:
    """What a link of a row leads to, or an error that says what is missing."""
    assert link in LINKS
    if link == "recipe":
        return recipes.get(name)
    if link == "experiment":
        file = EXPERIMENTS / f"{name.replace('-', '_')}.py"
        if not file.exists():
            raise FileNotFoundError(f"there is no experiment {file.name}")
        return file
    import importlib

    module, _, inside = name.partition(":")
    return getattr(importlib.import_module(f"omniform.{module}"), inside)


def _write(path: Path, said: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    partial.write_text(json.dumps(said, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    os.replace(partial, path)
