"""Codes made elsewhere."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from ..core.codec import Codec
from ..core.errors import CodecError
from ..core.rng import Rng
from ..core.tokens import Axis, Space, Tokens


class Ids(Codec):
    """Sequences of codes as they are: data (B, L) long with L up to shape[0]; -1 at the end is padding. For a tokenizer that lives outside, or sequences
    made by a rule. With a shape of two, grids of codes (B, rows, columns), all of one size."""

    def __init__(self, shape: tuple[int, ...], vocab: int, start: int | None = None, stop: int | None = None):
        super().__init__()
        self.shape = tuple(shape)
        self.grid = len(self.shape) == 2
        axes = tuple(Axis(name, size) for name, size in zip("yx" if self.grid else ("time",), self.shape, strict=True))
        self.space = Space(axes=axes, vocab=(vocab,), start=start, stop=stop, open=not self.grid)

    def encode(self, data: Any, *, rng: Rng | None = None) -> Tokens:
        if self.grid:
            return self._laid(data)
        if not isinstance(data, Tensor) or data.dim() != 2 or data.is_floating_point() or not 0 < data.shape[1] <= self.shape[0]:
            found = f"{data.dtype} of shape {tuple(data.shape)}" if isinstance(data, Tensor) else type(data).__name__
            raise CodecError(f"Ids expects (batch, up to {self.shape[0]}) whole numbers and found {found}")
        if int(data.max()) >= self.space.vocab[0] or int(data.min()) < -1:
            raise CodecError(f"codes go from 0 to {self.space.vocab[0] - 1} (-1 is padding); found {int(data.min())} to {int(data.max())}")
        blank = self.space.blank(len(data), {"time": data.shape[1]}, device=data.device)
        doc = torch.where(data < 0, -1, 0) if bool((data < 0).any()) else blank.doc
        return replace(blank, ids=data.clamp(min=0).unsqueeze(-1), doc=doc)

    def _laid(self, data: Any) -> Tokens:
        """Codes of a grid."""
        if not isinstance(data, Tensor) or tuple(data.shape[1:]) != self.shape or data.is_floating_point():
            found = f"{data.dtype} of shape {tuple(data.shape)}" if isinstance(data, Tensor) else type(data).__name__
            raise CodecError(f"Ids expects (batch, {self.shape[0]}, {self.shape[1]}) whole numbers and found {found}")
        if int(data.min()) < 0 or int(data.max()) >= self.space.vocab[0]:
            raise CodecError(f"codes of a grid go from 0 to {self.space.vocab[0] - 1}; found {int(data.min())} to {int(data.max())}")
        return replace(self.space.blank(len(data), device=data.device), ids=data.flatten(1).unsqueeze(-1))

    def decode(self, tokens: Tokens) -> Tensor:
        assert tokens.ids is not None
        if self.grid:
            return tokens.ids[..., 0].unflatten(1, self.shape)
        return torch.where(tokens.real, tokens.ids[..., 0], -1)
