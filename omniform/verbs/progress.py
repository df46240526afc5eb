"""A progress bar for what takes longer than two seconds."""

from __future__ import annotations

import sys
from typing import Self, final

_PATIENCE = 2.0  # seconds before it is shown


@final
class Bar:
    """On the error stream; shown None: where a person looks on (a terminal)."""

    def __init__(self, total: float, what: str, shown: bool | None = None):
        from tqdm import tqdm

        quiet = not (sys.stderr.isatty() if shown is None else shown)
        self._bar = tqdm(
            total=total,
            desc=what,
            delay=_PATIENCE,
            disable=quiet,
            file=sys.stderr,
            dynamic_ncols=True,
            leave=False,
            bar_format="{desc} {percentage:3.0f}%|{bar}| {elapsed}<{remaining}",
        )

    def add(self, amount: float) -> None:
        self._bar.update(amount)

    def to(self, amount: float) -> None:
        """This much is done."""
        self._bar.update(amount - self._bar.n)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.close()
