"""Tokens and time to vectors."""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..core.errors import BadArgument
from ..core.query import Query
from ..core.spec import Spec
from ..core.tokens import Space


class Embedding(nn.Module):
    """What makes a query the stream. By itself it says nothing about places, and what stands before the sequence stays as it is."""

    def places(self, coord: Tensor) -> list[Tensor]:
        """What each part says about where tokens lie, (B or 1, L, D): a function of coord alone, place by place."""
        return []

    def ahead(self, prefix: Tensor) -> Tensor:
        """What stands before the sequence, (B, M, D), as the backbone reads it."""
        return prefix


class Embed(Embedding):
    """A query to the stream: content (tables, a linear map), or the mask vector where it is hidden, plus places.

    vocab, channels: what is fed, if not what the space says (a pyramid feeds vectors and answers ids). positions: Specs of parts added to the stream.
    hidden: whether there is a mask vector, or "content": numbers that are read in place of what is hidden (STARFlow's code).
    mask_id: the row of the table that is the mask vector (BERT's [MASK], an id like the others). kinds: segment types told apart.
    aim: whether the place each answer is about is told, by tables of its own. beside: the linear map reads [content, content that is known, whether it is
    known] (EzAudio's code). norm: LayerNorm at the end (BERT), with eps. std: of tables and mask vector at the start. extra_ids: rows of the tables that are no
    codes (MDLM's and MaskGIT's mask). enter: Spec of what maps continuous content to the stream in place of a linear map (Gated, Pooled). prefix: of how many
    tokens a prefix is that enters as ids do, each with a place of its own, as kind 0 and through the norm (BERT's [CLS]; TiTok's code: the class); 0: a prefix
    stays as it is.
    """

    def __init__(
        self,
        width: int,
        space: Space,
        positions: tuple[Spec, ...] = (),
        vocab: tuple[int, ...] | None = None,
        channels: int | None = None,
        hidden: bool | Literal["content"] = True,
        kinds: int = 0,
        aim: bool = False,
        norm: bool = False,
        std: float = 0.02,
        extra_ids: int = 0,
        bias: bool = True,
        beside: bool = False,
        enter: Spec | None = None,
        eps: float = 1e-12,
        mask_id: int | None = None,
        prefix: int = 0,
    ):
        super().__init__()
        bits = 1 << space.bits if space.bits and vocab is None and channels is None else 0
        self.vocab = vocab if vocab is not None else (bits,) if bits else (space.vocab if channels is None else ())
        self.channels = channels if channels is not None else (space.channels if vocab is None else 0)
        if not self.vocab and not self.channels:
            raise BadArgument("an embedding needs codes or channels to read; give vocab or channels")
        self.tables = nn.ModuleList(nn.Embedding(v + extra_ids, width) for v in self.vocab)
        self.beside = beside
        fed = 2 * self.channels + 1 if beside else self.channels
        self.enter = None if not self.channels else enter.build(channels=fed, width=width) if enter else nn.Linear(fed, width, bias=bias)
        if mask_id is not None and not (len(self.vocab) == 1 and 0 <= mask_id < self.vocab[0] + extra_ids):
            raise BadArgument(f"the mask is a row of one table of ids, and {mask_id} is none of {self.vocab}; leave mask_id out for a vector of its own")
        self.mask_id = mask_id
        if hidden == "content" and (not self.channels or beside or mask_id is not None):
            raise BadArgument("what is read in place of hidden content is continuous and alone; write hidden=True for a mask vector")
        self.blank = nn.Parameter(torch.randn(self.channels)) if hidden == "content" else None
        self.mask = nn.Parameter(torch.randn(width) * std) if hidden and self.blank is None and mask_id is None else None
        self.positions = nn.ModuleList(p.build(width=width, space=space) for p in positions)
        self.aims = nn.ModuleList(p.build(width=width, space=space) for p in positions) if aim else None
        self.kinds = nn.Embedding(kinds, width) if kinds else None
        self.norm = nn.LayerNorm(width, eps=eps) if norm else None
        self.front = nn.Parameter(torch.randn(prefix, width) * std) if prefix else None
        for table in (*self.tables, *([self.kinds] if self.kinds is not None else [])):
            nn.init.normal_(table.weight, std=std)

    def places(self, coord: Tensor) -> list[Tensor]:
        return [part(coord) for part in self.positions]

    def ahead(self, prefix: Tensor) -> Tensor:
        if self.front is None:
            return prefix
        if prefix.shape[1] != len(self.front):
            found = prefix.shape[1]
            raise BadArgument(f"this embedding has places for a prefix of {len(self.front)} and one of {found} came; set network.embed.prefix to {found}")
        x = prefix + self.front
        x = x if self.kinds is None else x + self.kinds.weight[0]
        return x if self.norm is None else self.norm(x)

    def forward(
        self, query: Query, start: Tensor | None = None, add: Tensor | None = None, places: list[Tensor] | None = None
    ) -> Tensor:
        """(B, L, D). start (B, D) is added at hidden places, add (B, D) everywhere. places: where they are known already."""
        tokens = query.tokens
        x: Tensor | None = None
        if self.tables:
            assert tokens.ids is not None
            for book, table in enumerate(self.tables):
                y = table(tokens.ids.select(2, book))
                x = y if x is None else x + y
        if self.enter is not None:
            assert tokens.vec is not None
            vec = tokens.vec.to(next(self.enter.parameters()).dtype)
            if self.blank is not None:
                vec = torch.where(query.known[..., None], vec, self.blank.to(vec))
            if self.beside:
                known = query.known[..., None].to(vec)
                vec = torch.cat([vec, vec * known, known], -1)
            y = self.enter(vec)
            x = y if x is None else x + y
        assert x is not None
        hidden = self.mask if self.mask_id is None else self.tables[0].weight[self.mask_id]
        if hidden is not None:
            mask = hidden if start is None else hidden + start[:, None]
            x = torch.where(query.known[..., None], x, mask.to(x.dtype))
        if add is not None:
            x = x + add[:, None]
        for place in self.places(tokens.coord) if places is None else places:
            x = x + place
        if self.aims is not None and query.aim is not None:
            for part in self.aims:
                x = x + part(query.aim)
        if self.kinds is not None:
            x = x + self.kinds(tokens.kind)
        return x if self.norm is None else self.norm(x)


