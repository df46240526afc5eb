"""Residual codes from coarse to fine (VAR)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from omniform.codecs.bottleneck import Bottleneck, grid_from, rows_of, straight, within
from omniform.codecs.codebook import Codebook
from omniform.core.distribution import Content
from omniform.core.errors import BadArgument, ShapeError
from omniform.core.rng import Rng
from omniform.core.tokens import Axis, Space, Tokens


class Pyramid(Bottleneck):
    """Token maps from coarse to fine, each coding what the coarser ones left over, all from one codebook.

    scales: the map sizes, whole numbers or (rows, columns), the last being the latent's own. Tokens lie scale by scale,
    at (scale, y, x) in the map's own grid. A map is enlarged bicubically and passed through one of `phis` convolutions,
    h/2 + conv(h)/2: the one nearest to it of as many spread over the scales, or as phi_of says, a number a scale (of scales halfway between two, the authors'
    rounding takes some to one and some to the other). Cost: the mean over scales of commitment * |sg(f_k) - f|^2 + |f_k - sg(f)|^2, where f_k is the sum
    so far. Source: VAR, Tian et al. 2024, arXiv:2404.02905, algorithms 1 and 2.
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
        phi_of: Sequence[int] | None = None,
    ):
        super().__init__()
        self.scales = [(s, s) if isinstance(s, int) else tuple(s) for s in scales]
        falling = any(a[0] > b[0] or a[1] > b[1] for a, b in pairwise(self.scales))
        if not self.scales or self.scales[-1] != tuple(size) or falling:
            raise BadArgument(f"expected rising scales that end at the latent's {tuple(size)}, found {tuple(scales)}")
        if not 1 <= phis:
            raise BadArgument(f"expected 1 phi or more, found {phis}")
        self.channels = self.inputs = channels
        self.size, self.commitment = tuple(size), commitment
        self.book = Codebook(codes, channels, 0.0, False, restart)
        phis = min(phis, len(self.scales))
        self.phi = nn.ModuleList(nn.Conv2d(channels, channels, 3, padding=1) for _ in range(phis))
        tick = torch.linspace(1 / 3 / phis, 1 - 1 / 3 / phis, phis, device="cpu")  # models/quant.py of the authors
        last = max(len(self.scales) - 1, 1)
        self.phi_of = [int((tick - k / last).abs().argmin()) for k in range(len(self.scales))] if phi_of is None else list(phi_of)
        if len(self.phi_of) != len(self.scales) or set(self.phi_of) != set(range(phis)):
            raise BadArgument(f"expected phi_of to say one of {phis} convolutions for each of {len(self.scales)} scales, each at least once; found {phi_of}")
        self.register_buffer("spread", torch.ones(()))  # of f, so that the context has unit variance

    @property
    def counts(self) -> list[int]:
        """How many tokens each scale has."""
        return [rows * columns for rows, columns in self.scales]

    def space(self, axes: tuple[Axis, ...]) -> Space:
        if len(axes) != 2:
            raise BadArgument(f"Pyramid needs a grid of two axes, found {', '.join(a.name for a in axes)}; use VQ here")
        along = ((torch.arange(k, k + 1, device="cpu"), torch.arange(r, device="cpu"), torch.arange(c, device="cpu")) for k, (r, c) in enumerate(self.scales))
        coord = torch.cat([torch.cartesian_prod(*place) for place in along]).to(torch.float32)
        return Space(axes=(Axis("scale", len(self.scales)), *axes), vocab=(self.book.num_codes,), coord=coord)

    def shrunk(self, f: Tensor, scale: int) -> Tensor:
        """f (B, C, h, w) at a scale, by area."""
        return f if self.scales[scale] == self.size else F.interpolate(f, self.scales[scale], mode="area")

    def due(self, f: Tensor, rest: Tensor, scale: int) -> Tensor:
        """What a scale has to code: of the latent f, all that the coarser ones left over."""
        return rest

    def said(self, ids: Tensor, scale: int) -> Tensor:
        """What the tokens of a scale (B, n) add to the latent: (B, C, h, w)."""
        h = grid_from(self.book.lookup(ids), self.scales[scale])
        if self.scales[scale] != self.size:
            h = F.interpolate(h, self.size, mode="bicubic", align_corners=False)
        return 0.5 * h + 0.5 * self.phi[self.phi_of[scale]](h)

    def forward(self, z: Tensor, count: int, rng: Rng) -> tuple[Tensor, Mapping[str, Tensor]]:
        f = z.detach()
        if self.training and bool(self.book.idle.any()):
            self.book.prepare(self._wanted(f), rng)
        latent, rest, seen = torch.zeros_like(f), f, []
        commitment, codebook = z.new_zeros(()), z.new_zeros(())
        for k in range(len(self.scales)):
            wanted = rows_of(self.shrunk(self.due(f, rest, k), k))
            ids = self.book.nearest(wanted)
            seen.append((wanted.flatten(0, 1), ids.flatten()))
            added = self.said(ids, k)
            latent, rest = latent + added, rest - added.detach()
            commitment = commitment + F.mse_loss(latent.detach(), z) / len(self.scales)
            codebook = codebook + F.mse_loss(latent, f) / len(self.scales)
        if self.training:
            self.book.observe(*(torch.cat(x) for x in zip(*seen, strict=True)))
        return straight(z, latent), {"commitment": self.commitment * commitment * count, "codebook": codebook * count}

    @torch.no_grad()
    def _wanted(self, f: Tensor) -> Tensor:
        """(N, C): what codes are asked to be near, at all scales; before training, when codes mean nothing, f."""
        wanted, rest = [], f
        for k in range(len(self.scales)):
            wanted.append(rows_of(self.shrunk(self.due(f, rest, k), k)))
            if self.book.begun:
                rest = rest - self.said(self.book.nearest(wanted[-1]), k)
        return torch.cat(wanted, 1).flatten(0, 1)

    def encode(self, z: Tensor, rng: Rng | None) -> Content:
        rest, ids = z, []
        for k in range(len(self.scales)):
            ids.append(self.book.nearest(rows_of(self.shrunk(self.due(z, rest, k), k))))
            rest = rest - self.said(ids[-1], k)
        return Content(ids=torch.cat(ids, 1).unsqueeze(-1))

    def decode(self, content: Content) -> Tensor:
        latent = None
        for k, ids in enumerate(self._by_scale(content.ids)):
            latent, _ = self.grown(latent, ids, k)
        return latent

    @torch.no_grad()
    def settle(self, z: Tensor) -> None:
        self.spread.fill_(float(self.decode(self.encode(z, None)).double().std(correction=0).clamp_min(1e-6)))

    def context(self, tokens: Tokens) -> Tensor:
        """(B, L, channels): for each token the sum of all coarser scales, by area at its own; zeros at the first scale.

        Once settled, of unit variance where all scales have spoken.
        """
        told = []
        latent = None
        for k, ids in enumerate(self._by_scale(tokens.ids)):
            if k == 0:
                told.append(self.book.vectors.new_zeros(*ids.shape[:2], self.channels))
            if k + 1 < len(self.scales):
                latent, following = self.grown(latent, ids, k)
                told.append(following)
        return torch.cat(told, 1)

    def alone(self, tokens: Tokens) -> Tensor:
        """(B, L, channels): what the tokens of each scale add to the latent, by area at their own size, on the scale of `context`."""
        said = (self.said(ids.squeeze(-1), k) for k, ids in enumerate(self._by_scale(tokens.ids)))
        return torch.cat([rows_of(self.shrunk(h, k)) for k, h in enumerate(said)], 1) / self.spread

    def grown(self, latent: Tensor | None, ids: Tensor, scale: int) -> tuple[Tensor, Tensor]:
        """One scale further: latent (None at first) and ids (B, n, 1) to the latent with them and the next context.

        The context (B, n', channels) equals that part of `context`; after the last scale it is empty.
        """
        if not 0 <= scale < len(self.scales) or tuple(ids.shape[1:]) != (self.counts[scale], 1):
            raise ShapeError(
                f"expected ids of one of {len(self.scales)} scales with {self.counts} tokens, found scale {scale} with ids of shape {tuple(ids.shape)}"
            )
        added = self.said(ids.squeeze(-1), scale)
        latent = added if latent is None else latent + added
        if scale + 1 == len(self.scales):
            return latent, latent.new_zeros(len(latent), 0, self.channels)
        return latent, rows_of(self.shrunk(latent, scale + 1)) / self.spread

    def _by_scale(self, ids: Tensor | None) -> Sequence[Tensor]:
        """Checked ids (B, L, 1), cut at the scales."""
        if ids is None or tuple(ids.shape[1:]) != (sum(self.counts), 1):
            found = "no ids" if ids is None else f"ids of shape {tuple(ids.shape)}"
            raise ShapeError(f"expected ids of shape (B, {sum(self.counts)}, 1) and found {found}; give tokens of the codec's own space")
        return within(ids, self.book.num_codes).split(self.counts, 1)
