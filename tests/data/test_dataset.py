from __future__ import annotations

import pytest
import torch

from omniform.core.errors import BadArgument
from omniform.data.dataset import Pictures, hold_out, order


def listed(num: int, seed: int, steps: int, batch: int) -> list[int]:
    return [i for step in range(steps) for i in order(num, seed, step, batch).tolist()]


@pytest.mark.parametrize(("num", "batch"), [(10, 3), (7, 7), (3, 8), (1, 4), (100, 1)])
def test_each_epoch_is_seen_exactly_once_whatever_the_batch(num: int, batch: int) -> None:
    seen = listed(num, 5, steps=-(-4 * num // batch), batch=batch)
    for epoch in range(4):
        assert sorted(seen[epoch * num : (epoch + 1) * num]) == list(range(num))


def test_the_list_does_not_depend_on_the_batch_size() -> None:
    assert listed(11, 3, 30, 4) == listed(11, 3, 15, 8) == listed(11, 3, 120, 1)


def test_a_step_is_a_pure_function_and_epochs_and_seeds_differ() -> None:
    assert order(1000, 1, 7, 64).equal(order(1000, 1, 7, 64))
    assert order(1000, 1, 0, 1000).tolist() != order(1000, 1, 1, 1000).tolist()
    assert order(1000, 1, 0, 1000).tolist() != order(1000, 2, 0, 1000).tolist()
    assert order(1000, 1, 0, 8).dtype == torch.long


def test_writing_into_a_step_does_not_change_the_next_answer() -> None:
    before = order(20, 0, 0, 20).clone()
    order(20, 0, 0, 20).zero_()
    assert order(20, 0, 0, 20).equal(before)


@pytest.mark.parametrize(
    "arguments", [(0, 0, 0, 1), (5, -1, 0, 1), (5, 0, -1, 1), (5, 0, 0, 0), (5, 0, 0.5, 1), (5, True, 0, 1)]
)
def test_order_refuses_what_it_cannot_mean(arguments: tuple) -> None:
    with pytest.raises(BadArgument, match="whole number"):
        order(*arguments)


@pytest.mark.parametrize(("num", "share", "held"), [(2, 0.1, 1), (10, 0.1, 1), (100, 0.1, 10), (3, 0.99, 2)])
def test_hold_out_cuts_in_two(num: int, share: float, held: int) -> None:
    train, test = hold_out(num, share, 0)
    assert sorted(train + test) == list(range(num)) and len(test) == held
    with pytest.raises(BadArgument):
        hold_out(1, 0.5, 0)


def test_pictures_cover_minus_one_to_one_and_carry_their_conditions() -> None:
    pixels = torch.tensor([0, 255, 51], dtype=torch.uint8).reshape(3, 1, 1, 1)
    split = Pictures(pixels, torch.tensor([4, 5, 6]), ("low", "high"), torch.tensor([0, 1, 0]))
    batch = split.batch(torch.tensor([2, 1, 0]))
    assert torch.allclose(batch.data.flatten(), torch.tensor([-0.6, 1.0, -1.0]))
    assert batch.condition["label"].tolist() == [6, 5, 4] and batch.condition["text"] == ["low", "high", "low"]
    assert len(split.batch([])) == 0
    assert Pictures(pixels).batch([0]).condition == {}


@pytest.mark.parametrize("indices", [[3], [-1], [0.5], [[0]], [True]])
def test_indices_out_of_range_are_refused(indices: list) -> None:
    with pytest.raises(BadArgument, match="indices"):
        Pictures(torch.zeros(3, 1, 2, 2, dtype=torch.uint8)).batch(indices)
