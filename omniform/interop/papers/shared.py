"""What tables of papers' checkpoints share: how a paper is said, and ties of maps with the same name on both sides."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from ...system.recipe import Recipe
from ..ties import Table, Tie, reordered, same

Own = Mapping[str, Sequence[int]]
MAIN = "network.towers.main."
LABEL = "conditioning.parts.label.table.weight"
BOTH = ("weight", "bias")


@dataclass(frozen=True)
class Paper:
    """of: whose. table: from the names and shapes of ours, without the codec's where there is a network besides. changes: by path, what makes the recipe theirs
    to the number. refused: from names and shapes of theirs and what they are to be read as, why they are not read. codec: the recipe of this table whose
    checkpoints its tokens come from, and of which size (None: its own)."""

    of: str
    table: Callable[[Own], Table]
    changes: Mapping[str, Any] = field(default_factory=dict)
    refused: Callable[[Own, Recipe], str | None] = lambda theirs, recipe: None
    codec: tuple[str, str | None] | None = None


def pairs(ours: str, theirs: str, *named: tuple[str, str]) -> list[Tie]:
    """Weight and bias of maps that are the same on both sides."""
    return [same(f"{ours}{a}.{x}", f"{theirs}{b}.{x}") for a, b in named for x in BOTH]


def depth(own: Own, prefix: str) -> int:
    """How many blocks stand under a name."""
    return len({name.removeprefix(prefix).split(".")[0] for name in own if name.startswith(prefix)})


def chunks(ours: str, theirs: str, order: Sequence[int], rows: int) -> list[Tie]:
    """A map whose output is cut into equal chunks, ours[i] being theirs[order[i]]."""
    index = torch.arange(rows).view(len(order), -1)[list(order)].flatten()
    return [reordered(f"{ours}.{x}", f"{theirs}.{x}", index) for x in BOTH]


def leveled(ours: str, theirs: str, first: int, sign: int) -> Tie:
    """The map that reads cosines and sines of a noise level k, which they count as first + sign * k: a rotation of its inputs, pair by pair."""

    def angles(width: int) -> tuple[Tensor, Tensor]:
        at = first * torch.exp(-math.log(10000.0) * torch.arange(width // 2, dtype=torch.float64) / (width // 2))
        return at.cos(), at.sin()

    def there(xs: Sequence[Tensor]) -> Tensor:
        (cos, sin), (c, s) = angles(xs[0].shape[1]), xs[0].double().chunk(2, 1)
        return torch.cat([c * cos + s * sin, sign * (s * cos - c * sin)], 1).to(xs[0].dtype)

    def back(x: Tensor) -> Sequence[Tensor]:
        if x.is_meta:
            return (x,)
        (cos, sin), (c, s) = angles(x.shape[1]), x.double().chunk(2, 1)
        return (torch.cat([c * cos - sign * s * sin, c * sin + sign * s * cos], 1).to(x.dtype),)

    return Tie(ours, (theirs,), there, back)
