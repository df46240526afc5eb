"""Clouds of points, each a token that says where it is."""

from __future__ import annotations

from typing import Any, final

import torch
from torch import Tensor

from ..core.codec import Codec
from ..core.errors import BadArgument, CodecError, ShapeError
from ..core.rng import Rng
from ..core.tokens import Axis, Space, Tokens


@final
class Points(Codec):
    """(N, C) numbers a cloud as N tokens without an order that means anything: content = (points - shift) * scale, one of each for all (PointFlow's protocol).

    scale and shift are the recipe's statement of what makes the content unit variance; `settle` measures them instead.
    """

    def __init__(self, shape: tuple[int, ...], scale: float = 1.0, shift: float = 0.0):
        super().__init__()
        if len(shape) != 2:
            raise BadArgument(f"Points expects a shape (points, coordinates) and found {tuple(shape)}; pictures go through Patches")
        if scale <= 0:
            raise BadArgument(f"expected a scale above 0, found {scale}; write 1 / the deviation of the points")
        self.shape = tuple(shape)
        self.space = Space(axes=(Axis("point", shape[0]),), channels=shape[1])
        self.register_buffer("scale", torch.tensor(float(scale)))
        self.register_buffer("shift", torch.tensor(float(shift)))

    def encode(self, data: Any, *, rng: Rng | None = None) -> Tokens:
        points = self._checked(data)
        blank = self.space.blank(len(points), device=points.device)
        return Tokens(None, (points - self.shift) * self.scale, blank.coord, blank.kind, blank.doc)

    def log_scale(self) -> float | None:
        return float(self.scale.double().log())

    def decode(self, tokens: Tokens) -> Tensor:
        vec = tokens.vec
        if vec is None or tuple(vec.shape[1:]) != self.shape:
            found = "no continuous content" if vec is None else f"{tuple(vec.shape[1:])}"
            raise ShapeError(f"Points decodes (B, {self.shape[0]}, {self.shape[1]}) and found {found}; give it tokens of its own space")
        return vec / self.scale + self.shift

    @torch.no_grad()
    def settle(self, data: Any) -> None:
        """Measure scale and shift on a large batch, in place of those given."""
        points = self._checked(data).double()
        spread = float(points.std(correction=0))
        if not spread > 0:
            raise CodecError("Points cannot bring data without variance to unit variance; settle it on others")
        self.scale.fill_(1 / spread)
        self.shift.fill_(float(points.mean()))
