"""A spectrogram or a row of latents, a column a token."""

from __future__ import annotations

import math
from typing import Any, final

from torch import Tensor

from omniform.core.codec import Codec
from omniform.core.errors import BadArgument, ShapeError
from omniform.core.rng import Rng
from omniform.core.tokens import Axis, Space, Tokens


@final
class Frames(Codec):
    """(C, H, T) as T tokens of C H numbers, (pixels - shift) * scale: mel spectrograms (1, mels, frames), latents of a waveform codec (1, channels, frames)."""

    def __init__(self, shape: tuple[int, ...], scale: float = 1.0, shift: float = 0.0):
        super().__init__()
        if len(shape) != 3:
            raise BadArgument(f"Frames expects a shape (C, H, T) and found {tuple(shape)}; write (1, channels, frames)")
        if scale <= 0:
            raise BadArgument(f"expected a scale above 0, found {scale}; write 1 / the deviation of the data")
        self.shape, self.scale, self.shift = tuple(shape), scale, shift
        self.space = Space(axes=(Axis("time", shape[2], "frame"),), channels=shape[0] * shape[1])

    def encode(self, data: Any, *, rng: Rng | None = None) -> Tokens:
        x = self._checked(data)
        blank = self.space.blank(len(x), device=x.device)
        return Tokens(None, ((x - self.shift) * self.scale).flatten(1, 2).mT, blank.coord, blank.kind, blank.doc)

    def log_scale(self) -> float | None:
        return math.log(self.scale)

    def decode(self, tokens: Tokens) -> Tensor:
        vec = tokens.vec
        if vec is None or tuple(vec.shape[1:]) != (self.space.length, self.space.channels):
            found = "no continuous content" if vec is None else f"{tuple(vec.shape[1:])}"
            raise ShapeError(f"Frames decodes (B, {self.space.length}, {self.space.channels}) and found {found}; give it tokens of its own space")
        return (vec.mT / self.scale + self.shift).unflatten(1, self.shape[:2])
