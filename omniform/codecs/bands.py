"""Residual codes from low frequencies to high (NFIG)."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from typing import final

import torch
from torch import Tensor

from omniform.codecs.pyramid import Pyramid
from omniform.core.errors import BadArgument


@final
class Bands(Pyramid):
    """A Pyramid whose scale k codes the latent's frequencies up to an edge, as far as the coarser scales have left them over.

    edges: for each scale the highest frequency that it speaks of, as a share of the highest that there is, rising to 1; without them
    the share of the tokens up to and with that scale. The spectrum is cut at a radius. With all edges at 1 it is a Pyramid.
    Source: NFIG, Huang et al. 2025, arXiv:2503.07076, section 3.1.
    """

    def __init__(
        self,
        scales: Sequence[int | tuple[int, int]],
        codes: int,
        channels: int,
        size: tuple[int, int],
        phis: int = 4,
        commitment: float = 0.25,
        restart: float = 0.1,
        edges: Sequence[float] | None = None,
    ):
        super().__init__(scales, codes, channels, size, phis, commitment, restart)
        total = sum(self.counts)
        self.edges = [n / total for n in accumulate(self.counts)] if edges is None else list(edges)
        rising = all(a <= b for a, b in zip(self.edges, self.edges[1:], strict=False))
        if len(self.edges) != len(self.scales) or not rising or self.edges[0] < 0 or self.edges[-1] != 1:
            raise BadArgument(f"expected {len(self.scales)} edges that rise to 1, found {tuple(self.edges)}")
        rows, columns = (torch.fft.fftfreq(n, device="cpu") for n in self.size)
        radius = (rows[:, None].square() + columns[None, : self.size[1] // 2 + 1].square()).sqrt()
        passes = torch.stack([radius <= edge * radius.max() + 1e-6 for edge in self.edges])
        self.register_buffer("passes", passes, persistent=False)  # (scales, h, w // 2 + 1), as rfft2 lays them out

    def low(self, f: Tensor, scale: int) -> Tensor:
        """f (B, C, h, w) without the frequencies above a scale's edge."""
        spectrum = torch.fft.rfft2(f.float()) * self.passes[scale]
        return torch.fft.irfft2(spectrum, s=self.size).to(f.dtype)

    def due(self, f: Tensor, rest: Tensor, scale: int) -> Tensor:
        """What is left over, without what later scales will speak of: band `scale` and what the earlier ones missed."""
        return rest if bool(self.passes[scale].all()) else rest - (f - self.low(f, scale))
