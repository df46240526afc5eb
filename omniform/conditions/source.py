"""A text that is read before another is written: the source of an encoder-decoder."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..core.codec import Codec
from ..core.errors import BadArgument, ConditionError, OmniformError
from ..core.net import Encoded, alone
from ..core.spec import Spec
from .conditioning import Conditioner


class SourceText(Conditioner):
    """A text through an encoder that learns with the system, (B, M, D), to be placed "cross" (T5, arXiv:1910.10683, section 2.1).

    raw: what `codec` (Spec of a codec of one code a place) reads of `length` places, a row each; pieces may be longer where the codec cuts. Each row sees
    itself whole, its padding is seen by nobody. encoder: Spec of a Stack. tied: codes are embedded by the table that the network reads its own by, which has
    to have as many rows; else by one of its own. The vector is the mean over what is real. Unsaid: nothing that could be attended to.
    """

    def __init__(self, width: int, length: int, codec: Spec, encoder: Spec, tied: bool = True, std: float = 1.0):
        super().__init__()
        self.codec: Codec = codec.build(shape=(length,))
        if len(self.codec.space.vocab) != 1 or any(True for _ in self.codec.parameters()):
            raise BadArgument(f"a source is read by a codec of one code a place that learns nothing, not by {type(self.codec).__name__}")
        self.encoder = encoder.build(width=width, space=self.codec.space)
        self.width, self.tied = width, tied
        self.table = None if tied else nn.Embedding(self.codec.space.vocab[0], width)
        if self.table is not None:
            nn.init.normal_(self.table.weight, std=std)
        self._shared: tuple[Callable[[], Tensor], ...] = ()

    def tie(self, tables: Sequence[nn.Embedding]) -> None:
        """Where the codes are embedded: the network owns the table, this part looks it up."""
        if len(tables) != 1 or tables[0].num_embeddings < self.codec.space.vocab[0]:
            found = tables[0].num_embeddings if len(tables) == 1 else f"{len(tables)} tables"
            raise BadArgument(f"a source of {self.codec.space.vocab[0]} codes shares one table of as many rows, and the network has {found}; say tied=False")
        self._shared = (lambda table=tables[0]: table.weight,)

    def encode(self, raw: Any) -> Encoded:
        table = self._shared[0]() if self.table is None else self.table.weight
        try:
            said = self.codec.encode(raw)
        except OmniformError as error:
            raise ConditionError(f"a source cannot be read: {error}") from error
        assert said.ids is not None
        most = max(int(said.real.sum(1).max()), 1)  # what is padding in every row costs nothing
        real = said.real[:, :most].to(table.device)
        h = torch.where(real[..., None], self.states(said.ids[:, :most, 0].to(table.device), real), 0.0)
        coord = torch.arange(most, dtype=torch.float32, device=table.device)[None, :, None].expand(len(h), -1, -1)
        return Encoded(h, h.sum(1) / real.sum(1, keepdim=True).clamp(min=1), coord, torch.where(real, 0, -1))

    def states(self, ids: Tensor, real: Tensor | None) -> Tensor:
        """(B, M) codes and which of them are no padding (None: all) -> (B, M, D)."""
        table = self._shared[0]() if self.table is None else self.table.weight
        return self.encoder(F.embedding(ids, table), alone(*ids.shape, ids.device, real=real))

    def null(self, batch: int) -> Encoded:
        like = next(self.encoder.parameters())
        doc = torch.full((batch, 1), -1, device=like.device)
        return Encoded(like.new_zeros(batch, 1, self.width), like.new_zeros(batch, self.width), like.new_zeros(batch, 1, 1), doc)
