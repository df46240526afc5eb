"""Depth that is learned: which few of a group of blocks stay."""

from __future__ import annotations

import copy
from itertools import combinations

import torch
from torch import Tensor, nn

from ..core.errors import BadArgument
from ..core.net import Block, Env
from ..core.spec import Spec
from ..core.tokens import Space
from .low_rank import lowered, plain


class LearnedDepth(Block):
    """`num` blocks of which `keep` stay: N:M pruning of depth (TinyFusion, arXiv:2412.01199, section 3).

    In training each row draws a subset by Gumbel-softmax, hard with a straight-through gradient, from logits times `scaling` at a temperature that falls over
    the first `over` questions; x <- m block(x) + (1 - m) x. Otherwise the likeliest subset runs and nothing else, which is the shortened network.
    rank > 0: the blocks' linear maps are frozen and learn an update of that rank, which simulates the fine-tuning to come and is thrown away (official code:
    8, alpha 16). With keep == num it is the blocks one after the other.
    """

    def __init__(
        self,
        width: int,
        block: Spec,
        num: int,
        keep: int,
        rank: int = 0,
        temperature: tuple[float, float] = (4.0, 0.1),
        over: int = 10_000,
        scaling: float = 100.0,
        space: Space | None = None,
    ):
        super().__init__()
        if not 1 <= keep <= num:
            raise BadArgument(f"of {num} blocks 1 to {num} are kept, not {keep}")
        self.blocks = nn.ModuleList(block.build(width=width, space=space) for _ in range(num))
        if rank:
            lowered(self.blocks, rank, 2.0 * rank)
        subsets = list(combinations(range(num), keep))
        self.logits = nn.Parameter(torch.full((len(subsets),), 0.02)) if keep < num else None
        self.register_buffer("subsets", torch.tensor([[float(i in s) for i in range(num)] for s in subsets]), persistent=False)
        self.register_buffer("asked", torch.zeros((), dtype=torch.long))
        self.temperature, self.over, self.scaling = temperature, over, scaling
        self._subsets = subsets

    def kept(self) -> tuple[int, ...]:
        """The blocks of the likeliest subset."""
        return self._subsets[0 if self.logits is None or self.logits.is_meta else int(self.logits.argmax())]

    def survivors(self) -> list[Block]:
        """The blocks that stay, without their updates."""
        return [plain(copy.deepcopy(self.blocks[i])) for i in self.kept()]  # type: ignore[misc]

    def forward(self, x: Tensor, env: Env) -> Tensor:
        if self.logits is None or not self.training:
            for number in self.kept():
                x = self.blocks[number](x, env)
            return x
        first, last = self.temperature
        tau = first + (last - first) * min(1.0, int(self.asked) / self.over)
        self.asked += 1
        chance = (self.logits * self.scaling).float().expand(x.shape[0], -1)
        mask = nn.functional.gumbel_softmax(chance, tau, hard=True) @ self.subsets
        for block, m in zip(self.blocks, mask.unbind(1), strict=True):
            x = x + m[:, None, None].to(x.dtype) * (block(x, env) - x)
        return x
