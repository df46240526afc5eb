"""Letters in space: glyphs as clouds of points, as deep as a twelfth of their box, and as solids, the deeper the farther from their edge."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, final

from omniform.core.batch import Batch
from omniform.core.errors import BadArgument
from omniform.data.dataset import Dataset, Split
from omniform.data.glyphs import glyphs
from omniform.data.options import whole

if TYPE_CHECKING:
    from torch import Tensor

SEED = 2_307  # ours
DEPTH = 1 / 6  # ours: half of it on either side of the middle, the box being 2 wide


def letters(*, points: int = 256, charset: str = "alnum") -> Dataset:
    """Clouds (points, 3) of the glyphs' ink, x and y in [-1, 1]; labelled and split as the glyphs are."""
    whole("points", points, 8, 100_000)
    flat = glyphs(charset=charset)
    return Dataset(
        name="letters", modality="three_d", shape=(points, 3), classes=flat.classes, train=Clouds(flat.train, points), test=Clouds(flat.test, points),
        licence=flat.licence, origin=f"{points} points of the ink of each of the glyphs",
    )  # fmt: skip


def solids(*, size: int = 28, charset: str = "alnum") -> Dataset:
    """Grids (size / 4 or a little more, size, size) of cells, +1 inside and -1 outside: the glyphs' ink, at each pixel as deep to either side of the middle as
    there are pixels from there to the edge, its own counted; labelled and split as the glyphs are. Condition "image": the glyph, a view from the front, as
    patches of 4 x 4 pixels, (size^2 / 16, 16)."""
    whole("size", size, 8, 64)
    if size % 4:
        raise BadArgument(f"a front view is cut into patches of 4 pixels, which {size} is not a multiple of; write 28")
    flat = glyphs(size=size, charset=charset)
    depth = 2 * math.ceil(size / 8)
    return Dataset("solids", "three_d", (depth, size, size), flat.classes, Solids(flat.train, depth), Solids(flat.test, depth), flat.licence,
                   "the glyphs, round about the middle")


@final
class Solids(Split):
    """Pictures of ink as solids, and each picture's patches."""

    def __init__(self, pictures: Split, depth: int):
        self._pictures, self._depth = pictures, depth

    def __len__(self) -> int:
        return len(self._pictures)

    def batch(self, indices: Sequence[int] | Tensor) -> Batch:
        import torch
        from torch.nn.functional import max_pool2d, unfold

        flat = self._pictures.batch(indices)
        left = (flat.data > 0).float()
        deep = torch.zeros_like(left)
        for _ in range(self._depth // 2):
            deep += left
            left = 1 - max_pool2d(1 - left, 3, 1, 1)
        layer = (torch.arange(self._depth) - (self._depth - 1) / 2).abs()
        grid = torch.where(layer[:, None, None] < deep, 1.0, -1.0)
        return Batch(grid, {**flat.condition, "image": unfold(flat.data, 4, stride=4).mT})


@final
class Clouds(Split):
    """Points of a picture's ink, as likely as the pixel is dark, anywhere in the pixel and in its depth; each cloud is drawn from its own number."""

    def __init__(self, pictures: Split, points: int):
        self._pictures, self._points = pictures, points

    def __len__(self) -> int:
        return len(self._pictures)

    def batch(self, indices: Sequence[int] | Tensor) -> Batch:
        import torch

        flat = self._pictures.batch(indices)
        ink = (flat.data[:, 0] + 1).clamp(min=0) / 2
        clouds = []
        for number, picture in zip(torch.as_tensor(indices).tolist(), ink, strict=True):
            g = torch.Generator().manual_seed(SEED * 1_000_003 + number)
            at = torch.multinomial(picture.flatten() + 1e-12, self._points, replacement=True, generator=g)
            u = torch.rand(self._points, 3, generator=g)
            side = picture.shape[-1]
            y, x = (at // side + u[:, 0]) / side * 2 - 1, (at % side + u[:, 1]) / side * 2 - 1
            clouds.append(torch.stack([x, -y, (u[:, 2] - 0.5) * DEPTH], -1))
        return Batch(torch.stack(clouds), flat.condition)
