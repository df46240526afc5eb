"""Published numbers, how they are counted, and that recipes are as many as they say."""
from __future__ import annotations

import ast
import importlib
import itertools
import json
import math
from pathlib import Path

import pytest
import torch

from omniform import recipes
from omniform.backbones.attention import Attention
from omniform.backbones.blocks import PreNorm
from omniform.backbones.embed import Embed, TimeEmbedding
from omniform.backbones.mlp import Experts, Mlp
from omniform.backbones.stack import EncodeKnown, Stack
from omniform.codecs.ids import Ids
from omniform.codecs.patch import Patches
from omniform.conditions.conditioning import ClassLabel
from omniform.core.errors import BadArgument
from omniform.core.order import BlocksOf, Raster
from omniform.core.process import generate
from omniform.core.rng import Rng
from omniform.core.spec import Spec
from omniform.heads.affine import AffineHead
from omniform.heads.categorical import CategoricalHead
from omniform.heads.denoised import DenoisedHead
from omniform.heads.point import EnergyHead, PointHead
from omniform.processes.autoregress import Autoregress
from omniform.processes.bijective import Bijective
from omniform.processes.blocks import Blocks
from omniform.processes.energy import Energy
from omniform.processes.feeds import Shift
from omniform.processes.flow import Flow
from omniform.processes.masked import Masked
from omniform.processes.paths import Linear
from omniform.processes.solvers import DpmPP2M, Euler, Heun
from omniform.system.build import assemble
from omniform.system.facts import built, checked, counted, described
from omniform.system.network import Network
from omniform.system.recipe import Fact, Recipe
from omniform.system.system import Counted

NAMES = recipes.names()
SYSTEMS = [name for name in NAMES if recipes.get(name).network is not None]
FAMILIES = ("autoregressive", "masked", "diffusion", "flow", "next-scale", "masked-autoregressive", "normalizing-flow", "energy", "adversarial", "block",
            "interleaved", "latent")
D, T, V, N = 16, 12, 10, 2                                  # width, tokens, codes, blocks of the networks counted by hand
MIXER = Spec(Attention, {"heads": 2})


def stack(**more):
    return Spec(Stack, {"depth": N, "block": Spec(PreNorm, {"mixer": MIXER, "mlp": Spec(Mlp), **more})})


def text(process, backbone=None, head=None, **more):
    head = head or Spec(CategoricalHead)
    return Recipe(name="probe", title="Probe", family="probe", modality="text", source=(), codec=Spec(Ids, {"vocab": V}), shape=(T,), process=process,
                  network=Spec(Network, {"width": D, "embed": Spec(Embed), "backbone": backbone or stack(), "head": head}), **more)


def pictures(process, head, backbone=None, time=None, **network):
    """T patches of 4 numbers."""
    network = {"width": D, "embed": Spec(Embed), "backbone": backbone or stack(), "head": head, "time": time, **network}
    return Recipe(name="probe", title="Probe", family="probe", modality="image", source=(), codec=Spec(Patches, {"patch": 2}), shape=(1, 6, 8), process=process,
                  network=Spec(Network, network))


def blocks(new, seen=0, into=0, out=V):
    """Multiply-adds of `new` tokens that see `seen` others and themselves: maps in and out, and N blocks of 12 D^2 a token and 2 D a pair."""
    return new * (into * D + out * D) + N * (12 * D * D * new + 2 * D * new * (new + seen))


# facts ---------------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("name", NAMES)
def test_every_fact_holds_or_says_why_not(name):
    recipe = recipes.get(name)
    rows = checked(recipe)
    assert len(rows) == len(recipe.facts)
    for fact, row in zip(recipe.facts, rows, strict=True):
        assert fact.of, f"{fact} does not say where it is printed"
        assert row.verdict == "holds" or (fact.differs and row.verdict == f"differs because {fact.differs}"), row
        assert not (fact.differs and row.verdict == "holds"), f"{fact} holds, so there is nothing to excuse"


@pytest.mark.parametrize("name", SYSTEMS)
def test_facts_are_stated_of_sizes(name):
    recipe = recipes.get(name)
    assert recipe.sizes and recipe.tiny and recipe.facts and recipe.source
    assert {f.size for f in recipe.facts} <= set(recipe.sizes)


