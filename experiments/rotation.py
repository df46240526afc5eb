"""Measures some experiments again: those without a result, then those whose result is stale, then those whose result is oldest. `make claims`."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path

from omniform.catalogue.computing import digest

HERE = Path(__file__).parent
NUM = 3
"""How many at a time; ours: a few minutes."""


def waiting() -> list[Path]:
    """Every experiment, the one to be measured first in front."""
    files = [path for path in HERE.glob("*.py") if "claims.main(" in path.read_text(encoding="utf-8")]
    return sorted((path for path in files if path.name not in ("claims.py", "rotation.py")), key=urgency)


def urgency(file: Path) -> tuple[int, float, str]:
    result = HERE / "results" / f"{file.stem}.json"
    if not result.exists():
        return 0, 0.0, file.stem
    stale = json.loads(result.read_text(encoding="utf-8"))["code"] != digest(file)
    return (1 if stale else 2), result.stat().st_mtime, file.stem


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--num", type=int, default=NUM, help="how many")
    failed = [subprocess.run([sys.executable, str(file)], check=False).returncode for file in waiting()[: parser.parse_args().num]]
    return int(any(failed))


if __name__ == "__main__":
    sys.exit(main())
