"""Experts that the time alone chooses, about whole blocks; and what is known beforehand of who should be chosen when."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..core.errors import BadArgument
from ..core.net import Block, Env
from ..core.spec import Spec
from ..core.tokens import Space


class TimedExperts(Block):
    """y = block(m x) + (1 - m) x with m = 1 + sum over the `top` best of `num` linear experts of g_k (W_k x + b_k); g, by the time alone, is not renormalised.

    Switch-DiT (arXiv:2403.09176; official code, models/MoE.py). A fresh one is the block itself. As all tokens of a row share their time, W is mixed once a
    row and applied once: L D^2 + top D^2 multiply-adds where applying each expert costs top L D^2.
    """

    def __init__(self, width: int, block: Spec, num: int = 3, top: int = 2, space: Space | None = None):
        super().__init__()
        if not 1 <= top <= num:
            raise BadArgument(f"a time goes to 1 to {num} experts, not {top}")
        self.top = top
        self.block = block.build(width=width, space=space)
        self.router = nn.Linear(width, num)
        self.weight = nn.Parameter(torch.zeros(num, width, width))
        self.bias = nn.Parameter(torch.zeros(num, width))

    def gates(self, time: Tensor) -> Tensor:
        """(..., D) embedded times -> (..., num) softmax over all experts."""
        return self.router(F.silu(time)).float().softmax(-1)

    def forward(self, x: Tensor, env: Env) -> Tensor:
        if env.time is None or env.time.shape[1] != 1:
            raise BadArgument("TimedExperts needs one time a row; use a process with times (Flow, per='row') and a network with a time embedding")
        weight, chosen = self.gates(env.time[:, 0]).topk(self.top, -1)
        g = weight.to(x.dtype)[:, None]
        mixed = (g @ self.weight[chosen].flatten(2)).unflatten(-1, self.weight.shape[1:])[:, 0]
        m = 1 + x @ mixed + g @ self.bias[chosen]
        return self.block(x * m, env) + (1 - m) * x


class DiffusionPrior(Block):
    """A stack of TimedExperts, and what it owes for choosing others than a window of experts that slides from the first times to the last.

    The window of N top of all N num experts begins at round(((i / (levels - 1))^alpha) N (num - top)) for noise level i; its columns are assigned to experts by
    the least L1 distance to the choices made (Hungarian method), and the due is the Jensen-Shannon divergence between the gates / N and the window / (N top)
    (Switch-DiT, arXiv:2403.09176, diffusion prior loss; constants of the official code). Averaged over all levels and not over those of a batch: the same in
    the mean. weight: the paper's 1 is beside a mean over channels, our loss is half a sum.
    """

    def __init__(self, width: int, stack: Spec, weight: float = 1.0, alpha: float = 4.0, levels: int = 1000, space: Space | None = None):
        super().__init__()
        self.stack = stack.build(width=width, space=space)
        self.weight, self.alpha, self.levels = weight, alpha, levels
        self.routed = [m for m in self.stack.modules() if isinstance(m, TimedExperts)]  # a list: they are the stack's
        if not self.routed:
            raise BadArgument("DiffusionPrior is about TimedExperts; its stack has none")

    def window(self) -> Tensor:
        """(levels, N num) of zeros and ones."""
        each, top = sum(m.router.out_features for m in self.routed), sum(m.top for m in self.routed)
        level = torch.arange(self.levels, dtype=torch.float64) / (self.levels - 1)
        first = (level**self.alpha * (each - top)).round().long()[:, None]
        column = torch.arange(each)
        return ((column >= first) & (column < first + top)).float()

    def divergence(self, time: Tensor) -> Tensor:
        """Of the gates at all levels (levels, D), from the noiseless one on."""
        from scipy.optimize import linear_sum_assignment

        each = [m.gates(time) for m in self.routed]
        made = torch.cat([torch.zeros_like(g).scatter(1, g.topk(m.top, -1).indices, 1.0) for g, m in zip(each, self.routed, strict=True)], 1)
        window = self.window().to(made)
        _, column = linear_sum_assignment(torch.cdist(made.T, window.T, p=1).cpu().numpy())
        p, q = torch.cat(each, 1) / len(each), window[:, torch.as_tensor(column, device=window.device)] / window.sum(1, keepdim=True)
        middle = ((p + q) / 2).clamp(min=1e-6).log()
        apart = lambda r: (r * (r.clamp(min=1e-6).log() - middle)).sum(1)  # noqa: E731
        return (apart(p) + apart(q)).mean() / 2

    def forward(self, x: Tensor, env: Env) -> Tensor:
        y = self.stack(x, env)
        if self.training and self.weight and env.clock is not None and not x.is_meta:
            level = 1 - (torch.arange(self.levels, device=x.device)[:, None] + 1) / self.levels
            env.due("prior", self.weight * self.divergence(env.clock(level)[:, 0]))
        return y
