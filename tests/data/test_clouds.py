"""Letters in space."""

from __future__ import annotations

import torch

from omniform.data.clouds import DEPTH, letters, solids
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


def test_a_solid_is_the_ink_as_deep_as_it_is_far_from_the_edge():
    data, flat = solids(), glyphs()
    assert data.shape == (8, 28, 28) and data.classes == flat.classes and len(data.test) == len(flat.test)
    batch, pictures = data.train.batch([3, 700]), flat.train.batch([3, 700])
    assert torch.equal(batch.data.amax(1, keepdim=True) > 0, pictures.data > 0), "from the front it is the ink"
    assert torch.equal(batch.data, batch.data.flip(1)) and set(batch.data.unique().tolist()) == {-1.0, 1.0}
    ink = pictures.data[:, 0] > 0
    for row in range(2):
        for y, x in ink[row].nonzero().tolist():
            far = 1
            while far < 4 and ink[row, max(y - far, 0) : y + far + 1, max(x - far, 0) : x + far + 1].all() and far <= min(y, x, 27 - y, 27 - x):
                far += 1
            assert int((batch.data[row, :, y, x] > 0).sum()) == 2 * far
    assert torch.equal(batch.condition["image"][0, 8], pictures.data[0, 0, 4:8, 4:8].flatten()), "a patch of the front view"
