"""A tower that is another one, seeing near places only (MAGNeT)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from ..core.errors import BadArgument
from ..core.net import Env
from ..core.query import one_row
from ..core.tokens import Space
from .network import Branch, Tower


class Near(Branch):
    """Another tower whole, in which a place sees only those at most `reach` away along an axis, and the prefix (MAGNeT, arXiv:2401.04577, section 3.2).

    It has no weights of its own. A reach of the whole axis changes nothing.
    """

    def __init__(self, width: int, space: Space, axis: str, reach: int, of: str = "main"):
        nn.Module.__init__(self)
        if reach < 0:
            raise BadArgument(f"a place sees those at most `reach` away, itself at 0, not {reach}")
        self.of, self.axis, self.reach = of, space.axis(axis), reach
        self._trunk: tuple[Tower, ...] = ()

    @property
    def embed(self) -> Any:
        """The other's."""
        return self._trunk[0].embed

    @property
    def head(self) -> Any:
        """The other's."""
        return self._trunk[0].head

    def backbone(self, x: Tensor, env: Env) -> Tensor:
        """The other's, under a mask."""
        at = one_row(env.coord)[..., self.axis]
        front = torch.arange(at.shape[1], device=at.device) < env.prefix
        near = ((at[:, :, None] - at[:, None]).abs() <= self.reach) | front[:, None] | front
        if env.record is not None or env.pattern == "causal":
            raise BadArgument("Near answers all places at once and remembers nothing; use a process that asks so (Spans)")
        mask = near[:, None] if env.mask is None else env.mask & near[:, None]
        return self._trunk[0].backbone(x, replace(env, pattern="any", mask=mask))
