"""From a recipe to a system, to a folder and back."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch

from omniform import recipes
from omniform.core.errors import CheckpointError, RecipeError
from omniform.system.build import assemble, fitted, load, save
from omniform.system.system import CodecSystem, System

TINY = {"network.width": 32, "network.backbone.depth": 1, "codec.width": 8}
DIT = fitted(recipes.get("dit").sized("tiny").but(TINY), shape=(1, 16, 16), classes=("a", "b", "c"))


def test_a_recipe_is_fitted_to_data():
    assert DIT.shape == (1, 16, 16)
    spec, place = DIT.conditions["label"]
    assert spec.args["classes"] == 3 and spec.args["names"] == ("a", "b", "c") and place == "modulate"
    bare = fitted(DIT, classes=())
    assert bare.conditions == {} and assemble(bare).guidance is None
    assert fitted(DIT) is DIT or fitted(DIT) == DIT


def test_building_is_determined_by_its_seed_and_leaves_torchs_alone():
    torch.manual_seed(7)
    state = torch.random.get_rng_state()
    one, same, other = assemble(DIT), assemble(DIT), assemble(DIT, seed=1)
    assert torch.equal(torch.random.get_rng_state(), state)
    weights = [list(s.parameters()) for s in (one, same, other)]
    assert all(torch.equal(a, b) for a, b in zip(weights[0], weights[1], strict=True))
    assert any(not torch.equal(a, b) for a, b in zip(weights[0], weights[2], strict=True))


def test_a_codec_alone_and_a_codec_of_ones_own():
    codec = assemble(recipes.get("kl").sized("tiny").but({"codec.width": 8, "shape": (1, 16, 16)}))
    assert isinstance(codec, CodecSystem)
    own = assemble(DIT).codec
    system = assemble(DIT, own, seed=3)
    assert isinstance(system, System) and system.codec is own


@pytest.mark.parametrize(
    "change", [{"network.backbone.block.mixer.heads": 5}, {"codec.stride": 3}, {"process.steps": 0}, {"process.predict": "score"}, {"network.width": 30}]
)
def test_what_cannot_be_built_is_refused_when_it_is_built(change):
    with pytest.raises(RecipeError):
        assemble(DIT.but(change))


def test_saved_compactly_every_number_is_within_half_a_step(tmp_path):
    """8 bits a number of a large matrix, in steps of its row's greatest / 127; the rest as bfloat16."""
    system = assemble(DIT)
    save(system, tmp_path / "full")
    save(system, tmp_path / "small", compact=True)
    again, rounded = load(tmp_path / "small").state_dict(), 0
    for name, w in system.state_dict().items():
        assert again[name].dtype == w.dtype
        if w.is_floating_point() and w.dim() > 1 and w.numel() >= 4096:
            step = w.flatten(1).abs().amax(1) / 127
            assert bool(((again[name] - w).flatten(1).abs().amax(1) <= 0.5001 * step).all())
            rounded += not torch.equal(again[name], w)
        else:
            assert torch.equal(again[name], w.to(torch.bfloat16).to(w.dtype) if w.is_floating_point() else w)
    size = lambda folder: sum(f.stat().st_size for f in (tmp_path / folder).rglob("*.safetensors"))  # noqa: E731
    assert rounded and size("small") < 0.5 * size("full")


def test_averaged_weights_are_preferred(tmp_path):
    from omniform.system.storage import write_folder

    system = assemble(DIT)
    state = {k: v.contiguous() for k, v in system.state_dict().items()}
    averaged = {k: v + 1 for k, v in state.items() if v.is_floating_point()}
    write_folder(tmp_path / "run", {"weights.safetensors": state, "ema.safetensors": averaged, "recipe.json": system.recipe_json()})
    again = load(tmp_path / "run").state_dict()
    assert all(torch.equal(again[k], averaged.get(k, v)) for k, v in state.items())


def test_folders_that_are_not_systems(tmp_path):
    from omniform.system.storage import write_folder

    system = assemble(DIT)
    state = {k: v.contiguous() for k, v in system.state_dict().items()}
    first = next(iter(state))
    bad = {
        "norecipe": ({"weights.safetensors": state}, "recipe.json"),
        "missing": ({"weights.safetensors": {k: v for k, v in state.items() if k != first}, "recipe.json": system.recipe_json()}, "is missing"),
        "extra": ({"weights.safetensors": {**state, "more": torch.zeros(1)}, "recipe.json": system.recipe_json()}, "'more' is not part of it"),
        "shape": ({"weights.safetensors": {**state, first: torch.zeros(1, 1)}, "recipe.json": system.recipe_json()}, "has shape"),
        "evil": (
            {"weights.safetensors": state, "recipe.json": json.loads(json.dumps(system.recipe_json()).replace("omniform.processes.flow:Flow", "os:system"))},
            "os:system",
        ),
    }
    for name, (files, says) in bad.items():
        write_folder(tmp_path / name, files)
        with pytest.raises(CheckpointError, match=says):
            load(tmp_path / name)
    with pytest.raises(CheckpointError):
        load(tmp_path / "nowhere")


def test_a_system_says_what_it_is_made_of():
    system = assemble(DIT)
    assert system.cite() == ["Scalable Diffusion Models with Transformers, arXiv:2212.09748"]
    assert replace(DIT, name="x").to_json()["name"] == "x" and system.recipe_json() == DIT.to_json()


def test_a_loaded_codec_counts_as_trained_and_a_crash_between_two_renames_is_seen_through(tmp_path):
    save(assemble(DIT), tmp_path / "run" / "checkpoint")
    (tmp_path / "run" / "checkpoint").rename(tmp_path / "run" / "checkpoint.old-1")
    system = load(tmp_path / "run")
    assert not any(p.requires_grad for p in system.codec.parameters()) and all(p.requires_grad for p in system.network.parameters())
