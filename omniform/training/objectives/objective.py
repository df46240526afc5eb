"""What an objective is: a hook before and after each step, the loss in between, and parameters of its own."""

from __future__ import annotations

from abc import ABC
from typing import Any, ClassVar

from torch import nn

from omniform.backbones.stack import Stack
from omniform.core.batch import Batch
from omniform.core.errors import BadArgument
from omniform.core.process import Losses
from omniform.core.rng import Rng
from omniform.system.system import System


class Objective(nn.Module, ABC):
    """A way to learn. Its parameters are the main player's, are saved with a checkpoint, and are not in the system that comes out.

    raw: whether it needs data as it comes, so that tokens cannot be made once.
    """

    raw: ClassVar[bool] = False

    def begin(self, system: Any, *, fresh: bool) -> None:
        """Before the first step; fresh: the run does not go on with an earlier one."""

    def before(self, system: Any, share: float) -> None:
        """Before each step, when this share of the run is over."""

    def loss(self, system: Any, batch: Batch, *, rng: Rng) -> tuple[Losses, ...]:
        """What a batch costs each player."""
        return system.loss(batch, rng=rng)

    def after(self, system: Any, step: int) -> None:
        """After each step, the step-th."""

    def end(self, system: Any) -> None:
        """After the last step: the system is as it was but for its weights."""

    def rate(self, name: str) -> float:
        """What the learning rate of this parameter of the system is multiplied with."""
        return 1.0


def of_a_system(system: Any, who: str) -> System:
    """The system, if it has a network whose inside can be named."""
    if not isinstance(system, System):
        raise BadArgument(f"{who} learns with a network and a process; {type(system).__name__} has none")
    return system


def depth_of(system: System) -> int:
    """How many blocks its backbone has."""
    backbone = next(iter(system.network.towers.values())).backbone
    if not isinstance(backbone, Stack):
        raise BadArgument("the backbone of this system is no Stack; name the blocks that are tapped, as student='block.2'")
    return len(backbone.blocks)


def tap_at(system: System, path: str | None, share: float) -> str:
    """The path of a tap; None: after this share of the blocks."""
    return path if path is not None else f"block.{max(1, round(depth_of(system) * share)) - 1}"


class Listening:
    """A net that keeps what it was asked and what it answered."""

    def __init__(self, net: Any):
        self.net, self.heard = net, []  # type: ignore[var-annotated]

    def __call__(self, query: Any, *, remember: bool = False) -> Any:
        answer = self.net(query, remember=remember)
        self.heard.append((query, answer))
        return answer

    def forget(self, turn: Any) -> None:
        self.net.forget(turn)

    def fork(self, rows: Any) -> Any:
        return Listening(self.net.fork(rows))


def heard(system: System, batch: Batch, taps: frozenset[str], rng: Rng) -> tuple[tuple[Losses, ...], Any, Any, Any]:
    """The system's own loss, the tokens, and its first question with the answer, taps in it."""
    tokens, context = system.read(batch, rng=rng)
    net = Listening(system.network.open(context, taps=taps))
    losses = system.process.loss(net, tokens, rng=rng.split("process"))
    if not net.heard:
        raise BadArgument(f"{type(system.process).__name__} asked nothing, so there is nothing to tap")
    query, answer = net.heard[0]
    for tap in taps:
        if tap not in answer.taps:
            raise BadArgument(f"the backbone has nothing to tap at {tap!r}; write block.0 to block.{depth_of(system) - 1}")
    return (losses if isinstance(losses, tuple) else (losses,)), tokens, query, answer


def added(losses: tuple[Losses, ...], name: str, mean: Any) -> tuple[Losses, ...]:
    """A mean beside the main player's parts, as a sum under their count."""
    return tuple(Losses({**x.parts, name: mean * x.count}, x.count, x.player) if x.player == "main" else x for x in losses)
