"""Two ways of doing the same, timed in turns: ratios that mean something on a busy machine.

Times are CPU seconds of this process on one thread, which others can slow (caches, memory) but not stretch; both ways suffer alike, as they take turns.
"""
from __future__ import annotations

import argparse
import json
import platform
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch


def seconds(do: Callable[[], Any]) -> float:
    """CPU seconds of one go."""
    began = time.process_time()
    do()
    return time.process_time() - began


def in_turns(ways: Sequence[Callable[[], Any]], rounds: int) -> list[list[float]]:
    """Each way's seconds, round by round: one go of each to warm up, then every round begins with another."""
    for do in ways:
        do()
    taken: list[list[float]] = [[] for _ in ways]
    for number in range(rounds):
        for i in range(len(ways)):
            i = (i + number) % len(ways)
            taken[i].append(seconds(ways[i]))
    return taken


@dataclass(frozen=True)
class Ratio:
    """Ours over theirs: the median over rounds, its quartiles, and that of each side's best round."""

    median: float
    low: float
    high: float
    best: float
    rounds: int

    @staticmethod
    def of(ours: Sequence[float], theirs: Sequence[float]) -> Ratio:
        each = sorted(a / b for a, b in zip(ours, theirs, strict=True))
        low, _, high = statistics.quantiles(each, n=4, method="inclusive") if len(each) > 1 else each * 3
        return Ratio(statistics.median(each), low, high, min(ours) / min(theirs), len(each))


def machine() -> dict[str, Any]:
    """What the numbers were taken on."""
    return {"python": platform.python_version(), "torch": torch.__version__, "threads": torch.get_num_threads(), "machine": platform.machine(),
            "capability": torch.backends.cpu.get_cpu_capability()}


def said_of(machine: dict[str, Any]) -> str:
    """In one line."""
    return ", ".join(f"{k} {v}" for k, v in machine.items())


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Columns as wide as they need to be; the first to the left, the others to the right."""
    widths = [max(len(r[i]) for r in (header, *rows)) for i in range(len(header))]
    line = lambda r: "  ".join(x.ljust(w) if i == 0 else x.rjust(w) for i, (x, w) in enumerate(zip(r, widths, strict=True))).rstrip()  # noqa: E731
    return "\n".join([line(header), line(["-" * w for w in widths]), *(line(r) for r in rows)])


def options(description: str) -> argparse.ArgumentParser:
    """What every script takes."""
    parser = argparse.ArgumentParser(description=description.split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="small sizes, few rounds")
    parser.add_argument("--seed", type=int, default=0, help="of weights, data and draws")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the numbers there as well")
    return parser


def written(path: Path | None, content: dict[str, Any]) -> None:
    """As JSON, if somewhere."""
    if path is not None:
        beside = path.with_name(path.name + ".part")
        beside.write_text(json.dumps(content, indent=1) + "\n")
        beside.replace(path)
