"""Pixels as they are, cut into patches."""

from __future__ import annotations

from typing import Any, final

import torch
from torch import Tensor

from omniform.core.codec import Codec
from omniform.core.errors import BadArgument, CodecError, ShapeError
from omniform.core.rng import Rng
from omniform.core.tokens import Axis, Space, Tokens


def cut(pixels: Tensor, patch: int) -> Tensor:
    """(..., C, H, W) -> (..., H/p * W/p, C*p*p): patches in raster order, each channel by channel."""
    *lead, channels, height, width = pixels.shape
    rows, columns = height // patch, width // patch
    x = pixels.reshape(*lead, channels, rows, patch, columns, patch)
    order = [*range(len(lead)), *(len(lead) + i for i in (1, 3, 0, 2, 4))]
    return x.permute(order).reshape(*lead, rows * columns, channels * patch * patch)


def paste(patches: Tensor, channels: int, rows: int, columns: int) -> Tensor:
    """The inverse of cut: (..., rows*columns, C*p*p) -> (..., C, rows*p, columns*p)."""
    *lead, _, content = patches.shape
    patch = round((content // channels) ** 0.5)
    x = patches.reshape(*lead, rows, columns, channels, patch, patch)
    order = [*range(len(lead)), *(len(lead) + i for i in (2, 0, 3, 1, 4))]
    return x.permute(order).reshape(*lead, channels, rows * patch, columns * patch)


def grid_of(shape: tuple[int, ...], step: int, word: str) -> tuple[int, int]:
    """(H/step, W/step) of (..., H, W), or a refusal; word names the step."""
    if step < 1 or shape[-2] % step or shape[-1] % step:
        raise BadArgument(f"expected a {word} that divides {shape[-2]} and {shape[-1]}, found {step}; change {word} or resize the data")
    return shape[-2] // step, shape[-1] // step


@final
class Patches(Codec):
    """Square patches of pixels as continuous tokens: content = (pixels - shift) * scale.

    shape: (C, H, W), or (T, C, H, W) for clips, which are cut frame by frame. scale and shift are the recipe's
    statement of what makes the content unit variance; `settle` measures them instead. bounded: decoded pixels stay in
    [-1, 1]; latents of a codec that is not part of the system do not.
    """

    def __init__(self, shape: tuple[int, ...], patch: int, scale: float = 1.0, shift: float = 0.0, bounded: bool = True):
        super().__init__()
        if len(shape) not in (3, 4):
            raise BadArgument(f"Patches expects a shape (C, H, W) or (T, C, H, W) and found {tuple(shape)}; text goes through Bytes or BPE")
        if scale <= 0:
            raise BadArgument(f"expected a scale above 0, found {scale}; write 1 / the deviation of the pixels")
        self.shape, self.bounded = tuple(shape), bounded
        self.rows, self.columns = grid_of(self.shape, patch, "patch")
        self.colours = self.shape[-3]
        frames = (Axis("frame", self.shape[0]),) if len(self.shape) == 4 else ()
        axes = (*frames, Axis("y", self.rows), Axis("x", self.columns))
        self.space = Space(axes=axes, channels=self.colours * patch * patch)
        self.register_buffer("scale", torch.tensor(float(scale)))
        self.register_buffer("shift", torch.tensor(float(shift)))

    def encode(self, data: Any, *, rng: Rng | None = None) -> Tokens:
        pixels = self._checked(data)
        patch = self.shape[-1] // self.columns
        vec = ((cut(pixels, patch) - self.shift) * self.scale).flatten(1, -2)
        blank = self.space.blank(len(pixels), device=pixels.device)
        return Tokens(None, vec, blank.coord, blank.kind, blank.doc)

    def log_scale(self) -> float | None:
        return float(self.scale.double().log())

    def decode(self, tokens: Tokens) -> Tensor:
        vec = tokens.vec
        if vec is None or tuple(vec.shape[1:]) != (self.space.length, self.space.channels):
            found = "no continuous content" if vec is None else f"{tuple(vec.shape[1:])}"
            raise ShapeError(f"Patches decodes (B, {self.space.length}, {self.space.channels}) and found {found}; give it tokens of its own space")
        vec = vec.unflatten(1, (*self.shape[:-3], -1))
        data = paste(vec / self.scale + self.shift, self.colours, self.rows, self.columns)
        return data.clamp(-1, 1) if self.bounded else data

    @torch.no_grad()
    def settle(self, data: Any) -> None:
        """Measure scale and shift on a large batch, in place of those given."""
        pixels = self._checked(data).double()
        spread = float(pixels.std(correction=0))
        if not spread > 0:
            raise CodecError("Patches cannot bring data without variance to unit variance; settle it on others")
        self.scale.fill_(1 / spread)
        self.shift.fill_(float(pixels.mean()))
