"""Solids as a set of vectors: learned queries read points of the surface, and any place is asked whether it is inside."""

from __future__ import annotations

import math
from typing import Any, final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from omniform.core.codec import LearnedCodec
from omniform.core.distribution import Content
from omniform.core.errors import BadArgument
from omniform.core.net import Block, Context, Encoded, Env
from omniform.core.process import Losses, dues_of
from omniform.core.rng import Rng
from omniform.core.spec import Spec
from omniform.core.tokens import Axis, Space, Tokens

_SOLIDS, _PLACES = 64, 1 << 16
"""Solids that settle looks at together, and places that decode asks about together (ours; memory)."""
_WAYS = ((0, 0, 1), (0, 0, -1), (0, 1, 0), (0, -1, 0), (1, 0, 0), (-1, 0, 0))
"""From a cell to its six neighbours, as steps in (z, y, x)."""


def waves(places: Tensor, octaves: int) -> Tensor:
    """(..., 3) -> (..., 3 + 6 octaves): the places, then sines and cosines of 1, 2, 4... times each (Michelangelo's code without pi, as MAR-3D is set)."""
    angle = (places[..., None] * 2.0 ** torch.arange(octaves, device=places.device)).flatten(-2)
    return torch.cat([places, angle.sin(), angle.cos()], -1)


def faces_of(inside: Tensor) -> Tensor:
    """(B, Z, Y, X) bool -> (B, Z, Y, X, 6) bool: cells inside whose neighbour that way is not; beyond the grid nothing is."""
    padded = F.pad(inside, (1, 1, 1, 1, 1, 1))
    depth, rows, columns = inside.shape[1:]
    beside = [padded[:, 1 + z : 1 + z + depth, 1 + y : 1 + y + rows, 1 + x : 1 + x + columns] for z, y, x in _WAYS]
    return torch.stack([inside & ~other for other in beside], -1)


