"""LlamaGen's, MAR's and VAR's tokenizers: codes or latents there and pictures back, from the tensors of a checkpoint by plain functions and through our tables;
as files, and typed."""

from __future__ import annotations

import importlib.util
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import save_file

import omniform as of
from omniform.core.errors import CheckpointError
from omniform.interop import adopting
from omniform.interop.adopting import load_paper, paper
from omniform.interop.papers import PAPERS

_SPEC = importlib.util.spec_from_file_location("tokenizers", Path(__file__).with_name("tokenizers.py"))
tokenizers = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(tokenizers)
NAMES = tuple(tokenizers.SIZES)


@pytest.fixture(scope="module")
def opened(tmp_path_factory):
    """name -> (its tensors, the codec from a file of them)."""
    folder, found = tmp_path_factory.mktemp("tokenizers"), {}
    for name in NAMES:
        recipe = tokenizers.small(name)
        theirs = tokenizers.drawn(recipe)
        save_file(theirs, folder / f"{name}.safetensors")
        found[name] = theirs, load_paper(folder / f"{name}.safetensors", recipe)
    return folder, found


class Plain:
    """The network from its tensors."""

    def __init__(self, theirs, name):
        self.t = theirs
        self.block = "res" if name == "vqgan" else "block"
        self.middle = ("0", "1", "2") if name == "vqgan" else ("block_1", "attn_1", "block_2")
        self.falling = name != "vqgan"

    def conv(self, x, name, **how):
        weight = self.t[f"{name}.weight"]
        return F.conv2d(x, weight, self.t[f"{name}.bias"], **{"padding": weight.shape[-1] // 2, **how})

    def norm(self, x, name):
        return F.group_norm(x, 4, self.t[f"{name}.weight"], self.t[f"{name}.bias"], 1e-6)

    def added(self, x, name):
        h = self.conv(F.silu(self.norm(x, f"{name}.norm1")), f"{name}.conv1")
        h = self.conv(F.silu(self.norm(h, f"{name}.norm2")), f"{name}.conv2")
        return h + (self.conv(x, f"{name}.nin_shortcut") if f"{name}.nin_shortcut.weight" in self.t else x)

    def looked(self, x, name):
        h = self.norm(x, f"{name}.norm")
        qkv = self.conv(h, f"{name}.qkv").chunk(3, 1) if f"{name}.qkv.weight" in self.t else [self.conv(h, f"{name}.{a}") for a in "qkv"]
        q, k, v = (y.flatten(2).mT for y in qkv)
        seen = (q @ k.mT / q.shape[-1] ** 0.5).softmax(-1) @ v
        return x + self.conv(seen.mT.unflatten(2, x.shape[2:]), f"{name}.proj_out")

    def inside(self, x, side):
        first, look, last = (f"{side}.mid.{m}" for m in self.middle)
        return self.added(self.looked(self.added(x, first), look), last)

    def blocks(self, x, there, num, looks):
        assert (f"{there}.attn.0.norm.weight" in self.t) == looks and f"{there}.{self.block}.{num}.norm1.weight" not in self.t
        for i in range(num):
            x = self.added(x, f"{there}.{self.block}.{i}")
            x = self.looked(x, f"{there}.attn.{i}") if looks else x
        return x

    def encoded(self, x):
        x = self.conv(x, "encoder.conv_in")
        for level in range(5):
            there = f"encoder.{'down' if self.falling else 'conv_blocks'}.{level}"
            x = self.blocks(x, there, 2, level == 4)
            x = self.conv(F.pad(x, (0, 1, 0, 1)), f"{there}.downsample.conv", stride=2, padding=0) if level < 4 else x
        return self.conv(self.conv(F.silu(self.norm(self.inside(x, "encoder"), "encoder.norm_out")), "encoder.conv_out"), "quant_conv")

    def decoded(self, z, looks):
        x = self.inside(self.conv(self.conv(z, "post_quant_conv"), "decoder.conv_in"), "decoder")
        for step in range(5):
            there = f"decoder.{f'up.{4 - step}' if self.falling else f'conv_blocks.{step}'}"
            x = self.blocks(x, there, 3, looks and step == 0)
            x = self.conv(x.repeat_interleave(2, 2).repeat_interleave(2, 3), f"{there}.upsample.conv") if step < 4 else x
        return self.conv(F.silu(self.norm(x, "decoder.norm_out")), "decoder.conv_out")


def near(got, want):
    assert got.shape == want.shape and (got - want).abs().max() <= 1e-5 * want.abs().max() and want.std() > 0.05


def pictured(codec, tokens, want):
    near(codec.decoder(codec.bottleneck.decode(tokens)), want)
    torch.testing.assert_close(codec.decode(tokens), want.clamp(-1, 1), rtol=0, atol=1e-5 * float(want.abs().max()))
    assert (want[0] - want[1]).abs().max() > 1e-2


@pytest.fixture
def pixels():
    return 2 * torch.rand(3, 3, 32, 48, generator=torch.Generator().manual_seed(1)) - 1


@torch.no_grad()
def test_llamagens_codes_and_pictures(opened, pixels):
    theirs, system = opened[1]["vqgan"]
    plain, codec = Plain(theirs, "vqgan"), system.codec
    book = F.normalize(theirs["quantize.embedding.weight"], dim=-1)
    ids = torch.cdist(F.normalize(plain.encoded(pixels).flatten(2).mT, dim=-1), book).argmin(-1)
    tokens = codec.encode(pixels)
    assert torch.equal(tokens.ids[..., 0], ids) and ids.shape == (3, 6) and ids.unique().numel() > 3
    ids = torch.randint(24, (3, 6), generator=torch.Generator().manual_seed(2))
    pictured(codec, replace(tokens, ids=ids[..., None]), plain.decoded(book[ids].mT.unflatten(2, (2, 3)), True))


@torch.no_grad()
def test_mars_latents_and_pictures(opened, pixels):
    """Latents times 0.2325; its decoder does not look around at the coarsest resolution."""
    theirs, system = opened[1]["kl"]
    plain, codec = Plain(theirs, "kl"), system.codec
    tokens = codec.encode(pixels)
    near(tokens.vec, (plain.encoded(pixels).chunk(2, 1)[0] * 0.2325).flatten(2).mT)
    z = torch.randn(tokens.vec.shape, generator=torch.Generator().manual_seed(2))
    pictured(codec, replace(tokens, vec=z), plain.decoded(z.mT.unflatten(2, (2, 3)) / 0.2325, False))


def heard(plain, ids, scale):
    """What the codes (B, n) of a scale add."""
    rows, columns = tokenizers.SCALES[scale]
    h = F.interpolate(plain.t["quantize.embedding.weight"][ids].mT.unflatten(2, (rows, columns)), (2, 3), mode="bicubic")
    return h / 2 + plain.conv(h, f"quantize.quant_resi.qresi_ls.{tokenizers.PHI_OF[scale]}") / 2


@torch.no_grad()
def test_vars_codes_of_each_scale_and_pictures(opened, pixels):
    theirs, system = opened[1]["pyramid"]
    plain, codec = Plain(theirs, "pyramid"), system.codec
    rest, told = plain.encoded(pixels), []
    near(codec.encoder(pixels), rest)
    for scale, size in enumerate(tokenizers.SCALES):
        wanted = F.interpolate(rest, size, mode="area").flatten(2).mT
        told.append(torch.cdist(wanted, theirs["quantize.embedding.weight"]).argmin(-1))
        rest = rest - heard(plain, told[-1], scale)
    tokens = codec.encode(pixels)
    assert torch.equal(tokens.ids[..., 0], torch.cat(told, 1)) and tokens.ids.shape == (3, 9, 1) and tokens.ids.unique().numel() > 5
    ids = torch.randint(24, (3, 9), generator=torch.Generator().manual_seed(2))
    latent, total = None, 0
    for scale, part in enumerate(ids.split([1, 2, 6], 1)):
        latent, following = codec.grown(latent, part[..., None], scale)
        total = total + heard(plain, part, scale)
        near(latent, total)
        if scale < 2:  # what VAR is told of the next scale: the sum by area, which no number scales
            near(following, F.interpolate(total, tokenizers.SCALES[scale + 1], mode="area").flatten(2).mT)
    pictured(codec, replace(tokens, ids=ids[..., None]), plain.decoded(total, True))


GENERATORS = {
    "llamagen": ("B", "vqgan", {"network.backbone.block.mlp.hidden": 24, "network.backbone.rotary.head_width": 8}),
    "var": ("d16", "pyramid", {}),
    "mar": ("B", "kl", None),
}


def generator(name):
    """A narrow one over the small tokenizer."""
    size, codec, more = GENERATORS[name]
    halves = {f"network.backbone.{h}.{k}": v for h in ("encoder", "decoder") for k, v in (("depth", 1), ("block.mixer.heads", 2))}
    plain = {"network.backbone.depth": 2, "network.backbone.block.mixer.heads": 2}
    masked = {"network.head.depth": 1, "network.head.hidden": 8, "network.backbone.buffer": 3, "process.steps": 2}
    narrow = {**halves, **masked} if more is None else {**plain, **more}
    tokenizer = tokenizers.small(codec)
    return paper(name, size).but({"network.width": 16, **narrow, "codec": tokenizer.codec, "shape": tokenizer.shape}, sizes={}, tiny={}, facts=())


@pytest.mark.parametrize("name", GENERATORS)
def test_pictures_of_a_pair_of_files(opened, tmp_path, monkeypatch, name):
    from click.testing import CliRunner

    from omniform.cli import PROGRAM

    folder, found = opened
    (size, codec, _), recipe = GENERATORS[name], generator(name)
    sizes = {(name, size): recipe, (codec, tokenizers.SIZES[codec][0]): tokenizers.small(codec)}
    monkeypatch.setattr(adopting, "paper", lambda name, size=None: sizes.get((name, size)) or paper(name, size))
    torch.save({"model": tokenizers.drawn(recipe)}, tmp_path / "generator.pt")
    torch.save({"model": found[codec][0], "step": 3}, tmp_path / "tokenizer.pth")
    system = of.load(tmp_path / "generator.pt", recipe=name, size=size, codec=tmp_path / "tokenizer.pth", pickled=True)
    made, tokens = (system.generate(2, {"label": [3, 7]}, decode=decode, seed=5) for decode in (True, False))
    assert made.shape == (2, 3, 32, 48) and torch.equal(made, found[codec][1].codec.decode(tokens)) and not torch.equal(made[0], made[1])
    assert not any(p.requires_grad for p in system.codec.parameters())

    typed = lambda *words: CliRunner().invoke(PROGRAM, [str(w) for w in words])  # noqa: E731
    said = ("--as", name, "--size", size, "--label", 3, "-n", 1, "--out", tmp_path / "x.png", "--pickled")
    done = typed("sample", tmp_path / "generator.pt", *said, "--codec", tmp_path / "tokenizer.pth")
    assert done.exit_code == 0 and (tmp_path / "x.png").is_file(), done.output
    other = next(n for n in NAMES if n != codec)
    for words in ((folder / f"{other}.safetensors",), (tmp_path / "generator.pt",)):
        done = typed("sample", tmp_path / "generator.pt", *said, "--codec", *words)
        assert done.exit_code == 2 and "the checkpoint has no '" in done.stderr and len(done.stderr.strip().splitlines()) <= 3, done.stderr


@pytest.mark.parametrize("name", NAMES)
def test_by_itself(opened, tmp_path, name):
    """A tokenizer that was opened is one as any other: saved in a folder, and opened from there."""
    folder, found = opened
    of.save(found[name][1], tmp_path / "x")
    again = of.load(tmp_path / "x").codec.state_dict()
    assert all(torch.equal(x, again[n]) for n, x in found[name][1].codec.state_dict().items())
    assert not found[name][1].training


def test_its_relatives_are_refused(opened, tmp_path):
    folder, found = opened
    theirs = found["kl"][0]
    for name, size, says in (
        ("vqgan", None, "VQGAN's own checkpoints .* are not read, LlamaGen's are; say size='VQ-16'"),
        ("vqgan", "f16-16384", "are not read, LlamaGen's are"),
        ("kl", "light", "computes nothing at full resolution.*say size='f8'"),
        ("pyramid", None, "say size='ch160'"),
        ("pyramid", "ch160", "has no 'decoder.up.0.|has no 'decoder"),
        ("kl", "f16", "has shape"),
    ):
        with pytest.raises(CheckpointError, match=says):
            of.load(folder / "kl.safetensors", recipe=name, size=size)
    save_file({**theirs, "loss.logvar": torch.zeros(()), "model_ema.decay": torch.zeros(())}, tmp_path / "trained.safetensors")
    assert torch.equal(load_paper(tmp_path / "trained.safetensors", tokenizers.small("kl")).codec.encoder[0].weight, theirs["encoder.conv_in.weight"])
    save_file({**theirs, "decoder.up.4.attn.0.norm.weight": torch.zeros(32)}, tmp_path / "looks.safetensors")
    with pytest.raises(CheckpointError, match=r"'decoder.up.4.attn.0.norm.weight' has no place here"):
        load_paper(tmp_path / "looks.safetensors", tokenizers.small("kl"))


def test_what_latents_are_multiplied_by():
    """No checkpoint says it."""
    for size, scale in (("f8", 0.18215), ("f16", 0.2325)):
        own = adopting._network(paper("kl", size))
        assert PAPERS["kl"].table(own).fixed["codec.bottleneck.spread"] == pytest.approx(1 / scale)
