"""The running average of the weights, which samples better than the weights themselves."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, final

import torch
from torch import Tensor, nn


def decay_at(decay: float, updates: int) -> float:
    """The decay of the next update: low while there is little to average (TensorFlow's ExponentialMovingAverage)."""
    return min(decay, (1 + updates) / (10 + updates))


@final
class Ema:
    """The exponential moving average of a module's learned parameters; buffers and frozen ones are as they are."""

    def __init__(self, module: nn.Module, decay: float):
        self.decay = decay
        self._trained = [p for p in module.parameters() if p.requires_grad]
        self._average = [p.detach().clone() for p in self._trained]

    @torch.no_grad()
    def update(self, updates: int) -> None:
        """One step on; updates: how many there have been."""
        torch._foreach_lerp_(self._average, self._trained, 1 - decay_at(self.decay, updates))

    @torch.no_grad()
    def settle(self) -> None:
        """The module takes the average for good."""
        torch._foreach_copy_(self._trained, self._average)

    @contextmanager
    def applied(self) -> Iterator[None]:
        """The module computes with the average inside."""
        trained = [p.detach().clone() for p in self._trained]
        self.settle()
        try:
            yield
        finally:
            with torch.no_grad():
                torch._foreach_copy_(self._trained, trained)

    def state(self, module: nn.Module) -> dict[str, Tensor]:
        """The module's whole state with the average in place of what was trained: loadable by itself."""
        average = {id(p): a for p, a in zip(self._trained, self._average, strict=True)}
        return {name: average.get(id(x), x) for name, x in module.state_dict(keep_vars=True).items()}

    @torch.no_grad()
    def load(self, module: nn.Module, state: Mapping[str, Any]) -> None:
        """The inverse of state."""
        place = {id(p): a for p, a in zip(self._trained, self._average, strict=True)}
        for name, x in module.state_dict(keep_vars=True).items():
            if id(x) in place:
                place[id(x)].copy_(state[name])
