"""A time series as runs of values."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from ..core.codec import Codec
from ..core.errors import BadArgument, ShapeError
from ..core.rng import Rng
from ..core.tokens import Axis, Space, Tokens


class Series(Codec):
    """One channel of values (B, T) as tokens of `token` values that lie side by side; T is at most shape[0] and a multiple of token.

    Several channels are several rows. mean, std: of the data, so that tokens have unit variance; 0 and 1 where the data are scaled already.
    """

    def __init__(self, shape: tuple[int, ...], token: int = 1, mean: float = 0.0, std: float = 1.0):
        super().__init__()
        if len(shape) != 1 or token < 1 or shape[0] < token or shape[0] % token:
            raise BadArgument(f"Series expects a shape (steps,) that tokens of {token} fill and found {tuple(shape)}; a row is one channel")
        if std <= 0:
            raise BadArgument(f"a standard deviation is above 0, not {std}")
        self.shape, self.token, self.mean, self.std = tuple(shape), token, mean, std
        self.space = Space(axes=(Axis("time", shape[0] // token),), channels=token, open=True)

    def encode(self, data: Any, *, rng: Rng | None = None) -> Tokens:
        steps, longest = (data.shape[1] if isinstance(data, Tensor) and data.dim() == 2 else 0), self.shape[0]
        if not isinstance(data, Tensor) or not data.is_floating_point() or not 0 < steps <= longest or steps % self.token:
            found = f"{data.dtype} of shape {tuple(data.shape)}" if isinstance(data, Tensor) else type(data).__name__
            raise ShapeError(f"Series expects floats (batch, steps), up to {longest} steps, a multiple of {self.token}, and found {found}; cut or pad them")
        blank = self.space.blank(len(data), {"time": steps // self.token}, device=data.device)
        return Tokens(None, ((data - self.mean) / self.std).unflatten(1, (-1, self.token)), blank.coord, blank.kind, blank.doc)

    def prompt(self, data: Any) -> Tokens:
        """A context that is to be gone on with."""
        return self.encode(data)

    def decode(self, tokens: Tokens) -> Tensor:
        if tokens.vec is None or tokens.vec.shape[-1] != self.token:
            found = "no values" if tokens.vec is None else tuple(tokens.vec.shape)
            raise ShapeError(f"Series decodes values of shape (B, L, {self.token}) and found {found}; give tokens of its own space")
        return tokens.vec.flatten(1) * self.std + self.mean
