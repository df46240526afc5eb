"""Clouds of points as tokens."""

from __future__ import annotations

import pytest
import torch

from omniform.codecs.points import Points
from omniform.core.errors import BadArgument, CodecError, ShapeError


def test_there_and_back():
    codec, points = Points((5, 3), scale=2.0, shift=0.5), torch.randn(4, 5, 3, generator=torch.Generator().manual_seed(0))
    tokens = codec.encode(points)
    assert torch.equal(tokens.vec, (points - 0.5) * 2) and tokens.coord[0, :, 0].tolist() == [0, 1, 2, 3, 4]
    assert torch.allclose(codec.decode(tokens), points)
    codec.settle(points)
    settled = codec.encode(points).vec
    assert float(settled.std(correction=0)) == pytest.approx(1, abs=1e-5) and float(settled.mean()) == pytest.approx(0, abs=1e-5)


def test_what_does_not_fit_is_refused():
    with pytest.raises(BadArgument, match="points, coordinates"):
        Points((3, 8, 8))
    with pytest.raises(BadArgument, match="above 0"):
        Points((5, 3), scale=0)
    with pytest.raises(CodecError, match="without variance"):
        Points((5, 3)).settle(torch.zeros(2, 5, 3))
    with pytest.raises(ShapeError, match="no continuous content"):
        codec = Points((5, 3))
        from dataclasses import replace

        codec.decode(replace(codec.encode(torch.zeros(1, 5, 3)), vec=None))
