"""Pixels as whole numbers."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, final

import torch
from torch import Tensor

from ..core.codec import Codec
from ..core.errors import BadArgument, CodecError, ShapeError
from ..core.rng import Rng
from ..core.tokens import Axis, Space, Tokens


@final
class Pixels(Codec):
    """Every colour of every pixel as one of `values` steps from -1 to 1, channel by channel, each in raster order. shape: (C, H, W); a single channel has no
    axis of its own. Pictures of so many grey steps come back exactly."""

    def __init__(self, shape: tuple[int, ...], values: int = 256):
        super().__init__()
        if len(shape) != 3 or values < 2:
            raise BadArgument(f"Pixels expects a shape (C, H, W) and two values or more, and found {tuple(shape)} and {values}")
        self.shape = tuple(shape)
        axes = tuple(Axis(name, size) for name, size in zip(("channel", "y", "x"), shape, strict=True))
        self.space = Space(axes=axes if shape[0] > 1 else axes[1:], vocab=(values,))

    def encode(self, data: Any, *, rng: Rng | None = None) -> Tokens:
        if not isinstance(data, Tensor) or tuple(data.shape[1:]) != self.shape:
            raise ShapeError(
                f"Pixels expects (B, {', '.join(map(str, self.shape))}) and found {tuple(data.shape) if isinstance(data, Tensor) else type(data).__name__}"
            )
        if not bool(torch.isfinite(data).all()) or float(data.abs().max()) > 1 + 1e-4:
            raise CodecError("pixels go from -1 to 1; scale the pictures first")
        steps = self.space.vocab[0] - 1
        ids = ((data.clamp(-1, 1) + 1) / 2 * steps).round().long().flatten(1)
        return replace(self.space.blank(len(data), device=data.device), ids=ids.unsqueeze(-1))

    def decode(self, tokens: Tokens) -> Tensor:
        assert tokens.ids is not None
        return (tokens.ids[..., 0].float() / (self.space.vocab[0] - 1) * 2 - 1).reshape(-1, *self.shape)
