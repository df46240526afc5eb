"""Emoji with captions: Microsoft's Fluent emoji in 3D, under the English names of Unicode's annotations.

Held out are whole emoji with all their skin tones: a tenth, by a fixed seed.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omniform.core.errors import DataError
from omniform.data.cache import cache_dir, write_whole
from omniform.data.dataset import Dataset, Pictures, hold_out
from omniform.data.folder import rgb_of
from omniform.data.options import whole
from omniform.data.packages import fetch

if TYPE_CHECKING:
    import numpy

PICTURES, WORDS = "@lobehub/fluent-emoji-3d", "emojibase-data"
GROUPS = (
    "smileys and emotion", "people and body", "animals and nature", "food and drink", "travel and places", "activities", "objects", "symbols", "flags",
)  # fmt: skip
_GROUP = {0: 0, 1: 1, 3: 2, 4: 3, 5: 4, 6: 5, 7: 6, 8: 7, 9: 8}
"""By their numbers in the annotations, where 2 are parts of others."""
SEED, HELD = 3_374, 0.1  # ours


def emoji(*, size: int = 32) -> Dataset:
    """Pictures (3, size, size) on white, each with its name as "text" and its group as "label"."""
    whole("size", size, 8, 256)
    folder = fetch(PICTURES) / "package" / "assets"
    named = _named(fetch(WORDS) / "package" / "en" / "data.json")
    found = [(named[code], path) for path in sorted(folder.glob("*.webp")) if (code := _code(path.stem)) in named]
    if len(found) < 2:
        raise DataError(f"expected the pictures of {PICTURES} in {folder}, found {len(found)} with a name; delete it and open it again")
    pixels = _pixels([path for _, path in found], size)
    bases = sorted({base for (base, _, _), _ in found})
    held = {bases[i] for i in hold_out(len(bases), HELD, SEED)[1]}
    parts = [[i for i, ((base, _, _), _) in enumerate(found) if (base in held) == out] for out in (False, True)]
    return Dataset(
        name="emoji", modality="image", shape=(3, size, size), classes=GROUPS,
        train=_split(found, pixels, parts[0]), test=_split(found, pixels, parts[1]),
        licence="MIT", origin=f"{len(found):,} Fluent emoji in 3D with their English names; a tenth of the emoji is held out, with all skin tones",
    )  # fmt: skip


def _code(name: str) -> str:
    """A sequence of code points as both packages write it: without the mark that asks for a picture."""
    return name.lower().replace("_", "-").replace("-fe0f", "")


def _named(path: Path) -> dict[str, tuple[str, str, int]]:
    """Code -> (code of the emoji without a skin tone, name, group)."""
    named: dict[str, tuple[str, str, int]] = {}
    try:
        for entry in json.loads(path.read_text(encoding="utf-8")):
            if entry.get("group") not in _GROUP:  # letters that flags are spelled by, and skin tones alone
                continue
            base = _code(entry["hexcode"])
            for each in (entry, *entry.get("skins", ())):
                named[_code(each["hexcode"])] = (base, str(each["label"]), _GROUP[entry["group"]])
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(f"expected the names of emoji in {path}, found something else ({error}); delete its folder and open it again") from error
    return named


def _pixels(paths: list[Path], size: int) -> numpy.ndarray:
    """(N, 3, size, size) uint8, as kept in the cache; decoded when they are not there."""
    import numpy

    asked = [1, size, [p.name for p in paths], importlib.metadata.version("pillow")]
    kept = cache_dir() / "emoji" / (hashlib.sha256(json.dumps(asked).encode()).hexdigest()[:16] + ".npz")
    try:
        with open(kept, "rb") as file, numpy.load(file, allow_pickle=False) as arrays:
            return arrays["pixels"]
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        pass  # missing or damaged: the cache only saves time
    from PIL.Image import Resampling

    try:
        pixels = numpy.stack([numpy.asarray(rgb_of(p).resize((size, size), Resampling.BOX)).transpose(2, 0, 1) for p in paths])
    except Exception as error:  # a decoder raises anything on bytes that are not a picture
        raise DataError(f"the pictures of {PICTURES} cannot be read ({error}); delete {paths[0].parents[2]} and open it again") from error
    try:
        write_whole(kept, lambda file: numpy.savez(file, pixels=pixels))
    except OSError:
        pass  # a cache that cannot be written
    return pixels


def _split(found: list[tuple[tuple[str, str, int], Any]], pixels: numpy.ndarray, part: list[int]) -> Pictures:
    import torch

    label = torch.tensor([found[i][0][2] for i in part])
    return Pictures(torch.from_numpy(pixels[part]), label, [found[i][0][1] for i in part], torch.arange(len(part)))
