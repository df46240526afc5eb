"""Weights of their own for the prefix (the text stream of MM-DiT), or for each kind of token (mixture of transformers)."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn

from ..core.errors import BadArgument
from ..core.net import Block, Env


class Streams(nn.Module):
    """One module for all tokens, or two: the first for the sequence, the second for the prefix before it; or `kinds`: one for each kind of token.

    With kinds, tokens are gathered by kind, mapped and put back (arXiv:2411.04996, algorithm 1): each costs what it would cost in a dense model.
    """

    def __init__(self, num: int, make: Callable[[], nn.Module], kinds: int = 0):
        super().__init__()
        if kinds and num > 1:
            raise BadArgument("weights are apart for the prefix (streams) or for the kinds of tokens (kinds), not for both")
        self.each = nn.ModuleList(make() for _ in range(kinds or num))
        self.num, self.kinds = num, kinds
        self.told = isinstance(self.each[0], Block)  # a block is told what blocks are told, any other module its input alone
        if self.told and kinds > 1:
            raise BadArgument("parts that stand in place of linear maps read all tokens; there are none for each kind")

    def through(self, x: Tensor, env: Env) -> Tensor:
        """Each token through its own. Not a forward: a module call more costs as much as a small operation, and this stands before every linear map."""
        each = self._modules["each"]._modules  # as self.each[0] finds it, in nine calls less
        if self.kinds > 1:
            return self._by_kind(x, env)
        if self.num == 1 or env.prefix == 0:
            return each["0"](x, env) if self.told else each["0"](x)
        if self.told:
            return torch.cat([each["1"](x[:, : env.prefix], env), each["0"](x[:, env.prefix :], env)], 1)
        return torch.cat([each["1"](x[:, : env.prefix]), each["0"](x[:, env.prefix :])], 1)

    def _by_kind(self, x: Tensor, env: Env) -> Tensor:
        """x (B, L, D) or (B, H, L, D)."""
        heads = x.dim() == 4
        flat = (x.transpose(1, 2) if heads else x).flatten(0, 1)
        kind = env.kind.flatten()
        made: Tensor | None = None
        for number, module in enumerate(self.each):
            index = (kind == number).nonzero()[:, 0]
            y = module(flat[index])
            made = y.new_empty(flat.shape[0], *y.shape[1:]) if made is None else made
            made = made.index_copy(0, index.to(y.device), y.to(made.dtype))
        assert made is not None
        made = made.unflatten(0, env.kind.shape)
        return made.transpose(1, 2) if heads else made


class Beside(Block):
    """Several parts in place of one linear map: of the same input, their outputs side by side."""

    def __init__(self, maps: Iterable[nn.Module]):
        super().__init__()
        self.maps = nn.ModuleList(maps)

    def forward(self, x: Tensor, env: Env) -> Tensor:
        return torch.cat([each(x, env) for each in self.maps], -1)
