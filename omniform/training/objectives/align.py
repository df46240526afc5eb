"""Representation alignment: an early block sees in noise what a frozen encoder sees in the clean picture."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar, final

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from omniform.core.batch import Batch
from omniform.core.errors import BadArgument, ShapeError
from omniform.core.process import Losses
from omniform.core.rng import Rng
from omniform.processes.masked import asked
from omniform.system.build import load
from omniform.system.system import System
from omniform.training.objectives.objective import Objective, added, heard, of_a_system, tap_at


@final
class Reader:
    """A trained system as an encoder: what its stream is after a block when all of a clean example is known. (B, *shape) -> (B, L, D)."""

    def __init__(self, system: System, tap: str | None = None):
        self.system = of_a_system(system, "a Reader").eval().requires_grad_(False)
        self.tap = tap_at(system, tap, 0.75)

    @torch.no_grad()
    def __call__(self, data: Tensor) -> Tensor:
        system = self.system
        tokens = system.tokens(data)
        context = system.conditioning.context({}, tokens.batch)
        clean = torch.ones(tokens.batch, 1, device=tokens.doc.device)
        query = asked(tokens, torch.ones_like(tokens.doc, dtype=torch.bool), clean[:, 0], None if system.network.time is None else clean)
        return system.network.open(context, taps=frozenset({self.tap}))(query).taps[self.tap]


class Align(Objective):
    """- weight * mean cos(projector(stream after a block), encoder(clean data)), beside the process's own loss (REPA).

    encoder: (B, *shape) -> (B, N, C) or (B, C, H, W), frozen (`system.sight:PictureEncoder`); or the folder of a trained system, read after the block `read`.
    `train` and `omniform train` take a folder or "hf:OWNER/NAME" of ViT, DINOv2 or CLIP as well. at: the tapped block, else after
    two sevenths of them (8 of 28). projector: Linear, SiLU, Linear, SiLU, Linear of `hidden`. Tokens on another square grid are resized bilinearly.
    Source: arXiv:2410.06940, equation 8, sections 3.3 and 4; the official code's projector. At weight 0 nothing is asked of encoder or projector.
    """

    raw: ClassVar[bool] = True

    def __init__(
        self,
        system: System,
        encoder: Callable[[Tensor], Tensor] | str,
        weight: float = 0.5,
        at: str | None = None,
        hidden: int = 2048,
        read: str | None = None,
    ):
        super().__init__()
        of_a_system(system, "Align")
        if isinstance(encoder, str | Path):
            encoder = Reader(load(encoder), read)  # type: ignore[arg-type]
        if isinstance(encoder, nn.Module):
            encoder.eval().requires_grad_(False)
        self.weight, self.at = weight, tap_at(system, at, 8 / 28)
        self.__dict__["encoder"] = encoder  # not a part of this module: it does not learn and is not saved
        channels, width = self._seen(torch.zeros(1, *system.recipe.shape, device=system.device)).shape[-1], system.network.width
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            self.projector = nn.Sequential(nn.Linear(width, hidden), nn.SiLU(), nn.Linear(hidden, hidden), nn.SiLU(), nn.Linear(hidden, channels))
            for part in self.projector:
                if isinstance(part, nn.Linear):
                    nn.init.xavier_uniform_(part.weight)
                    nn.init.zeros_(part.bias)

    @torch.no_grad()
    def _seen(self, data: Tensor) -> Tensor:
        """(B, N, C)."""
        if isinstance(self.encoder, nn.Module):
            self.encoder.to(data.device)  # nobody else moves what is not a part of this module
        seen = self.encoder(data)
        return seen.flatten(2).transpose(1, 2) if seen.dim() == 4 else seen

    def loss(self, system: System, batch: Batch, *, rng: Rng) -> tuple[Losses, ...]:
        if not self.weight:
            return system.loss(batch, rng=rng)
        if not isinstance(batch.data, Tensor):
            raise BadArgument("Align reads the data itself and was given tokens; train on a data set that is not tokenised")
        losses, tokens, _, answer = heard(system, batch, frozenset({self.at}), rng)
        said = self.projector(answer.taps[self.at].to(self.projector[0].weight.dtype))
        seen = on_grid(self._seen(batch.data.to(said.device)), tokens.length).to(said)
        near = F.cosine_similarity(said.float(), seen.float(), dim=-1)
        return added(losses, "align", -self.weight * (near * tokens.real).sum() / tokens.real.sum())


def on_grid(seen: Tensor, length: int) -> Tensor:
    """(B, N, C) -> (B, length, C): as it is, or from one square grid to another."""
    if seen.shape[1] == length:
        return seen
    old, new = round(seen.shape[1] ** 0.5), round(length**0.5)
    if old * old != seen.shape[1] or new * new != length:
        raise ShapeError(f"an encoder of {seen.shape[1]} places cannot be laid on {length} tokens: both must be squares, or equally many")
    grid = seen.transpose(1, 2).unflatten(2, (old, old))
    resized: Any = F.interpolate(grid.float(), (new, new), mode="bilinear", align_corners=False)
    return resized.flatten(2).transpose(1, 2).to(seen)
