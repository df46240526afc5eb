"""Texts with some of their spans taken out: what is left is told, what was taken is to be written."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, final

from omniform.core.batch import Batch
from omniform.core.errors import BadArgument
from omniform.data.dataset import Split

if TYPE_CHECKING:
    import numpy
    from torch import Tensor

MARKS = "".join(map(chr, (*range(1, 9), *range(14, 32))))
"""What stands for a span, in order: control characters, which texts have no use for (ours; a byte each)."""
SHARE = 0.15
"""Of the characters, taken out (T5, arXiv:1910.10683, section 3.3.4)."""


@final
class Corrupted(Split):
    """Span corruption (T5, arXiv:1910.10683, section 3.1.4; the official code's random_spans_noise_mask): the condition "source" is a text in which each
    taken span is one mark, and the text to be written is mark and span, one after another, and a last mark.

    texts: of strings, at the least `1 / share` characters long. span: characters of one, on average. Which are taken depends on the number of the text and the
    seed alone.
    """

    def __init__(self, texts: Split, span: int, seed: int, share: float = SHARE):
        self._texts, self._span, self._seed, self._share = texts, span, seed, share

    def __len__(self) -> int:
        return len(self._texts)

    def batch(self, indices: Sequence[int] | Tensor) -> Batch:
        import numpy

        texts = self._texts.batch(indices).data
        pairs = [corrupted(t, self._span, numpy.random.default_rng([self._seed, int(i)]), self._share) for t, i in zip(texts, indices, strict=True)]
        return Batch([target for _, target in pairs], {"source": [source for source, _ in pairs]})


def corrupted(text: str, span: int, rng: numpy.random.Generator, share: float = SHARE) -> tuple[str, str]:
    """What is left of a text, and what was taken."""
    taken = min(max(round(len(text) * share), 1), len(text) - 1)
    num = max(round(taken / span), 1)
    if num >= len(MARKS) or num > len(text) - taken:
        raise BadArgument(f"{num} spans of {span} are more than {len(MARKS) - 1} marks or what stands between them; take longer spans, or shorter texts")
    kept, gone = _lengths(len(text) - taken, num, rng), _lengths(taken, num, rng)
    source, target, at = "", "", 0
    for mark, stays, goes in zip(MARKS, kept, gone, strict=False):
        source += text[at : at + stays] + mark
        target += mark + text[at + stays : at + stays + goes]
        at += stays + goes
    return source, target + MARKS[num]


def _lengths(total: int, num: int, rng: numpy.random.Generator) -> list[int]:
    """`num` lengths of one at the least that add up, any such row as likely as any other."""
    cuts = sorted((rng.permutation(total - 1)[: num - 1] + 1).tolist())
    return [b - a for a, b in zip([0, *cuts], [*cuts, total], strict=True)]
