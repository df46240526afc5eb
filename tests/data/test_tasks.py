"""Tasks that are told by examples."""

from __future__ import annotations

import torch

from omniform.data.glyphs import glyphs
from omniform.data.tasks import DONE, glyph_tasks


def test_every_answer_is_what_the_task_makes_of_its_picture():
    data = glyph_tasks(pairs=2, size=16)
    batch = data.train.batch(range(40))
    assert batch.data.shape == (40, 6, 1, 16, 16) == (40, *data.shape) and float(batch.data.abs().max()) <= 1
    seen = set()
    for row, label in zip(batch.data, batch.condition["label"].tolist(), strict=True):
        change = list(DONE.values())[label]
        assert torch.equal(change(row[0::2]), row[1::2]) and not torch.equal(row[0::2], row[1::2])
        seen.add(data.classes[label])
    assert seen == set(DONE), "every task is there"


def test_pictures_of_the_test_are_the_tests():
    data, flat = glyph_tasks(), glyphs(size=16)
    held, taught = ({bytes(p.numpy().tobytes()) for p in part.batch(range(len(part))).data} for part in (flat.test, flat.train))
    shown = data.test.batch(range(20)).data[:, 0::2].flatten(0, 1)
    assert all(p.numpy().tobytes() in held for p in shown) and not any(p.numpy().tobytes() in taught for p in shown)


def test_a_row_is_a_function_of_its_number():
    data = glyph_tasks()
    assert torch.equal(data.test.batch([5, 9]).data[1], data.test.batch([9]).data[0])
    assert not torch.equal(data.test.batch([5]).data, data.train.batch([5]).data)
