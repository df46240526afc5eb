"""Pictures judged by what an encoder sees that somebody else trained."""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor

from ..core.errors import ShapeError
from ..system.sight import PictureEncoder


@final
class Sighted:
    """A judge like `features.Classifier` that knows no classes: features (N, P) are the encoder's one vector a picture (FD-DINOv2, arXiv:2306.04675, and FID's
    rule in any features, arXiv:1706.08500)."""

    classes: tuple[str, ...] = ()
    last = None

    def __init__(self, encoder: PictureEncoder):
        self.encoder = encoder

    def features(self, images: Tensor, *, batch: int = 64) -> Tensor:
        """(N, P); images in [-1, 1], clamped as when shown."""
        if images.dim() != 4 or not len(images):
            raise ShapeError(f"expected images (N, C, H, W), found {tuple(images.shape)}")
        return torch.cat([self.encoder.whole(rows.clamp(-1, 1)) for rows in images.split(batch)])

    def predict(self, images: Tensor, *, batch: int = 64) -> Tensor:
        """Nothing: it knows no classes."""
        raise ShapeError("an encoder knows no classes; give the classifier of the data set")

    def sentence(self) -> str:
        """Who judges, in words for a report."""
        return (
            f"Features ({self.encoder.pooled} wide) come from {self.encoder.name}, which was trained elsewhere (digest {self.encoder.digest[:12]}); "
            "it knows no classes."
        )
