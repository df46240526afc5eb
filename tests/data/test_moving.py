from __future__ import annotations

import numpy
import pytest

from omniform.core.errors import BadArgument
from omniform.data import open_data
from omniform.data.moving import Clips


def test_a_clip_bounces_and_keeps_its_ink() -> None:
    """One bright square in place of a digit: it stays whole, moves by a bounded step and turns at the walls."""
    digits = numpy.full((1, 14, 14), 255, numpy.uint8)
    clips = Clips(digits, numpy.array([7]), frames=64, size=32, num=5, salt=0)
    batch = clips.batch(range(5))
    assert batch.data.shape == (5, 64, 1, 32, 32) and batch.condition["text"] == ["7 and 7"] * 5
    ink = (batch.data > 0).sum((2, 3, 4))
    assert ink.min() >= 14 * 14 and ink.max() <= 2 * 14 * 14  # one square hides the other, or not; none leaves the box
    left = (batch.data > 0).any(3)[:, :, 0].float().argmax(2)  # the leftmost lit column in each frame
    assert (left.diff(dim=1).abs() <= 4).all() and left.min() == 0  # at most 0.09 x 32 = 2.9, and one of rounding


def test_clips_are_pure_functions_of_their_numbers_and_differ() -> None:
    short, long = open_data("moving-digits", frames=4), open_data("moving-digits", frames=6)
    first = short.train.batch([5, 6])
    assert first.data.equal(short.train.batch([6, 5]).data.flip(0)) and not first.data[0].equal(first.data[1])
    assert long.train.batch([5, 6]).data[:, :4].equal(first.data)  # a longer clip goes on from the shorter
    assert not short.test.batch([5]).data.equal(first.data[:1])


def test_large_clips_and_bad_options() -> None:
    assert open_data("moving-digits", frames=2, size=64).test.batch([0]).data.shape == (1, 2, 1, 64, 64)
    for options in ({"size": 48}, {"size": True}, {"frames": 0}, {"frames": 2.0}):
        with pytest.raises(BadArgument):
            open_data("moving-digits", **options)
