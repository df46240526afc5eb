"""Tasks told by examples: rows of glyphs and of what one thing that is done to pictures makes of each."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, final

from omniform.core.batch import Batch
from omniform.data.dataset import Dataset, Split, indexed
from omniform.data.glyphs import glyphs
from omniform.data.options import whole

if TYPE_CHECKING:
    from torch import Tensor

SEED, TRAIN, TEST = 2_411, 20_000, 2_000  # ours


def _wide(x: Any) -> Any:
    """The lightest of each 3 x 3."""
    from torch.nn.functional import max_pool2d

    return max_pool2d(x, 3, 1, 1)


DONE: dict[str, Callable[[Any], Any]] = {
    "negative": lambda x: -x,
    "mirrored": lambda x: x.flip(-1),
    "upside down": lambda x: x.flip(-2),
    "turned": lambda x: x.rot90(1, (-2, -1)),
    "bold": _wide,
    "outlined": lambda x: _wide(x) - x - 1,
    "sunk": lambda x: x.roll(x.shape[-2] // 4, -2),
    "halved": lambda x: x.where(_left(x), x.new_tensor(-1.0)),
}
"""What is done to pictures (N, 1, H, W) of ink +1 on -1, by the name of the task."""


def _left(x: Any) -> Any:
    import torch

    return torch.arange(x.shape[-1]) < x.shape[-1] // 2


def glyph_tasks(*, pairs: int = 4, size: int = 16) -> Dataset:
    """Clips (2 pairs + 2, 1, size, size): so many glyphs, each followed by what the row's task makes of it, then one more, the query, and its answer; labelled
    by the task. Glyphs of training and of the test are those of the glyphs' own parts."""
    whole("pairs", pairs, 1, 32)
    flat = glyphs(size=size)
    parts = (Tasks(part, pairs, num, salt) for salt, (part, num) in enumerate(((flat.train, TRAIN), (flat.test, TEST))))
    return Dataset("glyph-tasks", "video", (2 * pairs + 2, 1, size, size), tuple(DONE), *parts, flat.licence, f"{len(DONE)} things done to the glyphs")


@final
class Tasks(Split):
    """Rows of pictures and answers; which pictures and which task is drawn from the row's own number."""

    def __init__(self, pictures: Split, pairs: int, num: int, salt: int):
        self._pictures, self._pairs, self._num, self._salt = pictures, pairs, num, salt

    def __len__(self) -> int:
        return self._num

    def batch(self, indices: Sequence[int] | Tensor) -> Batch:
        import numpy
        import torch

        draws = [numpy.random.default_rng([SEED, self._salt, i]) for i in indexed(indices, self._num).tolist()]
        label = torch.tensor([int(g.integers(len(DONE))) for g in draws], dtype=torch.long)
        chosen = numpy.array([g.integers(len(self._pictures), size=self._pairs + 1) for g in draws], numpy.int64).reshape(-1)
        ink = self._pictures.batch(torch.from_numpy(chosen)).data.unflatten(0, (len(draws), self._pairs + 1))
        made = torch.zeros_like(ink)
        for number, change in enumerate(DONE.values()):
            if bool((mine := label == number).any()):
                made[mine] = change(ink[mine].flatten(0, 1)).unflatten(0, (-1, self._pairs + 1))
        return Batch(torch.stack([ink, made], 2).flatten(1, 2), {"label": label})
