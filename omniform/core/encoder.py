"""A text encoder that somebody else trained and that nothing here changes: strings in, numbers out, always the same."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self, final

import torch
from torch import Tensor
from torch.nn import functional as F

ROOM = 1 << 31
"""Bytes of what was read that an encoder remembers at the most (ours)."""


@dataclass(frozen=True)
class Heard:
    """What an encoder says of some texts; shorter ones end in zeros that are not real."""

    tokens: Tensor  # (B, M, C)
    real: Tensor  # (B, M) bool
    pooled: Tensor  # (B, P)


class FrozenEncoder(ABC):
    """Reads each text by itself, once, and remembers what it said: a text's numbers depend on nothing but the text, so that a batch, a step or a resumed run
    finds the same bits. It is no part of any system: not trained, not saved, not copied.

    name: where it was taken from ("package:NAME", "hf:OWNER/NAME", a folder). features: C, numbers a token. pooled: P, numbers a text (0: it has no such
    vector). longest: the most tokens of a text. digest: of its weights and its tokenizer, to know it again by.
    """

    def __init__(self, name: str, features: int, pooled: int, longest: int, digest: str):
        self.name, self.features, self.pooled, self.longest, self.digest = name, features, pooled, longest, digest
        self._heard: dict[tuple[str, int], tuple[Tensor, Tensor]] = {}
        self._held = 0

    @abstractmethod
    def read(self, text: str, length: int) -> tuple[Tensor, Tensor]:
        """(M, C) of one text, cut to `length` tokens, and (P,); called without gradients and in full precision."""

    @final
    def one(self, text: str, length: int | None = None) -> tuple[Tensor, Tensor]:
        """(M, C) and (P,) of a text, cut to `length` tokens."""
        key = (text, min(length or self.longest, self.longest))
        if key not in self._heard:
            with torch.inference_mode(False), torch.no_grad(), torch.autocast("cpu", enabled=False):  # what is kept is read in training too
                said = self.read(*key)
            if self._held > ROOM:
                return said
            self._held += sum(x.numel() * x.element_size() for x in said)
            self._heard[key] = said
        return self._heard[key]

    @final
    def tokens(self, texts: Sequence[str], length: int | None = None) -> Heard:
        """Of several, as long as the longest."""
        each = [self.one(text, length) for text in texts]
        longest = max((len(t) for t, _ in each), default=0)
        real = torch.tensor([len(t) for t, _ in each], dtype=torch.long)[:, None] > torch.arange(longest)
        return Heard(torch.stack([F.pad(t, (0, 0, 0, longest - len(t))) for t, _ in each]), real, torch.stack([p for _, p in each]))

    def __deepcopy__(self, memo: Any) -> Self:
        return self
