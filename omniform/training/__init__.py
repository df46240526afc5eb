"""Training: one trainer for every process and codec. Importing this room does not import torch."""

from __future__ import annotations

import importlib
from typing import Any

_HOME = {"Training": "plan", "Run": "trainer", "train": "trainer", "Ema": "ema"}
__all__ = ["Ema", "Run", "Training", "train"]  # noqa: F822


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
