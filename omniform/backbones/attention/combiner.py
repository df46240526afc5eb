"""Full attention at sparse cost: a few places one by one, all others by the span."""

from __future__ import annotations

from functools import lru_cache
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn

from ...core.errors import BadArgument
from ...core.net import KV, Block, Env
from ..positions import rotate
from ..sequence import in_order
from .attention import _heads

Plan = Literal["fixed", "logsparse", "axial"]


class Spans(NamedTuple):
    """Who looks at what, -1 where there is nothing more: direct (N, D) places, seen (N, R) spans; a span (S,) is `sizes` places from `first` on, `step` apart.

    All places of all spans written out would be the square of the places.
    """

    direct: Tensor
    seen: Tensor
    first: Tensor
    step: Tensor
    sizes: Tensor

    @property
    def ends(self) -> Tensor:
        """(S,) the last place of each span."""
        return self.first + self.step * (self.sizes - 1)

    def members(self, which: Tensor) -> Tensor:
        """(n, M) places of n spans of equal size."""
        return self.first[which, None] + self.step[which, None] * torch.arange(int(self.sizes[which[0]]), device="cpu")


def _packed(rows: list[list[int]]) -> Tensor:
    most = max(map(len, rows), default=0)
    return torch.tensor([row + [-1] * (most - len(row)) for row in rows], dtype=torch.long, device="cpu").reshape(len(rows), most)


@lru_cache(maxsize=64)
@torch.inference_mode(False)  # kept for training too
def spans(plan: Plan, size: int, num: int) -> Spans:
    """The partition of what each of `num` places sees (arXiv:2107.05768, sections 4.1 to 4.3): itself and the rest exactly once. Spans come in the order in
    which they are finished."""
    direct: list[list[int]] = []
    wanted: list[list[range]] = []
    for i in range(num):
        row, column = divmod(i, size)
        if plan == "fixed":
            direct.append(list(range(row * size, i + 1)))
            wanted.append([range(r * size, (r + 1) * size) for r in range(row)])
        elif plan == "axial":
            direct.append([*range(column, row * size, size), *range(row * size, i + 1)])
            wanted.append([range(c, row * size, size) for c in range(size) if c != column and row])
        else:
            low, parts = 0, []
            for bit in reversed(range(1, num.bit_length())):
                if i >> bit & 1:
                    parts.append(range(low, low + (1 << bit)))
                    low += 1 << bit
            direct.append([*range(low, i), i])
            wanted.append(parts)
    every = sorted({span for row in wanted for span in row}, key=lambda span: (span[-1], span[0]))
    number = {span: n for n, span in enumerate(every)}
    each = torch.tensor([(span[0], span.step, len(span)) for span in every], dtype=torch.long, device="cpu").reshape(-1, 3)
    return Spans(_packed(direct), _packed([[number[span] for span in row] for row in wanted]), *each.unbind(1))


