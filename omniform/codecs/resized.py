"""Continuous latents at several sizes, each the whole latent made smaller (FlowAR)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import final

import torch
import torch.nn.functional as F
from torch import Tensor

from omniform.codecs.bottleneck import KL, Bottleneck, grid_from, rows_of
from omniform.core.distribution import Content
from omniform.core.errors import BadArgument, ShapeError
from omniform.core.rng import Rng
from omniform.core.tokens import Axis, Space, Tokens


@final
class Resized(Bottleneck):
    """A KL latent and the same made smaller by area, from coarse to fine: nothing is learned for the scales, and none is a residue of another.

    scales: rising, the last being the latent's own; tokens lie scale by scale at (scale, y, x), each place in the map's own grid. Only the finest
    is decoded. `context`: the scale before, enlarged bicubically to the latent's size and made smaller by area; zeros at the first.
    Source: FlowAR, Ren et al. 2024, arXiv:2412.15205, section 3.2. The finest scale has unit variance, coarser ones less.
    """

    def __init__(self, scales: Sequence[int | tuple[int, int]], channels: int, size: tuple[int, int], weight: float = 1e-6):
        super().__init__()
        self.scales = [(s, s) if isinstance(s, int) else tuple(s) for s in scales]
        if not self.scales or self.scales[-1] != tuple(size) or any(a[0] >= b[0] or a[1] >= b[1] for a, b in pairwise(self.scales)):
            raise BadArgument(f"expected rising scales that end at the latent's {tuple(size)}, found {tuple(scales)}")
        self.full = KL(channels, size, weight)
        self.inputs, self.channels, self.size = self.full.inputs, channels, tuple(size)

    @property
    def counts(self) -> list[int]:
        """How many tokens each scale has."""
        return [rows * columns for rows, columns in self.scales]

    def space(self, axes: tuple[Axis, ...]) -> Space:
        if len(axes) != 2:
            raise BadArgument(f"Resized needs a grid of two axes, found {', '.join(a.name for a in axes)}; use KL here")
        along = ((torch.arange(k, k + 1, device="cpu"), torch.arange(r, device="cpu"), torch.arange(c, device="cpu")) for k, (r, c) in enumerate(self.scales))
        coord = torch.cat([torch.cartesian_prod(*place) for place in along]).to(torch.float32)
        return Space(axes=(Axis("scale", len(self.scales)), *axes), channels=self.channels, coord=coord)

    def forward(self, z: Tensor, count: int, rng: Rng) -> tuple[Tensor, Mapping[str, Tensor]]:
        return self.full(z, count, rng)

    def encode(self, z: Tensor, rng: Rng | None) -> Content:
        vec = self.full.encode(z, rng).vec
        assert vec is not None
        f = grid_from(vec, self.size)
        return Content(vec=torch.cat([rows_of(f if s == self.size else F.interpolate(f, s, mode="area")) for s in self.scales], 1))

    def decode(self, content: Content) -> Tensor:
        return self.full.decode(Content(vec=self._checked(content.vec)[-1]))

    def settle(self, z: Tensor) -> None:
        self.full.settle(z)

    def context(self, tokens: Tokens) -> Tensor:
        maps = self._checked(tokens.vec)
        told = [torch.zeros_like(maps[0])]
        for (said, at), following in zip(zip(maps, self.scales, strict=True), self.scales[1:], strict=False):
            told.append(self.enlarged(said, at, following))
        return torch.cat(told, 1)

    def enlarged(self, said: Tensor, at: tuple[int, int], to: tuple[int, int]) -> Tensor:
        """The tokens (B, n, C) of one scale as the next is fed them."""
        whole = F.interpolate(grid_from(said, at), self.size, mode="bicubic", align_corners=False)
        return rows_of(whole if to == self.size else F.interpolate(whole, to, mode="area"))

    def _checked(self, vec: Tensor | None) -> Sequence[Tensor]:
        """Content (B, L, C), cut at the scales."""
        if vec is None or tuple(vec.shape[1:]) != (sum(self.counts), self.channels):
            found = "no continuous content" if vec is None else f"content of shape {tuple(vec.shape)}"
            raise ShapeError(f"expected content of shape (B, {sum(self.counts)}, {self.channels}) and found {found}; give tokens of the codec's own space")
        return vec.split(self.counts, 1)
