"""Hands that take hold of things."""

from __future__ import annotations

import pytest
import torch

from omniform.core.errors import BadArgument, DataError
from omniform.data import open_data
from omniform.data.hands import _clips


def test_stretches_overlap_and_no_clip_is_on_both_sides():
    data = open_data("hands", frames=48)
    batch = data.train.batch([0, 1, 2])
    assert batch.data.shape == (3, 1, 36, 48) and len(set(batch.condition["text"])) == 1
    assert torch.equal(batch.data[0, :, :, 1:], batch.data[1, :, :, :-1])
    train, test = (split.batch(range(len(split))) for split in (data.train, data.test))
    starts = {x.numpy().tobytes() for x in train.data[:, 0, :, 0]}
    assert not any(x.numpy().tobytes() in starts for x in test.data[:, 0, :, 0])
    assert abs(float(train.data.mean())) < 0.2 and 0.7 < float(train.data.std()) < 1.3
    assert {"drink", "lift", "pass"} <= {text.split()[0] for text in train.condition["text"]}
    assert len(open_data("hands", frames=100).train) < len(data.train)


def test_what_is_no_clip_is_refused(tmp_path):
    with pytest.raises(BadArgument, match="frames"):
        open_data("hands", frames=101)
    (tmp_path / "MyoHand_cup_drink1.npz").write_bytes(b"no")
    with pytest.raises(DataError, match="cannot read"):
        _clips(tmp_path)
