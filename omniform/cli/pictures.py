"""Generated pictures as files: one grid, a file each, or a moving grid."""

from __future__ import annotations

import io
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from omniform.core.errors import BadArgument

SEEN = 56
"""Pixels a side that small pictures are enlarged to in a grid, by whole numbers (ours)."""
DELAY = 125
"""Milliseconds a frame (ours)."""


def writer(out: Path, modality: str, columns: int | None = None) -> Callable[[Any], list[str]]:
    """What writes (N, C, H, W) pictures, (N, T, C, H, W) clips or (N, T) series (a line each, of numbers) to `out`.

    Refuses a place that cannot be written to, before anything is drawn.
    """
    kind = {"video": ".gif", "timeseries": ".csv"}.get(modality, ".png")
    if place_of_files(out, (kind,), modality):
        return lambda pictures: [one_file(out, file_of(pictures, enlarge=True, columns=columns))]
    return lambda pictures: in_folder(out, [{kind: file_of(p[None], enlarge=False)} for p in pictures])


def place_of_files(out: Path, kinds: tuple[str, ...], what: str) -> bool:
    """Whether `out` is one file of one of the kinds; else it is a folder, which must be new or empty."""
    if out.suffix in kinds:
        if out.is_dir():
            raise BadArgument(f"{out} is a folder; name a file or another folder")
        return True
    if out.suffix:
        raise click.UsageError(f"{what} goes to a {' or '.join(kinds)} or a folder, not to a {out.suffix}")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise BadArgument(f"{out} holds something already; choose a new or an empty folder")
    return False


def file_of(pictures: Any, *, enlarge: bool, columns: int | None = None) -> bytes:
    """A PNG, a GIF of clips, or a CSV of series."""
    if pictures.dim() == 2:
        return "".join(",".join(f"{value:.6g}" for value in row) + "\n" for row in pictures.tolist()).encode()
    from omniform.evaluation.page.pictures import as_array, png

    if pictures.dim() == 4:
        return png(_grid(as_array(pictures), enlarge, columns))
    from PIL import Image

    frames = [Image.fromarray(_opaque(_grid(as_array(f), enlarge, columns))) for f in pictures.unbind(1)]
    target = io.BytesIO()
    frames[0].save(target, "GIF", save_all=True, append_images=frames[1:], duration=DELAY, loop=0)
    return target.getvalue()


def _grid(array: Any, enlarge: bool, columns: int | None) -> Any:
    """(N, C, H, W) as one picture (H', W', C + 1), about square."""
    from omniform.evaluation.page.pictures import sheet

    zoom = max(1, SEEN // max(array.shape[2:])) if enlarge else 1
    array = array.repeat(zoom, axis=2).repeat(zoom, axis=3)
    return sheet(array, columns or columns_of(len(array)), gap=2 if enlarge else 0)


def columns_of(num: int) -> int:
    """As many columns as rows, or a few more."""
    return num if num <= 8 else max(8, round(num**0.5))


def _opaque(pixels: Any) -> Any:
    """(H, W, C + 1) on white, in colour."""
    colours, cover = pixels[..., :-1], pixels[..., -1:]
    return (colours * (cover > 0) + 255 * (cover == 0)).astype("uint8").repeat(3 // colours.shape[-1], axis=-1)


def one_file(out: Path, content: bytes) -> str:
    from omniform.system.storage import write_file

    write_file(out, content)
    return str(out)


def in_folder(out: Path, contents: list[dict[str, bytes]]) -> list[str]:
    """A file each (or one of each ending), in a folder that appears whole."""
    partial = out.with_name(f"{out.name}.partial-{os.getpid()}")
    wide = max(4, len(str(len(contents))))
    files = {f"{i:0{wide}}{ending}": content for i, each in enumerate(contents) for ending, content in each.items()}
    try:
        partial.mkdir(parents=True)
        for name, content in files.items():
            (partial / name).write_bytes(content)
        if out.exists():
            out.rmdir()
        os.rename(partial, out)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return [str(out / name) for name in files]
