"""Families: what is asked in training, how a sample grows, and the one loop that drives it."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, Self, TypeVar

import torch
from torch import Tensor, nn

from .errors import BadArgument, Intractable, nearest
from .net import MemoryPolicy, Net
from .query import Answer, Query
from .rng import Rng
from .tokens import Tokens


@dataclass(frozen=True)
class State:
    """A sample while it grows. A process adds what it needs in a subclass."""

    tokens: Tokens
    at: Tensor  # (B,) long   how far each row is
    progress: Tensor  # (B,) float
    done: Tensor  # (B,) bool

    def spoken(self) -> Tensor:
        """(B, L) bool: which places say something already; all of them, where a process moves everything at once."""
        return torch.ones_like(self.tokens.doc, dtype=torch.bool)

    def so_far(self) -> Tokens:
        """What the sample would be if it stopped here."""
        return self.tokens


S = TypeVar("S", bound=State)


@dataclass(frozen=True)
class Losses:
    """What a batch costs one player. The trainer minimises sum(parts) / count."""

    parts: Mapping[str, Tensor]  # named sums, in nats; "main" and any dues
    count: Tensor  # what to divide by, so that accumulation and sharding stay exact
    player: str = "main"  # whose optimizer this is for

    def mean(self) -> Tensor:
        """The loss."""
        return sum(self.parts.values(), torch.zeros_like(self.count, dtype=torch.float32)) / self.count


@dataclass(frozen=True)
class Posed:
    """A training question that has not been asked yet, so that several can be asked as one.

    price: its answer to the nats of each place (B, L) and how much each counts (B, L).
    """

    query: Query
    price: Callable[[Answer], tuple[Tensor, Tensor]]


class Process(nn.Module, ABC, Generic[S]):
    """A family. Usually without parameters."""

    second_order: ClassVar[bool] = False
    """Whether gradients of gradients are taken, so that attention must use elementary operations."""

    memory: ClassVar[MemoryPolicy] = "nothing"
    """What a session needs to remember for this family's generation."""

    likelihood: ClassVar[str | None] = None
    """"exact" or "bound" where `bound` answers; None where the family has neither."""

    chance: ClassVar[bool] = True
    """Whether a sample depends on the seed; a forecast of the likeliest does not."""

    @abstractmethod
    def loss(self, net: Net, tokens: Tokens, *, rng: Rng) -> Losses | tuple[Losses, ...]:
        """One training question or several, or none."""

    def pose(self, tokens: Tokens, *, rng: Rng, floor: Tensor | None = None) -> Posed:
        """The training question, where there is one and no more. floor (B,): the earliest time of a flow, in rows whose noisy tokens somebody reads."""
        raise BadArgument(f"{type(self).__name__} asks more or less than one question in training, so it cannot be asked together with others")

    @abstractmethod
    def init(self, blank: Tokens, *, rng: Rng, given: Tensor | None = None) -> S:
        """Before anything is generated. Where given (B, L) is true, blank already says what is wanted there: a prompt, a picture to complete."""

    @abstractmethod
    def step(self, net: Net, state: S, *, rng: Rng) -> S:
        """One turn on; asks as often as it likes."""

    def but(self, **changes: Any) -> Self:
        """The same family with other settings (steps, sampling...), its parameters shared."""
        other = copy.copy(self)
        for name, value in changes.items():
            if name in self._modules:
                other._modules = {**other._modules, name: value}  # the process inside
                continue
            if name.startswith("_") or name not in self.__dict__:
                settings = [n for n in (*self.__dict__, *self._modules) if not n.startswith("_") and n != "training"]
                raise BadArgument(f"{type(self).__name__} has no setting {name!r}; {nearest(name, settings)}")
            other.__dict__[name] = value
        return other

    def bound(self, net: Net, tokens: Tokens, *, rng: Rng) -> Tensor:
        """(B,) nats: the negative log-likelihood of each row, or an upper bound of it."""
        raise Intractable(f"{type(self).__name__} has no likelihood and no bound; compare it by samples (omniform evaluate)")


def generate(process: Process[S], net: Net, blank: Tokens, *, rng: Rng, given: Tensor | None = None, watch: Callable[[S], None] | None = None) -> Tokens:
    """The only generation loop in the library."""
    state = process.init(blank, rng=rng.split("init"), given=given)
    rng = rng.split("step")
    while not bool(state.done.all()):
        state = process.step(net, state, rng=rng.fold(state.at))
        if watch is not None:
            watch(state)
    return state.tokens


def dues_of(dues: Mapping[str, Tensor], count: Tensor) -> dict[str, Tensor]:
    """A backbone's dues as sums, to stand beside "main" under the same count."""
    return {name: value * count for name, value in dues.items()}


def begun(tokens: Tokens) -> dict[str, Tensor]:
    """The common fields of a fresh state."""
    rows, device = tokens.batch, tokens.doc.device
    return {
        "at": torch.zeros(rows, dtype=torch.long, device=device),
        "progress": torch.zeros(rows, device=device),
        "done": torch.zeros(rows, dtype=torch.bool, device=device),
    }
