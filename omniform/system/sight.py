"""A picture encoder that somebody else trained and that nothing here changes: pictures in, features out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, final

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..backbones.vision import VisionTransformer
from ..core.errors import ShapeError


@dataclass(frozen=True)
class Preparation:
    """What an encoder's pictures go through first: pictures (B, C, H, W) in [-1, 1] -> (B, C', h, w) as it was trained on.

    size: height and width, or the shorter edge alone, or None: as they are. crop: height and width of the middle that is kept. filter: of the resizing, always
    with antialiasing. mean, std: of values in [0, 1]; a picture of one channel is given to each.
    """

    size: tuple[int, int] | int | None
    crop: tuple[int, int] | None
    mean: tuple[float, ...]
    std: tuple[float, ...]
    filter: Literal["bilinear", "bicubic"] = "bicubic"

    def __call__(self, pictures: Tensor) -> Tensor:
        x = (pictures.float() + 1) / 2
        if x.dim() == 4 and x.shape[1] == 1:
            x = x.expand(-1, len(self.mean), -1, -1)
        if x.dim() != 4 or x.shape[1] != len(self.mean):
            raise ShapeError(f"expected pictures (B, 1 or {len(self.mean)}, H, W), found {tuple(pictures.shape)}")
        size = self._resized(x.shape[2], x.shape[3])
        if size != tuple(x.shape[2:]):
            x = F.interpolate(x, size, mode=self.filter, antialias=True, align_corners=False).clamp(0, 1)
        if self.crop is not None:
            x = self._middle(x, *self.crop)
        mean, std = (torch.tensor(v, device=x.device)[:, None, None] for v in (self.mean, self.std))
        return (x - mean) / std

    def _resized(self, height: int, width: int) -> tuple[int, int]:
        if self.size is None:
            return height, width
        if not isinstance(self.size, int):
            return self.size
        if height <= width:
            return self.size, int(self.size * width / height)
        return int(self.size * height / width), self.size

    @staticmethod
    def _middle(x: Tensor, height: int, width: int) -> Tensor:
        """The middle; what is smaller gets zeros around it (as torchvision has it)."""
        short = [max(want - have, 0) for want, have in zip((height, width), x.shape[2:], strict=True)]
        if any(short):
            top, left = (s // 2 for s in short)
            x = F.pad(x, (left, short[1] - left, top, short[0] - top))
        top, left = (x.shape[2] - height) // 2, (x.shape[3] - width) // 2
        return x[:, :, top : top + height, left : left + width]


@final
class PictureEncoder(nn.Module):
    """Called with pictures (B, C, H, W) in [-1, 1] it says what is at each patch, (B, N, features); `whole` is one vector a picture, (B, pooled).

    It is no part of any system: not trained, not saved, not copied. name: where it was taken from. digest: of its weights, to know it again by.
    """

    def __init__(self, net: VisionTransformer, prepare: Preparation, name: str, digest: str):
        super().__init__()
        self.net, self.prepare, self.name, self.digest = net, prepare, name, digest
        self.features, self.pooled = net.width, net.pool.width
        self.eval().requires_grad_(False)

    @torch.no_grad()
    def forward(self, pictures: Tensor) -> Tensor:
        return self._both(pictures)[0][:, self.net.front :]

    @torch.no_grad()
    def whole(self, pictures: Tensor) -> Tensor:
        """(B, pooled)."""
        return self._both(pictures)[1]

    def _both(self, pictures: Tensor) -> tuple[Tensor, Tensor]:
        with torch.autocast(self.net.first.device.type, enabled=False):
            return self.net(self.prepare(pictures.to(self.net.first.device)))
