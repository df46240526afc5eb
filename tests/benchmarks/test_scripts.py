"""The benchmarks start, say what they are for, and measure; how long anything takes is nobody's promise."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SCRIPTS = sorted(p for p in (ROOT / "benchmarks").glob("*.py") if "__main__" in p.read_text())
README = (ROOT / "benchmarks" / "README.md").read_text()


def ran(script, *words):
    env = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, str(script), *words], capture_output=True, text=True, env=env, timeout=300)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda p: p.name)
def test_a_script_helps_and_is_in_the_table(script):
    said = ran(script, "--help")
    assert "usage" in said and f"| `{script.name}` |" in README


def test_the_table_names_no_other_scripts():
    assert set(re.findall(r"^\| `(\w+\.py)` \|", README, re.M)) == {p.name for p in SCRIPTS}


def test_the_tax_of_one_case_is_printed_and_written(tmp_path):
    said = ran(ROOT / "benchmarks" / "tax.py", "--quick", "--only", "Euler d256 L6 64 tokens B1", "--json", str(tmp_path / "tax.json"))
    (line,) = [x for x in said.splitlines() if x.startswith("DiT, Euler")]
    assert len(re.findall(r"\d\.\d{3} \(\d\.\d{3} to \d\.\d{3}\)", line)) == 2, "over modules and over functions"
    (case,) = json.loads((tmp_path / "tax.json").read_text())["cases"]
    assert set(case["ratios"]) == {"modules", "functions"} and all(r["median"] > 0 for r in case["ratios"].values())
