"""What looks along a sequence at the place before: it asks that there is one, and remembers the last rows."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ..core.errors import PatternUnsupported, TurnError
from ..core.net import Env
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


class ShortConv(nn.Module):
    """y_t = sum over j < taps of w_j x_(t-j), a weight a channel and tap, along the sequence and never across documents
    (Primer's multi-DConv-head attention, arXiv:2109.08668, section 4; at the start w_0 = 0.5 and the others 0.5 / taps, as in the official code).

    w = (1, 0, 0) changes nothing. x (B, L, C). A session remembers the last taps - 1 rows.
    """

    def __init__(self, channels: int, taps: int = 3):
        super().__init__()
        self.taps = taps
        self.weight = nn.Parameter(torch.cat([torch.full((1, channels), 0.5), torch.full((taps - 1, channels), 0.5 / taps)]))
        self.name = ""  # set by the network: where this part keeps its memory
        self.plain = False

    def forward(self, x: Tensor, env: Env) -> Tensor:
        in_order(env, "ShortConv", packed=True)
        back = self.taps - 1
        before, doc = x.new_zeros(x.shape[0], back, x.shape[2]), torch.full_like(env.doc[:, :1], -1).expand(-1, back)
        record = env.record
        if record is not None and record.used:
            tail: Tail | None = record.blocks.get(self.name)
            if tail is None or tail.used != record.used:
                raise TurnError("ShortConv remembers the last rows only and cannot forget a part of them; open another session")
            before, doc = tail.kept.to(x.dtype), tail.doc
        rows, docs = torch.cat([before, x], 1), torch.cat([doc.expand(x.shape[0], -1), env.doc], 1)
        length = x.shape[1]
        y = x * self.weight[0].to(x.dtype)
        for j in range(1, self.taps):
            here = slice(back - j, back - j + length)
            same = (docs[:, here] == env.doc).unsqueeze(-1)
            y = y + torch.where(same, rows[:, here], 0.0) * self.weight[j].to(x.dtype)
        if record is not None and env.remember:
            record.blocks[self.name] = Tail(rows[:, length:].detach(), docs[:, length:], record.used + length)
        return y
