"""Emoji with their names."""

from __future__ import annotations

import json

import pytest

from omniform.core.errors import DataError
from omniform.data import emoji as room
from omniform.data import open_data


def test_pictures_have_their_names_and_groups():
    data = open_data("emoji", size=16)
    batch = data.train.batch(range(len(data.train)))
    named = dict(zip(batch.condition["text"], range(len(data.train)), strict=True))
    assert len(named) >= len(data.train) - 3 and data.shape == (3, 16, 16)
    groups = {text: data.classes[batch.condition["label"][i]] for text, i in named.items()}
    assert groups["flag: Slovenia"] == "flags" and groups["cactus"] == "animals and nature"
    heart, leaf = (batch.data[named[n]].mean((1, 2)) for n in ("red heart", "four leaf clover"))
    assert heart[0] > heart[1] + 0.2 and leaf[1] > leaf[0] + 0.2, "red, and green"
    assert float(batch.data[:, :, 0, 0].median()) == 1.0, "on white"


def test_skin_tones_of_what_is_held_out_are_held_out():
    data = open_data("emoji", size=16)
    seen, held = (set(split.batch(range(len(split))).condition["text"]) for split in (data.train, data.test))
    tones = [name for name in seen | held if name.endswith("skin tone") and name.count(":") == 1 and "," not in name]
    pairs = [(name, name.split(":")[0]) for name in tones if name.split(":")[0] in seen | held]
    assert len(pairs) > 500 and all((name in held) == (plain in held) for name, plain in pairs)
    assert any(name in held for name, _ in pairs) and 0.07 < len(held) / len(seen | held) < 0.13


def test_names_that_are_broken_are_one_line(tmp_path):
    for content in ("[", "[3]", json.dumps([{"group": 1, "hexcode": "1f600"}])):
        (tmp_path / "data.json").write_text(content)
        with pytest.raises(DataError, match="expected the names of emoji") as caught:
            room._named(tmp_path / "data.json")
        assert "\n" not in str(caught.value)