class EmbedPivots(Embedding):
    """Tokens, and in a second phase what the network thought about some of them: kind 0 and 1 hold content in the first channels of vec, 2 a state (B, L, D) of
    the network's width, 3 nothing: a learned content there (Hi-MAR's code). Hidden places are left to the backbone, which knows their mask.

    space: of pivots, those at 0 of the first axis, and dense places.
    """

    def __init__(self, width: int, space: Space):
        super().__init__()
        self.channels, self.pivots = space.channels, int((space.places[:, 0] == 0).sum())
        self.enter, self.state = nn.Linear(space.channels, width), nn.Linear(width, width)
        self.blank = nn.Parameter(torch.randn(self.pivots, space.channels) * 0.02)

    def forward(
        self, query: Query, start: Tensor | None = None, add: Tensor | None = None, places: list[Tensor] | None = None
    ) -> Tensor:
        """(B, L, D)."""
        vec, kind, n = query.tokens.vec, query.tokens.kind[..., None], self.pivots
        assert vec is not None
        content = vec[..., : self.channels].to(self.enter.weight.dtype)
        empty = F.pad(self.blank, (0, 0, 0, content.shape[1] - n)).to(content.dtype)
        x = self.enter(torch.where(kind == 3, empty, content))
        if vec.shape[-1] == self.state.in_features != self.channels or bool((kind == 2).any()):
            x = torch.cat([torch.where(kind[:, :n] == 2, self.state(vec[:, :n].to(x.dtype)), x[:, :n]), x[:, n:]], 1)
        return x if add is None else x + add[:, None]


class Bare(Embedding):
    """A query's continuous content as it is, in the first channels of the stream, zeros behind: for a backbone that makes its own tokens of it."""

    def __init__(self, width: int, space: Space):
        super().__init__()
        if not space.channels or space.channels > width:
            raise BadArgument(f"a stream of {width} holds content of 1 to {width} channels as it is, not of {space.channels}; a greater width, or Embed")
        self.width = width

    def forward(
        self, query: Query, start: Tensor | None = None, add: Tensor | None = None, places: list[Tensor] | None = None
    ) -> Tensor:
        """(B, L, D)."""
        assert query.tokens.vec is not None
        if start is not None or add is not None:
            raise BadArgument('Bare adds nothing to the content; place conditions "modulate" or "cross"')
        return F.pad(query.tokens.vec, (0, self.width - query.tokens.vec.shape[-1]))


