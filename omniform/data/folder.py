"""Pictures in a folder: subfolders are classes; a .txt beside each picture is its caption."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from omniform.core.errors import BadArgument, DataError
from omniform.data.dataset import Dataset, Pictures, hold_out
from omniform.data.options import flag, whole
from omniform.data.program import parse

if TYPE_CHECKING:
    import numpy
    from PIL.Image import Image

SUFFIXES = {".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp"}
SEED, HELD = 10, 0.1  # ours


def pictures_in(where: Path) -> list[Path]:
    """The picture files under a folder, in order of their names; hidden files and folders are passed over."""
    found = (p for p in where.rglob("*") if p.suffix.lower() in SUFFIXES and p.is_file())
    visible = (p for p in found if not any(part.startswith(".") for part in p.relative_to(where).parts))
    return sorted(visible, key=lambda p: p.relative_to(where).as_posix())


def from_pictures(where: Path, *, size: int = 32, channels: int = 0, program: str = "", skip_broken: bool = False) -> Dataset:
    """Pictures decoded once into memory; a seeded tenth is held out.

    channels: 1, 3, or 0 for 3 unless every picture is grey. program: replaces size, see omniform.data.program; all
    pictures must come out equally large. Transparent pixels become white; of an animation, the first frame is taken.
    """
    whole("size", size, 4, 1_024)
    if isinstance(channels, bool) or channels not in (0, 1, 3):
        raise BadArgument(f"expected channels to be 1, 3 or 0 (3 unless all are grey), found {channels!r}")
    flag("skip_broken", skip_broken)
    transform = parse(program or f"resize_small({size})|central_crop({size})")
    paths = pictures_in(where)
    paths, pixels = _decoded(where, paths, transform, skip_broken)
    if len(paths) < 2:
        raise DataError(f"expected at least 2 pictures in {where} (one to train on, one held out), found {len(paths)}; add some")
    if channels == 1 or (channels == 0 and bool((pixels == pixels[:, :1]).all())):
        pixels = _grey(pixels)
    classes, label = _classes(where, paths)
    captions = _captions(where, paths)
    train, test = hold_out(len(paths), HELD, SEED)
    kinds = f"{len(classes)} classes" if classes else "no classes"
    return Dataset(
        name=where.resolve().name, modality="image", shape=tuple(pixels.shape[1:]), classes=classes,
        train=_split(pixels, label, captions, train), test=_split(pixels, label, captions, test),
        licence="not stated", origin=f"{len(paths):,} pictures in {where}, {kinds}; a seeded tenth is held out",
    )  # fmt: skip


def _split(pixels: numpy.ndarray, label: Sequence[int], captions: Sequence[str], part: list[int]) -> Pictures:
    import torch

    labels = torch.tensor([label[i] for i in part]) if label else None
    said = [captions[i] for i in part] if captions else ()
    return Pictures(torch.from_numpy(pixels[part]), labels, said, torch.arange(len(part)) if captions else None)


def _decoded(where: Path, paths: list[Path], transform: Callable[[Image], Image], skip_broken: bool) -> tuple[list[Path], numpy.ndarray]:
    """The files that can be read and their pixels (N, 3, H, W) uint8."""
    import numpy

    good, arrays, broken = [], [], []
    for path in paths:
        try:
            picture = rgb_of(path)
        except Exception:  # a decoder raises anything on bytes that are not a picture
            broken.append(path.relative_to(where).as_posix())
            continue
        arrays.append(numpy.asarray(transform(picture)).transpose(2, 0, 1))
        good.append(path)
    if broken and not skip_broken:
        more = ", ..." if len(broken) > 3 else ""
        named = ", ".join(broken[:3]) + more
        raise DataError(f"{len(broken)} of {len(paths)} pictures in {where} cannot be read ({named}); remove them or write skip_broken=True")
    shapes = sorted({array.shape[1:] for array in arrays})
    if len(shapes) > 1:
        found = ", ".join(f"{height}x{width}" for height, width in shapes[:3])
        raise DataError(f"expected the program to make all pictures equally large, found {found}; end it with central_crop(n) or resize(n, n)")
    return good, numpy.stack(arrays) if arrays else numpy.zeros((0, 3, 1, 1), numpy.uint8)


def rgb_of(path: Path) -> Image:
    """A file as an upright RGB picture, transparency on white."""
    import numpy
    from PIL import Image, ImageOps

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of Pillow, on odd metadata and very large pictures; what it cannot read raises
        with Image.open(path) as opened:
            opened.load()
            picture = ImageOps.exif_transpose(opened)
    if picture.mode.startswith("I;16"):  # 16 bits: Pillow's own conversion would cut all above 255 to white
        picture = Image.fromarray((numpy.asarray(picture) >> 8).astype(numpy.uint8))
    if picture.has_transparency_data:
        picture = picture.convert("RGBA")
        picture = Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture)
    return picture.convert("RGB")


def _grey(pixels: numpy.ndarray) -> numpy.ndarray:
    """(N, 3, H, W) -> (N, 1, H, W) by the luma weights of ITU-R BT.601; exact where all three are equal."""
    import numpy

    weights = numpy.array([299, 587, 114]).reshape(3, 1, 1)
    return numpy.stack([((p * weights).sum(0, keepdims=True) + 500) // 1000 for p in pixels]).astype(numpy.uint8)


def _classes(where: Path, paths: Sequence[Path]) -> tuple[tuple[str, ...], list[int]]:
    """Names of the subfolders and the number of each picture's own; nothing where all pictures lie flat."""
    parts = [path.relative_to(where).parts for path in paths]
    flat = sum(len(part) == 1 for part in parts)
    if flat == len(paths):
        return (), []
    if flat:
        raise DataError(f"expected the pictures of {where} either in subfolders (classes) or not, found {flat} of {len(paths)} outside; move them")
    names = tuple(sorted({part[0] for part in parts}))
    return names, [names.index(part[0]) for part in parts]


def _captions(where: Path, paths: Sequence[Path]) -> list[str]:
    """The text of X.txt for each picture X; none at all if no picture has one."""
    texts = [path.with_suffix(".txt") for path in paths]
    without = [path for path, text in zip(paths, texts, strict=True) if not text.is_file()]
    if len(without) == len(paths):
        return []
    if without:
        first = without[0].relative_to(where).as_posix()
        raise DataError(f"expected a .txt beside each picture of {where} or beside none, found {len(without)} without ({first}); add or remove some")
    try:
        return [text.read_text(encoding="utf-8").strip() for text in texts]
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"expected captions in UTF-8 beside the pictures of {where}, found {error}; convert them") from error
