"""Tables of weights: one-to-one, complete, and read in both directions."""

from __future__ import annotations

import pytest
import torch

from omniform.core.errors import CheckpointError
from omniform.interop.ties import Cut, Table, Tie, copied, joined, layers, permuted, reordered, same, shaped, transposed

OWN = {"a": (3,), "qkv": (8, 5), "w": (2, 3), "patch": (4, 12), "rope": (6, 2), "mask": (1, 4)}
TABLE = Table(
    "somebody's model",
    (
        same("a", "A"),
        joined("qkv", ("q", "k", "v"), (4, 2, 2)),
        transposed("w", "W"),
        shaped("patch", "conv", (4, 12), (4, 3, 2, 2)),
        reordered("rope", "R", torch.tensor([0, 2, 4, 1, 3, 5])),
    ),
    ignored=((r"buf\..*", "a buffer that is computed"),),
    fixed={"mask": 0.0},
)
SHAPES = {"A": (3,), "q": (4, 5), "k": (2, 5), "v": (2, 5), "W": (3, 2), "conv": (4, 3, 2, 2), "R": (6, 2)}


def test_there_and_back():
    assert TABLE.their_shapes(OWN) == SHAPES
    theirs = {n: torch.randn(s) for n, s in SHAPES.items()}
    TABLE.check(OWN, {**SHAPES, "buf.x": (7,)})
    ours = TABLE.ours(OWN, theirs.__getitem__)
    assert {n: tuple(x.shape) for n, x in ours.items()} == OWN and torch.equal(ours["mask"], torch.zeros(1, 4))
    assert torch.equal(ours["qkv"][4:6], theirs["k"]) and torch.equal(ours["rope"][1], theirs["R"][2]) and torch.equal(ours["w"], theirs["W"].T)
    assert all(torch.equal(x, theirs[n]) for n, x in TABLE.theirs(ours).items())


def test_a_change_after_a_tie_is_undone_before_the_way_back():
    tie = same("scale", "gamma").then(lambda x: x - 1, lambda x: x + 1)      # a norm whose weight is written as 1 + w
    assert tie.there([torch.ones(2)]).tolist() == [0, 0] and tie.back(torch.zeros(2))[0].tolist() == [1, 1]


def test_axes_in_another_order_and_back():
    tie, x = permuted("w", "conv", (5, 3, 2, 2), (0, 2, 3, 1), (5, 12), (5, 3, 2, 2)), torch.randn(5, 3, 2, 2)
    mine = tie.there([x])
    assert torch.equal(mine, torch.einsum("dcpq->dpqc", x).reshape(5, 12)) and torch.equal(tie.back(mine)[0], x)


def test_copies_are_one_and_must_be_copies():
    tie, x = copied("w", ("a", "b")), torch.randn(3)
    assert torch.equal(tie.there([x, x.clone()]), x) and [torch.equal(y, x) for y in tie.back(x)] == [True, True]
    with pytest.raises(CheckpointError, match="'b' differs from 'a'"):
        tie.there([x, x + 1])


@pytest.mark.parametrize(
    "own, theirs, says",
    [
        (OWN, {n: s for n, s in SHAPES.items() if n != "k"}, "no 'k' \\(1 missing\\)"),
        (OWN, {**SHAPES, "lora": (2,)}, "'lora' has no place"),
        (OWN, {**SHAPES, "W": (2, 3)}, "'W' has shape \\(2, 3\\) and its config asks for \\(3, 2\\)"),
        ({**OWN, "more": (1,)}, SHAPES, "'more' is not in the table"),
        ({n: s for n, s in OWN.items() if n != "w"}, SHAPES, "'w' is in the table and not in our system"),
    ],
)
def test_what_does_not_fit_is_refused_by_names_and_shapes(own, theirs, says):
    with pytest.raises(CheckpointError, match=says):
        TABLE.check(own, theirs)


def test_a_table_that_names_something_twice_is_a_mistake_of_ours():
    with pytest.raises(ValueError, match="'x' twice"):
        Table("t", (same("x", "a"), same("x", "b")))
    with pytest.raises(ValueError, match="'a' twice"):
        Table("t", (same("x", "a"), same("y", "a")))


def test_layers_and_shapes_that_cost_nothing():
    table = Table("t", tuple(layers(3, lambda i: [same(f"b.{i}.w", f"h.{i}.w")])))
    assert [t.ours for t in table.ties] == ["b.0.w", "b.1.w", "b.2.w"] and isinstance(table.ties[0], Tie)
    vast = {f"b.{i}.w": (1 << 30, 1 << 30) for i in range(3)}
    assert table.their_shapes(vast)["h.2.w"] == (1 << 30, 1 << 30)            # a petabyte, and nothing is allocated


def test_one_of_theirs_is_cut_into_several_of_ours():
    cut = Cut("places", ("places[:2]", "places[2:]"), (2, 3), 1)
    own = {"buffer": (2, 4), "table": (3, 4)}
    one = shaped("buffer", "places[:2]", (2, 4), (1, 2, 4))
    table = Table("t", (one, Tie("table", ("places[2:]",), lambda xs: xs[0][0], lambda x: (x[None],))), cuts=(cut,))
    assert table.their_shapes(own) == {"places": (1, 5, 4)}
    places = torch.randn(1, 5, 4)
    ours = table.ours(own, {"places": places}.__getitem__)
    assert torch.equal(ours["buffer"], places[0, :2]) and torch.equal(ours["table"], places[0, 2:])
    assert torch.equal(table.theirs(ours)["places"], places)
    with pytest.raises(ValueError, match="cuts 'places' into"):
        table.their_shapes({"buffer": (2, 4), "table": (4, 3)})