class EmbedByKind(Embedding):
    """Tokens of several kinds to one stream: each kind's content by an embedding of its own, then places.

    each: Specs of Embed, one a part of the space, without places. positions: Specs of parts over the whole space. time: Spec of an embedding of the noise
    level, added where tokens of a continuous kind have one (Transfusion, arXiv:2408.11039, section 3).
    """

    def __init__(self, width: int, space: Space, each: tuple[Spec, ...], positions: tuple[Spec, ...] = (), time: Spec | None = None):
        super().__init__()
        if len(each) != len(space.parts):
            raise BadArgument(f"the codec has {len(space.parts)} kinds of tokens and {len(each)} embeddings are given; give one a kind")
        self.each = nn.ModuleList(e.build(width=width, space=part) for e, part in zip(each, space.parts, strict=True))
        self.positions = nn.ModuleList(p.build(width=width, space=space) for p in positions)
        self.time = time.build(width=width) if time else None
        self.noisy = tuple(i for i, part in enumerate(space.parts) if part.channels)

    @property
    def tables(self) -> tuple[nn.Embedding, ...]:
        """Of those kinds that have some, for a head that is tied to them."""
        return tuple(table for embed in self.each for table in embed.tables)  # type: ignore[union-attr]

    def places(self, coord: Tensor) -> list[Tensor]:
        return [part(coord) for part in self.positions]

    def forward(
        self, query: Query, start: Tensor | None = None, add: Tensor | None = None, places: list[Tensor] | None = None
    ) -> Tensor:
        """(B, L, D)."""
        kind = query.tokens.kind[..., None]
        x: Tensor | None = None
        for number, embed in enumerate(self.each):
            y = embed(query, start, None, None)
            x = y if x is None else torch.where(kind == number, y, x)
        assert x is not None
        if self.time is not None and query.time is not None:
            noisy = torch.isin(kind, torch.tensor(self.noisy, device=kind.device))
            x = x + torch.where(noisy, self.time(query.time), 0.0).to(x.dtype)
        if add is not None:
            x = x + add[:, None]
        for place in self.places(query.tokens.coord) if places is None else places:
            x = x + place
        return x


class Gated(nn.Module):
    """silu(W x) * V x, without biases: a point of a series to the stream (Time-MoE, arXiv:2409.16040, equation 2). x (..., C) -> (..., D).

    No nn.Linear, so that a network's start leaves them as they are: with weights of 0.02 the product is a multiple of x^2, in which the sign is lost.
    """

    def __init__(self, channels: int, width: int):
        super().__init__()
        draw = lambda: nn.Parameter(torch.empty(width, channels).uniform_(-1, 1) / channels**0.5)  # noqa: E731
        self.gate, self.value = draw(), draw()

    def forward(self, x: Tensor) -> Tensor:
        return F.silu(F.linear(x, self.gate)) * F.linear(x, self.value)


class Pooled(nn.Module):
    """The greatest of each `rate` values that lie side by side, then a linear map without bias (GPHT, arXiv:2402.16516, section 3.3; max as in its code).

    rate 1: a linear map. x (..., C) -> (..., D).
    """

    def __init__(self, channels: int, width: int, rate: int):
        super().__init__()
        if rate < 1 or channels % rate:
            raise BadArgument(f"{channels} values do not fall into runs of {rate}; choose a rate that divides them")
        self.rate, self.out = rate, nn.Linear(channels // rate, width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(x.unflatten(-1, (-1, self.rate)).amax(-1))


class TimeEmbedding(nn.Module):
    """Noise level to a vector: cosines and sines of 1000 t, then Linear, SiLU, Linear (DiT's code). t (B, n) -> (B, n, D). flip: of 1 - t, the literature's
    time. levels: of the number of the noise level instead, 0 the least of so many (DDPM's; paths.Betas has level i at 1 - (i + 1) / levels), to the nearest.
    closed: the last frequency is 1 / period itself (diffusers' DiT). scale: in place of 1000 (SiT's code: 1)."""

    def __init__(
        self,
        width: int,
        features: int = 256,
        period: float = 10000.0,
        flip: bool = False,
        levels: int = 0,
        closed: bool = False,
        scale: float = 1000.0,
    ):
        super().__init__()
        half = features // 2
        self.flip, self.levels, self.scale = flip, levels, scale
        self.register_buffer("frequency", torch.exp(-math.log(period) * torch.arange(half) / (half - closed)), persistent=False)
        self.net = nn.Sequential(nn.Linear(features, width), nn.SiLU(), nn.Linear(width, width))
        for i in (0, 2):
            nn.init.normal_(self.net[i].weight, std=0.02)

    def forward(self, time: Tensor) -> Tensor:
        said = ((1 - time) * self.levels).round() - 1 if self.levels else self.scale * (1 - time if self.flip else time)
        angle = said.float().unsqueeze(-1) * self.frequency
        return self.net(torch.cat([angle.cos(), angle.sin()], -1).to(self.net[0].weight.dtype))
