"""A system as data: changes, sizes, JSON, and the refusals that help."""

from __future__ import annotations

import json

import pytest

from omniform import recipes
from omniform.core.errors import BadArgument, CheckpointError, RecipeError, UnknownName, UnknownPath
from omniform.core.spec import Spec
from omniform.processes.masked import Masked
from omniform.system.recipe import Recipe

DIT = recipes.get("dit")


def test_a_change_leaves_the_first_alone_and_is_all_that_differs():
    changed = DIT.but(
        {"network.backbone.depth": 3, "network.backbone.block.mixer.heads": 2, "guidance.scale": 4.0, "shape": [1, 32, 32], "drop": 0.2}, name="mine"
    )
    assert (changed.name, changed.shape, changed.drop) == ("mine", (1, 32, 32), 0.2) and DIT.name == "dit"
    assert DIT.against(changed) == {
        "network.backbone.depth": (28, 3),
        "network.backbone.block.mixer.heads": (16, 2),
        "guidance.scale": (1.375, 4.0),
        "drop": (0.1, 0.2),
    }
    assert DIT.against(DIT) == {}
    assert DIT.against(DIT.but({"process": Spec(Masked)})).keys() == {"process"}


@pytest.mark.parametrize(
    "path, error, says",
    [
        ("netwrk.depth", UnknownPath, "nothing at 'netwrk'; did you mean network"),
        ("network.bakbone.depth", UnknownPath, "did you mean backbone"),
        ("network.backbone.dept", BadArgument, "takes no argument 'dept'; did you mean depth"),
        ("network.backbone.depth.more", UnknownPath, "is 28 and has nothing at 'more'"),
        ("facts", UnknownPath, "nothing at 'facts'"),
        ("network.backbone.block.mixer.hats", BadArgument, "did you mean heads"),
    ],
)
def test_a_change_that_leads_nowhere(path, error, says):
    with pytest.raises(error, match=says):
        DIT.but({path: 3})


def test_a_change_below_what_is_not_there():
    with pytest.raises(UnknownPath, match="vq has no network"):
        recipes.get("vq").but({"network.width": 3})


def test_sizes():
    assert DIT.sized(None).network == DIT.sized("XL/2").network == DIT.network
    assert DIT.sized("B/4").network.args["width"] == 768 and DIT.sized("tiny").network.args["width"] == 128
    with pytest.raises(UnknownName, match="dit has no size 'XL/3'"):
        DIT.sized("XL/3")


def test_every_size_of_every_recipe_is_a_change_that_leads_somewhere():
    for name in recipes.names():
        recipe = recipes.get(name)
        for size in (*recipe.sizes, "tiny"):
            assert isinstance(recipe.sized(size), Recipe)


def test_no_two_recipes_are_the_same():
    printed = {}
    for name in recipes.names():
        kept = {k: v for k, v in recipes.get(name).to_json().items() if k in ("codec", "network", "process", "conditions", "guidance", "shape")}
        printed.setdefault(json.dumps(kept, sort_keys=True), []).append(name)
    assert [names for names in printed.values() if len(names) > 1] == []


def test_unknown_recipes_are_answered_with_the_nearest():
    with pytest.raises(UnknownName, match="no recipe 'masgit'; did you mean maskgit"):
        recipes.get("masgit")


def test_json_holds_what_builds_it():
    saved = json.loads(json.dumps(DIT.sized("tiny").to_json()))
    back = Recipe.from_json(saved)
    assert back.against(DIT.sized("tiny")) == {} and back.shape == (1, 28, 28) and back.source == DIT.source
    assert back.codec == DIT.sized("tiny").codec and back.conditions == DIT.conditions


@pytest.mark.parametrize("make", ["os:system", "subprocess:Popen", "omniform.system.recipe:fields", "omniform.codecs.ids:torch"])
def test_json_that_names_something_else_is_refused(make):
    saved = json.loads(json.dumps(DIT.to_json()))
    saved["network"]["args"]["head"] = {"make": make, "args": {"command": "true"}}
    with pytest.raises((CheckpointError, RecipeError)):
        Recipe.from_json(saved)


def test_json_that_is_cut_short_or_altered_is_one_line():
    saved = json.loads(json.dumps(DIT.to_json()))
    for name in ("name", "title", "source", "shape"):
        with pytest.raises(CheckpointError, match=f"no '{name}'"):
            Recipe.from_json({k: v for k, v in saved.items() if k != name})
    for altered in ({"shape": 3}, {"source": [{"paper": "?"}]}, {"network": {"make": "omniform.system.network:Network", "args": 3}}):
        with pytest.raises(CheckpointError, match="altered"):
            Recipe.from_json({**saved, **altered})


def test_a_field_that_a_recipe_does_not_have():
    with pytest.raises(UnknownPath, match="no field 'familly'; did you mean family"):
        DIT.but(familly="flow")
