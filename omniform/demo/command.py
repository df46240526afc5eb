"""omniform demo, as the command line calls it."""
from __future__ import annotations

from collections.abc import Callable
from pathlib import Path


def command(*, data: str = "glyphs", minutes: float = 5.0, out: str | Path = "report", seed: int = 0, resume: bool = False,
            say: Callable[[str], None] = lambda line: None) -> tuple[Path, bool]:
    """The page's path, and whether the demo came to its end (False: it was interrupted, and goes on with resume)."""
    from omniform.demo.run import Demo, Interrupted

    demo = Demo(out=Path(out), data=data, minutes=minutes, seed=seed, say=say)
    try:
        return demo.run(resume=resume), True
    except Interrupted:
        return Path(out) / "index.html", False
