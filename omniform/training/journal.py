"""What a run tells while it goes: a CSV file, TensorBoard events and a progress bar."""

from __future__ import annotations

import logging
import math
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, final

from omniform.system.storage import write_file

log = logging.getLogger("omniform.training")
_HEADER = "step,seconds,name,value"
_PATIENCE = 2.0  # seconds before a bar is shown


def is_log(path: Path) -> bool:
    """Whether a file is a run's log."""
    try:
        with open(path, encoding="utf-8") as file:
            return file.readline().rstrip("\n") == _HEADER
    except (OSError, ValueError):
        return False


@final
class Journal:
    """The numbers of a run, one a row in out/log.csv and as TensorBoard events.

    What a run wrote after the step that it goes on from is dropped.
    """

    def __init__(self, out: Path, step: int):
        write_file(out / "log.csv", "".join(f"{row}\n" for row in [_HEADER, *_kept(out / "log.csv", step)]))
        self._csv = open(out / "log.csv", "a", encoding="utf-8")  # noqa: SIM115  closed by close()
        self._events = _events(out / "tensorboard", step)

    def write(self, step: int, seconds: float, numbers: Mapping[str, float]) -> None:
        """Some numbers at a step."""
        self._csv.writelines(f"{step},{seconds:.3f},{name},{value!r}\n" for name, value in numbers.items())
        self._csv.flush()
        if self._events is not None:
            for name, value in numbers.items():
                self._events.add_scalar(name, value, step)

    def close(self) -> None:
        self._csv.close()
        if self._events is not None:
            self._events.close()


def _kept(path: Path, step: int) -> list[str]:
    """The whole rows of a log up to a step."""
    if step == 0 or not is_log(path):
        return []
    rows = path.read_text(encoding="utf-8", errors="replace").split("\n")[1:-1]  # behind the last break: cut off
    return [row for row in rows if row.split(",", 1)[0].isdigit() and int(row.split(",", 1)[0]) <= step]


def _events(folder: Path, step: int) -> Any:
    """A writer of TensorBoard events that hides what was written after this step; None without the package."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        log.warning("tensorboard is not installed, so there will be no events; pip install tensorboard (log.csv has the same numbers)")
        return None
    return SummaryWriter(str(folder), purge_step=step + 1 if step else None)


@final
class Bar:
    """A progress bar on the error stream for what takes longer than two seconds: share, rate, loss, time left.

    shown None: where a person looks on (a terminal).
    """

    def __init__(self, *, total: float, done: float, shown: bool | None):
        from tqdm import tqdm

        self._done, self._step, self._since = done, None, time.monotonic()
        quiet = not (sys.stderr.isatty() if shown is None else shown)
        self._bar = tqdm(
            total=total,
            initial=done,
            delay=_PATIENCE,
            disable=quiet,
            file=sys.stderr,
            dynamic_ncols=True,
            bar_format="{percentage:3.0f}%|{bar}| {elapsed}<{remaining}{postfix}",
        )
        self.shown = not quiet

    def show(self, step: int, done: float, loss: float) -> None:
        """This many steps, this much of the total, this loss."""
        if not self.shown:
            return
        now = time.monotonic()
        rate = ""
        if self._step is not None and now > self._since:
            rate = f"{(step - self._step) / (now - self._since):.1f} steps/s, "
        if self._step is None:
            self._step, self._since = step, now
        said = "?" if math.isnan(loss) else f"{loss:.4g}"
        self._bar.set_postfix_str(f"step {step}, {rate}loss {said}", refresh=False)
        self._bar.update(done - self._bar.n)

    def close(self) -> None:
        self._bar.close()
