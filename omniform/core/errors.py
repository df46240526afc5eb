"""Every error that Omniform raises on purpose.

OmniformError
├── RecipeError            a recipe, a size or a change to one cannot be built
│   ├── UnknownName        no such recipe, size, part, data set or checkpoint (nearest names are given)
│   ├── UnknownPath        a change names a place that the recipe does not have
│   ├── BadArgument        an argument of the wrong type or value
│   └── FactMismatch       the build does not reproduce a published number
├── ShapeError             a tensor of another shape or type than expected
├── OrderError             tokens are asked or remembered out of order
│   ├── TurnError
│   ├── LaneError
│   └── PatternUnsupported
├── ConditionError         a condition that the system does not take, or a value that it does not know
├── Intractable            the family has no likelihood and no bound
├── CodecError             data that the codec cannot represent
├── DataError              a data set that is missing, empty or broken
├── CheckpointError        a checkpoint that is missing, cut short, altered or foreign
└── TrainingError          a run that cannot go on (a loss that is not finite, a full disk)

A message is one line: what was expected, what was found, and what to write instead.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class OmniformError(Exception):
    """The root: the command line prints its message and exits with status 2."""


class RecipeError(OmniformError): ...


class UnknownName(RecipeError): ...


class UnknownPath(RecipeError): ...


class BadArgument(RecipeError): ...


class FactMismatch(RecipeError): ...


class ShapeError(OmniformError): ...


class OrderError(OmniformError): ...


class TurnError(OrderError): ...


class LaneError(OrderError): ...


class PatternUnsupported(OrderError): ...


class ConditionError(OmniformError): ...


class Intractable(OmniformError): ...


class CodecError(OmniformError): ...


class DataError(OmniformError): ...


class CheckpointError(OmniformError): ...


class TrainingError(OmniformError): ...


def nearest(name: str, known: Iterable[str], *, limit: int = 3) -> str:
    """The end of a message about an unknown name: the nearest known ones, else all of them."""
    names = sorted(known)
    close = difflib.get_close_matches(name.lower(), names, n=limit, cutoff=0.5)
    if close:
        return "did you mean " + " or ".join(close) + "?"
    return "known: " + ", ".join(names) if names else "none are known"
