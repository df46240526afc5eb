"""omniform data: what there is to train on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from omniform.cli.words import json_option, opened_data, say_json, table

_EACH = 8  # pictures a class in a grid; ours
_option = click.option(
    "--data-option",
    "data_option",
    multiple=True,
    metavar="KEY=VALUE",
    help="Of the data set, e.g. size=32. May be repeated.",
)


@click.group()
def data() -> None:
    """List, fetch and look at data sets.

    \b
    omniform data list
    omniform data fetch fashion-mnist
    omniform data show glyphs --out glyphs.png
    """


@data.command(name="list")
@json_option
def listed(as_json: bool) -> None:
    """List the data sets that have a name; folders of pictures and texts work too."""
    from omniform.data.catalog import describe

    rows = describe()
    if as_json:
        return say_json(rows)
    shown = [
        (
            r["name"],
            r["modality"],
            "x".join(map(str, r["shape"])),
            r["classes"] or None,
            r["train"],
            r["test"],
            "here" if r["fetched"] else f"fetch, {r['megabytes']:g} MB",
            r["licence"],
        )
        for r in rows
    ]
    click.echo(table(shown, ("name", "modality", "shape", "classes", "train", "test", "there", "licence")))


@data.command()
@click.argument("name")
@_option
@json_option
def fetch(name: str, data_option: tuple[str, ...], as_json: bool) -> None:
    """Download what a data set needs, if it is not there."""
    answer = _described(opened_data(name, data_option))
    if as_json:
        return say_json(answer)
    click.echo(f"{answer['name']}: {answer['train']:,} + {answer['test']:,} examples are here")


@data.command()
@click.argument("name", metavar="DATA")
@_option
@click.option("--out", "-o", type=click.Path(path_type=Path), help="Write some examples: a .png, a .gif for video.")
@json_option
def show(name: str, data_option: tuple[str, ...], out: Path | None, as_json: bool) -> None:
    """Describe a data set, a folder of pictures or a text, and write a grid of it."""
    dataset = opened_data(name, data_option)
    answer = _described(dataset)
    if out is not None:
        from omniform.cli.pictures import writer

        if dataset.modality == "text":
            raise click.UsageError(f"{dataset.name} holds text, of which there is no picture; leave --out out")
        columns = _EACH if dataset.classes else None
        answer["files"] = writer(out, dataset.modality, columns)(dataset.train.batch(_chosen(dataset)).data)
    if as_json:
        return say_json(answer)
    for key, value in answer.items():
        click.echo(f"{key:9} {_worded(key, value)}")
    if dataset.modality == "text":
        click.echo("---\n" + "\n---\n".join(dataset.train.batch(range(min(2, len(dataset.train)))).data))


def _described(dataset: Any) -> dict[str, Any]:
    return {
        "name": dataset.name,
        "modality": dataset.modality,
        "shape": list(dataset.shape),
        "classes": list(dataset.classes),
        "train": len(dataset.train),
        "test": len(dataset.test),
        "licence": dataset.licence,
        "origin": dataset.origin,
    }


def _worded(key: str, value: Any) -> str:
    if key == "shape":
        return " x ".join(map(str, value))
    if isinstance(value, list):
        return f"{len(value)}: {' '.join(map(str, value))}" if value else "none"
    return f"{value:,}" if isinstance(value, int) else str(value)


def _chosen(dataset: Any) -> list[int]:
    """Training examples for a grid: a few of each class, or the first ones."""
    num = len(dataset.train)
    if not dataset.classes:
        return list(range(min(8 * _EACH, num)))
    rows: dict[int, list[int]] = {i: [] for i in range(len(dataset.classes))}
    for first in range(0, num, 4096):
        numbers = range(first, min(first + 4096, num))
        for i, label in zip(numbers, dataset.train.batch(numbers).condition["label"].tolist(), strict=True):
            if len(rows[label]) < _EACH:
                rows[label].append(i)
        if all(len(r) == _EACH for r in rows.values()):
            break
    return [i for label in rows for i in rows[label]]
