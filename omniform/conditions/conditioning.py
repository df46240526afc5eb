"""All conditioners of a system and the table that says how each one enters."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from ..core.errors import ConditionError, nearest
from ..core.net import Context, Encoded, Place
from ..core.rng import Rng
from ..core.spec import Spec


class Conditioner(nn.Module, ABC):
    """One thing that a system can be told."""

    @abstractmethod
    def encode(self, raw: Any) -> Encoded:
        """What was said, a row each."""

    @abstractmethod
    def null(self, batch: int) -> Encoded:
        """What "unsaid" looks like: one definition, for dropout in training and for guidance."""


def _chosen(said: Encoded, null: Encoded, keep: Tensor) -> Encoded:
    """Row by row what was said or, where keep (B,) is false, its null; the shorter is padded."""
    length = max(said.tokens.shape[1], null.tokens.shape[1])

    def pad(e: Encoded) -> Encoded:
        short = length - e.tokens.shape[1]
        if not short:
            return e
        return Encoded(
            nn.functional.pad(e.tokens, (0, 0, 0, short)),
            e.pooled,
            nn.functional.pad(e.coord, (0, 0, 0, short)),
            nn.functional.pad(e.doc, (0, short), value=-1),
        )

    a, b = pad(said), pad(null)
    wide, flat = keep[:, None, None], keep[:, None]
    return Encoded(
        torch.where(wide, a.tokens, b.tokens), torch.where(flat, a.pooled, b.pooled), torch.where(wide, a.coord, b.coord), torch.where(flat, a.doc, b.doc)
    )


class Conditioning(nn.Module):
    """parts: name -> (Spec of a Conditioner, place, or several: SD3's text is a joint stream, and its pooled vector modulates). drop: the share of training
    rows that are told nothing (all conditions at once). Where one is placed "ordered", all that stands before the sequence is read in its order: each of
    those tokens sees the ones before it (STARFlow's code)."""

    def __init__(self, width: int, parts: Mapping[str, tuple[Spec, Place | tuple[Place, ...]]], drop: float = 0.1):
        super().__init__()
        self.parts = nn.ModuleDict({name: spec.build(width=width) for name, (spec, _) in parts.items()})
        self.places: dict[str, tuple[Place, ...]] = {name: (at,) if isinstance(at, str) else tuple(at) for name, (_, at) in parts.items()}
        self.ordered = any("ordered" in places for places in self.places.values())
        self.drop = drop

    def context(self, raw: Mapping[str, Any], batch: int, *, keep: frozenset[str] | None = None, rng: Rng | None = None) -> Context:
        """raw: name -> a value a row; what is not named is unsaid. keep: only these are said (None: all). rng: training's dropout."""
        for name in raw:
            if name not in self.parts:
                takes = f"this system takes {', '.join(sorted(self.parts))}" if self.parts else "this system takes no condition"
                raise ConditionError(f"unknown condition {name!r}: {takes}" + (f"; {nearest(name, self.parts)}" if self.parts else ""))
        gathered: dict[Place, list[Encoded]] = {}
        row_kept = None
        if rng is not None and self.drop and self.parts:
            row_kept = rng.split("drop").uniform((batch,)) >= self.drop
        for name, part in self.parts.items():
            if name not in raw or (keep is not None and name not in keep):
                said = part.null(batch)
            else:
                said = part.encode(raw[name])
                if said.pooled.shape[0] != batch:
                    raise ConditionError(f"condition {name!r} speaks of {said.pooled.shape[0]} rows and {batch} are asked for; give one value a row")
                if row_kept is not None:
                    said = _chosen(said, part.null(batch), row_kept.to(said.pooled.device))
            for place in self.places[name]:
                if place == "lead":  # its vector stands before the sequence as one token
                    said, place = Encoded.one(said.pooled), "prefix"
                gathered.setdefault("prefix" if place == "ordered" else place, []).append(said)
        pooled = {p: sum((e.pooled for e in es[1:]), es[0].pooled) for p, es in gathered.items() if p in ("modulate", "add", "start")}
        tokens = {p: _joined(es) for p, es in gathered.items() if p in ("prefix", "cross", "joint")}
        return Context(batch=batch, ordered=self.ordered, **pooled, **tokens)


def _joined(parts: list[Encoded]) -> Encoded:
    if len(parts) == 1:
        return parts[0]
    return Encoded(
        *(
            torch.cat([getattr(p, n) for p in parts], 1) if n != "pooled" else sum((p.pooled for p in parts[1:]), parts[0].pooled)
            for n in ("tokens", "pooled", "coord", "doc")
        )
    )


class ClassLabel(Conditioner):
    """One of `classes` classes; the null class is one more row of the table (DiT's code). names: what a person may write instead of a number.

    mean: unsaid is the mean of all classes instead of a row of its own. stages: a vector for each of so many stages of the network, one after another, where
    it is placed "add" (both TarFlow's code: each map has a table).
    """

    def __init__(self, width: int, classes: int, names: tuple[str, ...] = (), std: float = 0.02, mean: bool = False, stages: int = 1):
        super().__init__()
        self.classes, self.names, self.mean = classes, tuple(names), mean
        self.table = nn.Embedding(classes + (not mean), stages * width)
        nn.init.normal_(self.table.weight, std=std)

    def encode(self, raw: Any) -> Encoded:
        return Encoded.one(self.table(self.numbers(raw).to(self.table.weight.device)))

    def null(self, batch: int) -> Encoded:
        none = self.table.weight.mean(0) if self.mean else self.table.weight[self.classes]
        return Encoded.one(none.expand(batch, -1))

    def numbers(self, raw: Any) -> Tensor:
        """(B,) long of numbers or names, checked."""
        if isinstance(raw, Tensor):
            if raw.dim() != 1 or raw.is_floating_point():
                raise ConditionError(f"labels are whole numbers, one a row, not {raw.dtype} of shape {tuple(raw.shape)}")
            numbers = raw.long()
        else:
            numbers = torch.tensor([self._number(x) for x in (raw if isinstance(raw, list | tuple) else [raw])])
        if numbers.numel() and not (0 <= int(numbers.min()) and int(numbers.max()) < self.classes):
            bad = numbers[(numbers < 0) | (numbers >= self.classes)][0]
            raise ConditionError(
                f"there is no class {int(bad)}: labels go from 0 to {self.classes - 1}" + (f" ({self.names[0]} to {self.names[-1]})" if self.names else "")
            )
        return numbers

    def _number(self, value: Any) -> int:
        if isinstance(value, str):
            if value in self.names:
                return self.names.index(value)
            if value.isdigit() and not self.names:
                return int(value)
            raise ConditionError(f"there is no class {value!r}; {nearest(value, self.names) if self.names else f'write a number from 0 to {self.classes - 1}'}")
        if isinstance(value, bool) or not isinstance(value, int):
            raise ConditionError(f"a label is a whole number{' or a name' if self.names else ''}, not {value!r}")
        return value
