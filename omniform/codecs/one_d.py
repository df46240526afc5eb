"""A picture as a short row of latent tokens without a grid (TiTok)."""

from __future__ import annotations

from typing import Any, final

import torch
from torch import Tensor, nn

from omniform.codecs.distortion import Squared
from omniform.codecs.patch import cut, grid_of, paste
from omniform.core.codec import LearnedCodec
from omniform.core.distribution import Content
from omniform.core.errors import BadArgument
from omniform.core.net import Block, Context, Env
from omniform.core.process import Losses, dues_of
from omniform.core.rng import Rng
from omniform.core.spec import Spec
from omniform.core.tokens import Axis, Space, Tokens

_AT_ONCE = 256
"""Examples that settle looks at together (ours; memory)."""


@final
class OneD(LearnedCodec):
    """K learned latent tokens that carry the whole picture (TiTok, Yu et al. 2024, arXiv:2406.07550, section 3.2).

    Decoded to pixels directly, with an L2 distortion. encoder, decoder: Blocks, built with width and the axes (y, x);
    in them patch (y, x) sits at (y, x) as kind 0, and latent i one row below the picture, at (rows, i), as kind 1.
    Places are learned vectors too. bottleneck: VQ with normalised codes in the paper.
    """

    def __init__(self, shape: tuple[int, ...], patch: int, latents: int, width: int, encoder: Spec, decoder: Spec, bottleneck: Spec):
        super().__init__()
        if len(shape) != 3 or latents < 1:
            raise BadArgument(f"OneD expects a shape (C, H, W) and 1 latent or more, found {tuple(shape)}, {latents}")
        self.shape = tuple(shape)
        self.patch, self.latents = patch, latents
        self.rows, self.columns = grid_of(self.shape, patch, "patch")
        self.bottleneck = bottleneck.build(size=(latents, 1))
        self.space = self.bottleneck.space((Axis("latent", latents),))
        inner = Space(axes=(Axis("y", self.rows + 1), Axis("x", max(self.columns, latents))))
        self.encoder, self.decoder = (t.build(width=width, space=inner, axes=inner.axes) for t in (encoder, decoder))
        places, content = self.rows * self.columns, shape[0] * patch * patch
        std = width**-0.5  # as in modules/blocks.py of the authors
        self.patch_place = nn.Parameter(std * torch.randn(2, places, width))  # of encoder, decoder
        self.latent_place = nn.Parameter(std * torch.randn(2, latents, width))
        self.asking = nn.Parameter(std * torch.randn(latents, width))
        self.hidden = nn.Parameter(std * torch.randn(width))
        self.into, self.out_of = nn.Linear(content, width), nn.Linear(width, content)
        self.squeeze, self.spread = nn.Linear(width, self.bottleneck.inputs), nn.Linear(self.bottleneck.channels, width)
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(4))
        self.distortion = Squared()

    def encode(self, data: Any, *, rng: Rng | None = None) -> Tokens:
        pixels = self._checked(data)
        content = self.bottleneck.encode(self._latent(pixels, {}), rng)
        blank = self.space.blank(len(pixels), device=pixels.device)
        return Tokens(content.ids, content.vec, blank.coord, blank.kind, blank.doc)

    def decode(self, tokens: Tokens) -> Tensor:
        return self.distortion.picture(self._said(self.bottleneck.decode(Content(tokens.ids, tokens.vec)), {}))

    def loss(self, data: Any, *, rng: Rng) -> tuple[Losses, ...]:
        pixels = self._checked(data)
        dues: dict[str, Tensor] = {}
        count = torch.tensor(float(pixels.numel()), device=pixels.device)
        latent, cost = self.bottleneck(self._latent(pixels, dues), pixels.numel(), rng)
        said = self._said(latent, dues)
        return (Losses({**self.distortion(said, pixels), **cost, **dues_of(dues, count)}, count),)

    @torch.no_grad()
    def settle(self, data: Any) -> None:
        self.bottleneck.settle(torch.cat([self._latent(part, {}) for part in self._checked(data).split(_AT_ONCE)]))

    def _latent(self, pixels: Tensor, dues: dict[str, Tensor]) -> Tensor:
        """(B, C, H, W) -> (B, inputs, K, 1)."""
        patches = self.into(cut(pixels, self.patch)) + self.patch_place[0]
        asking = (self.asking + self.latent_place[0]).expand(len(pixels), -1, -1)
        h = self._through(self.encoder, self.norms[0](torch.cat([patches, asking], 1)), dues)[:, patches.shape[1] :]
        return self.squeeze(self.norms[1](h)).transpose(1, 2).unsqueeze(-1)

    def _said(self, latent: Tensor, dues: dict[str, Tensor]) -> Tensor:
        """(B, channels, K, 1) -> (B, C, H, W)."""
        told = self.spread(latent.squeeze(-1).transpose(1, 2)) + self.latent_place[1]
        patches = (self.hidden + self.patch_place[1]).expand(len(latent), -1, -1)
        h = self._through(self.decoder, self.norms[2](torch.cat([patches, told], 1)), dues)[:, : patches.shape[1]]
        return paste(self.out_of(self.norms[3](h)), self.shape[0], self.rows, self.columns)

    def _through(self, tower: Block, x: Tensor, dues: dict[str, Tensor]) -> Tensor:
        """A tower on patches and latents, all of which see each other."""
        rows, device = len(x), x.device
        grid = torch.cartesian_prod(torch.arange(self.rows, device=device), torch.arange(self.columns, device=device))
        column = torch.arange(self.latents, device=device)
        coord = torch.cat([grid, torch.stack([torch.full_like(column, self.rows), column], -1)]).to(torch.float32)
        kind = (torch.arange(len(coord), device=device) >= len(grid)).long()
        same = torch.zeros_like(kind).expand(rows, -1)
        return tower(
            x,
            Env(
                coord=coord.expand(rows, -1, -1),
                kind=kind.expand(rows, -1),
                turn=same,
                lane=same,
                doc=same,
                known=same == 0,
                modulation=None,
                context=Context(rows),
                record=None,
                remember=False,
                progress=torch.ones(rows, device=device),
                pattern="full",
                mask=None,
                dues=dues,
            ),
        )
