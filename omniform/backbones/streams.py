"""Weights of their own for the prefix: the text stream of MM-DiT."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from ..core.net import Env


class Streams(nn.Module):
    """One module for all tokens, or two: the first for the sequence, the second for the prefix before it."""

    def __init__(self, num: int, make: Callable[[], nn.Module]):
        super().__init__()
        self.each = nn.ModuleList(make() for _ in range(num))
        self.num = num

    def through(self, x: Tensor, env: Env) -> Tensor:
        """Each token through its own. Not a forward: a module call more costs as much as a small operation, and this stands before every linear map."""
        each = self._modules["each"]._modules  # as self.each[0] finds it, in nine calls less
        if self.num == 1 or env.prefix == 0:
            return each["0"](x)
        return torch.cat([each["1"](x[:, : env.prefix]), each["0"](x[:, env.prefix :])], 1)