def test_a_wrong_number_does_not_hold():
    recipe = recipes.get("gpt").but(facts=(Fact("parameters", "124M", 117e6, 0.01, "the report's own label"), Fact("parameters", "124M", 117e6, 0.07, "")))
    assert [row.verdict for row in checked(recipe)] == ["does not hold", "holds"]
    with pytest.raises(BadArgument, match="no count of 'parametres'"):
        checked(recipe.but(facts=(Fact("parametres", "124M", 1.0),)))


def test_parameters_of_gpt_2_by_formula():
    d, n = 768, 12
    assert counted(recipes.get("gpt").sized("124M"), costs=False).parameters == 50257 * d + 1024 * d + n * (12 * d * d + 13 * d) + 2 * d


def test_multiply_adds_of_dit_by_formula():
    """Card of DiT: T C p^2 d + N (12 T d^2 + 2 T^2 d + 6 d^2) + 8 T p^2 d + 2 d^2 + 256 d + d^2."""
    t, c, p, d, n = 256, 4, 2, 384, 12
    by_hand = t * c * p * p * d + n * (12 * t * d * d + 2 * t * t * d + 6 * d * d) + 8 * t * p * p * d + 2 * d * d + 256 * d + d * d
    counts = counted(recipes.get("dit").sized("S/2"))
    assert counts.multiply_adds == by_hand
    assert counts.multiply_adds_per_sample == 250 * by_hand and counts.terms == 2


# counting ------------------------------------------------------------------------------------------------------------

def test_a_sequence_by_hand():
    counts = counted(text(Spec(Autoregress, {"order": Spec(Raster), "feed": Spec(Shift)})))
    embed, block = V * D + D, 4 * D * D + 4 * D + 8 * D * D + 5 * D + 4 * D          # attention, MLP, two norms
    assert counts.parameters == counts.active_parameters == embed + N * block + 2 * D + V * D + V
    assert counts.multiply_adds == blocks(T)
    assert counts.multiply_adds_per_sample == sum(blocks(1, seen) for seen in range(T)) < counts.multiply_adds
    assert (counts.tokens, counts.steps, counts.questions, counts.terms) == (T, T, T, 1)


def test_experts_by_hand():
    mlp = Spec(Experts, {"num": 4, "top": 2, "mlp": Spec(Mlp), "shared": 1, "shared_mlp": Spec(Mlp, {"ratio": 2.0})})
    process = Spec(Autoregress, {"order": Spec(Raster), "feed": Spec(Shift)})
    counts = counted(text(process, stack(mlp=mlp)))
    assert counts.multiply_adds == T * V * D + N * T * (4 * D * D + 2 * D * T + 2 * 8 * D * D + 4 * D * D + 4 * D)
    assert counts.parameters - counts.active_parameters == N * 2 * (8 * D * D + 5 * D)


def test_a_prefix_goes_through_once():
    process = Spec(Autoregress, {"order": Spec(Raster), "feed": Spec(Shift)})
    counts = counted(text(process, conditions={"label": (Spec(ClassLabel, {"classes": 3}), "prefix")}))
    assert counts.multiply_adds == blocks(T + 1) - V * D
    assert counts.multiply_adds_per_sample == sum(blocks(1, seen) for seen in range(T)) + N * (12 * D * D + 2 * D * (2 * T + 1))


def test_masked_by_hand():
    counts = counted(text(Spec(Masked, {"steps": 5})))
    assert counts.questions == counts.steps == 5
    assert counts.multiply_adds_per_sample == 5 * counts.multiply_adds == 5 * blocks(T)
    assert counted(text(Spec(Masked, {"steps": 50})), costs=False).questions == T         # at least one place a question


def test_an_encoder_that_drops_what_is_hidden_is_cheaper():
    process = Spec(Masked, {"steps": 4, "choose": "random", "schedule": "linear"})
    counts = counted(text(process, Spec(EncodeKnown, {"encoder": stack(), "decoder": stack()})))
    half = lambda n: N * (12 * D * D * n + 2 * D * n * n)
    assert counts.multiply_adds_per_sample == sum(half(known) + D * D * known + half(T) + T * V * D for known in (0, 3, 6, 9))


