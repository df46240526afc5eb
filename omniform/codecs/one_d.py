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
from omniform.core.net import Context, Env
from omniform.core.process import Losses, dues_of
from omniform.core.rng import Rng
from omniform.core.spec import Spec
from omniform.core.tokens import Axis, Space, Tokens

_AT_ONCE = 256
"""Examples that settle looks at together (ours; memory)."""


@final
class Pasted(nn.Linear):
    """The pixels of each place by one linear map: features (B, rows columns, width) -> (B, colours, rows stride, columns stride)."""

    def __init__(self, width: int, colours: int, stride: int):
        super().__init__(width, colours * stride * stride)
        self.colours = colours

    def forward(self, h: Tensor, rows: int, columns: int) -> Tensor:
        return paste(super().forward(h), self.colours, rows, columns)


@final
class OneD(LearnedCodec):
    """K learned latent tokens that carry the whole picture (TiTok, Yu et al. 2024, arXiv:2406.07550, section 3.2).

    Decoded to pixels directly, with an L2 distortion. encoder, decoder: Blocks, built with width and the axes (y, x);
    in them patch (y, x) sits at (y, x) as kind 0, and latent i one row below the picture, at (rows, i), as kind 1.
    Places are learned vectors too. bottleneck: VQ with normalised codes in the paper.

    picture: Spec of a soft_codes.SoftCodes in place of the linear map to pixels. first: a class token before the patches of
    each tower, as kind 2 one row below the latents; nobody asks what becomes of it. regrouped: the K vectors of `width` numbers
    are read as `width` vectors of K before they are narrowed, a slip of the official code that its checkpoints were trained
    with (`is_legacy`). unit: pictures are from 0 to 1 inside, outside from -1 to 1 as everywhere.
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        patch: int,
        latents: int,
        width: int,
        encoder: Spec,
        decoder: Spec,
        bottleneck: Spec,
        picture: Spec | None = None,
        first: bool = False,
        regrouped: bool = False,
        unit: bool = False,
    ):
        super().__init__()
        if len(shape) != 3 or latents < 1:
            raise BadArgument(f"OneD expects a shape (C, H, W) and 1 latent or more, found {tuple(shape)}, {latents}")
        self.shape = tuple(shape)
        self.patch, self.latents, self.regrouped, self.unit = patch, latents, regrouped, unit
        self.rows, self.columns = grid_of(self.shape, patch, "patch")
        self.bottleneck = bottleneck.build(size=(latents, 1))
        self.space = self.bottleneck.space((Axis("latent", latents),))
        inner = Space(axes=(Axis("y", self.rows + 1 + first), Axis("x", max(self.columns, latents))))
        self.encoder, self.decoder = (t.build(width=width, space=inner, axes=inner.axes) for t in (encoder, decoder))
        places, content = self.rows * self.columns, shape[0] * patch * patch
        std = width**-0.5  # as in modules/blocks.py of the authors
        self.patch_place = nn.Parameter(std * torch.randn(2, first + places, width))  # of encoder, decoder
        self.latent_place = nn.Parameter(std * torch.randn(2, latents, width))
        self.asking = nn.Parameter(std * torch.randn(latents, width))
        self.hidden = nn.Parameter(std * torch.randn(width))
        self.first = nn.Parameter(std * torch.randn(2, width)) if first else None
        self.into = nn.Linear(content, width)
        self.out_of = (picture or Spec(Pasted)).build(width=width, colours=shape[0], stride=patch)
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
        pixels = (pixels + 1) / 2 if self.unit else pixels
        asking = (self.asking + self.latent_place[0]).expand(len(pixels), -1, -1)
        h = self.norms[1](self._through(0, self._placed(0, self.into(cut(pixels, self.patch))), asking, dues)[:, -self.latents :])
        h = h.reshape(len(h), -1, self.latents).transpose(1, 2) if self.regrouped else h
        return self.squeeze(h).transpose(1, 2).unsqueeze(-1)

    def _said(self, latent: Tensor, dues: dict[str, Tensor]) -> Tensor:
        """(B, channels, K, 1) -> (B, C, H, W)."""
        told = self.spread(latent.squeeze(-1).transpose(1, 2)) + self.latent_place[1]
        patches = self._placed(1, self.hidden.expand(self.rows * self.columns, -1)).expand(len(latent), -1, -1)
        h = self.norms[3](self._through(1, patches, told, dues)[:, : -self.latents])
        pixels = self.out_of(h, self.rows, self.columns)
        return 2 * pixels - 1 if self.unit else pixels

    def _placed(self, side: int, patches: Tensor) -> Tensor:
        """Patches (..., N, width) with their places, behind the class token where there is one."""
        if self.first is not None:
            patches = torch.cat([self.first[side].expand(*patches.shape[:-2], 1, -1), patches], -2)
        return patches + self.patch_place[side]

    def _through(self, side: int, patches: Tensor, latents: Tensor, dues: dict[str, Tensor]) -> Tensor:
        """The encoder (0) or the decoder (1) on patches and latents, all of which see each other."""
        rows, device, front = len(patches), patches.device, self.first is not None
        grid = torch.cartesian_prod(torch.arange(self.rows, device=device), torch.arange(self.columns, device=device))
        column = torch.arange(self.latents, device=device)
        ahead = torch.tensor([[self.rows + 1, 0]] * front, device=device, dtype=torch.long).reshape(-1, 2)
        coord = torch.cat([ahead, grid, torch.stack([torch.full_like(column, self.rows), column], -1)]).to(torch.float32)
        kind = torch.cat([torch.full_like(part[:, 0], k) for k, part in ((2, ahead), (0, grid), (1, column[:, None]))])
        same = torch.zeros_like(kind).expand(rows, -1)
        return (self.decoder if side else self.encoder)(
            self.norms[2 * side](torch.cat([patches, latents], 1)),
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
        )[:, front:]
