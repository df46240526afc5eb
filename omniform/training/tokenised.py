"""A data set as a frozen codec's tokens, made once."""
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, final

import torch
from torch import Tensor

from omniform.core.batch import Batch
from omniform.core.codec import Codec
from omniform.core.tokens import Tokens
from omniform.data import Dataset
from omniform.data.dataset import Split

_AT_ONCE = 256
"""Examples that the codec looks at together (ours; memory)."""


@final
class Tokenised(Split):
    """The tokens and conditions of another split, held in memory: batch(indices).data is Tokens, as the codec's mode gives them.

    Worth it where encoding is dear and says the same each time; a stochastic encoder's noise is left out.
    """

    def __init__(self, split: Split, codec: Codec):
        self._length = len(split)
        parts: list[Tokens] = []
        conditions: list[Any] = []
        with torch.no_grad():
            for start in range(0, len(split), _AT_ONCE):
                batch = split.batch(range(start, min(start + _AT_ONCE, len(split))))
                parts.append(codec.encode(batch.data))
                conditions.append(batch.condition)
        joined = lambda name: None if getattr(parts[0], name) is None else torch.cat([getattr(p, name) for p in parts])  # noqa: E731
        self._content = {name: joined(name) for name in ("ids", "vec")}
        self._whole = all(bool(p.real.all()) for p in parts)
        self._doc = None if self._whole else joined("doc")
        self._blank = codec.space.blank(1)
        self._conditions = {k: _joined([c[k] for c in conditions]) for k in (conditions[0] if conditions else {})}

    def __len__(self) -> int:
        return self._length

    def batch(self, indices: Sequence[int] | Tensor) -> Batch:
        index = torch.as_tensor(indices)
        blank = self._blank
        rows = len(index)
        tokens = Tokens(
            **{k: None if v is None else v[index] for k, v in self._content.items()}, coord=blank.coord.expand(rows, -1, -1), kind=blank.kind.expand(rows, -1),
            doc=blank.doc.expand(rows, -1) if self._doc is None else self._doc[index])
        picked = {k: v[index] if isinstance(v, Tensor) else [v[i] for i in index.tolist()] for k, v in self._conditions.items()}
        return Batch(tokens, picked)


def _joined(parts: list[Any]) -> Any:
    return torch.cat(parts) if isinstance(parts[0], Tensor) else [x for part in parts for x in part]


def tokenised(dataset: Dataset, codec: Codec) -> Dataset:
    """The data set with both splits as tokens."""
    return replace(dataset, train=Tokenised(dataset.train, codec), test=Tokenised(dataset.test, codec))
