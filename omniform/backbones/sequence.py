"""What looks along a sequence at the place before: it asks that there is one, and remembers the last rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..core.errors import BadArgument, PatternUnsupported, TurnError
from ..core.net import Block, Env
from ..core.query import one_row


def in_order(env: Env, who: str, *, packed: bool = False) -> None:
    """Refuses what is not a sequence: turns that rise by one from place to place, one lane. packed: several documents a row are fine."""
    turn, lane = one_row(env.turn), one_row(env.lane)
    last = None if env.record is None or not env.record.chunks else one_row(env.record.chunks[-1][0])[:, -1:]
    whole = turn if last is None else torch.cat([last.expand(turn.shape[0], -1), turn], 1)
    if env.pattern != "causal" and bool((whole.diff() != 1).any() | lane.any()):
        raise PatternUnsupported(f"{who} reads one token after another, each a turn later than the one before; this process asks otherwise. Use Attention")
    if not packed and env.doc.stride(0) and bool((env.doc > 0).any()):
        raise PatternUnsupported(f"{who} reads one document a row; pack no others behind it")


@dataclass
class Tail:
    """The last rows that were remembered, (B, n, ...), and how many there had been by then."""

    kept: Tensor
    doc: Tensor
    used: int

    def rows(self, index: Tensor) -> Tail:
        """A copy of some rows."""
        return Tail(self.kept[index].clone(), self.doc.expand(self.kept.shape[0], -1)[index].clone(), self.used)


class ShortConv(Block):
    """y_t = sum over j < taps of w_j x_(t-j), a weight a channel and tap, along the sequence and never across documents
    (Primer's multi-DConv-head attention, arXiv:2109.08668, section 4; at the start w_0 = 0.5 and the others 0.5 / taps, as in the official code).

    w = (1, 0, 0) changes nothing. x (B, L, C). A session remembers the last taps - 1 rows. bias: a number a channel is added, and all start as PyTorch's
    convolutions do (Mamba).
    """

    def __init__(self, channels: int, taps: int = 3, bias: bool = False):
        super().__init__()
        self.taps = taps
        self.weight = nn.Parameter(torch.cat([torch.full((1, channels), 0.5), torch.full((taps - 1, channels), 0.5 / taps)]))
        self.bias = nn.Parameter(torch.empty(channels)) if bias else None
        for part in (self.weight, self.bias) if self.bias is not None else ():
            nn.init.uniform_(part, -(taps**-0.5), taps**-0.5)

    def filters(self) -> tuple[Tensor, Tensor | None]:
        """(taps, C) the weights, the newest place first, and (C,) what is added."""
        return self.weight, self.bias

    def forward(self, x: Tensor, env: Env) -> Tensor:
        in_order(env, type(self).__name__, packed=True)
        weight, bias = (None if part is None else part.to(x.dtype) for part in self.filters())
        assert weight is not None
        back = self.taps - 1
        before, doc = x.new_zeros(x.shape[0], back, x.shape[2]), torch.full_like(env.doc[:, :1], -1).expand(-1, back)
        record = env.record
        if record is not None and record.used:
            tail: Tail | None = record.blocks.get(self.name)
            if tail is None or tail.used != record.used:
                raise TurnError(f"{type(self).__name__} remembers the last rows only and cannot forget a part of them; open another session")
            before, doc = tail.kept.to(x.dtype), tail.doc
        rows, docs = torch.cat([before, x], 1), torch.cat([doc.expand(x.shape[0], -1), env.doc], 1)
        length = x.shape[1]
        y = x * weight[0] if bias is None else torch.addcmul(bias, x, weight[0])
        for j in range(1, self.taps):
            here = slice(back - j, back - j + length)
            same = (docs[:, here] == env.doc).unsqueeze(-1)
            y = y + torch.where(same, rows[:, here], 0.0) * weight[j]
        if record is not None and env.remember:
            record.blocks[self.name] = Tail(rows[:, length:].detach(), docs[:, length:], record.used + length)
        return y


class HeadConv(ShortConv):
    """Groups of heads look back differently far: ShortConv over queries, keys and values with one filter for all heads of a group, of its own number of taps
    (Tranception, arXiv:2205.13760, section 3.1: the first quarter of the heads stays as it is, the others have 3, 5 and 7 taps; official code).

    A group's filters are one a channel of a head, with a bias, apart for queries, keys and values; they start as PyTorch's convolutions. One tap: none.
    x (B, L, C), heads side by side, `shares` of them for queries, keys, values. Heads that do not divide into the groups are a BadArgument.
    """

    def __init__(self, channels: int, head_width: int, shares: Sequence[int], taps: Sequence[int] = (1, 3, 5, 7)):
        nn.Module.__init__(self)
        if any(heads % len(taps) for heads in shares) or head_width * sum(shares) != channels or min(taps) < 1:
            raise BadArgument(f"{len(taps)} groups of heads need heads that divide by {len(taps)} and taps from 1, not {tuple(shares)} and taps {tuple(taps)}")
        self.taps, self.groups = max(taps), tuple(taps)
        self.each = [heads // len(taps) for heads in shares]
        start = lambda num, *shape: nn.Parameter(torch.empty(*shape, len(shares), head_width).uniform_(-(num**-0.5), num**-0.5))  # noqa: E731
        self.weights = nn.ParameterList(start(num, num) for num in taps if num > 1)
        self.biases = nn.ParameterList(start(num) for num in taps if num > 1)
        self.head_width = head_width

    def filters(self) -> tuple[Tensor, Tensor | None]:
        still = self.weights[0].new_zeros(self.taps, len(self.each), self.head_width)
        still[0] = 1.0
        learned = iter([(F.pad(w, (0, 0, 0, 0, 0, self.taps - len(w))), b) for w, b in zip(self.weights, self.biases, strict=True)])
        groups = [next(learned) if num > 1 else (still, torch.zeros_like(still[0])) for num in self.groups]
        weight = [w[:, i].repeat(1, n) for i, n in enumerate(self.each) for w, _ in groups]
        bias = [b[i].repeat(n) for i, n in enumerate(self.each) for _, b in groups]
        return torch.cat(weight, 1), torch.cat(bias)
