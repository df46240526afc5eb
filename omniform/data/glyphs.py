"""Glyphs: characters of the fonts that ship inside matplotlib, drawn as small grey pictures.

A *cell* is one character in one face. Each cell is drawn once, large, by FreeType (through Pillow), and sampled
`variants` times under a small rotation, shear, scaling and shift; variant 0 is the plain drawing. Held out are cells,
never only variants: for each character a sixth of its faces, drawn per character by a fixed seed, so that the test asks
for a known letter in a known style that were never seen together (charset "all": a tenth of all cells, as most
characters are in few faces). An oblique face is nearly a shear of its upright one, so a held-out cell may have a close
relative in training; a cell whose drawing equals that of a training cell byte for byte is never held out.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import re
import unicodedata
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from omniform.core.errors import DataError
from omniform.data.cache import cache_dir, write_whole
from omniform.data.dataset import Dataset, Pictures
from omniform.data.options import flag, one_of, whole

if TYPE_CHECKING:
    import numpy
    from torch import Tensor

DEJAVU = tuple(
    "DejaVu" + face
    for face in (
        "Sans",
        "Sans-Bold",
        "Sans-Oblique",
        "Sans-BoldOblique",
        "SansMono",
        "SansMono-Bold",
        "SansMono-Oblique",
        "SansMono-BoldOblique",
        "Serif",
        "Serif-Bold",
        "Serif-Italic",
        "Serif-BoldItalic",
        "SansDisplay",
        "SerifDisplay",
    )
)  # the two Display faces hold a few mathematical signs and no letter
STIX = ("STIXGeneral", "STIXGeneralBol", "STIXGeneralItalic", "STIXGeneralBolIta")
FACES = {"dejavu": DEJAVU, "stix": STIX, "both": DEJAVU + STIX}
DIGITS, CAPITALS = "0123456789", "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
CHARSETS = {
    "alnum": DIGITS + CAPITALS,
    "digits": DIGITS,
    "letters": CAPITALS + CAPITALS.lower(),
    "ascii": "".join(map(chr, range(33, 127))),  # the space has no ink
    "all": "",  # every named glyph of the faces
}
LICENCE = {
    "dejavu": "Bitstream Vera and Arev licences (DejaVu; free to use, embed and change)",
    "stix": "STIX Font License (free to use and embed)",
}
LICENCE["both"] = LICENCE["dejavu"] + " and " + LICENCE["stix"]

VERSION = 3  # of the drawing below: raised when a pixel changes
SEED = 20_220  # ours
TRAIN_PICTURES = 23_040  # ours: 36 characters x 10 faces x 64 variants
CAP_HEIGHT, WIDEST = 0.66, 0.86  # ours: a capital's height, and the most that any glyph takes, as shares of the box
ROTATION, SHEAR, SCALE, SHIFT = (
    0.105,
    0.08,
    0.08,
    0.03,
)  # ours: largest jitter in radians, slope, log size, share of the box
DRAWN, SAMPLED = 4, 2  # a glyph is drawn at 4 times and sampled at 2 times the final size


@dataclass(frozen=True)
class Cell:
    """One character in one face."""

    character: str
    face: str


def glyphs(*, size: int = 28, charset: str = "alnum", variants: int = 0, faces: str = "dejavu", captions: bool = False) -> Dataset:
    """The glyphs of matplotlib's fonts; ink is +1 on -1.

    variants: pictures of each cell; 0 means as many as make about 23,000 training pictures. captions: adds the
    condition "text". charset "all" is labelled by Unicode category and always captioned.
    """
    whole("size", size, 8, 128)
    whole("variants", variants, 0, 4096)
    one_of("charset", charset, CHARSETS)
    one_of("faces", faces, FACES)
    captions = flag("captions", captions) or charset == "all"
    drawn = _remembered(size, charset, variants, faces)
    classes = tuple(CHARSETS[charset]) or tuple(sorted({unicodedata.category(cell.character) for cell in drawn.cells}))
    num_faces = len({cell.face for cell in drawn.cells})
    counted = f"{len(drawn.cells):,} glyphs of {num_faces} faces, {len(drawn.train):,} + {len(drawn.test):,} pictures"
    return Dataset(
        name="glyphs", modality="image", shape=(1, size, size), classes=classes,
        train=_split(drawn.cells, drawn.train, drawn.train_cells, classes, captions),
        test=_split(drawn.cells, drawn.test, drawn.test_cells, classes, captions),
        licence=LICENCE[faces],
        origin=f"drawn from the fonts inside matplotlib: {counted}; held out are whole (character, face) pairs",
    )  # fmt: skip


@dataclass(frozen=True)
class Drawn:
    """All pictures of a glyph set and, for each, the number of its cell."""

    cells: tuple[Cell, ...]
    train: numpy.ndarray  # (N, size, size) uint8
    test: numpy.ndarray
    train_cells: numpy.ndarray  # (N,) long
    test_cells: numpy.ndarray


def _split(cells: Sequence[Cell], pixels: numpy.ndarray, cell_of: numpy.ndarray, classes: Sequence[str], captions: bool) -> Pictures:
    import torch

    number = {name: i for i, name in enumerate(classes)}
    label = [number[c.character if c.character in number else unicodedata.category(c.character)] for c in cells]
    of = torch.from_numpy(cell_of)
    said = [caption(cell) for cell in cells] if captions else ()
    return Pictures(torch.from_numpy(pixels)[:, None], torch.tensor(label)[of], said, of if captions else None)


def caption(cell: Cell) -> str:
    """Unicode name and style: "latin capital letter a, sans mono bold oblique"."""
    family, _, style = cell.face.partition("-")
    style = style.replace("BolIta", "BoldItalic").replace("Italic", " italic").replace("Oblique", " oblique")
    family = family.replace("STIXGeneral", "Times ").replace("BolIta", "bold italic").removeprefix("DejaVu")
    family = re.sub(r"\bBol$", "bold", family)
    words = re.sub(r"([A-Z])", r" \1", family + " " + style).split()
    return f"{unicodedata.name(cell.character).lower()}, {' '.join(words).lower()}"


def _remembered(size: int, charset: str, variants: int, faces: str) -> Drawn:
    """The pictures as kept in the cache; drawn anew when they are not there, and kept if the cache can be written."""
    import numpy

    asked = [VERSION, size, charset, variants, faces] + [importlib.metadata.version(p) for p in ("matplotlib", "pillow", "torch", "numpy")]
    path = cache_dir() / "glyphs" / (hashlib.sha256(json.dumps(asked).encode()).hexdigest()[:16] + ".npz")
    try:
        with open(path, "rb") as kept, numpy.load(kept, allow_pickle=False) as file:
            cells = tuple(Cell(*pair) for pair in json.loads(bytes(file["cells"])))
            return Drawn(cells, file["train"], file["test"], file["train_cells"], file["test_cells"])
    except (OSError, ValueError, KeyError, EOFError, TypeError, zipfile.BadZipFile):
        pass  # missing or damaged: the cache only saves time
    drawn = _draw(size, charset, variants, faces)
    cells = json.dumps([(c.character, c.face) for c in drawn.cells]).encode()
    arrays = {
        "train": drawn.train,
        "test": drawn.test,
        "train_cells": drawn.train_cells,
        "test_cells": drawn.test_cells,
    }
    try:
        write_whole(path, lambda file: numpy.savez(file, cells=numpy.frombuffer(cells, numpy.uint8), **arrays))
    except OSError:
        pass  # a cache that cannot be written
    return drawn


def _draw(size: int, charset: str, variants: int, faces: str) -> Drawn:
    import numpy
    import torch

    drawn = {cell: picture for face in FACES[faces] for cell, picture in _face(face, CHARSETS[charset], size)}
    rank: dict[str, int] = {}  # the first, second... face of each character: neighbours in the order differ in class
    ranked = []
    for cell in drawn:
        rank[cell.character] = rank.get(cell.character, -1) + 1
        ranked.append((rank[cell.character], cell.character, cell))
    cells = tuple(cell for _, _, cell in sorted(ranked, key=lambda row: row[:2]))
    large = numpy.stack([drawn[cell] for cell in cells])
    train, test = _held_out(cells, [picture.tobytes() for picture in large], by_face=charset != "all")
    variants = variants or max(1, TRAIN_PICTURES // len(train))
    parts = []
    for salt, chosen in enumerate((train, test)):
        cell_of = numpy.tile(numpy.array(chosen, numpy.int64), variants)
        parts.append((_sample(torch.from_numpy(large), torch.from_numpy(cell_of), len(chosen), salt).numpy(), cell_of))
    (train_pixels, train_cells), (test_pixels, test_cells) = parts
    return Drawn(cells, train_pixels, test_pixels, train_cells, test_cells)


def _face(face: str, characters: str, size: int) -> Iterator[tuple[Cell, numpy.ndarray]]:
    """The large drawings (2 size, 2 size) uint8 of one face: of these characters, or of all that have a name."""
    import matplotlib
    import numpy
    from matplotlib.ft2font import FT2Font
    from PIL import Image, ImageDraw, ImageFont

    path = Path(matplotlib.get_data_path()) / "fonts" / "ttf" / f"{face}.ttf"
    if not path.is_file():
        raise DataError(f"glyphs needs the font {face}.ttf that ships inside matplotlib, and it is not there; write pip install matplotlib")
    held = {chr(code) for code in FT2Font(str(path)).get_charmap()}
    box = DRAWN * size
    fonts = {}

    def ink(character: str, points: int) -> tuple[Image.Image, int]:
        """The tight drawing and where its top lies above the baseline."""
        if points not in fonts:
            fonts[points] = ImageFont.truetype(path, points, layout_engine=ImageFont.Layout.BASIC)
        left, top, right, bottom = fonts[points].getbbox(character, anchor="ls")
        canvas = Image.new("L", (int(right - left) + 8, int(bottom - top) + 8))
        ImageDraw.Draw(canvas).text((4 - left, 4 - top), character, fill=255, font=fonts[points], anchor="ls")
        tight = canvas.getbbox() or (0, 0, 0, 0)
        return canvas.crop(tight), int(top) - 4 + tight[1]

    points = round(box * CAP_HEIGHT * box / ink("H", box)[0].height) if "H" in held else box
    for character in characters or sorted(held):
        if character not in held or not unicodedata.name(character, ""):
            continue
        picture, top = ink(character, points)
        if not all(picture.size):
            continue
        if (shrink := WIDEST * box / max(picture.size)) < 1:
            picture, top = ink(character, max(1, int(points * shrink)))
        middle = round(box * (1 + CAP_HEIGHT * min(1, shrink)) / 2)  # the baseline that puts a capital in the middle
        edge = round(box * (1 - WIDEST) / 2)
        y = min(max(middle + top, edge), box - edge - picture.height)
        canvas = Image.new("L", (box, box))
        canvas.paste(picture, ((box - picture.width) // 2, y))
        yield Cell(character, face), numpy.asarray(canvas.reduce(DRAWN // SAMPLED))


def _held_out(cells: Sequence[Cell], drawings: Sequence[bytes], *, by_face: bool) -> tuple[list[int], list[int]]:
    """Cell numbers for training and for the test; equal drawings are never on both sides."""
    import numpy

    rng = numpy.random.default_rng(SEED)
    held: set[int] = set()
    if by_face:
        of: dict[str, list[int]] = {}
        for i, cell in enumerate(cells):
            of.setdefault(cell.character, []).append(i)
        for character in sorted(of):
            num = len(of[character])
            held.update(rng.permutation(of[character])[: min(max(1, num // 6), num - 1)].tolist())
    else:  # most characters of "all" are in one or two faces: a tenth of all drawings instead
        held.update(rng.permutation(len(cells))[: len(cells) // 10].tolist())
    seen = {drawings[i] for i in range(len(cells)) if i not in held}
    held = {i for i in held if drawings[i] not in seen}
    trained = [i for i in range(len(cells)) if i not in held]
    return trained, sorted(held)


def _sample(large: Tensor, cell_of: Tensor, num_cells: int, salt: int) -> Tensor:
    """(P, 2s, 2s) drawings -> (N, s, s) pictures under jitter; the first num_cells (variant 0) plain. All uint8."""
    import numpy
    import torch
    from torch.nn.functional import avg_pool2d, grid_sample

    num, side = len(cell_of), large.shape[-1]
    jitter = numpy.random.default_rng([SEED, salt]).uniform(-1, 1, (5, num)).astype(numpy.float32)
    jitter[:, :num_cells] = 0
    turn, lean, grow, right, down = torch.from_numpy(jitter)[..., None, None]
    cos, sin, shear, scale = (turn * ROTATION).cos(), (turn * ROTATION).sin(), lean * SHEAR, (grow * SCALE).exp()
    axis = (2 * torch.arange(side) + 1) / side - 1
    x, y = axis[None, None, :], axis[None, :, None]
    pieces = []
    for start in range(0, num, 512):
        part = slice(start, start + 512)
        c, s, h, k = cos[part], sin[part], shear[part], scale[part]
        read_x = k * c * x + k * (h * c - s) * y + 2 * SHIFT * right[part]  # rotation times shear, where each pixel is read
        read_y = k * s * x + k * (h * s + c) * y + 2 * SHIFT * down[part]
        picture = large[cell_of[part]][:, None].float()
        read = grid_sample(picture, torch.stack([read_x, read_y], -1), align_corners=False)
        pieces.append(avg_pool2d(read, SAMPLED).round_().to(torch.uint8)[:, 0])
    return torch.cat(pieces)
