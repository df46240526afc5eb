"""A class and its arguments, not yet built: checked against the signature, diffable, serialisable, rewritable by path."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from .errors import BadArgument, CheckpointError, UnknownPath, nearest


@cache
def _parameters(make: type) -> Mapping[str, inspect.Parameter]:
    return {n: p for n, p in inspect.signature(make).parameters.items() if n != "self"}


@dataclass(frozen=True)
class Spec:
    """make(**args), later."""

    make: type
    args: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        known = _parameters(self.make)
        for name in self.args:
            if name not in known:
                raise BadArgument(f"{self.make.__name__} takes no argument {name!r}; {nearest(name, known)}")

    def __hash__(self) -> int:
        return hash((self.make, repr(sorted(self.args.items(), key=lambda kv: kv[0]))))

    def build(self, **around: Any) -> Any:
        """The object. `around` (width, space, shape...) fills what the signature takes and the args do not say."""
        known = _parameters(self.make)
        given = {**{k: v for k, v in around.items() if k in known}, **self.args}
        missing = [n for n, p in known.items() if p.default is p.empty and p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY) and n not in given]
        if missing:
            raise BadArgument(f"{self.make.__name__} needs {', '.join(missing)}; write Spec({self.make.__name__}, {{{missing[0]!r}: ...}})")
        return self.make(**given)

    def takes(self, name: str) -> bool:
        """Whether the class has such an argument."""
        return name in _parameters(self.make)

    def but(self, changes: Mapping[str, Any]) -> Spec:
        """The same with other arguments, by path: {"block.mixer.heads": 4}."""
        args: dict[str, Any] = dict(self.args)
        for path, value in changes.items():
            args = _set(args, path.split("."), value, where=self.make.__name__)
        return Spec(self.make, args)

    def walk(self, path: str = "") -> Iterator[tuple[str, Any]]:
        """Every (path, leaf or Spec) below."""
        for name, value in self.args.items():
            yield from _walk(value, f"{path}.{name}" if path else name)


def _walk(value: Any, path: str) -> Iterator[tuple[str, Any]]:
    yield path, value
    if isinstance(value, Spec):
        yield from value.walk(path)
    elif isinstance(value, Mapping):
        for k, v in value.items():
            yield from _walk(v, f"{path}.{k}")
    elif isinstance(value, tuple | list):
        for i, v in enumerate(value):
            yield from _walk(v, f"{path}.{i}")


def _set(holder: dict[str, Any], path: list[str], value: Any, *, where: str) -> dict[str, Any]:
    """holder with value at path; refuses names that the thing at that place does not have."""
    head, rest = path[0], path[1:]
    changed = dict(holder)
    if not rest:
        changed[head] = value
        return changed
    if head not in holder:
        raise UnknownPath(f"{where} has nothing at {head!r} to change {'.'.join(rest)!r} in; {nearest(head, holder)}")
    changed[head] = changed_at(holder[head], rest, value, where=f"{where}.{head}")
    return changed


def changed_at(inner: Any, path: list[str], value: Any, *, where: str) -> Any:
    """The value `inner` (a Spec, mapping or sequence) with another value at a path inside it."""
    if isinstance(inner, Spec):
        return inner.but({".".join(path): value})
    if isinstance(inner, Mapping):
        return _set(dict(inner), path, value, where=where)
    if isinstance(inner, tuple | list) and path[0].isdigit() and int(path[0]) < len(inner):
        items = list(inner)
        items[int(path[0])] = value if len(path) == 1 else changed_at(items[int(path[0])], path[1:], value, where=where)
        return tuple(items)
    raise UnknownPath(f"{where} is {inner!r} and has nothing at {path[0]!r}")


def to_json(value: Any) -> Any:
    """Specs as {"make": "module:Class", "args": {...}}; tuples as lists."""
    if isinstance(value, Spec):
        return {"make": f"{value.make.__module__}:{value.make.__qualname__}", "args": {k: to_json(v) for k, v in value.args.items()}}
    if isinstance(value, Mapping):
        return {str(k): to_json(v) for k, v in value.items()}
    if isinstance(value, tuple | list):
        return [to_json(v) for v in value]
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise BadArgument(f"a recipe holds numbers, strings, tuples and Specs, not {type(value).__name__}")


def from_json(value: Any) -> Any:
    """The inverse; classes are taken from this library only, so that a recipe file cannot name what it likes. Lists come back as tuples."""
    if isinstance(value, list):
        return tuple(from_json(v) for v in value)
    if not isinstance(value, dict):
        return value
    if set(value) != {"make", "args"}:
        return {k: from_json(v) for k, v in value.items()}
    module, _, name = str(value["make"]).partition(":")
    if not module.startswith("omniform.") or not name.isidentifier():
        raise CheckpointError(f"a recipe may name classes of omniform only, not {value['make']!r}; was this file written by omniform?")
    try:
        make = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise CheckpointError(f"this version of omniform has no {value['make']!r}; install the version that wrote the file") from error
    if not inspect.isclass(make) or not make.__module__.startswith("omniform."):
        raise CheckpointError(f"{value['make']!r} is not a class of omniform; was this file written by omniform?")
    return Spec(make, {k: from_json(v) for k, v in value["args"].items()})


def differences(one: Any, other: Any, path: str = "") -> dict[str, tuple[Any, Any]]:
    """Path -> (here, there) wherever two values differ; a Spec of another class is one difference, an argument that one leaves out is its default there."""
    if isinstance(one, Spec) and isinstance(other, Spec) and one.make is other.make:
        said = dict.fromkeys([*one.args, *other.args])
        unsaid = {n: None if (p := _parameters(one.make)[n].default) is inspect.Parameter.empty else p for n in said}
        one, other = ({n: spec.args.get(n, unsaid[n]) for n in said} for spec in (one, other))
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        found: dict[str, tuple[Any, Any]] = {}
        for key in dict.fromkeys([*one, *other]):
            found.update(differences(one.get(key), other.get(key), f"{path}.{key}" if path else str(key)))
        return found
    return {} if one == other else {path: (one, other)}
