"""Continuous tokens of one scale drawn together, by a flow whose network looks at all of them (FlowAR, E-CAR)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Self

import torch
from torch import Tensor, nn

from ..core.distribution import Content, Distribution, Head, Sampling, Says
from ..core.errors import Intractable, ShapeError
from ..core.net import Context, Encoded, Env
from ..core.process import generate
from ..core.query import Answer, Query
from ..core.rng import Rng
from ..core.spec import Spec
from ..core.tokens import Space, Tokens
from .point import Point


class _Inner:
    """The head's network as a Net, guidance mixed at every question."""

    def __init__(self, field: Field):
        self.field = field

    def __call__(self, query: Query, *, remember: bool = False) -> Answer:
        x, time = query.tokens.vec, query.time
        assert x is not None and time is not None
        return Answer(Point(self.field.spoken(x, time.expand(x.shape[:2]))))

    def forget(self, turn: Tensor) -> None:
        """Nothing is remembered here."""

    def fork(self, rows: Tensor) -> Any:
        return _Inner(type(self.field)([h[rows] for h in self.field.hidden], [w[rows] for w in self.field.weights], self.field.head))


class Field(Distribution):
    """What an inner flow generates given h (B, L, D): the tokens of a scale are drawn together, so that they may depend on one another.

    L is one whole scale or all of them. nll is the flow's loss: a surrogate.
    """

    exact = False
    together = True

    def __init__(self, hidden: Sequence[Tensor], weights: Sequence[Tensor], head: FieldHead):
        self.hidden, self.weights, self.head = list(hidden), list(weights), head

    def spoken(self, x: Tensor, t: Tensor) -> Tensor:
        """What the head's network says at x (B, L, C) and t (B, L), mixed over the terms of guidance."""
        if len(self.hidden) == 1:
            return self.head.denoised(x, t, self.hidden[0])
        return Point.mix([Point(self.head.denoised(x, t, h)) for h in self.hidden], self.weights).value

    def _tokens(self, vec: Tensor) -> Tokens:
        rows, length = vec.shape[:2]
        doc = torch.zeros((1, length), dtype=torch.long, device=vec.device).expand(rows, -1)
        coord = self.head.places(length).to(vec.device)
        return Tokens(ids=None, vec=vec, coord=coord[None].expand(rows, -1, -1), kind=doc, doc=doc)

    def nll(self, target: Says, *, rng: Rng) -> Tensor:
        assert target.vec is not None
        flow: Any = self.head.inner
        return flow.terms(_Inner(self), self._tokens(target.vec), rng=rng)

    def sample(self, *, rng: Rng, how: Sampling) -> Content:
        h = self.hidden[0]
        blank = self._tokens(torch.zeros((*h.shape[:2], self.head.channels), device=h.device))
        inner = self.head.inner.but(temperature=how.temperature) if how.temperature != 1 else self.head.inner
        return Content(vec=generate(inner, _Inner(self), blank, rng=rng).vec)

    def confidence(self, content: Says) -> Tensor:
        raise Intractable("a field is drawn without saying how sure it is; let the masked process choose 'random' places")

    def rows(self, which: slice) -> Self:
        return type(self)([h[which] for h in self.hidden], [w[which] for w in self.weights], self.head)

    def mapped(self, change: Callable[[Tensor], Tensor]) -> Self:
        return type(self)([change(h) for h in self.hidden], self.weights, self.head)

    @classmethod
    def mix(cls, distributions: Sequence[Self], weights: Sequence[Tensor]) -> Self:
        hidden = [h for d in distributions for h in d.hidden]
        mixed = [w * v for d, w in zip(distributions, weights, strict=True) for v in d.weights]
        return cls(hidden, mixed, distributions[0].head)


