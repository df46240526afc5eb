"""What codecs that only scale say of it: the likelihood of data is that of tokens and this."""

from __future__ import annotations

import math

import pytest
import torch

from omniform.codecs.frames import Frames
from omniform.codecs.ids import Ids
from omniform.codecs.patch import Patches
from omniform.codecs.points import Points


@pytest.mark.parametrize(
    "codec",
    [Patches((3, 4, 4), 2, scale=2.5, shift=0.1), Points((5, 3), scale=0.3, shift=-1.0), Frames((1, 4, 6), scale=3.0, shift=0.5)],
    ids=lambda c: type(c).__name__,
)
def test_a_difference_of_data_becomes_one_of_tokens_by_that_factor(codec):
    data = torch.rand(2, 2, *codec.shape, dtype=torch.float64).float() * 2 - 1
    there, here = (codec.encode(x).vec for x in data)
    gap = (data[0] - data[1]).square().sum().log() / 2
    assert float((there - here).square().sum().log() / 2 - gap) == pytest.approx(codec.log_scale(), abs=1e-4)


def test_codes_have_none():
    assert Ids((4, 4), 8).log_scale() is None and math.isfinite(Points((5, 3)).log_scale())
