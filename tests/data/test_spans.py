"""Texts in two: nothing is lost, nothing is told twice, and the same number gives the same spans."""

from __future__ import annotations

import numpy
import pytest

from omniform.core.errors import BadArgument
from omniform.data import open_data
from omniform.data.spans import MARKS, SHARE, Corrupted, corrupted
from omniform.data.text import Lines

TEXT = "the quick brown fox jumps over the lazy dog and goes on to see whether anybody has followed it. " * 3


def whole(source, target):
    """What was taken, put back by its marks."""
    for mark, after in zip(MARKS, MARKS[1:], strict=False):
        if mark not in source:
            return source
        source = source.replace(mark, target[target.index(mark) + 1 : target.index(after)])
    return source


@pytest.mark.parametrize("span", [1, 3, 8, 40])
def test_source_and_target_make_the_text(span):
    text = TEXT[: 8 * 20] if span == 1 else TEXT
    for seed in range(5):
        source, target = corrupted(text, span, numpy.random.default_rng(seed))
        num = sum(m in source for m in MARKS)
        assert whole(source, target) == text and source[0] == text[0], "a text begins with what is kept"
        assert len(target) - num - 1 == round(len(text) * SHARE) and num == max(round(round(len(text) * SHARE) / span), 1)
        assert [c for c in target if c in MARKS] == list(MARKS[: num + 1]) and target[-1] == MARKS[num]
        assert [c for c in source if c in MARKS] == list(MARKS[:num])


def test_lengths_are_any_as_likely_as_any():
    """Four characters in two spans: 1 + 3, 2 + 2 and 3 + 1, a third each."""
    from omniform.data.spans import _lengths

    rng = numpy.random.default_rng(0)
    found = [tuple(_lengths(4, 2, rng)) for _ in range(3000)]
    assert all(abs(found.count(pair) / 3000 - 1 / 3) < 0.04 for pair in ((1, 3), (2, 2), (3, 1))) and len(set(found)) == 3


def test_a_number_has_its_spans_in_any_batch():
    split = Corrupted(Lines([TEXT, TEXT, TEXT[5:]]), 6, seed=3)
    whole_batch, one = split.batch([0, 1, 2]), split.batch([1])
    assert one.data == whole_batch.data[1:2] and one.condition["source"] == whole_batch.condition["source"][1:2]
    assert whole_batch.data[0] != whole_batch.data[1], "two equal texts are taken apart differently"


def test_the_standard_library_in_spans():
    data, plain = open_data("stdlib", spans=8, characters=128), open_data("stdlib", characters=128)
    batch, texts = data.train.batch(range(4)), plain.train.batch(range(4)).data
    assert [whole(s, t) for s, t in zip(batch.condition["source"], batch.data, strict=True)] == texts
    assert all(len(t) < data.shape[0] <= len(t) + 8 for t in batch.data) and plain.shape == (128,)
    assert not any(m in text for text in texts for m in MARKS) and "spans of 8" in data.origin
    with pytest.raises(BadArgument, match="38 spans of 1 are more than 25 marks"):
        open_data("stdlib", spans=1)
    with pytest.raises(BadArgument, match="expected spans to be a whole number"):
        open_data("stdlib", spans=-1)