class Combiner(Block):
    """Attention as a conditional expectation (arXiv:2107.05768, section 3, equations 8 and 9): a place attends to `direct` places and, in the same softmax, to
    spans of all others, by the maximum of a span's keys; what it gets of a span is the span's own attention, asked by the maximum of its queries. So every
    earlier place has a weight above zero.

    plan "fixed": spans of `size` places; "logsparse": spans of a power of two, as in the binary number of the place; "axial": rows of `size` places, its own
    row and column one by one and the columns above the others as spans (the paper's "vertical"). A span of everything, or spans of one place, are full
    attention. For sequences of one document in their order. A session remembers keys, values, queries, and two vectors a finished span.
    """

    uneven = True

    def __init__(self, width: int, heads: int, plan: Plan = "fixed", size: int = 16, biases: str = ""):
        super().__init__()
        if plan not in ("fixed", "logsparse", "axial") or size < 1:
            raise BadArgument(f"a plan is 'fixed', 'logsparse' or 'axial' with a size of one or more, not {plan!r} with {size}")
        self.heads, self.plan, self.size = heads, plan, size
        _, self.head_width = _heads(width, heads, None, None)
        self.qkv, self.out = nn.Linear(width, 3 * width, bias="q" in biases), nn.Linear(width, width, bias="o" in biases)

    def forward(self, x: Tensor, env: Env) -> Tensor:
        in_order(env, "Combiner")
        q, k, v = (y.unflatten(-1, (self.heads, -1)).transpose(1, 2) for y in self.qkv(x).chunk(3, -1))
        if env.rotation is not None:
            q, k = rotate(q, env.rotation), rotate(k, env.rotation)
        q = q * self.head_width**-0.5
        used = 0 if env.record is None else env.record.used
        num = used + x.shape[1]
        asked, both = q, torch.cat([k, q], -1)
        past = None if env.record is None or not (used or env.remember) else env.record.blocks
        if past is not None:
            both, v = past.setdefault(self.name, KV(0)).write(both, v, used)
        k, q = both.chunk(2, -1)
        plan = spans(self.plan, self.size, num if past is None else max(64, 1 << (num - 1).bit_length()))
        before, ready = (int((plan.ends < n).sum()) for n in (used, num))
        keys, values = self._spans(q, k, v, plan, torch.arange(before, ready, device="cpu"))
        if past is not None:
            keys, values = past.setdefault(self.name + ".spans", KV(0)).write(keys, values, before)
        near, far = (_trimmed(index[used:num]).to(x.device) for index in (plan.direct, plan.seen))
        score = torch.cat([_scores(asked, k, near), _scores(asked, keys, far)], -1)
        weight = score.float().softmax(-1).to(v.dtype).split([near.shape[1], far.shape[1]], -1)
        y = _weighed(weight[0], v, near) + _weighed(weight[1], values, far)
        return self.out(y.transpose(1, 2).flatten(2))

    @staticmethod
    def _spans(q: Tensor, k: Tensor, v: Tensor, plan: Spans, wanted: Tensor) -> tuple[Tensor, Tensor]:
        """(B, H, S, Dh) each: a span's key, and its own expectation of the values."""
        if not len(wanted):
            return k[:, :, :0], v[:, :, :0]
        sizes, keys, values = plan.sizes[wanted], [], []
        order = sizes.argsort(stable=True)
        for alike in order.split(sizes.unique(return_counts=True)[1].tolist()):  # by size: filled up to the longest, spans of powers of two cost the square
            at = plan.members(wanted[alike]).to(k.device)
            keys.append(k[:, :, at].amax(-2))
            values.append(_weighed(_scores(q[:, :, at].amax(-2), k, at).float().softmax(-1).to(v.dtype), v, at))
        back = order.argsort().to(k.device)
        return torch.cat(keys, 2)[:, :, back], torch.cat(values, 2)[:, :, back]


def _trimmed(index: Tensor) -> Tensor:
    """Without the columns in which no row has anything."""
    return index[:, : int((index >= 0).sum(-1).max())] if index.numel() else index[:, :0]


def _scores(q: Tensor, k: Tensor, at: Tensor) -> Tensor:
    """q (B, H, N, Dh) with k at (N, D) -> (B, H, N, D); -inf where there is nothing."""
    if not at.shape[1]:
        return q.new_empty(*q.shape[:3], 0)
    return torch.einsum("bhnd,bhnkd->bhnk", q, k[:, :, at.clamp(min=0)]).masked_fill(at < 0, -torch.inf)


def _weighed(weight: Tensor, v: Tensor, at: Tensor) -> Tensor:
    """Sums of v at (N, D) with weights (B, H, N, D)."""
    if not at.shape[1]:
        return v.new_zeros(*weight.shape[:3], v.shape[-1])
    return torch.einsum("bhnk,bhnkd->bhnd", weight, v[:, :, at.clamp(min=0)])
