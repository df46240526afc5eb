"""Checkpoints of papers' repositories: their names and shapes, listed in shapes/, against our recipes; there and back; as files."""

from __future__ import annotations

import argparse
import importlib.util
import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

import omniform as of
from omniform.core.errors import CheckpointError
from omniform.interop.adopting import _network as own_of
from omniform.interop.adopting import paper
from omniform.interop.papers import PAPERS


def beside(name: str):
    """A module of this folder, which is no package."""
    spec = importlib.util.spec_from_file_location(name, Path(__file__).with_name(f"{name}.py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


titoks, tokenizers = beside("titoks"), beside("tokenizers")
SHAPES = Path(__file__).parent / "shapes"


def listed(name: str) -> dict[str, dict[str, tuple[int, ...]]]:
    """size -> name -> shape; {28} in a name stands for 0 to 27, {2:18} for 2 to 17."""
    found: dict[str, dict[str, tuple[int, ...]]] = {}
    for line in (SHAPES / f"{name}.txt").read_text().splitlines():
        first, *rest = line.split()
        if first == "#":
            size = found.setdefault(rest[0], {})
            continue
        names = [first]
        while many := re.search(r"\{(?:(\d+):)?(\d+)\}", names[0]):
            names = [n.replace(many[0], str(i), 1) for n in names for i in range(int(many[1] or 0), int(many[2]))]
        size.update({n: tuple(map(int, rest)) for n in names})
    return found


LISTS = {name: listed(name) for name in PAPERS}
REFUSED = {"vqgan": {"f16-1024", "f16-16384"}, "kl": {"light"}, "pyramid": {"f16"}}
BESIDES = {r"loss\..*|model_ema\.(decay|num_updates)"}
"""What a checkpoint holds besides the module whose names are listed."""


def test_every_published_size_is_listed():
    for name, sizes in LISTS.items():
        published = set(paper(name).sizes) - {"XL/2-GVP", "XL/2-VP"}  # SiT's paths: the same network
        assert set(sizes) == published - REFUSED.get(name, set()), name


@pytest.mark.parametrize("name, size", [(name, size) for name, sizes in LISTS.items() for size in sizes])
def test_a_table_is_one_to_one_and_complete(name, size):
    own, theirs = own_of(paper(name, size)), LISTS[name][size]
    table = PAPERS[name].table(own)
    table.check(own, theirs)
    wanted = table.their_shapes(own)
    left = {n for n in theirs if n not in wanted}
    assert all(any(re.fullmatch(pattern, n) for pattern, _ in table.ignored) for n in left)
    assert all(any(re.fullmatch(pattern, n) for n in left) for pattern, _ in table.ignored if pattern not in BESIDES), "ignored, and they have none"


def small(name, size=None):
    """A recipe of the family with a narrow network of its real kind."""
    if name == "titok":
        return titoks.small()
    if name in tokenizers.SIZES:
        return tokenizers.small(name)
    if name == "mar":
        half = {f"network.backbone.{h}.{k}": v for h in ("encoder", "decoder") for k, v in (("depth", 1), ("block.mixer.heads", 2))}
        changes = {**half, "network.width": 16, "network.head.depth": 1, "network.head.hidden": 8, "network.backbone.buffer": 3}
    else:
        changes = {"network.width": 16, "network.backbone.depth": 2, "network.backbone.block.mixer.heads": 2}
        changes |= {"shape": (3, 16, 16)} if name == "tarflow" else {}
        if name.startswith("starflow"):
            deep = {"depth": 3, "block.mixer.heads": 2, "rotary.told": 1, "rotary.head_width": 8}
            changes |= {f"network.towers.deep.backbone.{k}": v for k, v in deep.items()}
            changes |= {f"network.backbone.{k}": v for k, v in deep.items() if k != "depth"}
        changes |= {"network.backbone.block.mlp.hidden": 24, "network.backbone.rotary.head_width": 8} if name == "llamagen" else {}
        changes |= {"network.backbone.depth": 5} if size == "S-128" else {}
    return paper(name, size).but(changes, sizes={}, tiny={}, facts=())


@pytest.mark.parametrize("name, size", [*((name, None) for name in PAPERS), ("titok-maskgit", "S-128")])
def test_weights_go_there_and_back(name, size):
    own = own_of(small(name, size))
    table = PAPERS[name].table(own)
    theirs = {n: torch.randn(shape) for n, shape in table.their_shapes(own).items()}
    ours = table.ours(own, theirs.__getitem__)
    assert {n: tuple(x.shape) for n, x in ours.items()} == own
    back = table.theirs(ours)
    if name == "sit":
        for x in ("weight", "bias"):  # of each place of a patch: four means, and four variances that nobody reads
            one, other = (y.pop(f"final_layer.linear.{x}").unflatten(0, (4, 2, 4)) for y in (theirs, back))
            assert torch.equal(one[:, 0], other[:, 0]) and not other[:, 1].any()
    if name == "starflow":  # a bias enters every row of a table and leaves as zeros; weights of norms are counted from one, and rounded
        weight, bias = (y[f"blocks.5.proj_txt.{x}"] for y, x in ((theirs, "weight"), (theirs, "bias")))
        assert torch.equal(back.pop("blocks.5.proj_txt.weight"), theirs.pop("blocks.5.proj_txt.weight") + bias[:, None])
        assert weight.shape == (16, 1001) and not back.pop("blocks.5.proj_txt.bias").any() and theirs.pop("blocks.5.proj_txt.bias") is bias
    turned = {n for n in theirs if n.endswith(("t_embedder.mlp.0.weight", "time_embed.mlp.0.weight", "final_norm.weight"))}  # by angles, from one: to rounding
    assert theirs.keys() == back.keys()
    for n in theirs:
        torch.testing.assert_close(back[n], theirs[n], rtol=0, atol=1e-5 if n in turned else 0)


@pytest.mark.parametrize("name, ours, theirs, count", [
    ("dit", "network.time.net.0.weight", "t_embedder.mlp.0.weight", lambda k: k + 1),
    ("mar", "network.towers.main.head.mlp.time.0.weight", "diffloss.net.time_embed.mlp.0.weight", lambda k: 999 - k),
])  # fmt: skip
def test_a_noise_level_that_they_count_otherwise(name, ours, theirs, count):
    """Their level k of a thousand and our number for it make the same vector."""
    own = own_of(small(name))
    tie = next(t for t in PAPERS[name].table(own).ties if t.ours == ours)
    assert tie.theirs == (theirs,)
    weight = torch.randn(own[ours], dtype=torch.float64)
    frequency = 10000.0 ** (-torch.arange(128, dtype=torch.float64) / 128)
    said = lambda k: torch.cat([(k * frequency).cos(), (k * frequency).sin()])  # noqa: E731
    for k in (0, 1, 500, 999):
        torch.testing.assert_close(tie.there([weight]) @ said(count(k)), weight @ said(k))


@pytest.fixture(scope="module")
def letters(tmp_path_factory):
    """A paper's checkpoint of the family of DiT in the size of a test, and the recipe under a name that can be asked for."""
    recipe = small("dit")
    own = own_of(recipe)
    table = PAPERS["dit"].table(own)
    generator = torch.Generator().manual_seed(0)
    theirs = {n: torch.randn(shape, generator=generator) for n, shape in table.their_shapes(own).items()}
    return recipe, {**theirs, "pos_embed": torch.zeros(1, 256, 16)}, tmp_path_factory.mktemp("papers")


@pytest.mark.parametrize("inside", [None, "ema", "model", "state_dict"])
def test_a_bare_file_and_what_a_training_script_leaves(letters, inside):
    from omniform.interop.adopting import load_paper

    recipe, theirs, folder = letters
    file = folder / f"{inside}.pt"
    worse = {n: torch.zeros_like(x) for n, x in theirs.items()}
    besides = {"opt": {"state": {}}, "args": argparse.Namespace(lr=1e-4, model="DiT-S/2"), **({"model": worse} if inside == "ema" else {})}
    kept = theirs if inside is None else {**besides, inside: theirs}
    torch.save(kept, file)
    system = load_paper(file, recipe, pickled=True)
    assert torch.equal(system.conditioning.parts["label"].table.weight, theirs["y_embedder.embedding_table.weight"])
    assert not system.training


def test_maps_have_tables_of_their_own():
    """TarFlow's classes: each map's table is its own columns of ours, and without classes there is none."""
    recipe = small("tarflow")
    own = own_of(recipe)
    table = PAPERS["tarflow"].table(own)
    theirs = {n: torch.randn(shape) for n, shape in table.their_shapes(own).items()}
    ours = table.ours(own, theirs.__getitem__)["conditioning.parts.label.table.weight"]
    assert torch.equal(ours[7, 3 * 16 : 4 * 16], theirs["blocks.3.class_embed"][7, 0])
    free = own_of(recipe.but({"conditions": {}}))
    assert not any("class_embed" in n for n in PAPERS["tarflow"].table(free).their_shapes(free))
    with pytest.raises(CheckpointError, match="'blocks.0.class_embed' has no place here"):
        PAPERS["tarflow"].table(free).check(free, table.their_shapes(own))
    bare = {n: s for n, s in table.their_shapes(own).items() if "class_embed" not in n}
    with pytest.raises(CheckpointError, match="has no 'blocks.0.class_embed'"):
        table.check(own, bare)
    halved = {n: (s[0] // 2, *s[1:]) if "proj_out" in n else s for n, s in table.their_shapes(own).items()}  # maps that keep volume (nvp off)
    with pytest.raises(CheckpointError, match="'blocks.0.proj_out.weight' has shape"):
        table.check(own, halved)


def test_a_flow_that_is_told_texts_is_not_one_that_is_told_classes(tmp_path):
    from omniform.interop.adopting import load_paper

    recipe = small("starflow")
    own = own_of(recipe)
    theirs = {n: torch.zeros(shape) for n, shape in PAPERS["starflow"].table(own).their_shapes(own).items()}
    for changes, says in (
        ({"blocks.5.proj_txt.weight": torch.zeros(16, 2048)}, "is told texts by vectors of 2048 numbers, .* read it as starflow-text"),
        ({"learnable_self_denoiser.proj_in.weight": torch.zeros(2, 2)}, "that learns to denoise"),
        ({"blocks.0.proj_txt.weight": torch.zeros(16, 1001)}, "'blocks.0.proj_txt.weight' has no place here"),
        ({"blocks.5.sos_embed": torch.zeros(1, 1, 5)}, "'blocks.5.sos_embed' has shape"),
        ({"blocks.5.proj_txt.weight": torch.tensor(0.0)}, "is told texts|has shape"),
    ):
        save_file({**theirs, **changes}, tmp_path / "x.safetensors")
        with pytest.raises(CheckpointError, match=says):
            load_paper(tmp_path / "x.safetensors", recipe)
    save_file(theirs, tmp_path / "x.safetensors")
    assert load_paper(tmp_path / "x.safetensors", recipe).process.maps == 6


@pytest.mark.parametrize("size, heads, depth", [("L-32", 2, 2), ("B-64", 4, 3)])
def test_titoks_generator_is_a_bert_with_classes_among_its_codes(tmp_path, size, heads, depth):
    """The official one is this module of transformers with a linear map behind it: the class's id first, then codes, 4096 where they are hidden."""
    from transformers import BertConfig, BertModel

    from omniform.interop.adopting import load_paper
    from omniform.processes.masked import asked

    length, said = int(size[2:]), {"hidden_size": 32, "num_hidden_layers": depth, "num_attention_heads": heads, "intermediate_size": 128, "hidden_act": "gelu"}
    torch.manual_seed(0)
    config = BertConfig(**said, vocab_size=4096 + 1 + 1000 + 1, max_position_embeddings=1 + length, layer_norm_eps=1e-12, pad_token_id=None)
    model, head = BertModel(config, add_pooling_layer=False).eval(), torch.nn.Linear(32, 4096)
    model.lm_head = head
    with torch.no_grad():
        for n, p in model.named_parameters():
            p.copy_(torch.randn(p.shape) * (1.0 if "_embeddings" in n else 0.2) + (n.endswith("LayerNorm.weight")))
    save_file({f"model.{n}": x.contiguous() for n, x in model.state_dict().items()}, tmp_path / "x.safetensors")
    narrow = {"network.width": 32, "network.backbone.depth": depth, "network.backbone.block.mixer.heads": heads}
    system = load_paper(tmp_path / "x.safetensors", paper("titok-maskgit", size).but(narrow, sizes={}, tiny={}, facts=()))
    ids, known, label = torch.randint(0, 4096, (3, length)), torch.rand(3, length) < 0.5, torch.tensor([0, 7, 999])
    question = asked(replace(system.codec.space.blank(3), ids=ids[..., None]), known, torch.zeros(3))
    for told, first in (({"label": label}, 4097 + label), ({}, torch.full((3,), 5097))):
        with torch.no_grad():
            want = head(model(torch.cat([first[:, None], torch.where(known, ids, 4096)], 1))[0][:, 1:])
            got = system.network.open(system.conditioning.context(told, 3))(question).distribution.logits[:, :, 0]
        assert float((got - want).abs().max() / want.abs().max()) < 1e-5
    with pytest.raises(CheckpointError, match="the checkpoint has no 'embeddings.weight'"):
        load_paper(tmp_path / "x.safetensors", small("titok-maskgit", "S-128"))


def test_safetensors_need_no_permission(letters):
    from omniform.interop.adopting import load_paper

    recipe, theirs, folder = letters
    save_file(theirs, folder / "x.safetensors")
    assert load_paper(folder / "x.safetensors", recipe).recipe.name == "dit"


def test_a_trained_codec_takes_the_place_of_theirs(letters):
    from omniform.verbs.building import _of_paper

    recipe, theirs, folder = letters
    save_file(theirs, folder / "y.safetensors")
    codec = of.build("kl", None, changes={"codec.width": 8, "codec.depth": 1})
    system = _of_paper(folder / "y.safetensors", recipe, codec, False)
    assert system.codec.inner is codec.codec and system.generate(1, {"label": [3]}, steps=1).shape == (1, 3, 256, 256)
    other = of.build("kl", None, changes={"codec.width": 8, "codec.depth": 1, "codec.bottleneck.channels": 16})
    with pytest.raises(CheckpointError, match="reads other tokens than the given codec makes"):
        _of_paper(folder / "y.safetensors", recipe, other, False)


def test_what_is_not_said_or_does_not_fit_is_refused(letters):
    _, theirs, folder = letters
    file = folder / "wrong.pt"
    torch.save(theirs, file)
    for how, says in (
        ({}, r"says nothing of its architecture; say recipe= \(dit, sit, var"),
        ({"size": "XL/2"}, "whose recipe must be said"),
        ({"recipe": "dit", "size": "S/2"}, r"pickled=True"),
        ({"recipe": "dit", "size": "S/2", "pickled": True}, r"has no 'blocks\.\d+\."),
        ({"recipe": "gpt"}, "no checkpoint of a paper's repository is read as 'gpt'"),
    ):
        with pytest.raises(CheckpointError, match=says):
            of.load(file, **how)
    with pytest.raises(CheckpointError, match="is no file"):
        of.load(folder / "nothing.pt", recipe="dit", pickled=True)


def test_typed(letters, monkeypatch):
    from click.testing import CliRunner

    from omniform.cli import PROGRAM
    from omniform.interop import adopting

    recipe, theirs, folder = letters
    monkeypatch.setattr(adopting, "paper", lambda name, size=None: recipe if (name, size) == ("dit", "S/2") else paper(name, size))
    save_file(theirs, folder / "typed.safetensors")
    of.save(of.build("kl", None, changes={"codec.width": 8, "codec.depth": 1}), folder / "kl")
    typed = lambda *words: CliRunner().invoke(PROGRAM, [str(w) for w in words])  # noqa: E731
    said = ("--as", "dit", "--size", "S/2", "--codec", folder / "kl")
    done = typed("sample", folder / "typed.safetensors", *said, "--steps", 1, "--label", 3, "-n", 1, "--out", folder / "x.png")
    assert done.exit_code == 0 and (folder / "x.png").is_file(), done.output
    done = typed("export", folder / "typed.safetensors", *said, "--to", "torch", "--out", folder / "x")
    assert done.exit_code == 0 and (folder / "x" / "network.pt2").is_file(), done.output
    for words, says in (
        (("sample", folder / "typed.safetensors"), "--as and --size"),
        (("score", folder / "typed.safetensors", "--data", "glyphs", "--size", "S/2"), "say --as NAME"),
        (("evaluate", folder / "typed.safetensors", "--data", "glyphs", "--as", "gpt"), "is read as 'gpt'"),
    ):
        result = typed(*words)
        assert result.exit_code == 2 and says in result.stderr and len(result.stderr.strip().splitlines()) <= 3, result.stderr
