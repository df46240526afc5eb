"""Asking a run to stop: Ctrl-C and SIGTERM end it after the step with a checkpoint; a second time ends it at once."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, Self, final

import torch

from omniform.training.team import Team

_HEARD = (signal.SIGINT, signal.SIGTERM)


@final
class Stop:
    """Whether somebody asked. Listens while entered (in the main thread, where signals arrive)."""

    def __init__(self) -> None:
        self.asked = False
        self._earlier: dict[int, Any] = {}

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            self._earlier = {number: signal.signal(number, self._hear) for number in _HEARD}
        return self

    def __exit__(self, *_: object) -> None:
        for number, earlier in self._earlier.items():
            signal.signal(number, signal.SIG_DFL if earlier is None else earlier)
        self._earlier = {}

    def _hear(self, number: int, frame: FrameType | None) -> None:
        if self.asked:
            raise KeyboardInterrupt
        self.asked = True

    @contextmanager
    def understood(self) -> Iterator[None]:
        """A KeyboardInterrupt inside is a wish to stop after this step."""
        try:
            yield
        except KeyboardInterrupt:
            if self.asked:
                raise
            self.asked = True

    def agree(self, team: Team) -> None:
        """If one process was asked, all were."""
        if team.size > 1:
            self.asked = bool(team.summed(torch.tensor([float(self.asked)], device=team.device)).item())