def test_blocks_by_hand():
    inner = Spec(Masked, {"steps": 2, "schedule": "linear"})
    counts = counted(text(Spec(Blocks, {"order": Spec(BlocksOf, {"size": 4}), "inner": inner})))
    assert counts.multiply_adds == blocks(2 * T)
    assert counts.multiply_adds_per_sample == 3 * (blocks(4) + blocks(4, 4)) + 2 * blocks(4, 8)     # two questions a block and its record, but for the last
    assert (counts.steps, counts.questions) == (6, 8)


@pytest.mark.parametrize(("solver", "evaluations"), [(Euler, 6), (Heun, 11), (DpmPP2M, 6)])
def test_flows_by_hand(solver, evaluations):
    flow = Spec(Flow, {"path": Spec(Linear), "solver": Spec(solver), "steps": 6})
    counts = counted(pictures(flow, Spec(PointHead), stack(modulate="zero"), Spec(TimeEmbedding)))
    once = blocks(T, into=4, out=4) + N * 6 * D * D + 256 * D + D * D
    assert counts.multiply_adds == once
    assert (counts.steps, counts.questions, counts.multiply_adds_per_sample) == (6, evaluations, evaluations * once)


def test_a_denoising_head_by_hand():
    inner = Spec(Flow, {"path": Spec(Linear), "solver": Spec(Euler), "steps": 7, "per": "token"})
    counts = counted(pictures(Spec(Masked, {"steps": 3}), Spec(DenoisedHead, {"hidden": 8, "depth": 1, "inner": inner})))
    small = 4 * 8 + 256 * 8 + 8 * 8 + D * 8 + 3 * 8 * 8 + 2 * 8 * 8 + 2 * 8 * 8 + 8 * 4
    assert counts.multiply_adds == blocks(T, into=4, out=0) + T * small
    assert counts.multiply_adds_per_sample == 3 * blocks(T, into=4, out=0) + 7 * T * small


def test_gradients_are_counted():
    """Down a linear map and back costs twice; a pair of tokens, two products forward and four back."""
    counts = counted(pictures(Spec(Energy, {"steps": 3}), Spec(EnergyHead)))
    assert counts.multiply_adds == blocks(T, into=4, out=1)
    assert counts.multiply_adds_per_sample == 3 * (2 * blocks(T, into=4, out=1) + N * 2 * D * T * T)


def test_a_normalizing_flow_by_hand():
    plain = counted(pictures(Spec(Bijective, {"maps": 3, "denoise": False}), Spec(AffineHead), stages=3))
    assert plain.multiply_adds == 3 * blocks(T, into=4, out=8)
    assert plain.multiply_adds_per_sample == 3 * sum(blocks(1, seen, into=4, out=8) for seen in range(T))
    cleaned = counted(pictures(Spec(Bijective, {"maps": 3}), Spec(AffineHead), stages=3))
    assert cleaned.multiply_adds_per_sample - plain.multiply_adds_per_sample == 3 * (2 * blocks(T, into=4, out=8) + N * 2 * D * T * T)


def shallow(name):
    """A recipe at "tiny" with one block wherever there are several."""
    recipe = recipes.get(name).sized("tiny")
    return recipe.but({f"network.{path}": 1 for path, _ in recipe.network.walk() if path.rsplit(".", 1)[-1] == "depth"})


@pytest.mark.parametrize("name", SYSTEMS)
def test_questions_are_as_many_as_generation_asks(name):
    system = assemble(shallow(name)).eval()
    blank = system.codec.space.blank(1)
    net = Counted(system.network.open(system.conditioning.context({}, 1), memory=system.process.memory))
    with torch.no_grad():
        generate(system.process, net, blank, rng=Rng.seeded(0, 1))
    said = sum(ask.times for ask in system.process.asks(blank))
    if getattr(system.process, "denoise", False):
        said += system.process.maps                         # the last denoising asks each map once more
    if getattr(system.process, "choose", "") == "independent" or system.codec.space.stop is not None:
        assert 1 < net.calls <= said                        # as chance has it: places shown together, an early end
    else:
        assert net.calls == said


# the page and the build ----------------------------------------------------------------------------------------------

