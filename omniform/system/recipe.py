"""A system as data: five parts, sizes, sources and the published numbers that the build must reproduce."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any

from ..core.errors import CheckpointError, UnknownName, UnknownPath, nearest
from ..core.net import Place
from ..core.spec import Spec, changed_at, differences, from_json, to_json

PARTS = ("codec", "conditions", "network", "process", "guidance", "training", "drop")
"""What a path may begin with, and what a saved recipe holds."""


@dataclass(frozen=True)
class Source:
    """Where it comes from. at: section, table or line behind each choice that is not obvious."""

    arxiv: str | None
    title: str
    code: str | None = None
    at: str = ""


@dataclass(frozen=True)
class Fact:
    """A published number of a size that the build must reproduce.

    kind: "parameters" (network and conditions), "multiply_adds" (of one question), "tokens", "steps", "codec_parameters". of: where it is printed.
    differs: why ours is not equal, where it cannot be; such a fact is printed and not demanded.
    """

    kind: str
    size: str
    value: float
    rel: float = 0.01
    of: str = ""
    differs: str = ""


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """codec, network, process, guidance: Specs (network and process None: a codec alone, to be trained). shape: of one example at the published sizes.

    conditions: name -> (Spec, place or places). drop: share of training rows told nothing. training: what `training.Training` takes. sizes: name -> changes by
    path. tiny: changes that make it fit two cores. ungraded: parameters (by prefix) that get no gradient, with the reason.
    """

    name: str
    title: str
    family: str
    modality: str
    source: tuple[Source, ...]
    codec: Spec
    network: Spec | None = None
    process: Spec | None = None
    conditions: Mapping[str, tuple[Spec, Place | tuple[Place, ...]]] = field(default_factory=dict)
    guidance: Spec | None = None
    drop: float = 0.1
    shape: tuple[int, ...] = ()
    training: Mapping[str, Any] = field(default_factory=dict)
    sizes: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    tiny: Mapping[str, Any] = field(default_factory=dict)
    facts: tuple[Fact, ...] = ()
    ungraded: Mapping[str, str] = field(default_factory=dict)

    def but(self, changes: Mapping[str, Any] | None = None, **named: Any) -> Recipe:
        """The same with changes: fields by name, anything below by path ("network.backbone.depth": 6)."""
        own = [f.name for f in fields(self)]
        for name in named:
            if name not in own:
                raise UnknownPath(f"a recipe has no field {name!r}; {nearest(name, own)}")
        made = replace(self, **named)
        for path, value in (changes or {}).items():
            head, *rest = path.split(".")
            if head == "shape" and not rest:
                made = replace(made, shape=tuple(value))
                continue
            if head not in PARTS:
                raise UnknownPath(f"a recipe has nothing at {head!r}; {nearest(head, (*PARTS, 'shape'))}")
            inner = getattr(made, head)
            if rest and inner is None:
                raise UnknownPath(f"{made.name} has no {head}, so there is nothing at {path!r} to change")
            made = replace(made, **{head: changed_at(inner, rest, value, where=head) if rest else value})
        return made

    def sized(self, size: str | None) -> Recipe:
        """At one of its sizes, or "tiny"; None: the first published size."""
        if size is None:
            size = next(iter(self.sizes), "tiny")
        if size == "tiny":
            return self.but(self.tiny)
        if size not in self.sizes:
            raise UnknownName(f"{self.name} has no size {size!r}; {nearest(size, ('tiny', *self.sizes))}")
        return self.but(self.sizes[size])

    def to_json(self) -> dict[str, Any]:
        """What a saved system needs to be built again."""
        kept = {n: to_json(getattr(self, n)) for n in PARTS if getattr(self, n) is not None}
        sources = [{f.name: getattr(s, f.name) for f in fields(s)} for s in self.source]
        return {
            "name": self.name,
            "title": self.title,
            "family": self.family,
            "modality": self.modality,
            "source": sources,
            "shape": list(self.shape),
            "ungraded": dict(self.ungraded),
            **kept,
        }

    @staticmethod
    def from_json(saved: Mapping[str, Any]) -> Recipe:
        """The inverse (sizes and facts stay with the published recipe); CheckpointError where something is missing or is not what it should be."""
        try:
            return Recipe._read(saved)
        except KeyError as error:
            raise CheckpointError(f"the saved recipe has no {error.args[0]!r}; was it written by omniform's save or train?") from error
        except (AttributeError, TypeError, ValueError) as error:
            raise CheckpointError(f"the saved recipe is altered ({error}); fetch it again") from error

    @staticmethod
    def _read(saved: Mapping[str, Any]) -> Recipe:
        parts = {n: from_json(saved[n]) for n in PARTS if n in saved}
        return Recipe(
            name=str(saved["name"]),
            title=str(saved["title"]),
            family=str(saved["family"]),
            modality=str(saved["modality"]),
            source=tuple(Source(**s) for s in saved["source"]),
            shape=tuple(saved["shape"]),
            ungraded=dict(saved.get("ungraded", {})),
            **parts,
        )

    def against(self, other: Recipe) -> dict[str, tuple[Any, Any]]:
        """Path -> (here, there), wherever the two differ."""
        found: dict[str, tuple[Any, Any]] = {}
        for part in PARTS:
            found.update(differences(getattr(self, part), getattr(other, part), part))
        return found
