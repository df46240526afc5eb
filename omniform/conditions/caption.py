"""Captions: what a text encoder says of them, mapped to the stream."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..core.encoder import FrozenEncoder
from ..core.errors import BadArgument, CheckpointError, ConditionError
from ..core.net import Encoded
from .conditioning import Conditioner

_SPELLING = 2_310  # ours: the seed of the spelling


class Caption(Conditioner):
    """`length` tokens of `features` numbers, as a text encoder that is not part of the system says them, and for all of them one vector.

    raw: a row's features (M, features), a pair of them and a pooled vector (pooled,), or a string. encoder: the name of a frozen text encoder that strings are
    read by; it is no part of the system, which keeps its name and the digest of its weights, and is handed over (`read_by`). Without one a string is spelled:
    a fixed random vector for each byte and each place (ours). Shorter ones are padded with zeros, which nobody sees where `mask`. into: tokens go through
    Linear, tanh-GELU, Linear (PixArt-alpha, arXiv:2310.00426), through one Linear (SD3, arXiv:2403.03206, section 4), or stay as they are. pool: the vector is
    nothing; the encoder's pooled one through Linear, SiLU, Linear ("given": SD3) or through one Linear ("linear": MMM's code); or the tokens' mean through
    LayerNorm and a Linear that starts at zero ("mean": Lumina-T2X's code). told: how wide it is. bias: of maps that are one Linear; normed: the small number of
    an RMSNorm behind that of the tokens (aMUSEd's code has no biases and has the norm). unsaid: features of zeros, fixed random ones of variance
    1 / features (PixArt-alpha's code), "learned" ones (MAR-3D's code), or what the encoder says of an "empty" text (pipelines of diffusers, STARFlow's code).
    step: how far apart tokens lie, for rotations that turn by it. What an encoder of pictures says has the same form.
    """

    def __init__(
        self,
        width: int,
        features: int,
        length: int,
        into: Literal["mlp", "linear", "same"] = "mlp",
        mask: bool = True,
        pool: Literal["none", "given", "linear", "mean"] = "none",
        pooled: int = 0,
        told: int | None = None,
        unsaid: Literal["zeros", "random", "learned", "empty"] = "zeros",
        encoder: str = "",
        digest: str = "",
        bias: bool = True,
        normed: float | None = None,
        step: float = 1.0,
    ):
        super().__init__()
        if (pool in ("given", "linear")) != (pooled > 0):
            raise BadArgument(f"a pooled vector that is given has a size and another has none; found pool={pool!r} and pooled={pooled}")
        if unsaid == "empty" and not encoder:
            raise BadArgument("an empty text is read by an encoder, and this caption names none; write encoder=, or unsaid='zeros'")
        self.features, self.length, self.mask, self.pool, self.pooled, self.told = features, length, mask, pool, pooled, told or width
        if into == "mlp":
            self.into: nn.Module = nn.Sequential(nn.Linear(features, width), nn.GELU("tanh"), nn.Linear(width, width))
        else:
            self.into = nn.Linear(features, width, bias=bias) if into == "linear" else nn.Identity()
        if normed is not None:
            self.into = nn.Sequential(self.into, nn.RMSNorm(width, eps=normed))
        if pool == "given":
            self.vector: nn.Module | None = nn.Sequential(nn.Linear(pooled, self.told), nn.SiLU(), nn.Linear(self.told, self.told))
        elif pool == "linear":
            self.vector = nn.Linear(pooled, self.told, bias=bias)
        elif pool == "mean":
            self.vector = nn.Sequential(nn.LayerNorm(features), nn.Linear(features, self.told))
            nn.init.zeros_(self.vector[1].weight)
            nn.init.zeros_(self.vector[1].bias)
        else:
            self.vector = None
        if unsaid == "learned":
            self.unsaid: Tensor | None = nn.Parameter(torch.randn(length, features) * 0.02)
        else:
            self.register_buffer("unsaid", torch.randn(length, features) / features**0.5 if unsaid == "random" else None)
        self.empty, self.step = unsaid == "empty", step
        self.spelling: list[Tensor] = []
        self.encoder, self.digest = encoder, digest
        self.reader: FrozenEncoder | None = None

    def read_by(self, reader: FrozenEncoder) -> None:
        """From now on a string is what this encoder says of it: the one that the recipe names, bit by bit, or nothing."""
        if self.digest and reader.digest != self.digest:
            raise CheckpointError(
                f"the text encoder {self.encoder} is not the one that this system was trained with (its digest is {reader.digest[:12]} and was "
                f"{self.digest[:12]}); give the one of then, or train again"
            )
        for name, mine, its in (("features", self.features, reader.features), ("pooled", self.pooled or reader.pooled, reader.pooled)):
            if mine != its:
                raise BadArgument(f"{self.encoder} says {its} numbers as {name} and this caption expects {mine}; write {name}={its}")
        self.reader = reader

    def encode(self, raw: Any) -> Encoded:
        rows = [self._row(row) for row in raw]
        tokens = torch.stack([F.pad(t, (0, 0, 0, self.length - len(t))) for t, _ in rows])
        real = torch.tensor([len(t) for t, _ in rows])[:, None] > torch.arange(self.length)
        return self._said(tokens, real, torch.stack([p for _, p in rows]))

    def null(self, batch: int) -> Encoded:
        tokens = torch.zeros(1, self.length, self.features) if self.unsaid is None else self.unsaid[None]
        said = self.encode([""]) if self.empty else self._said(tokens, torch.ones(1, self.length, dtype=torch.bool), torch.zeros(1, self.pooled))
        return Encoded(*(x.expand(batch, *x.shape[1:]) for x in (said.tokens, said.pooled, said.coord, said.doc)))

    def _said(self, tokens: Tensor, real: Tensor, pooled: Tensor) -> Encoded:
        weight = next(self.parameters(), None)
        like = torch.zeros(()) if weight is None else weight
        tokens, pooled, real = tokens.to(like), pooled.to(like), real.to(like.device)
        if self.pool == "mean":
            pooled = (tokens * real[..., None]).sum(1) / real.sum(1, keepdim=True).clamp(min=1)
        vector = tokens.new_zeros(len(tokens), self.told) if self.vector is None else self.vector(pooled)
        coord = self.step * torch.arange(self.length, dtype=torch.float32, device=like.device)[None, :, None].expand(len(tokens), -1, -1)
        return Encoded(self.into(tokens), vector, coord, torch.where(real | (not self.mask), 0, -1))

    def _row(self, row: Any) -> tuple[Tensor, Tensor]:
        """Features (up to length, features) and pooled (pooled,)."""
        if isinstance(row, str):
            return self._spoken(row) if self.encoder else self._spelled(row)
        tokens, pooled = row if isinstance(row, Sequence) and len(row) == 2 else (row, torch.zeros(self.pooled))
        for name, x, shape in (("features", tokens, (self.features,)), ("a pooled vector", pooled, (self.pooled,))):
            if not isinstance(x, Tensor) or tuple(x.shape[-1:]) != shape or x.dim() != (2 if name == "features" else 1):
                found = tuple(x.shape) if isinstance(x, Tensor) else type(x).__name__
                raise ConditionError(f"a caption is a string or {name} of {shape[0]} numbers ((tokens, {self.features}) of a row), not {found}")
        return tokens[: self.length], pooled

    def _spoken(self, text: str) -> tuple[Tensor, Tensor]:
        """As the encoder says it."""
        if self.reader is None:
            raise ConditionError(f"strings are read by {self.encoder} here, which was not handed over; build or load the system with encoder=")
        tokens, pooled = self.reader.one(text, self.length)
        return tokens, pooled if self.pooled else torch.zeros(0)

    def _spelled(self, text: str) -> tuple[Tensor, Tensor]:
        """Each byte's vector and its place's, together of unit variance; pooled: the bytes' sum over the root of their number."""
        if not self.spelling:
            g = torch.Generator().manual_seed(_SPELLING)
            self.spelling = [torch.randn(n, w, generator=g) for n, w in ((256, self.features), (self.length, self.features), (256, self.pooled))]
        of_byte, of_place, whole = self.spelling
        said = torch.tensor(list(text.encode()[: self.length]), dtype=torch.long)
        return (of_byte[said] + of_place[: len(said)]) / 2**0.5, whole[said].sum(0) / max(len(said), 1) ** 0.5


class Sizes(Conditioner):
    """Numbers about the whole picture (its size, its aspect), each as cosines and sines through an MLP of its group: raw (B, numbers) -> (B, D).

    groups: how many numbers share an MLP, in order; each number gives an equal share of the width; none: one MLP reads the waves of all numbers at once
    (SDXL's own way, Meissonic's), or where `bare` one Linear without a bias, for what else is told to go through the rest together (aMUSEd's code).
    usual: what is told where nothing is said. scale: what numbers are multiplied with (FLUX's code: 1000). Source:
    PixArt-alpha's code at 1024 pixels, height and width in one group and the aspect in another (micro-conditions of SDXL, arXiv:2307.01952, section 2.2).
    """

    def __init__(self, width: int, groups: tuple[int, ...], usual: tuple[float, ...], features: int = 256, scale: float = 1.0, bare: bool = False):
        super().__init__()
        if bare and groups:
            raise BadArgument(f"bare maps read all numbers at once, and there are groups {groups}; write groups=()")
        first = nn.Linear(len(usual) * features, width, bias=not bare)
        self.whole = None if groups else first if bare else nn.Sequential(first, nn.SiLU(), nn.Linear(width, width))
        if groups and (sum(groups) != len(usual) or width % len(usual)):
            raise BadArgument(f"groups {groups} are of {len(usual)} usual numbers, which share out a width of {width} evenly; change one of them")
        self.scale, self.groups, each, half = scale, tuple(groups), width // max(len(usual), 1), features // 2
        self.maps = nn.ModuleList(nn.Sequential(nn.Linear(features, each), nn.SiLU(), nn.Linear(each, each)) for _ in groups)
        # in single precision as everybody has it: it shows where numbers are large
        self.register_buffer("frequency", torch.exp(-math.log(10000.0) * torch.arange(half) / half), persistent=False)
        self.register_buffer("usual", torch.tensor(usual), persistent=False)

    def encode(self, raw: Any) -> Encoded:
        try:
            numbers = torch.as_tensor(raw, dtype=torch.float32)
        except (ValueError, TypeError):
            numbers = self.usual  # words: refused below
        if numbers.dim() != 2 or numbers.shape[1] != len(self.usual):
            raise ConditionError(f"expected {len(self.usual)} numbers a row, such as {[round(float(x), 2) for x in self.usual]}, found {raw!r}")
        return self._said(numbers.to(self.usual))

    def null(self, batch: int) -> Encoded:
        return self._said(self.usual.expand(batch, -1))

    def _said(self, numbers: Tensor) -> Encoded:
        angle = (numbers * self.scale)[..., None] * self.frequency
        all_waves = torch.cat([angle.cos(), angle.sin()], -1)
        if self.whole is not None:
            return Encoded.one(self.whole(all_waves.flatten(1)))
        waves = all_waves.split(self.groups, 1)
        return Encoded.one(torch.cat([m(w).flatten(1) for m, w in zip(self.maps, waves, strict=True)], -1))
