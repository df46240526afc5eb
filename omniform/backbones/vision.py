"""Pictures read by a transformer that only encodes, ViT and its descendants, and the texts that CLIP reads beside them."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..core.errors import BadArgument, ShapeError
from ..core.net import alone
from ..core.spec import Spec


class Pool(nn.Module):
    """What a whole picture is in one vector, of the class token (B, D) at the end: through LayerNorm where `norm` is its epsilon (CLIP), through a linear map
    to `out`, and tanh with it (BERT's and ViT's pooler, which alone has a bias)."""

    def __init__(self, width: int, norm: float | None = None, out: int | None = None, tanh: bool = False):
        super().__init__()
        self.norm = None if norm is None else nn.LayerNorm(width, eps=norm)
        self.out = None if out is None else nn.Linear(width, out, bias=tanh)
        self.width, self.tanh = out or width, tanh

    def forward(self, x: Tensor) -> Tensor:
        x = x if self.norm is None else self.norm(x)
        x = x if self.out is None else self.out(x)
        return x.tanh() if self.tanh else x


class VisionTransformer(nn.Module):
    """Pictures (B, C, H, W) -> the stream (B, 1 + registers + N, D) and one vector a picture (B, P): patches through one linear map, a class token before
    them, a learned vector a place, then the body (ViT, arXiv:2010.11929, section 3.1).

    side: of the square pictures that places were learned for; for others, places are resampled bicubically (section 3.2; DINO's code). registers: tokens
    without a place behind the class token (arXiv:2309.16588, section 2.2; places are then resampled with antialiasing, as in its code). body: Spec of a
    Stack. pool: Spec of a Pool. before: epsilon of a LayerNorm before the body, where patches are mapped without a bias (CLIP's code).
    """

    def __init__(
        self,
        width: int,
        patch: int,
        side: int,
        body: Spec,
        pool: Spec,
        channels: int = 3,
        registers: int = 0,
        before: float | None = None,
    ):
        super().__init__()
        if side % patch:
            raise BadArgument(f"pictures of {side} pixels are not cut evenly into patches of {patch}; choose a patch that divides the side")
        self.width, self.patch, self.grid, self.channels, self.front = width, patch, side // patch, channels, 1 + registers
        self.enter = nn.Conv2d(channels, width, patch, patch, bias=before is None)
        self.first = nn.Parameter(torch.randn(width) * 0.02)
        self.registers = nn.Parameter(torch.randn(registers, width) * 0.02) if registers else None
        self.places = nn.Parameter(torch.randn(1 + self.grid**2, width) * 0.02)
        self.before = None if before is None else nn.LayerNorm(width, eps=before)
        self.body = body.build(width=width)
        self.pool = pool.build(width=width)

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        if pixels.dim() != 4 or pixels.shape[1] != self.channels or pixels.shape[2] % self.patch or pixels.shape[3] % self.patch:
            raise ShapeError(f"expected (B, {self.channels}, H, W) with edges that patches of {self.patch} fill, found {tuple(pixels.shape)}")
        x = self.enter(pixels)
        places = self._resampled(*x.shape[2:])
        x = x.flatten(2).transpose(1, 2) + places[1:]
        ahead = [(self.first + places[0])[None], *([] if self.registers is None else [self.registers])]
        x = torch.cat([torch.cat(ahead).expand(len(x), -1, -1), x], 1)
        if self.before is not None:
            x = self.before(x)
        x = self.body(x, alone(len(x), x.shape[1], x.device))
        return x, self.pool(x[:, 0])

    def _resampled(self, rows: int, columns: int) -> Tensor:
        """(1 + rows columns, D)."""
        if (rows, columns) == (self.grid, self.grid):
            return self.places
        table = self.places[1:].T.unflatten(1, (self.grid, self.grid))[None].float()
        table = F.interpolate(table, (rows, columns), mode="bicubic", align_corners=False, antialias=self.registers is not None)[0].flatten(1).T
        return torch.cat([self.places[:1], table.to(self.places)])


class TextTransformer(nn.Module):
    """Codes (B, M) -> the stream (B, M, D), each place seeing those before it: a table, a learned vector a place, then the body (the text half of CLIP,
    arXiv:2103.00020, section 2.4). `whole` is the stream at one place of each row, through a linear map without bias to `out` where there is one.

    length: how many places there are. body: Spec of a Stack.
    """

    def __init__(self, width: int, vocab: int, length: int, body: Spec, out: int | None = None):
        super().__init__()
        self.table, self.places = nn.Embedding(vocab, width), nn.Parameter(torch.randn(length, width) * 0.01)
        nn.init.normal_(self.table.weight, std=0.02)
        self.body = body.build(width=width)
        self.width, self.pooled = width, out or width
        self.out = None if out is None else nn.Linear(width, out, bias=False)

    def forward(self, ids: Tensor) -> Tensor:
        return self.both(ids)[0]

    def both(self, ids: Tensor) -> tuple[Tensor, Tensor]:
        """The stream, and what the last block reads, (B, M, D) each: the penultimate states that generators are told (SDXL, arXiv:2307.01952, section 2.1)."""
        if ids.dim() != 2 or ids.shape[1] > len(self.places):
            raise ShapeError(f"expected (B, up to {len(self.places)}) codes, found {tuple(ids.shape)}")
        x, before = self.table(ids) + self.places[: ids.shape[1]], f"block.{len(self.body.blocks) - 2}"
        env = replace(alone(*ids.shape, ids.device, causal=True), wanted=frozenset({before}))
        return self.body(x, env), env.taps.get(before, x)

    def whole(self, stream: Tensor, place: Tensor) -> Tensor:
        """(B, M, D) and (B,) -> (B, P)."""
        h = stream[torch.arange(len(stream), device=stream.device), place]
        return h if self.out is None else self.out(h)
