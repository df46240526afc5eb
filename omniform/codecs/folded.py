"""Neighbouring tokens of another codec as one."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from torch import Tensor

from ..core.codec import LearnedCodec
from ..core.errors import BadArgument
from ..core.process import Losses
from ..core.rng import Rng
from ..core.spec import Spec
from ..core.tokens import Space, Tokens


class Folded(LearnedCodec):
    """patch x patch continuous tokens of `inner` as one token of patch * patch * C channels, laid out (row, column, channel) (DiT's patchify,
    arXiv:2212.09748, section 3.2); of clips, frame by frame."""

    def __init__(self, shape: tuple[int, ...], inner: Spec, patch: int):
        super().__init__()
        self.shape = tuple(shape)
        self.inner: LearnedCodec = inner.build(shape=shape)
        self.patch = patch
        space = self.inner.space
        if [a.name for a in space.axes] not in (["y", "x"], ["frame", "y", "x"]) or not space.channels:
            raise BadArgument("Folded needs continuous tokens on a grid of y and x, or of frame, y and x")
        *frames, y, x = space.axes
        if y.size % patch or x.size % patch:
            raise BadArgument(f"a grid of {y.size} x {x.size} does not divide into patches of {patch}; choose another patch or shape")
        self.space = Space(axes=(*frames, *(replace(a, size=a.size // patch) for a in (y, x))), channels=space.channels * patch * patch)

    def encode(self, data: Any, *, rng: Rng | None = None) -> Tokens:
        vec = self.inner.encode(data, rng=rng).vec
        assert vec is not None
        (rows, columns), p = (a.size for a in self.space.axes[-2:]), self.patch
        folded = vec.reshape(-1, rows, p, columns, p, vec.shape[-1]).transpose(2, 3).reshape(len(vec), self.space.length, -1)
        return replace(self.space.blank(len(vec), device=vec.device), vec=folded)

    def decode(self, tokens: Tokens) -> Tensor:
        vec = tokens.vec
        assert vec is not None
        (rows, columns), p = (a.size for a in self.space.axes[-2:]), self.patch
        flat = vec.reshape(-1, rows, columns, p, p, vec.shape[-1] // p**2).transpose(2, 3).reshape(len(vec), self.inner.space.length, -1)
        return self.inner.decode(replace(self.inner.space.blank(len(vec), device=vec.device), vec=flat))

    def loss(self, data: Any, *, rng: Rng) -> tuple[Losses, ...]:
        return self.inner.loss(data, rng=rng)

    def settle(self, data: Any) -> None:
        self.inner.settle(data)