@pytest.mark.parametrize("name", NAMES)
def test_described_is_json(name):
    answer = described(recipes.get(name), "tiny")
    assert json.loads(json.dumps(answer)) == answer
    assert answer["name"] == name and answer["size"] == "tiny" and answer["sources"]
    assert answer["parameters"] + answer["codec_parameters"] > 0
    if name in SYSTEMS:
        numbers = [answer[key] for key in ("multiply_adds_per_question", "multiply_adds_per_sample", "tokens", "steps", "questions", "terms")]
        assert all(math.isfinite(x) and x > 0 for x in numbers)


def test_described_shows_the_facts_of_its_size():
    answer = described(recipes.get("dit"), "S/8")
    assert {row["size"] for row in answer["facts"]} == {"S/8"} and len(answer["facts"]) == 2
    assert json.loads(json.dumps(answer)) == answer and answer["sizes"][-1] == "tiny"
    assert described(recipes.get("sit"))["size"] == "XL/2"


@pytest.mark.parametrize(("name", "size"), [("llama", "65B"), ("dit-moe", "G/2-16E2A"), ("var", "d30"), ("mar", "H"), ("titok-maskgit", "S-128")])
def test_building_for_counting_allocates_nothing(name, size):
    system = built(recipes.get(name).sized(size))
    assert all(p.is_meta for p in system.parameters())
    assert sum(b.numel() * b.element_size() for b in system.buffers() if not b.is_meta) < 100_000


def test_a_build_for_counting_is_the_build():
    recipe = recipes.get("maskgit").sized("tiny")
    shapes = lambda system: {name: p.shape for name, p in system.named_parameters()}
    assert shapes(built(recipe)) == shapes(assemble(recipe))


# no recipe is another ------------------------------------------------------------------------------------------------

def fingerprint(name, size):
    saved = recipes.get(name).sized(size).to_json()
    return json.dumps({k: v for k, v in saved.items() if k not in ("name", "title", "family", "modality", "source", "ungraded")}, sort_keys=True)


@pytest.mark.parametrize("size", [None, "tiny"])
def test_no_two_recipes_are_the_same(size):
    prints = {name: fingerprint(name, size) for name in NAMES}
    for one, other in itertools.combinations(NAMES, 2):
        assert prints[one] != prints[other], f"{one} and {other} are the same system"


def derived():
    """(name, module of the recipe that it was made from by `but`), read from the files."""
    for name, module in recipes.modules().items():
        tree = ast.parse(Path(importlib.import_module(module).__file__).read_text())
        known = {alias.asname: node.module for node in tree.body if isinstance(node, ast.ImportFrom) for alias in node.names if alias.name == "RECIPE"}
        made = tree.body[-1].value
        if isinstance(made.func, ast.Attribute) and made.func.value.id in known:
            yield name, known[made.func.value.id].rsplit(".", 1)[-1].replace("_", "-")


@pytest.mark.parametrize(("name", "parent"), list(derived()))
def test_a_derived_recipe_says_what_is_new(name, parent):
    mine, theirs = recipes.get(name), recipes.get(parent)
    assert mine.against(theirs)
    assert mine.name != theirs.name and mine.title != theirs.title and mine.source[0] != theirs.source[0]
    assert mine.facts != theirs.facts


@pytest.mark.parametrize("name", NAMES)
def test_a_recipe_has_its_file_s_name(name):
    recipe = recipes.get(name)
    room = recipes.modules()[name].split(".")[-2]
    assert recipe.name == name
    assert recipe.modality == room or (room == "codec" and recipe.family == "latent")
    assert recipe.family in FAMILIES


def test_a_place_is_answered_by_the_head_of_its_kind(monkeypatch):
    """Of a text with a picture: the letters' head at the letters, the picture's at its tokens; by hand, a map of so many numbers each."""
    from omniform.heads.by_kind import ByKind

    recipe = recipes.get("transfusion").sized("tiny")
    system, whole = built(recipe), counted(recipe).multiply_adds
    text, picture = system.codec.space.parts
    letters, tokens = system.network.towers["main"].head.each
    monkeypatch.setattr(ByKind, "each", lambda self, kind: [self])
    assert whole - counted(recipe).multiply_adds == text.length * letters.out.weight.numel() + picture.length * tokens.out.weight.numel()
