"""What is read from and written to a terminal: pairs, values, options that several verbs share, tables, JSON."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
seed_option = click.option("--seed", type=click.IntRange(min=0), metavar="N", default=0, help="Of everything that is drawn [default: 0].")


def _whole_numbers(context: click.Context, parameter: click.Parameter, value: str | None) -> tuple[int, ...] | None:
    """Numbers between commas."""
    if value is None:
        return None
    if not all(part.strip().isdigit() and int(part) for part in value.split(",")):
        raise click.BadParameter(f"expected whole numbers above 0 between commas, such as 25,3,256,256, found {value!r}")
    return tuple(int(part) for part in value.split(","))


def bare_options(command: F) -> F:
    """What a paper's own checkpoint, a bare file, does not say; the help has one line for all, as a screen is short."""
    for option in (
        click.option("--shape", metavar="N,N,N,N", callback=_whole_numbers, hidden=True, help="Of clips: frames,colours,rows,columns."),
        click.option("--pickled", is_flag=True, hidden=True, help="Weights may be read from a .bin, tensors only."),
        click.option("--encoder", metavar="NAME", hidden=True, help="Of a bare file: who reads its captions."),
        click.option("--codec", metavar="PATH", hidden=True, help="Of a bare file: what its tokens come from."),
        click.option("--size", metavar="SIZE", hidden=True, help="Of a bare file: the published size [default: the first]."),
        click.option("--as", "recipe", metavar="NAME", help="RUN is a bare file; --size, --codec, --encoder..."),
    ):
        command = option(command)
    return command


def system_of(run: str, how: dict[str, Any]) -> Any:
    """The system at RUN, with what `bare_options` said taken out of how."""
    from omniform.verbs.building import system_at

    said = {name: how.pop(name) for name in ("recipe", "size", "codec", "encoder", "pickled", "shape")}
    if said["recipe"] is None and any(said[name] is not None for name in ("size", "codec", "encoder")):
        raise click.UsageError("--size, --codec and --encoder are of a bare file of weights; say --as NAME with them")
    return system_at(run, **said)


def is_recipe(name: str) -> bool:
    """A recipe has a plain name; whatever looks like a place is one."""
    return not (":" in name or "/" in name or Path(name).exists())


def data_options(*, required: bool = True) -> Callable[[F], F]:
    """--data and --data-option."""

    def decorated(command: F) -> F:
        command = click.option(
            "--data-option",
            "data_option",
            multiple=True,
            metavar="KEY=VALUE",
            help="Of the data set: size=32. May be repeated.",
        )(command)
        return click.option(
            "--data",
            "-d",
            required=required,
            metavar="DATA",
            help="A name (omniform data list), a folder, a text file.",
        )(command)

    return decorated


def pairs(given: Sequence[str], option: str, *, read: Callable[[str], Any] | None = None) -> dict[str, Any]:
    """KEY=VALUE words as a mapping. read: makes a value of the text, `value_of` if not said."""
    found: dict[str, Any] = {}
    for word in given:
        key, equals, text = word.partition("=")
        if not equals or not key:
            raise click.UsageError(f"{option} takes KEY=VALUE, not {word!r}")
        if key in found:
            raise click.UsageError(f"{option} says {key!r} twice")
        found[key] = (read or value_of)(text)
    return found


def value_of(text: str) -> Any:
    """A number, a truth value, null or a list (as a tuple) where the text is one in JSON; else the text."""
    try:
        value = json.loads(text)
    except ValueError:
        return {"True": True, "False": False, "None": None}.get(text, text)
    return _frozen(value)


def _frozen(value: Any) -> Any:
    return tuple(_frozen(v) for v in value) if isinstance(value, list) else value


def opened_data(where: str, given: Sequence[str], shape: tuple[int, ...] = ()) -> Any:
    """The data set of --data and --data-option, for examples of a shape if one is expected."""
    from omniform.verbs.building import opened

    return opened(where, shape, **pairs(given, "--data-option"))


def say_json(value: Any) -> None:
    """JSON on the output stream; what is not finite is null."""
    click.echo(json.dumps(_finite(value), indent=1, ensure_ascii=False, allow_nan=False))


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {k: _finite(v) for k, v in value.items()}
    return [_finite(v) for v in value] if isinstance(value, list | tuple) else value


def table(rows: Sequence[Sequence[Any]], head: Sequence[str]) -> str:
    """Columns of equal width: numbers to the right, words to the left, the last column as long as it likes."""
    cells = [[spelled(x) for x in row] for row in rows]
    numeric = [all(isinstance(row[i], int | float) or row[i] is None for row in rows) for i in range(len(head))]
    widths = [max(len(line[i]) for line in [list(head), *cells]) for i in range(len(head))]
    place = lambda text, i: text.rjust(widths[i]) if numeric[i] else text.ljust(widths[i])  # noqa: E731
    return "\n".join("  ".join(place(text, i) for i, text in enumerate(line)).rstrip() for line in [list(head), *cells])


def spelled(value: Any) -> str:
    """A cell: four digits of a fraction, a dash for nothing."""
    if value is None or value == "":
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, list | tuple):
        return ", ".join(str(v) for v in value) if value else "-"
    return str(value)


def counted(number: float | None) -> str:
    """A large number as a person says it: 675.1 M."""
    if number is None:
        return "-"
    for size, letter in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(number) >= size:
            return f"{number / size:.4g} {letter}"
    return f"{number:.4g}"
