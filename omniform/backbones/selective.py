"""Selective state spaces: a linear recurrence whose coefficients each token says itself."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..core.errors import BadArgument, TurnError
from ..core.net import Block, Env
from .sequence import ShortConv, Tail, in_order

_LARGE = 1 << 13  # numbers of all rows at a place, from which on one place after another is the faster way on a CPU's core: ours, as measured on one


def run(keep: Tensor, new: Tensor, start: Tensor, chunk: int | None = None) -> Tensor:
    """h_t = keep_t h_(t-1) + new_t along the second dimension, from h_0 = start: (B, L, ...) of both and (B, ...) -> (B, L, ...).

    In chunks: all chunks go their way at once as if they began with nothing, then each is told, one after another, what came before it. That is 2 sqrt(L)
    steps for L; with a chunk of L it is the recurrence itself. Nothing is divided by, so that nothing can overflow that the recurrence would not.
    """
    length = new.shape[1]
    if chunk is None:
        chunk = length if start.numel() >= _LARGE and not start.is_cuda else 1 << round(math.log2(max(length, 1)) / 2)
    more = -length % chunk
    keep, new = (F.pad(x, (0, 0) * (x.dim() - 2) + (0, more)) for x in (keep, new)) if more else (keep, new)
    h, kept = new.unflatten(1, (-1, chunk)).clone(), keep.unflatten(1, (-1, chunk))
    if h.shape[1] == 1:
        h[:, 0, 0].addcmul_(kept[:, 0, 0], start)
    for i in range(1, chunk):
        h[:, :, i].addcmul_(kept[:, :, i], h[:, :, i - 1])
    if h.shape[1] > 1:
        since = kept.clone()
        for i in range(1, chunk):
            since[:, :, i].mul_(since[:, :, i - 1])
        before = start
        for each, past in zip(h.unbind(1), since.unbind(1), strict=True):
            each.addcmul_(past, before.unsqueeze(1))
            before = each[:, -1]
    return h.flatten(1, 2)[:, :length]


class _Scan(torch.autograd.Function):
    """`run`, and its derivative, which is the same recurrence from the end: g_t + keep_(t+1) u_(t+1)."""

    @staticmethod
    def forward(ctx: Any, keep: Tensor, new: Tensor, start: Tensor) -> Tensor:
        h = run(keep, new, start)
        ctx.save_for_backward(keep, start, h)
        return h

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        keep, start, h = ctx.saved_tensors
        later = torch.cat([keep[:, 1:], torch.zeros_like(keep[:, :1])], 1)
        u = scan(later.flip(1), grads[0].flip(1), torch.zeros_like(start)).flip(1)
        return u * torch.cat([start.unsqueeze(1), h[:, :-1]], 1), u, keep[:, 0] * u[:, 0]


def scan(keep: Tensor, new: Tensor, start: Tensor) -> Tensor:
    """`run`, to be differentiated as often as one likes."""
    return _Scan.apply(keep, new, start) if torch.is_grad_enabled() else run(keep, new, start)


class SelectiveScan(Block):
    """A gated map around a selective state space: [x, z] = W u, x through a short convolution and SiLU, y of the scan, and out the map of y SiLU(z).

    Each of E = expand x width channels has `states` numbers h: h_t = exp(d_t A) h_(t-1) + d_t x_t B_t and y_t = C_t . h_t + D x_t, where A < 0 and D are
    learned, B_t and C_t (for all channels alike) are linear in x_t, and d_t = softplus of a map of it of rank `rank` (None: width / 16, rounded up). Mamba,
    arXiv:2312.00752, algorithm 2, figure 3 and sections 3.4 and 3.6; discretized and started as in the official code (mamba_simple.py): B_t by Euler's step,
    A at -1, -2, ..., D at 1, d log-uniform from 0.001 to 0.1. bias: of the maps in and out.

    (B, L, D) -> (B, L, D), cost linear in L. It reads a sequence: other orders are PatternUnsupported. A session remembers h and the last rows of the
    convolution, whatever the length; that cannot be forgotten in part (TurnError). Documents packed in a row do not see one another; padding changes nothing.
    The scan is in single precision at least. Weight decay leaves A alone (official code): it would draw all channels to one memory.
    """

    undecayed = ("decay",)

    def __init__(self, width: int, states: int = 16, expand: int = 2, taps: int = 4, rank: int | None = None, bias: bool = False):
        super().__init__()
        if min(states, expand, taps) < 1:
            raise BadArgument(f"a selective scan has states, expand and taps from 1 on, not {states}, {expand} and {taps}")
        inner, rank = expand * width, rank or math.ceil(width / 16)
        self.sizes = (rank, states, states)
        self.enter = nn.Linear(width, 2 * inner, bias=bias)
        self.conv = ShortConv(inner, taps, bias=True)
        self.says = nn.Linear(inner, sum(self.sizes), bias=False)
        # no nn.Linear, which a network's start would draw anew: how long a channel remembers begins here
        self.rate = nn.Parameter((2 * torch.rand(inner, rank) - 1) * rank**-0.5)
        step = torch.exp(math.log(1e-3) + torch.rand(inner) * math.log(100.0)).clamp(min=1e-4)
        self.rate_bias = nn.Parameter(step + torch.log(-torch.expm1(-step)))
        self.decay = nn.Parameter(torch.arange(1, states + 1, dtype=torch.float32).log().repeat(inner, 1))
        self.skip = nn.Parameter(torch.ones(inner))
        self.out = nn.Linear(inner, width, bias=bias)

    def forward(self, x: Tensor, env: Env) -> Tensor:
        in_order(env, type(self).__name__, packed=True)
        x, gate = self.enter(x).chunk(2, -1)
        x = F.silu(self.conv(x, env))
        y = self._scanned(x, env)
        return self.out(y.to(gate.dtype) * F.silu(gate))

    def _scanned(self, x: Tensor, env: Env) -> Tensor:
        """(B, L, E) -> (B, L, E), and the state remembered if it is to be."""
        rate, enters, leaves = self.says(x).split(self.sizes, -1)
        wide = torch.promote_types(x.dtype, torch.float32)
        step = F.softplus(F.linear(rate, self.rate).to(wide) + self.rate_bias.to(wide))
        state, doc = self._past(x, env, wide)
        latest = torch.cat([doc, env.doc], 1).cummax(1).values  # the document that was read last, at each place and before it
        begins = (env.doc != latest[:, :-1]) & (env.doc >= 0)
        step = torch.where((env.doc >= 0)[..., None], step, 0.0)
        keep = torch.exp(step[..., None] * -self.decay.to(wide).exp())
        if bool((begins & (latest[:, :-1] >= 0)).any()):
            keep = torch.where(begins[..., None, None], 0.0, keep)
        x = x.to(wide)
        h = scan(keep, (step * x)[..., None] * enters.to(wide)[:, :, None], state)
        y = (h * leaves.to(wide)[:, :, None]).sum(-1) + self.skip.to(wide) * x
        if env.record is not None and env.remember:
            env.record.blocks[self.name] = Tail(h[:, -1].detach(), latest[:, -1:], env.record.used + x.shape[1])
        return y

    def _past(self, x: Tensor, env: Env, wide: torch.dtype) -> tuple[Tensor, Tensor]:
        """The state (B, E, N) and the document (B or 1, 1) that was read last."""
        record = env.record
        if record is None or not record.used:
            return x.new_zeros(x.shape[0], x.shape[2], self.sizes[1], dtype=wide), torch.full_like(env.doc[:, :1], -1)
        tail: Tail | None = record.blocks.get(self.name)
        if tail is None or tail.used != record.used:
            raise TurnError(f"{type(self).__name__} remembers one state and cannot forget a part of what made it; open another session")
        return tail.kept.to(wide), tail.doc.expand(env.doc.shape[0], -1)
