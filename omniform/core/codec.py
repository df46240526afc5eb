"""Data to tokens and back."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import torch
from torch import Tensor, nn

from .errors import CodecError, ShapeError
from .process import Losses
from .rng import Rng
from .tokens import Space, Tokens


class Codec(nn.Module, ABC):
    """What a system's tokens are made of. It owns its scaling: continuous tokens have unit variance by contract.

    shape: of one example, without the batch ((C, H, W) images, (T, C, H, W) video, (characters,) text). space: where its tokens live.
    """

    shape: tuple[int, ...]
    space: Space
    reads: tuple[str, ...] = ()
    """Conditions that are tokens here (a caption beside its picture): they come before the data, as Parts."""

    @abstractmethod
    def encode(self, data: Any, *, rng: Rng | None = None) -> Tokens:
        """Data to tokens; rng None: the mode of a stochastic encoder."""

    @abstractmethod
    def decode(self, tokens: Tokens) -> Any:
        """Tokens to data."""

    def log_scale(self) -> float | None:
        """The logarithm of what data are multiplied by, where becoming tokens is only that and a shift; else None."""
        return None

    def prompt(self, data: Any) -> Tokens:
        """What texts begin with, as tokens to go on from."""
        raise CodecError(f"{type(self).__name__} reads no text, so there is nothing to go on with; leave the prompt out")

    def _checked(self, data: Any) -> Tensor:
        """Data as a tensor of this codec's shape."""
        if not isinstance(data, Tensor) or tuple(data.shape[1:]) != tuple(self.shape):
            found = f"shape {tuple(data.shape)}" if isinstance(data, Tensor) else type(data).__name__
            raise ShapeError(
                f"{type(self).__name__} expects a batch of {tuple(self.shape)} and found {found}; "
                f"resize the data or build the system with shape={tuple(data.shape[1:]) if isinstance(data, Tensor) else '...'}"
            )
        if not data.is_floating_point():
            raise ShapeError(f"{type(self).__name__} expects floats in [-1, 1] and found {data.dtype}; divide bytes by 127.5 and subtract 1")
        return data


class LearnedCodec(Codec):
    """A codec that is trained, by the same trainer as everything else. The learned weights may be several players' (a discriminator)."""

    @abstractmethod
    def loss(self, data: Any, *, rng: Rng) -> tuple[Losses, ...]:
        """What a batch of data costs each player."""

    @torch.no_grad()
    def settle(self, data: Any) -> None:
        """After training, on a large batch of data: measure what the contract of unit variance needs. Nothing to do for most."""


def player_parameters(module: nn.Module) -> dict[str, list[nn.Parameter]]:
    """Parameters by player: a submodule with an attribute `player` belongs to it with all below, everything else to "main"."""
    owner: dict[int, str] = {}
    for sub in module.modules():
        if isinstance(getattr(sub, "player", None), str):
            owner.update({id(p): sub.player for p in sub.parameters()})
    players: dict[str, list[nn.Parameter]] = {"main": []}
    for p in module.parameters():
        if p.requires_grad:
            players.setdefault(owner.get(id(p), "main"), []).append(p)
    return players
