"""Runs of values as tokens."""

from __future__ import annotations

import pytest
import torch

from omniform.codecs.series import Series
from omniform.core.errors import BadArgument, ShapeError


@pytest.mark.parametrize(("steps", "token"), [(24, 6), (12, 6), (24, 1)])
def test_values_come_back_and_lie_in_their_order(steps, token):
    codec = Series((24,), token=token, mean=5.0, std=2.0)
    data = torch.randn(3, steps) * 2 + 5
    tokens = codec.encode(data)
    assert tokens.length == steps // token and codec.space.channels == token and codec.space.length == 24 // token
    assert torch.allclose(tokens.vec[1, 1] * 2 + 5, data[1, token : 2 * token])
    assert torch.allclose(codec.decode(tokens), data, atol=1e-5)


def test_what_is_no_series_is_refused():
    codec = Series((24,), token=6)
    for data in (torch.zeros(2, 25), torch.zeros(2, 20), torch.zeros(2, 1, 24), torch.zeros(2, 24, dtype=torch.long), [[0.0] * 24]):
        with pytest.raises(ShapeError, match="up to 24 steps, a multiple of 6"):
            codec.encode(data)
    with pytest.raises(BadArgument, match="tokens of 5 fill"):
        Series((24,), token=5)
    with pytest.raises(BadArgument, match="above 0"):
        Series((24,), std=0.0)
