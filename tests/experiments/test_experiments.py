"""Every experiment has a result of the code as it is, of a paper in the catalogue; the exact and quick ones are measured again."""

from __future__ import annotations

import importlib.util
import json
import math
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from omniform import recipes
from omniform.catalogue import EXPERIMENTS, rows
from omniform.catalogue.computing import digest

FILES = sorted(path for path in EXPERIMENTS.glob("*.py") if path.stem not in ("claims", "rotation"))
QUICK = 2.0
"""Seconds that an exact experiment may take to be measured by every run of the tests."""


@pytest.fixture(autouse=True)
def _beside_claims(monkeypatch):
    monkeypatch.syspath_prepend(str(EXPERIMENTS))


def loaded(file: Path):
    spec = importlib.util.spec_from_file_location(f"experiment_{file.stem}", file)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def told(file: Path):
    return json.loads((EXPERIMENTS / "results" / f"{file.stem}.json").read_text(encoding="utf-8"))


def ids(file: Path) -> str:
    return file.stem


@pytest.mark.parametrize("file", FILES, ids=ids)
def test_an_experiment_has_a_result_that_is_not_stale(file):
    from claims import Verdict

    module, result = loaded(file), told(file)
    assert result["code"] == digest(file), f"the result is of other code; write python experiments/{file.name}"
    assert module.CLAIM.row == file.stem.replace("_", "-") == result["row"] and module.CLAIM.row in {*rows(), *recipes.names()}
    assert set(module.CLAIM.recipes) <= set(recipes.names()) and module.CLAIM.recipes == tuple(result["recipes"])
    assert Verdict(result["verdict"]) and result["because"] and len(result["runs"]) == len(module.CLAIM.seeds)
    assert module.__doc__ and module.CLAIM.says and module.CLAIM.source
    verdict, because = module.judge([{n: float(v) for n, v in run.items()} for run in result["runs"]])
    assert (str(verdict), because) == (result["verdict"], result["because"]), "the judge says something else of the written numbers"


def quick(file: Path) -> bool:
    return (EXPERIMENTS / "results" / f"{file.stem}.json").exists() and told(file)["exact"] and told(file)["seconds"] < QUICK


@pytest.mark.parametrize("file", [file for file in FILES if quick(file)], ids=ids)
def test_an_exact_and_quick_one_finds_the_same_again(file):
    module, result = loaded(file), told(file)
    for seed, before in zip(module.CLAIM.seeds, result["runs"], strict=True):
        torch.manual_seed(seed)
        found = module.measure(seed)
        assert set(found) == set(before)
        for name, value in before.items():
            assert math.isclose(found[name], float(value), rel_tol=1e-3, abs_tol=1e-4) or name.startswith("seconds"), f"{name} was {value}, is {found[name]}"


def test_no_result_is_left_over():
    assert {path.stem for path in (EXPERIMENTS / "results").glob("*.json")} == {file.stem for file in FILES}


EXPERIMENT = '''"""{doc}"""
import claims  # {comment}
CLAIM = claims.Claim(row="lit", says="one is one", source="ours", recipes=(), budget="nothing", exact=True, seeds=(0,))
def measure(seed):
    return {{"one": 1.0, "far": float("inf")}}
def judge(runs):
    return claims.Verdict.HOLDS, "it is"
if __name__ == "__main__":
    claims.main(CLAIM, measure, judge)
'''


def test_the_harness_writes_what_it_finds_and_the_digest_is_of_what_a_file_does(tmp_path):
    (tmp_path / "claims.py").write_text((EXPERIMENTS / "claims.py").read_text())
    file = tmp_path / "lit.py"
    file.write_text(EXPERIMENT.format(doc="A", comment="a"))
    said = subprocess.run([sys.executable, str(file)], capture_output=True, text=True, check=True).stdout
    assert "seed 0: one 1, far inf" in said and "holds: it is" in said
    result = json.loads((tmp_path / "results" / "lit.json").read_text())
    assert result["runs"] == [{"one": 1.0, "far": "inf"}] and result["verdict"] == "holds" and result["code"] == digest(file)
    file.write_text(EXPERIMENT.format(doc="B", comment="b"))
    assert result["code"] == digest(file), "words may change"
    file.write_text(EXPERIMENT.format(doc="A", comment="a").replace("1.0", "2.0"))
    assert result["code"] != digest(file)


def test_rotation_takes_what_waits_longest(tmp_path, monkeypatch):
    import os

    rotation = loaded(EXPERIMENTS / "rotation.py")
    monkeypatch.setattr(rotation, "HERE", tmp_path)
    (tmp_path / "results").mkdir()
    (tmp_path / "claims.py").write_text("claims.main(")
    for name, code, age in (("old", None, 10), ("young", None, 20), ("stale", "0", 30), ("unmeasured", "", 0)):
        file = tmp_path / f"{name}.py"
        file.write_text(EXPERIMENT.format(doc=name, comment=""))
        if code != "":
            result = tmp_path / "results" / f"{name}.json"
            result.write_text(json.dumps({"code": code or digest(file)}))
            os.utime(result, (age, age))
    assert [path.stem for path in rotation.waiting()] == ["unmeasured", "stale", "old", "young"]


def test_chance_wants_three_seeds():
    from claims import Claim

    with pytest.raises(ValueError, match="three seeds"):
        Claim(row="lit", says="", source="", recipes=(), budget="", seeds=(0, 1))
