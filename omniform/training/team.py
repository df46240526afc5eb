"""The processes that train one system together: one here, several under `accelerate launch`.

Of accelerate this takes what knows about devices and processes (PartialState, reduce, broadcast) and not
`Accelerator.prepare`, which rewrites the model's forward, wants one forward and one loss a step, and fixes the
precision for the life of the program. Gradients are summed here, once a step: exact by the summed counts, whatever each
process saw.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import final

import torch
from accelerate import PartialState
from accelerate.utils import broadcast, parse_flag_from_env, reduce
from torch import Tensor

from omniform.core.errors import TrainingError


@final
class Team:
    """Who we are among how many, and what we compute on."""

    def __init__(self) -> None:
        self._state = PartialState(cpu=parse_flag_from_env("ACCELERATE_USE_CPU"))  # as accelerate reads it
        launched = int(os.environ.get("WORLD_SIZE", "1"))
        if launched > 1 and self._state.num_processes == 1:
            raise TrainingError(f"{launched} processes were launched and each finds itself alone; on a machine without GPUs set ACCELERATE_USE_CPU=true")
        self.device: torch.device = self._state.device
        self.size: int = self._state.num_processes
        self.rank: int = self._state.process_index
        self.leads: bool = self._state.is_main_process

    def wait(self) -> None:
        """Until everybody is here."""
        self._state.wait_for_everyone()

    def share(self, indices: Tensor) -> Tensor:
        """Our part of a batch."""
        return indices if self.size == 1 else indices.tensor_split(self.size)[self.rank]

    def summed(self, tensor: Tensor) -> Tensor:
        """The sum over everybody."""
        return tensor if self.size == 1 else reduce(tensor, "sum")

    @torch.no_grad()
    def sum_gradients(self, parameters: Sequence[Tensor]) -> None:
        """Everybody's gradients become their sum; one message."""
        if self.size == 1 or not parameters:
            return
        pieces = [torch.zeros_like(p) if p.grad is None else p.grad for p in parameters]
        total = reduce(torch.cat([g.reshape(-1).float() for g in pieces]), "sum")
        for p, piece in zip(parameters, total.split([p.numel() for p in parameters]), strict=True):
            p.grad = piece.reshape(p.shape).to(p.dtype)

    @torch.no_grad()
    def agree(self, tensors: Sequence[Tensor]) -> None:
        """Everybody takes the leader's values."""
        for x in tensors if self.size > 1 else ():
            broadcast(x.data, from_process=0)
