"""The lines of a model card, run as somebody would who opens what left."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any


def opened(folder: Path, given: Mapping[str, Any] | None = None, instead: Mapping[str, str] | None = None) -> dict[str, Any]:
    """What they make. given: names that they leave to their reader. instead: a line that begins so is another."""
    lines = (folder / "README.md").read_text(encoding="utf-8").split("```python\n")[1].split("```")[0].replace("FOLDER", repr(str(folder))).splitlines()
    for start, other in (instead or {}).items():
        assert sum(line.startswith(start) for line in lines) == 1, start
        lines = [other if line.startswith(start) else line for line in lines]
    found = dict(given or {})
    exec("\n".join(lines), found)  # noqa: S102
    return found
