"""A class and its arguments, not yet built: checked, changed by path, written as JSON that cannot name what it likes."""

from __future__ import annotations

import json

import pytest

from omniform.backbones.attention import Attention
from omniform.backbones.blocks import PreNorm
from omniform.backbones.mlp import Mlp
from omniform.backbones.stack import Stack
from omniform.core.errors import BadArgument, CheckpointError, UnknownPath
from omniform.core.spec import Spec, differences, from_json, to_json

STACK = Spec(Stack, {"depth": 2, "block": Spec(PreNorm, {"mixer": Spec(Attention, {"heads": 4}), "mlp": Spec(Mlp)})})


def test_an_argument_that_is_not_taken_is_named_with_the_nearest():
    with pytest.raises(BadArgument, match="Attention takes no argument 'head'; did you mean heads"):
        Spec(Attention, {"head": 4})
    with pytest.raises(BadArgument, match="takes no argument 'dept'; did you mean depth"):
        STACK.but({"dept": 4})


def test_what_is_missing_is_named():
    with pytest.raises(BadArgument, match=r"Attention needs heads; write Spec\(Attention, \{'heads': ...\}\)"):
        Spec(Attention).build(width=8)


def test_around_fills_what_is_not_said():
    assert Spec(Attention, {"heads": 2}).build(width=8, space=None).head_width == 4
    assert Spec(Attention, {"heads": 2, "width": 16}).build(width=8).head_width == 8


def test_a_change_by_path_leaves_the_rest_and_the_first_alone():
    changed = STACK.but({"block.mixer.heads": 8, "depth": 3})
    assert changed.args["block"].args["mixer"].args == {"heads": 8} and changed.args["depth"] == 3
    assert STACK.args["block"].args["mixer"].args == {"heads": 4} and STACK.args["depth"] == 2
    assert differences(STACK, changed) == {"depth": (2, 3), "block.mixer.heads": (4, 8)}
    assert differences(Spec(Mlp, {"ratio": 4.0}), Spec(Mlp)) == {}, "what is left out is its default"
    listed = Spec(Stack, {"depth": 1, "block": (Spec(Mlp), {"deep": Spec(Mlp)})}).but({"block.1.deep.ratio": 2.0, "block.0": 5})
    assert listed.args["block"] == (5, {"deep": Spec(Mlp, {"ratio": 2.0})})


@pytest.mark.parametrize("path", ["blok.mixer.heads", "block.mixr.heads", "depth.x", "block.7", "block.mixer.heads.more"])
def test_a_path_that_leads_nowhere_is_refused(path):
    with pytest.raises((UnknownPath, BadArgument)) as error:
        STACK.but({path: 1})
    assert path.split(".")[-1] in str(error.value) or path.split(".")[1] in str(error.value)


def test_walk_visits_every_place():
    assert dict(STACK.walk())["block.mixer.heads"] == 4 and "block.mlp" in dict(STACK.walk())


def test_json_and_back():
    assert from_json(json.loads(json.dumps(to_json(STACK)))) == STACK
    assert from_json(to_json({"a": (1, 2.5, None, "x", True), "b": {"c": Spec(Mlp)}})) == {"a": (1, 2.5, None, "x", True), "b": {"c": Spec(Mlp)}}
    with pytest.raises(BadArgument, match="not set"):
        to_json({1, 2})


@pytest.mark.parametrize(
    "make",
    [
        "os:system",
        "builtins:eval",
        "omniform:..os",
        "omniformity.evil:Class",
        "omniform.core.spec:importlib",
        "omniform.core.spec:from_json",
        "omniform.system.storage:Path",
        "omniform.system.build:Path",
        "omniform.core.spec:Spec.build",
        "subprocess:Popen",
        "omniform.nowhere:X",
        "omniform.core.spec:Nothing",
        "omniform.core.net:nn",
        "",
        ":",
        "omniform.",
    ],
)
def test_json_cannot_name_what_it_likes(make):
    with pytest.raises(CheckpointError):
        from_json({"make": make, "args": {}})


def test_json_does_not_even_import_what_is_not_of_this_library(tmp_path, monkeypatch):
    (tmp_path / "trap_of_a_recipe.py").write_text("raise SystemExit('imported')")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(CheckpointError, match="classes of omniform only"):
        from_json({"make": "trap_of_a_recipe:Trap", "args": {}})


def test_json_with_arguments_that_the_class_does_not_take():
    with pytest.raises(BadArgument, match="takes no argument"):
        from_json({"make": "omniform.backbones.mlp.dense:Mlp", "args": {"cmd": "rm"}})
