"""Omniform: generative transformers of every family on one engine.

    import omniform as of
    system = of.build("dit", size="tiny", data="glyphs")
    run = of.train(system, data="glyphs", steps=2000, out="runs/dit")
    images = of.load("runs/dit").generate(16, condition={"label": "A"}, seed=0)

Importing this imports nothing else; torch comes when a verb is used.
"""

from __future__ import annotations

import importlib
from typing import Any

__version__ = "0.1.0"

VERBS = ("build", "train", "load", "save", "score", "evaluate", "compare", "systems", "export", "push")
__all__ = [*VERBS, "OmniformError", "data", "interop"]  # noqa: F822


def __getattr__(name: str) -> Any:
    if name in VERBS:
        return getattr(importlib.import_module("omniform.verbs"), name)
    if name in ("data", "interop"):
        return importlib.import_module(f"omniform.{name}")
    if name == "OmniformError":
        return importlib.import_module("omniform.core.errors").OmniformError
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
