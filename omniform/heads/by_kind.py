"""Several kinds of tokens in one sequence, each with a head of its own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NoReturn, Self

from torch import Tensor, nn

from ..core.distribution import Distribution, Head, Sampling, Says
from ..core.errors import BadArgument
from ..core.rng import Rng
from ..core.spec import Spec
from ..core.tokens import Space


class ByKind(Distribution):
    """What each kind's head says of hidden states (B, L, D), computed when a kind is asked for: nobody pays for the logits of pixels.

    hidden: one a term of guidance, with its weight (B,). `of` gives the distribution of a kind; by itself it is of no kind and refuses.
    """

    exact = False

    def __init__(self, hidden: Sequence[Tensor], weights: Sequence[Tensor], heads: Sequence[Head]):
        self.hidden, self.weights, self.heads = list(hidden), list(weights), heads

    def of(self, kind: int) -> Distribution:
        """Every place as a token of this kind."""
        said = [self.heads[kind](h) for h in self.hidden]
        return said[0] if len(said) == 1 else type(said[0]).mix(said, self.weights)

    def each(self, kind: Tensor) -> list[Distribution]:
        places = [(kind == number).nonzero()[:, 0] for number in range(len(self.heads))]
        return [self.mapped(lambda h, here=here: h[:, here]).of(number) for number, here in enumerate(places)]

    def nll(self, target: Says, *, rng: Rng) -> Tensor:
        self._refuse()

    def sample(self, *, rng: Rng, how: Sampling) -> NoReturn:
        self._refuse()

    def confidence(self, content: Says) -> Tensor:
        self._refuse()

    @staticmethod
    def _refuse() -> NoReturn:
        raise BadArgument("this network speaks of several kinds of tokens and nobody has said which is meant; use Interleave, or ask distribution.of(kind)")

    def mapped(self, change: Callable[[Tensor], Tensor]) -> Self:
        return type(self)([change(h) for h in self.hidden], self.weights, self.heads)

    @classmethod
    def mix(cls, distributions: Sequence[Self], weights: Sequence[Tensor]) -> Self:
        hidden = [h for d in distributions for h in d.hidden]
        mixed = [w * v for d, w in zip(distributions, weights, strict=True) for v in d.weights]
        return cls(hidden, mixed, distributions[0].heads)


class ByKindHead(Head):
    """each: Specs of heads, one a part of the space; h (B, L, D) to a ByKind."""

    def __init__(self, width: int, space: Space, each: tuple[Spec, ...]):
        super().__init__()
        if len(each) != len(space.parts):
            raise BadArgument(f"the codec has {len(space.parts)} kinds of tokens and {len(each)} heads are given; give one a kind")
        self.each = nn.ModuleList(e.build(width=width, space=part) for e, part in zip(each, space.parts, strict=True))
        self.tied = any(head.tied for head in self.each)

    def tie(self, tables: Sequence[nn.Embedding]) -> None:
        """Hands them over."""
        for head in self.each:
            if head.tied:
                head.tie(tables)  # type: ignore[operator]

    def kinds(self, space: Space) -> list[tuple[Head, Space]]:
        return [inner for head, part in zip(self.each, space.parts, strict=True) for inner in head.kinds(part)]  # type: ignore[operator]

    def forward(self, h: Tensor) -> ByKind:
        return ByKind([h], [h.new_ones(h.shape[0])], list(self.each))  # type: ignore[arg-type]
