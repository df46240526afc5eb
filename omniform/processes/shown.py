"""Which places a flow is shown clean while it learns, so that they can be given later."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from ..core.errors import BadArgument
from ..core.rng import Rng
from ..core.tokens import Space

_FOURTH, _KEPT, _FEW = 4, 0.2, 0.1
"""VDT's code: every fourth frame is shown for interpolation; of random frames a fifth. FAR (arXiv:2503.19325) and its code: a tenth."""

Draw = Callable[[Tensor, Tensor], Tensor]
KINDS: dict[str, Draw] = {
    "nothing": lambda one, each: torch.zeros_like(each, dtype=torch.bool),
    "first": lambda one, each: (_number(each) < 1).expand_as(each),
    "all_but_last": lambda one, each: (_number(each) < each.shape[1] - 1).expand_as(each),
    "past": lambda one, each: (_number(each) < each.shape[1] // 2).expand_as(each),
    "future": lambda one, each: (_number(each) >= each.shape[1] // 2).expand_as(each),
    "every_fourth": lambda one, each: (_number(each) % _FOURTH == 0).expand_as(each),
    "one": lambda one, each: _number(each) == (one * each.shape[1]).long(),
    "some": lambda one, each: each < _KEPT,
    "few": lambda one, each: each < _FEW,
    "around": lambda one, each: _around(one, each),
}
"""one (B, 1) and each (B, n) uniform in [0, 1) -> (B, n) bool: which of n frames are shown."""


def _number(each: Tensor) -> Tensor:
    return torch.arange(each.shape[1], device=each.device)[None]


def _around(one: Tensor, each: Tensor) -> Tensor:
    """All but a span of 25 % to 100 % of the frames (EzAudio, arXiv:2409.10819, section 2.3)."""
    num = each.shape[1]
    span = ((0.25 + 0.75 * one) * num).ceil()
    first = (each[:, :1] * (num - span + 1)).floor()
    return (_number(each) < first) | (_number(each) >= first + span)


class Shown:
    """Unified masks (VDT, arXiv:2305.13311, section 3.3 and code, without its rectangles): a row is shown what one of `kinds` says, drawn with `shares`, along
    an axis.

    Shown places are clean, count nothing, and are never asked for. told: they are told a time without noise, each its own (LTX-Video, arXiv:2501.00103,
    section 2.4); else the time of their row. With ("nothing",) a flow that is shown nothing.
    """

    def __init__(self, kinds: tuple[str, ...], shares: tuple[float, ...] | None = None, axis: str = "frame", told: bool = False, space: Space | None = None):
        unknown = [k for k in kinds if k not in KINDS]
        if unknown or not kinds:
            raise BadArgument(f"what is shown is any of {', '.join(KINDS)}, not {unknown or kinds!r}")
        self.kinds, self.axis, self.told = tuple(kinds), 0 if space is None else space.axis(axis), told
        self.shares = torch.tensor(shares or (1.0,) * len(kinds), device="cpu").cumsum(0)
        if len(self.shares) != len(kinds):
            raise BadArgument(f"expected a share for each of the {len(kinds)} kinds, found {len(self.shares)}")

    def drawn(self, coord: Tensor, rng: Rng) -> Tensor:
        """(B, L) bool for places at coord (B, L, A)."""
        rows = coord.shape[0]
        frames, frame = torch.unique(coord[0, :, self.axis], return_inverse=True)
        which = torch.searchsorted(self.shares / self.shares[-1], rng.split("kind").uniform((rows, 1)).cpu(), right=True).to(coord.device)
        one, each = (rng.split(n).uniform(s).to(coord.device) for n, s in (("one", (rows, 1)), ("each", (rows, len(frames)))))
        known = torch.zeros_like(each, dtype=torch.bool)
        for number, kind in enumerate(self.kinds):
            known = known | ((which == number) & KINDS[kind](one, each))
        return known[:, frame]
