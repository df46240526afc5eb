"""What an experiment is: a sentence of a paper, what is measured for each seed, and a verdict that the program writes down.

A file of this folder is one row of the catalogue. It ends with `claims.main(CLAIM, measure, judge)` and is run as a script:

    OMP_NUM_THREADS=1 python experiments/lit.py

which prints what it finds and writes experiments/results/lit.json, with a digest of the code that found it: a result of other code is
stale, and a test says so.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path

import torch

from omniform.catalogue.computing import digest

RESULTS = Path(__file__).parent / "results"


class Verdict(StrEnum):
    HOLDS = "holds"
    FAILS = "does not hold here"
    UNDECIDED = "cannot be decided at this scale"


@dataclass(frozen=True, kw_only=True)
class Claim:
    """row: id in the catalogue, or the name of a recipe whose paper is not in it. says: the paper's sentence as an inequality or equality. source: paper,
    section, table. recipes: whose parts are measured.

    budget: what a seed costs, in words. seeds: at least three where chance has a part; exact: nothing is left to chance (a count, a limit, an equality).
    data: the data sets, or () where the claim is not about data.
    """

    row: str
    says: str
    source: str
    recipes: tuple[str, ...]
    budget: str
    seeds: tuple[int, ...] = (0, 1, 2)
    exact: bool = False
    data: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.exact and len(self.seeds) < 3:
            raise ValueError(f"{self.row}: a claim that chance has a part in wants three seeds or more, not {len(self.seeds)}")


Numbers = dict[str, float]
Measure = Callable[[int], Numbers]
Judge = Callable[[Sequence[Numbers]], tuple[Verdict, str]]


def main(claim: Claim, measure: Measure, judge: Judge) -> None:
    """Measures every seed, judges, prints, and writes the result (whole or not at all)."""
    file = Path(sys.modules[measure.__module__].__file__ or "")
    parser = argparse.ArgumentParser(description=claim.says)
    parser.add_argument("--dry", action="store_true", help="print only; leave the written result as it is")
    options = parser.parse_args()
    print(f"{claim.row}: {claim.says}\n  {claim.source}\n  {claim.budget}", flush=True)
    runs, began = [], time.perf_counter()
    for seed in claim.seeds:
        torch.manual_seed(seed)
        found = {name: float(value) for name, value in measure(seed).items()}
        runs.append(found)
        print(f"  seed {seed}: " + ", ".join(f"{n} {v:.6g}" for n, v in found.items()), flush=True)
    verdict, because = judge(runs)
    print(f"  {verdict}: {because}")
    if options.dry:
        return
    told = {
        **asdict(claim),
        "seconds": round(time.perf_counter() - began, 1),
        "runs": [{n: v if math.isfinite(v) else str(v) for n, v in run.items()} for run in runs],
        "verdict": str(verdict),
        "because": because,
        "versions": {"python": platform.python_version(), "torch": torch.__version__},
        "threads": torch.get_num_threads(),
        "code": digest(file),
    }
    RESULTS.mkdir(exist_ok=True)
    partial = RESULTS / f".{file.stem}.json.{os.getpid()}"
    partial.write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")
    os.replace(partial, RESULTS / f"{file.stem}.json")
