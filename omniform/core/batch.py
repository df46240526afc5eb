"""What a data set hands to a system."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Parts:
    """Examples of several kinds at once (a text and a picture each): what a codec of parts reads and writes. None: a part that nobody has said."""

    each: tuple[Any, ...]

    def __len__(self) -> int:
        return next(len(part) for part in self.each if part is not None)


@dataclass(frozen=True)
class Batch:
    """Some examples and what is said about each.

    data: a tensor with the batch first ((B, C, H, W) images in [-1, 1], (B, T, C, H, W) video), a list of B strings, or Parts of these.
    condition: name -> one value a row: a (B,) long tensor for labels, a list of B strings for text.
    """

    data: Any
    condition: Mapping[str, Any] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.data)
