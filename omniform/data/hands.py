"""Hands that take hold of things: captured motion, a row a joint, told in two words."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, final

from omniform.core.batch import Batch
from omniform.core.errors import DataError
from omniform.data.dataset import Dataset, Split, hold_out, indexed
from omniform.data.options import whole
from omniform.data.packages import fetch

if TYPE_CHECKING:
    from torch import Tensor

SEED, HELD = 2_312, 0.1  # ours
SPARSE = 4  # frames between the stretches that are held out; ours
FOLDER = "myosuite/envs/myo/myodm/data"
_NAME = re.compile(r"MyoHand_([a-z]+)_([a-z]+)\d*")


def hands(*, frames: int = 64) -> Dataset:
    """Motions (1, 36, frames) at 50 frames a second: 29 angles of an arm and hand, place (3) and turn (quaternion) of a thing, each of mean 0 and deviation 1.

    Told in words, what is done to what: "drink mug". A tenth of the captured clips is held out. Stretches overlap, but no clip is on both sides; clips that are
    shorter than `frames` are left out.
    """
    import torch

    whole("frames", frames, 8, 100)
    clips = [(name, clip) for name, clip in _clips(fetch("hands") / FOLDER) if clip.shape[1] >= frames]
    train, test = hold_out(len(clips), HELD, SEED)
    learned = torch.cat([clips[i][1] for i in train], 1)
    mean, deviation = learned.mean(1, keepdim=True), learned.std(1, keepdim=True)
    clips = [(name, (clip - mean) / deviation) for name, clip in clips]
    parts = (Windows([clips[i] for i in numbers], frames, stride) for numbers, stride in ((train, 1), (test, SPARSE)))
    return Dataset(
        "hands", "motion", (1, len(mean), frames), (), *parts, licence="Apache-2.0 (motions retargeted from GRAB, for research)",
        origin=f"{len(clips)} clips of {frames} frames or more of a hand and a thing (MyoDM, in the PyPI package MyoSuite); {len(test)} are held out",
    )  # fmt: skip


def _clips(folder: Path) -> list[tuple[str, Tensor]]:
    """(words, (36, T)) by name."""
    import numpy
    import torch

    found = []
    for path in sorted(folder.glob("MyoHand_*.npz")):
        said = _NAME.fullmatch(path.stem)
        try:
            with numpy.load(path) as file:
                rows = numpy.concatenate([file["robot"], file["object"]], 1)
        except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
            raise DataError(f"cannot read {path} ({error}); delete its folder and open the data set again") from error
        if said is None or rows.shape[1] != 36:
            raise DataError(f"{path} was expected to hold a hand of 29 joints and a thing of 7 numbers; delete its folder and open the data set again")
        found.append((f"{said[2]} {said[1]}", torch.from_numpy(rows.T.copy()).float()))
    return found


@final
class Windows(Split):
    """Stretches (1, C, frames) of clips (C, T), beginning every `stride` frames of each, with the clip's words."""

    def __init__(self, clips: Sequence[tuple[str, Tensor]], frames: int, stride: int):
        self._clips, self._frames = clips, frames
        self._starts = [(i, first) for i, (_, clip) in enumerate(clips) for first in range(0, clip.shape[1] - frames + 1, stride)]

    def __len__(self) -> int:
        return len(self._starts)

    def batch(self, indices: Sequence[int] | Tensor) -> Batch:
        import torch

        chosen = [self._starts[i] for i in indexed(indices, len(self)).tolist()]
        data = [self._clips[i][1][None, :, first : first + self._frames] for i, first in chosen]
        return Batch(torch.stack(data), {"text": [self._clips[i][0] for i, _ in chosen]})
