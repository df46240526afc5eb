"""omniform demo, as the command line calls it."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path


def command(
    *,
    data: str = "glyphs",
    minutes: float = 5.0,
    out: str | Path = "report",
    seed: int = 0,
    resume: bool = False,
    say: Callable[[str], None] = lambda line: None,
) -> tuple[Path, bool]:
    """The page's path, and whether the demo came to its end (False: it was interrupted, and goes on with resume)."""
    # Threads that spin while they wait make two of them slower than one as soon as a neighbour needs a core; torch reads this when it is first imported.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    from omniform.demo.run import Demo, Interrupted

    demo = Demo(out=Path(out), data=data, minutes=minutes, seed=seed, say=say)
    try:
        return demo.run(resume=resume), True
    except Interrupted:
        return Path(out) / "index.html", False
