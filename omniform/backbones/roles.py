"""What is known and what is asked for as two kinds of tokens, from the first map on."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor, nn

from ..core.errors import PatternUnsupported
from ..core.net import Block, Env
from ..core.spec import Spec
from ..core.tokens import Space
from .norms import AdaLN, norm
from .streams import Streams


class ByRole(Block):
    """A stack to which known places are tokens of kind 0 and all others tokens of kind 1, each with weights of its own; attention is over both.

    The joint transformer of LaVin-DiT (arXiv:2411.11505, section 3.3, and dit.py of its code), where the known are the pictures of the context and the query:
    a linear map and a LayerNorm a role take content (B, L, C), in the first channels of x (B, L, D) (embed.Bare), to the stream; the time is told beside a
    learned vector a role, (B, 2, D) for the blocks of `stack` (blocks.Sandwich with kinds=2); at the end an RMS norm is stretched by what the asked are told.
    With equal weights, and vectors, in both roles it is one transformer over all places.
    """

    def __init__(self, width: int, space: Space, stack: Spec):
        super().__init__()
        self.channels = space.channels
        self.enter = Streams(1, lambda: nn.Sequential(nn.Linear(self.channels, width), nn.LayerNorm(width)), kinds=2)
        self.roles = nn.Parameter(torch.randn(2, width) * 0.02)
        self.stack = stack.build(width=width, space=space)
        self.norm, self.scale = norm("rms", width, affine=False), AdaLN(width, 1)

    def forward(self, x: Tensor, env: Env) -> Tensor:
        if env.record is not None or env.prefix or env.modulation is None or env.modulation.shape[1] != 1:
            raise PatternUnsupported("ByRole remembers nothing and is told one time a row, without a prefix; use a Flow that tells clean places no time")
        told = env.modulation + self.roles.to(env.modulation)
        env = replace(env, kind=(~env.known).long().expand(len(x), -1), modulation=told)
        x = self.stack(self.enter.through(x[..., : self.channels], env), env)
        return self.norm(x) * (1 + self.scale(told[:, 1:])[0])