class FieldHead(Head):
    """A small transformer that denoises the tokens of a scale together, told the hidden state of each place at that place, and its process.

    inner: Spec of a flow. network: Spec of a backbone of width `hidden`, modulated by time and hidden state place by place (FlowAR's spatial adaLN,
    arXiv:2412.15205, section 3.3: of the time alone it would be DiT's). time: Spec of an embedding of the noise level. axis: whose coordinate
    parts the tokens into fields. cross: the backbone is also told the hidden states as a cross condition, and the time apart from them: modulation is
    (time, time and hidden state), 2 * hidden wide (the official code of the larger sizes). positions: Specs of parts added to the noisy tokens.
    """

    def __init__(
        self, width: int, space: Space, inner: Spec, network: Spec, time: Spec, hidden: int, axis: str = "scale", cross: bool = False,
        positions: tuple[Spec, ...] = (),
    ):
        super().__init__()
        self.channels, self.cross = space.channels, cross
        self.enter, self.told = nn.Linear(space.channels, hidden), nn.Linear(width, hidden)
        self.time = time.build(width=hidden)
        self.network = network.build(width=hidden, space=space)
        self.positions = nn.ModuleList(p.build(width=hidden, space=space) for p in positions)
        self.cross_norm = nn.RMSNorm(hidden, eps=1e-6) if cross else None
        self.out = nn.Linear(hidden, space.channels)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)
        self.inner: Any = inner.build(space=space)
        self.register_buffer("coord", space.places, persistent=False)
        self.counts = torch.unique_consecutive(space.places[:, space.axis(axis)], return_counts=True)[1].tolist()

    def _fields(self, length: int) -> list[slice]:
        """Where the fields among so many tokens lie in the space: all of them, or the one of that size."""
        ends = torch.tensor(self.counts, device="cpu").cumsum(0).tolist()
        all_ = [slice(e - n, e) for e, n in zip(ends, self.counts, strict=True)]
        found = all_ if length == ends[-1] else [s for s in all_ if s.stop - s.start == length]
        if not found or (length != ends[-1] and len(found) > 1):
            raise ShapeError(f"a field is one of {self.counts} tokens, or all {ends[-1]} are asked; found {length}")
        return found

    def places(self, length: int) -> Tensor:
        """(length, A) where they lie."""
        return torch.cat([self.coord[s] for s in self._fields(length)])

    def denoised(self, x: Tensor, t: Tensor, h: Tensor) -> Tensor:
        """x (B, L, C) noisy, t (B, L), h (B, L, D) -> (B, L, C); each field by itself."""
        parts, first = [], 0
        for place in self._fields(x.shape[1]):
            num = place.stop - place.start
            here = slice(first, first + num)
            parts.append(self._one(x[:, here], t[:, here], h[:, here], self.coord[place]))
            first += num
        return torch.cat(parts, 1)

    def _one(self, x: Tensor, t: Tensor, h: Tensor, coord: Tensor) -> Tensor:
        rows, length = t.shape
        time, told = self.time(t).to(h.dtype), self.told(h)
        same = torch.zeros((1, length), dtype=torch.long, device=h.device).expand(rows, -1)
        coord = coord[None].expand(rows, -1, -1)
        context = Context(rows)
        if self.cross_norm is not None:
            context = Context(rows, cross=Encoded(self.cross_norm(told), told.mean(1), coord, same))
        env = Env(
            coord=coord,
            kind=same,
            turn=same,
            lane=same,
            doc=same,
            known=same == 0,
            modulation=torch.cat([time, time + told], -1) if self.cross else time + told,
            context=context,
            record=None,
            remember=False,
            progress=h.new_zeros(rows),
            pattern="full",
            mask=None,
        )
        z = self.enter(x.to(h.dtype))
        for part in self.positions:
            z = z + part(coord).to(z.dtype)
        return self.out(self.network(z, env))

    def passes(self) -> int:
        return self.inner.evaluations()

    def small(self, h: Tensor) -> None:
        self.denoised(h.new_zeros(*h.shape[:2], self.channels), h.new_zeros(h.shape[:2]), h)

    def forward(self, h: Tensor) -> Field:
        return Field([h], [h.new_ones(h.shape[0])], self)
