"""The verbs from Python: fitting, codecs that learn first, tokens made once, resuming, measuring."""

from __future__ import annotations

import math
import subprocess
import sys
from dataclasses import replace

import pytest
import torch

import omniform as of
from omniform import recipes, verbs
from omniform.core.codec import LearnedCodec
from omniform.core.errors import BadArgument, ConditionError, DataError, RecipeError, ShapeError
from omniform.core.rng import Rng
from omniform.core.spec import Spec
from omniform.data import Dataset, order
from omniform.data.dataset import Pictures
from omniform.system.build import assemble
from omniform.verbs import learning, measuring
from omniform.verbs.building import untrained
from omniform.verbs.fitting import scales_to

SMALL = {"network.width": 32, "network.backbone.depth": 1, "network.backbone.block.mixer.heads": 2}
QUICK = {"batch": 8, "lr": 1e-3, "validate_every": 0}


@pytest.fixture(autouse=True, scope="module")
def own_cache(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OMNIFORM_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


def pictures(shape=(1, 16, 16), num=40, classes=("a", "b"), seed=0):
    """Two kinds of gradients with noise."""
    generator = torch.Generator().manual_seed(seed)
    label = torch.arange(num) % max(len(classes), 1)
    ramp = torch.linspace(0, 200, shape[-1]).expand(shape)
    pixels = torch.where(label[:, None, None, None] == 0, ramp, ramp.flip(-1)) + 50 * torch.rand(
        (num, *shape), generator=generator
    )
    split = lambda part: Pictures(pixels[part].to(torch.uint8), label[part] if classes else None)  # noqa: E731
    return Dataset(
        "gradients",
        "image",
        shape,
        tuple(classes),
        split(slice(0, num - 8)),
        split(slice(num - 8, num)),
        "made here",
        "made here",
    )


def codes(data=None, **changes):
    return of.build(
        "image-gpt",
        data=data or pictures(),
        changes={**SMALL, "codec.width": 8, "codec.bottleneck.codes": 16, **changes},
    )


# ---- the door -------------------------------------------------------------------------------------------------------


def test_importing_omniform_imports_nothing_heavy():
    said = subprocess.run(
        [
            sys.executable,
            "-c",
            "import sys, omniform as of; of.__version__, dir(of); print([m for m in ('torch', 'numpy', 'click') if m "
            "in sys.modules]); "
            "of.systems; print('torch' in sys.modules)",
        ],
        capture_output=True,
        text=True,
        check=True,
    )
    assert said.stdout.split("\n")[:2] == ["[]", "True"]


def test_the_door_hands_out_the_verbs():
    for name in of.VERBS:
        assert getattr(of, name) is getattr(verbs, name) and name in dir(of)
    assert of.data.names() and issubclass(ShapeError, of.OmniformError)
    with pytest.raises(AttributeError, match="generate"):
        of.generate  # noqa: B018


# ---- fitting --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("side,stride", [(8, 2), (12, 2), (16, 4), (28, 4), (32, 4), (64, 4)])
def test_a_codec_is_fitted_to_the_pictures(side, stride):
    tiny = verbs.fit_codec(recipes.get("var").sized("tiny"), (3, side, side))
    assert tiny.codec.args["stride"] == stride
    scales = tiny.codec.args["bottleneck"].args["scales"]
    assert scales[0] == 1 and scales[-1] == side // stride and list(scales) == sorted(set(scales))
    system = of.build("var", data=pictures((3, side, side)), changes={**SMALL, "codec.width": 8})
    assert tuple(system.codec.shape) == (3, side, side) and system.codec.space.length == sum(s * s for s in scales)


def test_what_fits_stays_as_it_is():
    for name in ("var", "dit", "tarflow", "maskgit"):
        for size in ("tiny", None):
            recipe = recipes.get(name).sized(size)
            assert verbs.fit_codec(recipe, recipe.shape) == recipe
    text = recipes.get("gpt").sized("tiny")
    assert verbs.fit_codec(text, (64,)) is text


def test_sides_may_differ_and_may_not_be_odd():
    recipe = verbs.fit_codec(recipes.get("var").sized("tiny"), (1, 16, 32))
    assert recipe.codec.args["bottleneck"].args["scales"][-1] == (4, 8)
    assert assemble(replace(recipe, shape=(1, 16, 32))).codec.space.axes[1].size == 4
    with pytest.raises(BadArgument, match="divides 15 x 16.*resize"):
        verbs.fit_codec(recipes.get("dit").sized("tiny"), (1, 15, 16))


def test_a_patch_on_a_codec_is_fitted_to_its_grid():
    recipe = verbs.fit_codec(
        recipes.get("dit").sized("S/8"), (3, 128, 128)
    )  # stride 8: a grid of 16, where 8 leaves two places
    assert recipe.codec.args["inner"].args["stride"] == 8 and recipe.codec.args["patch"] == 4


@pytest.mark.parametrize("side", range(1, 20))
def test_scales_rise_to_the_grid(side):
    scales = scales_to((side, side))
    assert scales[0] == 1 and scales[-1] == side
    assert all(a < b <= max(a + 1, math.ceil(1.5 * a)) for a, b in zip(scales, scales[1:], strict=False))


def test_classes_come_from_the_data():
    assert codes().conditioning.parts["label"].names == ("a", "b")
    assert not codes(pictures(classes=())).conditioning.parts


def test_clips_are_as_long_as_what_learns_on_them():
    opened, expected = verbs.building.opened, (9, 1, 32, 32)
    assert opened("moving-digits").shape[0] == 8 and opened("moving-digits", expected).shape == expected
    assert opened("moving-digits", expected, frames=5).shape[0] == 5 and opened("glyphs", expected).shape == (1, 28, 28)
    codec = of.build("wan-vae", data="moving-digits")
    assert codec.codec.shape == expected and of.build("wan", data="moving-digits").codec.shape[0] == 8
    assert of.build("wan", data="moving-digits", codec=codec).codec.shape == expected


def test_changes_are_the_last_word_and_are_checked():
    assert codes(**{"codec.stride": 2}).codec.space.length == 64
    with pytest.raises(BadArgument, match="number at guidance.scale"):
        codes(**{"guidance.scale": "much"})
    with pytest.raises(RecipeError, match="cannot be built so"):
        codes(**{"network.width": -1})


def test_the_seed_is_of_the_weights():
    one, same, other = (of.build("gpt", changes=SMALL, seed=s).state_dict() for s in (1, 1, 2))
    assert all(torch.equal(one[k], same[k]) for k in one) and any(not torch.equal(one[k], other[k]) for k in one)


# ---- codecs ---------------------------------------------------------------------------------------------------------


def test_a_fresh_codec_is_trained_first_settled_and_frozen(caplog):
    caplog.set_level("INFO", logger="omniform")
    system = of.build("dit", data=pictures(), changes={**SMALL, "codec.width": 8})
    before = {k: v.clone() for k, v in system.codec.state_dict().items()}
    assert untrained(system.codec)
    run = of.train(system, pictures(), steps=3, **QUICK)
    assert "trained first, for 3 steps" in caplog.text and run.stopped == "done" and run.steps == 3
    assert not untrained(run.system.codec)
    assert not torch.equal(before["encoder.1.weight"], run.system.codec.state_dict()["encoder.1.weight"])
    data = pictures()
    vec = run.system.codec.encode(data.train.batch(range(32)).data, rng=Rng.seeded(1)).vec.flatten(0, 1)
    assert vec.std(0).tolist() == pytest.approx([1.0] * 4, abs=0.15)
    after = {k: v.clone() for k, v in run.system.codec.state_dict().items()}
    of.train(run.system, data, steps=3, **QUICK)
    assert all(torch.equal(after[k], v) for k, v in run.system.codec.state_dict().items()), (
        "a trained codec stays as it is"
    )


def test_a_given_codec_is_used(tmp_path):
    owner = of.train(codes(), pictures(), steps=2, out=tmp_path / "a", **QUICK).system
    for given in (owner, tmp_path / "a", tmp_path / "a" / "codec"):
        system = of.build("maskgit", data=pictures(), codec=given, changes=SMALL)
        assert system.recipe.codec == owner.recipe.codec and not untrained(system.codec)
        theirs, ours = owner.codec.state_dict(), system.codec.state_dict()
        assert all(torch.equal(theirs[k], ours[k]) for k in theirs)
    of.save(system, tmp_path / "b")
    assert of.load(tmp_path / "b").recipe.codec == owner.recipe.codec and not untrained(of.load(tmp_path / "b").codec)
    with pytest.raises(ShapeError, match=r"\(1, 16, 16\).*\(1, 32, 32\)"):
        of.build("maskgit", data=pictures((1, 32, 32)), codec=owner)


def test_a_given_codec_is_folded_where_the_recipe_folds():
    kl = of.build("kl", data=pictures((1, 32, 32)), changes={"codec.width": 8})
    system = of.build(
        "dit",
        "S/2",
        pictures((1, 32, 32)),
        codec=kl,
        changes={"network.width": 32, "network.backbone.depth": 1, "network.backbone.block.mixer.heads": 2},
    )
    assert system.codec.inner is kl.codec and system.codec.space.length == 16 and system.codec.space.channels == 16


def test_tokens_made_once_are_those_of_the_codec():
    """Codes equal the codec's; of a stochastic codec each example is one draw, whatever the batch."""
    data, system = pictures(), codes()
    split = verbs.Tokenised(system.codec, data.train)
    batch = split.batch(torch.tensor([3, 1, 3]))
    with torch.no_grad():
        expected = system.codec.encode(data.train.batch([3, 1, 3]).data)
    assert torch.equal(batch.data.ids, expected.ids) and batch.data.ids.dtype == torch.long
    assert batch.data.doc.stride(0) == 0 and torch.equal(batch.data.coord, expected.coord)
    assert batch.condition["label"].tolist() == data.train.batch([3, 1, 3]).condition["label"].tolist()
    kl = of.build("kl", data=data, changes={"codec.width": 8}).codec
    once, again, other = (verbs.Tokenised(kl, data.train, seed=s).batch([5, 0]).data.vec for s in (0, 0, 1))
    assert torch.equal(once, again) and not torch.equal(once, other)
    assert torch.equal(once[1:], verbs.Tokenised(kl, data.train).batch([0]).data.vec)
    with torch.no_grad():
        mode = kl.encode(data.train.batch([5, 0]).data).vec
    assert not torch.allclose(once, mode, atol=1e-3)


def test_tokens_are_made_once_only_where_the_data_is_seen_again(monkeypatch):
    made = []
    monkeypatch.setattr(learning, "tokenised", lambda codec, data, **_: made.append(len(data.train)) or data)
    system = codes()
    system.codec.requires_grad_(False)
    of.train(system, pictures(), steps=4, **QUICK)  # 32 examples, 32 of them seen
    assert made == []
    of.train(system, pictures(), steps=5, **QUICK)
    assert made == [32]


def test_training_on_tokens_equals_training_on_pictures(monkeypatch):
    """The same codes, so the same weights, to the bit."""
    ends = []
    for live in (False, True):
        system = codes()
        system.codec.requires_grad_(False)
        if live:
            monkeypatch.setattr(learning, "tokenised", lambda codec, data, **_: data)
        ends.append(of.train(system, pictures(), steps=8, **QUICK).system.state_dict())
    assert all(torch.equal(ends[0][k], ends[1][k]) for k in ends[0])


def test_too_many_tokens_are_not_kept(monkeypatch):
    monkeypatch.setattr(learning, "ROOM", 100)
    data = pictures()
    assert learning.tokenised(codes().codec, data) is data


# ---- runs -----------------------------------------------------------------------------------------------------------


class Interrupting:
    """Presses Ctrl-C at a step."""

    def __init__(self, at):
        self.at = at

    def __call__(self, step, loss):
        if step == self.at:
            raise KeyboardInterrupt


def test_a_run_that_was_interrupted_ends_with_the_bits_of_one_that_was_not(tmp_path):
    whole = of.train(codes(), pictures(), steps=8, out=tmp_path / "whole", **QUICK).system.state_dict()
    run = of.train(codes(), pictures(), steps=8, out=tmp_path / "cut", on_step=Interrupting(3), **QUICK)
    assert run.stopped == "interrupted" and run.steps == 3
    assert of.load(tmp_path / "cut").generate(1, {"label": "a"}).shape == (1, 1, 16, 16)
    run = of.train(codes(), pictures(), steps=8, out=tmp_path / "cut", resume=True, **QUICK)
    assert run.stopped == "done" and all(torch.equal(whole[k], v) for k, v in run.system.state_dict().items())
    loaded = of.load(tmp_path / "cut").state_dict()
    assert all(torch.equal(whole[k], loaded[k]) for k in whole)


def test_a_run_that_was_interrupted_while_its_codec_learned_too(tmp_path, monkeypatch):
    whole = of.train(codes(), pictures(), steps=6, out=tmp_path / "whole", **QUICK).system.state_dict()
    real = learning.run_training
    monkeypatch.setattr(learning, "run_training", lambda *a, **k: real(*a, **{**k, "on_step": Interrupting(2)}))
    run = of.train(codes(), pictures(), steps=6, out=tmp_path / "cut", **QUICK)
    assert (run.stopped, run.steps) == ("interrupted", 0)
    with pytest.raises(of.OmniformError, match="only its codec"):
        of.load(tmp_path / "cut")
    with pytest.raises(BadArgument, match="trained its codec"):
        of.train(codes(), pictures(), steps=6, out=tmp_path / "cut", **QUICK)
    monkeypatch.setattr(learning, "run_training", real)
    run = of.train(codes(), pictures(), steps=6, out=tmp_path / "cut", resume=True, **QUICK)
    assert run.stopped == "done" and all(torch.equal(whole[k], v) for k, v in run.system.state_dict().items())


def test_a_settled_codec_is_what_load_reads(tmp_path):
    run = of.train(
        of.build("kl", data=pictures(), changes={"codec.width": 8}), pictures(), steps=2, out=tmp_path / "kl", **QUICK
    )
    loaded = of.load(tmp_path / "kl")
    spread = loaded.codec.bottleneck.spread
    assert torch.equal(spread, run.system.codec.bottleneck.spread) and not torch.equal(spread, torch.ones(4))
    assert untrained(loaded.codec), "a codec by itself may learn on"
    assert of.train(loaded, pictures(), steps=2, out=tmp_path / "kl", resume=True, **QUICK).steps == 2


def test_the_plan_is_the_recipes_with_what_is_said():
    plan = learning.planned({"batch": 3, "steps": 9}, lr=0.5)
    assert (plan.batch, plan.steps, plan.lr) == (3, 9, 0.5)
    assert learning.planned({"steps": 9}, minutes=2).seconds == 120 and learning.planned({"steps": 9}, minutes=2).timed
    first, rest = learning.shared(learning.planned({}, minutes=1))
    assert first.seconds + rest.seconds == 60 and first.seconds == 15
    first, rest = learning.shared(learning.planned({}, steps=10_000))
    assert (first.steps, rest.steps) == (4000, 10_000)
    for how, word in (
        ({"steps": 1, "minutes": 1}, "both"),
        ({}, "needs an end"),
        ({"minutes": -1}, "above 0"),
        ({"steps": 1, "lrr": 1}, "lr"),
    ):
        with pytest.raises(BadArgument, match=word):
            learning.planned({}, **how)


def test_data_must_suit_the_system():
    system = codes()
    for data, error in (
        (pictures((1, 32, 32)), ShapeError),
        (pictures(classes=("a", "c")), ConditionError),
        (pictures(classes=()), ConditionError),
        (__file__, DataError),
    ):
        with pytest.raises(error):
            of.train(system, data, steps=1)
        with pytest.raises(error):
            of.score(system, data)


# ---- measures -------------------------------------------------------------------------------------------------------


def test_score_is_the_mean_of_what_the_system_says():
    system, data = codes(), pictures()
    answer = of.score(system, data, batch=3)
    batch = data.test.batch(order(8, 0, 0, 8))
    expected = system.score(batch.data, {"label": batch.condition["label"]}).double().mean()
    assert answer["nats"] == pytest.approx(float(expected), rel=1e-6) and answer["examples"] == 8
    assert answer["nats_per_dimension"] == pytest.approx(answer["nats"] / 16) and answer["kind"] == "exact"


def test_a_density_of_pixels_counts_the_scale_of_its_codec():
    """p(pixels) = p(tokens) scale^n: the same network on tokens scaled by 2 must say log 2 a pixel less."""
    nats = []
    for scale in (1.0, 2.0):
        system = of.build(
            "tarflow",
            "tiny",
            pictures(),
            changes={
                **SMALL,
                "network.stages": 1,
                "process.maps": 1,
                "codec": Spec(recipes.get("tarflow").codec.make, {"patch": 4, "scale": scale}),
            },
        )
        assert not isinstance(system.codec, LearnedCodec)
        batch = pictures().test.batch(order(8, 0, 0, 8))
        rows = order(8, 0, 0, 8).tolist()
        direct = float(system.score(batch.data, {"label": batch.condition["label"]}, rows=rows).double().mean())
        answer = of.score(system, pictures())
        nats.append(direct - answer["nats"])
        assert answer["dimensions"] == 256 and answer["space"].startswith("pixel value")
    assert nats == pytest.approx([0, 256 * math.log(2)], abs=1e-2)


def test_evaluate_ranks_the_floor_before_noise_and_rows_do_not_depend_on_the_batch(monkeypatch):
    monkeypatch.setattr(measuring, "JUDGE_STEPS", 5)
    system, data = codes(), pictures(num=64)
    classifier = verbs.judge(data)
    answer = of.evaluate(system, data, 8, classifier)
    assert (
        answer["floor"]["frechet"] < answer["ceiling"]["frechet"] and answer["samples"] == 8 and answer["calls"] == 32
    )  # two terms of guidance, 16 turns
    told = {"label": torch.tensor([0, 1, 0, 1, 0])}
    two, five = (measuring.generated(system, 5, told, seed=1, batch=b) for b in (2, 5))
    assert two.shape == (5, 1, 16, 16) and torch.allclose(two, five, atol=1e-4)
    assert verbs.judge(data).accuracy == classifier.accuracy  # from the cache
    assert verbs.judge(pictures(classes=())).kind == "random convolutions"


def test_compare_gives_a_row_a_system(monkeypatch):
    monkeypatch.setattr(measuring, "JUDGE_STEPS", 5)
    data = pictures()
    flow = of.build("sit", data=data, changes={**SMALL, "codec.width": 8, "process.steps": 2})
    rows = of.compare([codes(), flow], data, 8)
    assert [r["recipe"] for r in rows] == ["image-gpt", "sit"]
    assert rows[0]["kind"] == "exact" and rows[1]["nats_per_dimension"] is None and all(r["frechet"] >= 0 for r in rows)
    with pytest.raises(BadArgument, match="one system or more"):
        of.compare([], data)
