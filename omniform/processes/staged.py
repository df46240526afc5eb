"""Scale by scale, one flow in pieces: each scale goes on where the coarser one ended (E-CAR)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ..core.distribution import Head
from ..core.errors import BadArgument
from ..core.net import Net
from ..core.process import Losses, Process, dues_of
from ..core.rng import Rng
from ..core.spec import Spec
from ..core.tokens import Space, Tokens
from .autoregress import Autoregress, Growing
from .feeds import taken


@dataclass(frozen=True)
class Carried(Growing):
    """state: (B, n, C) the last scale's tokens where its piece of the flow ended, with their noise; None before the first."""

    noisy: Tensor | None = None


class Staged(Autoregress):
    """Each scale is carried over its own piece of the way from noise to data; the finest alone arrives (E-CAR, arXiv:2412.14170, section 3).

    Scale k of the data is D_k; its piece begins at s_k U(D_{k-1}) + (1 - s_k) e and ends at r_k D_k + (1 - r_k) e, where U repeats each place of the
    coarser scale over a square and s = starts rise from 0. The network is asked once a scale, causally over the scales, and is fed what the coarser
    scales ended as; its answer, a field, is asked for the velocity `steps` times. Between the pieces the square's mean is kept and noise with correlation
    -1/3 within 2 x 2 blocks is added, so that mean and covariance are those that were learned: r_{k-1} = 2 s_k / (1 + s_k) and a factor sqrt(3)/2 (1 - s_k)
    (pyramidal flow matching, arXiv:2410.05954, section 3.2 and appendix; the paper's own constants could not be read). With a single scale it is a
    flow over all tokens. The loss is half the squared error of the velocity: a surrogate.
    """

    likelihood = None
    bound = Process.bound

    def __init__(self, space: Space, order: Spec, feed: Spec, codec: Any = None, starts: Sequence[float] = (0.0, 1 / 3, 2 / 3), steps: int = 8):
        super().__init__(space, order, feed, codec)
        place = space.places[:, space.axis("scale")]
        self.counts = torch.unique_consecutive(place, return_counts=True)[1].tolist()
        self.sides = [math.isqrt(count) for count in self.counts]
        starts = [starts[0], *starts[len(starts) - len(self.counts) + 1 :]] if len(starts) > len(self.counts) else list(starts)
        rising = all(a < b < 1 for a, b in zip(starts, starts[1:], strict=False))
        if len(starts) != len(self.counts) or starts[0] != 0 or not rising:
            raise BadArgument(f"{len(self.counts)} scales need as many starts, rising from 0 and below 1, not {tuple(starts)}")
        if any(b != 2 * a for a, b in zip(self.sides, self.sides[1:], strict=False)) or any(s * s != n for s, n in zip(self.sides, self.counts, strict=True)):
            raise BadArgument(f"every scale is a square of twice the side of the one before, not of {self.counts} places")
        if steps < 1:
            raise BadArgument(f"a scale takes at least one step, not {steps}")
        self.starts, self.steps = starts, steps
        self.ends = [2 * s / (1 + s) for s in starts[1:]] + [1.0]

    def passes(self, head: Head) -> int:
        return self.steps  # the pieces of one flow are walked here

    def enlarged(self, x: Tensor) -> Tensor:
        """(B, n, C) -> (B, 4 n, C): each place over a square of four."""
        side = math.isqrt(x.shape[1])
        return F.interpolate(x.transpose(1, 2).unflatten(2, (side, side)), scale_factor=2, mode="nearest").flatten(2).transpose(1, 2)

    @staticmethod
    def blocked(noise: Tensor) -> Tensor:
        """White (B, n, C), of unit variance, to noise of unit variance with correlation -1/3 within each 2 x 2 block."""
        side = math.isqrt(noise.shape[1])
        grid = noise.transpose(1, 2).unflatten(2, (side, side))
        mean = F.interpolate(F.avg_pool2d(grid, 2), scale_factor=2, mode="nearest")
        return ((grid - mean) * (4 / 3) ** 0.5).flatten(2).transpose(1, 2)

    def handed(self, x: Tensor, scale: int, rng: Rng) -> Tensor:
        """Where the scale before ended (B, n, C) -> where this one begins (B, 4 n, C)."""
        start, end = self.starts[scale], self.ends[scale - 1]
        up = self.enlarged(x)
        return start / end * up + math.sqrt(3) / 2 * (1 - start) * self.blocked(rng.normal(up.shape).to(up))

    def noised(self, tokens: Tokens, rng: Rng) -> tuple[Tensor, Tensor]:
        """(B, L, C) each: where the pieces of all scales begin and end for these data, one draw of all the noise."""
        assert tokens.vec is not None
        maps, begins, ends = tokens.vec.split(self.counts, 1), [], []
        for k, data in enumerate(maps):
            sub = rng.split(f"scale{k}")
            if k == 0:
                begin = noise = sub.normal(data.shape).to(data)
            else:
                begin = self.handed(ends[-1], k, sub)
                noise = (begin - self.starts[k] * self.enlarged(maps[k - 1])) / (1 - self.starts[k])
            begins.append(begin)
            ends.append(self.ends[k] * data + (1 - self.ends[k]) * noise)
        return torch.cat(begins, 1), torch.cat(ends, 1)

    def loss(self, net: Net, tokens: Tokens, *, rng: Rng) -> Losses:
        begin, end = self.noised(tokens, rng.split("noise"))
        none = torch.zeros(tokens.batch, device=tokens.doc.device)
        fed = replace(tokens, vec=end)
        answer = net(self._query(fed, self._course(fed, rng), slice(None), none, self.order.pattern))
        field: Any = answer.distribution
        t = rng.split("time").uniform((tokens.batch, len(self.counts))).to(begin)
        t = torch.cat([t[:, k : k + 1].expand(-1, n) for k, n in enumerate(self.counts)], 1)
        z = begin + t[..., None] * (end - begin)
        wrong = 0.5 * (field.spoken(z, t).float() - (end - begin)).square().sum(-1) * tokens.real
        count = tokens.real.sum()
        return Losses({"main": wrong.sum(), **dues_of(answer.dues, count)}, count)

    def init(self, blank: Tokens, *, rng: Rng, given: Tensor | None = None) -> Carried:
        grown = super().init(blank, rng=rng, given=given)
        return Carried(**{name: getattr(grown, name) for name in grown.__dataclass_fields__})

    def step(self, net: Net, state: Growing, *, rng: Rng) -> Carried:
        """One scale: a question, then its piece of the way. Given places are put back where the piece ends, coarse ones without noise: an approximation."""
        assert isinstance(state, Carried)
        k, course = state.next, state.course
        places = course.spans[k]
        assert isinstance(places, slice)
        # what is fed are the ends of the pieces, and they are what the tokens hold
        answer = net(self._query(state.tokens, course, places, state.progress, "full"), remember=True)
        field: Any = answer.distribution
        rows, num = state.tokens.batch, self.counts[k]
        assert state.tokens.vec is not None
        like = state.tokens.vec[:, places]
        x = rng.split("noise").normal((rows, num, like.shape[-1])).to(like) if state.noisy is None else self.handed(state.noisy, k, rng.split("noise"))
        for step in range(self.steps):
            x = x + field.spoken(x, torch.full((rows, num), step / self.steps, device=x.device)).to(x.dtype) / self.steps
        if state.given is not None:
            x = torch.where(taken(state.given, places)[..., None], like, x)
        last = k + 1
        tokens = state.tokens.put(places, replace(state.tokens.at(places), vec=x))
        done = torch.full_like(state.done, last == len(course.spans))
        return replace(state, tokens=tokens, at=state.at + 1, progress=course.progress[last], done=done, next=last, noisy=x)
