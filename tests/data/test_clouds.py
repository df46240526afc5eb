"""Letters in space."""

from __future__ import annotations

import torch

from omniform.data.clouds import DEPTH, letters
from omniform.data.glyphs import glyphs


def test_points_lie_in_the_ink():
    data, flat = letters(points=200), glyphs()
    assert data.shape == (200, 3) and data.classes == flat.classes and len(data.train) == len(flat.train)
    batch, pictures = data.train.batch([3, 700]), flat.train.batch([3, 700])
    assert batch.data.shape == (2, 200, 3) and torch.equal(batch.condition["label"], pictures.condition["label"])
    assert (batch.data[..., 2].abs() <= DEPTH / 2).all()
    at = ((batch.data[..., :2] + 1) / 2 * 28).floor().long().clamp(0, 27)
    for row in range(2):
        ink = pictures.data[row, 0].flip(0)  # y points up in space
        assert (ink[((batch.data[row, :, 1] + 1) / 2 * 28).floor().long().clamp(0, 27), at[row, :, 0]] > -1).float().mean() > 0.97


def test_a_cloud_is_a_function_of_its_number():
    data = letters(points=16)
    assert torch.equal(data.test.batch([5, 9]).data[1], data.test.batch([9]).data[0])
    assert not torch.equal(data.test.batch([5]).data, data.test.batch([9]).data)