@final
class VecSet(LearnedCodec):
    """A grid (Z, Y, X), +1 inside of a solid and -1 outside, as `latents` continuous tokens without an order (3DShape2VecSet, arXiv:2301.11445; Michelangelo's
    autoencoder, as MAR-3D, arXiv:2503.20519, section 3.1, builds it).

    Points of the surface, (x, y, z) as waves and the normal, are read by learned queries S through a cross-attention a level of density, and the sum of
    cross_k(S, P_k) goes through `encoder`; the pyramid is MAR-3D's, one level its code's. Each level is an even share of the first. `decoder` is over what
    the bottleneck lets through, and a place is asked by a cross-attention of its own. Cells are cubes, the longest side of the grid is 2 long about the middle.
    cross: Spec of a Block that reads env.context.cross. points: of each level, falling. queries: places a solid that training asks about, one half anywhere and
    the other on either side of the surface (ours). The loss is the nats of each place. Decoded: 2 p - 1 of each cell's middle.
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        latents: int,
        width: int,
        cross: Spec,
        encoder: Spec,
        decoder: Spec,
        bottleneck: Spec,
        points: tuple[int, ...] = (20480,),
        queries: int = 25600,
        octaves: int = 8,
    ):
        super().__init__()
        if len(shape) != 3 or latents < 1 or queries < 2:
            raise BadArgument(f"VecSet expects a shape (Z, Y, X), a latent and two queries or more, found {tuple(shape)}, {latents} and {queries}")
        if not points or min(points) < 1 or any(b > a for a, b in zip(points, points[1:], strict=False)):
            raise BadArgument(f"levels of points are of 1 point or more and do not grow, found {tuple(points)}; write the densest first")
        self.shape, self.points, self.queries, self.octaves = tuple(shape), tuple(points), queries, octaves
        self.bottleneck = bottleneck.build(size=(latents, 1))
        self.space: Space = self.bottleneck.space((Axis("latent", latents),))
        told, std = 3 + 6 * octaves, 0.25 * width**-0.5  # std: of the linear maps inside the towers (code)
        self.cross = nn.ModuleList(cross.build(width=width) for _ in points)
        self.encoder, self.decoder = (part.build(width=width, space=self.space) for part in (encoder, decoder))
        self.answer = cross.build(width=width)
        for part in (self.cross, self.encoder, self.decoder, self.answer):
            for module in part.modules():
                if isinstance(module, nn.Linear):
                    nn.init.normal_(module.weight, std=std)
                    nn.init.zeros_(module.bias)
        self.asking = nn.Parameter(torch.randn(latents, width) * 0.02)
        self.enter, self.ask = nn.Linear(told + 3, width), nn.Linear(told, width)
        self.squeeze, self.spread = nn.Linear(width, self.bottleneck.inputs), nn.Linear(self.bottleneck.channels, width)
        self.norm, self.out = nn.LayerNorm(width), nn.Linear(width, 1)

    def encode(self, data: Any, *, rng: Rng | None = None) -> Tokens:
        inside = self._checked(data) > 0
        content = self.bottleneck.encode(self._latent(self.surface(inside, None if rng is None else rng.split("points")), {}), rng)
        blank = self.space.blank(len(inside), device=inside.device)
        return Tokens(content.ids, content.vec, blank.coord, blank.kind, blank.doc)

    def decode(self, tokens: Tokens) -> Tensor:
        read = self._read(self.bottleneck.decode(Content(tokens.ids, tokens.vec)), {})
        cells = self._middles(torch.arange(math.prod(self.shape), device=read.device))
        logits = [self.logits(part.expand(len(read), -1, -1), read, {}) for part in cells.split(_PLACES)]
        return torch.tanh(torch.cat(logits, 1) / 2).unflatten(1, self.shape)

    def loss(self, data: Any, *, rng: Rng) -> tuple[Losses, ...]:
        inside = self._checked(data) > 0
        dues: dict[str, Tensor] = {}
        surface = self.surface(inside, rng.split("points"))
        cell, meant = self._asked(inside, surface, rng.split("asked"))
        count = torch.tensor(float(meant.numel()), device=inside.device)
        latent, cost = self.bottleneck(self._latent(surface, dues), meant.numel(), rng)
        logits = self.logits(self._middles(cell), self._read(latent, dues), dues)
        main = F.binary_cross_entropy_with_logits(logits.float(), meant.float(), reduction="sum")
        return (Losses({"main": main, **cost, **dues_of(dues, count)}, count),)

    @torch.no_grad()
    def settle(self, data: Any) -> None:
        self.bottleneck.settle(torch.cat([self._latent(self.surface(part > 0, None), {}) for part in self._checked(data).split(_SOLIDS)]))

    def surface(self, inside: Tensor, rng: Rng | None) -> Tensor:
        """(B, Z, Y, X) bool -> (B, points of the first level, 6): places on the faces, even shares of all of them, and the normals there; rng: anywhere on the
        face and in the share, else in the middles. Zeros where a solid has no face."""
        faces, num = faces_of(inside).flatten(1), self.points[0]
        rows = len(faces)
        total = faces.sum(1, keepdim=True)
        shift = torch.full((rows, num), 0.5) if rng is None else rng.split("share").uniform((rows, num))
        number = ((torch.arange(num) + shift).to(faces.device) / num * total).long().minimum((total - 1).clamp(min=0))
        face = torch.searchsorted(faces.long().cumsum(1), number, right=True).clamp(max=faces.shape[1] - 1)
        way = torch.tensor(_WAYS, device=faces.device).flip(-1)[face % 6].float()
        off = torch.zeros(rows, num, 3) if rng is None else rng.split("place").uniform((rows, num, 3)) - 0.5
        off = torch.where(way == 0, off.to(way), way / 2)
        return torch.cat([self._middles(face // 6) + off * (2 / max(self.shape)), way], -1) * (total > 0)[..., None]

    def logits(self, places: Tensor, read: Tensor, dues: dict[str, Tensor]) -> Tensor:
        """Places (B, n, 3), and what the decoder has read (B, K, D) -> (B, n) how surely each is inside."""
        asked = self.ask(waves(places, self.octaves).to(read.dtype))
        return self.out(self.norm(self._through(self.answer, asked, dues, read))).squeeze(-1)

    def _middles(self, cell: Tensor) -> Tensor:
        """(...) numbers of cells -> (..., 3) their middles (x, y, z)."""
        depth, rows, columns = self.shape
        at = torch.stack([cell % columns, cell // columns % rows, cell // (columns * rows)], -1)
        size = torch.tensor([columns, rows, depth], device=cell.device)
        return (at + 0.5 - size / 2) * (2 / max(self.shape))

    def _asked(self, inside: Tensor, surface: Tensor, rng: Rng) -> tuple[Tensor, Tensor]:
        """(B, queries) numbers of cells, and whether each is inside. Cells beside the surface that lie beyond the grid are moved into it."""
        rows, near = len(inside), self.queries // 2
        anywhere = rng.split("anywhere").integers(math.prod(self.shape), (rows, self.queries - near)).to(inside.device)
        which = rng.split("which").integers(surface.shape[1], (rows, near)).to(inside.device)
        side = rng.split("side").uniform((rows, near, 1)).to(inside.device).sub(0.5).sign()
        point = surface.gather(1, which[..., None].expand(-1, -1, 6))
        size = torch.tensor(self.shape[::-1], device=inside.device)
        at = ((point[..., :3] * (max(self.shape) / 2) + point[..., 3:] * side / 2 + size / 2).floor().long()).clamp(min=0).minimum(size - 1)
        beside = at[..., 0] + self.shape[2] * (at[..., 1] + self.shape[1] * at[..., 2])
        cell = torch.cat([anywhere, beside], 1)
        return cell, inside.flatten(1).gather(1, cell)

    def _latent(self, surface: Tensor, dues: dict[str, Tensor]) -> Tensor:
        """(B, points, 6) -> (B, inputs, K, 1)."""
        read = self.enter(torch.cat([waves(surface[..., :3], self.octaves), surface[..., 3:]], -1).to(self.enter.weight.dtype))
        asking = self.asking.expand(len(surface), -1, -1)
        each = [(torch.arange(n, device=surface.device) * self.points[0] // n) for n in self.points]
        x = sum((self._through(part, asking, dues, read[:, at]) for part, at in zip(self.cross, each, strict=True)), torch.zeros_like(asking))
        return self.squeeze(self._through(self.encoder, x, dues)).transpose(1, 2).unsqueeze(-1)

    def _read(self, latent: Tensor, dues: dict[str, Tensor]) -> Tensor:
        """(B, channels, K, 1) -> (B, K, D)."""
        return self._through(self.decoder, self.spread(latent.squeeze(-1).transpose(1, 2)), dues)

    @staticmethod
    def _through(part: Block, x: Tensor, dues: dict[str, Tensor], read: Tensor | None = None) -> Tensor:
        """A part on places that all see each other, or that read something else."""
        rows, length = x.shape[:2]
        row = lambda n: torch.zeros(1, n, dtype=torch.long, device=x.device).expand(rows, -1)  # noqa: E731
        same, coord = row(length), torch.arange(length, dtype=torch.float32, device=x.device)[None, :, None].expand(rows, -1, -1)
        told = None if read is None else Encoded(read, read[:, 0], read.new_zeros(1, 1, 1).expand(rows, read.shape[1], -1), row(read.shape[1]))
        env = Env(
            coord=coord, kind=same, turn=same, lane=same, doc=same, known=same == 0, modulation=None, context=Context(rows, cross=told), record=None,
            remember=False, progress=torch.ones(rows, device=x.device), pattern="full", mask=None, dues=dues,
        )  # fmt: skip
        return part(x, env)
