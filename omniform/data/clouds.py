"""Letters in space: glyphs as clouds of points, as deep as a twelfth of their box."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, final

from omniform.core.batch import Batch
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
