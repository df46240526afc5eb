"""TiTok's tokenizer: codes there and pictures back, from the tensors of a checkpoint by plain functions and through our table; as files, and typed."""

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
from omniform.interop.adopting import _network as own_of
from omniform.interop.adopting import load_paper, paper
from omniform.interop.papers import PAPERS

_SPEC = importlib.util.spec_from_file_location("titoks", Path(__file__).with_name("titoks.py"))
titoks = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(titoks)
HEADS, GROUPS, GRID = 2, 2, (2, 3)


def drawn(recipe, seed=0):
    """A checkpoint with numbers of the size that trained ones have: maps keep their scale, places and codes are told apart."""
    own, generator = own_of(recipe), torch.Generator().manual_seed(seed)
    shapes = PAPERS[recipe.name].table(own).their_shapes(own)
    theirs = {n: torch.randn(shape, generator=generator) for n, shape in shapes.items()}
    made = {n: x / x[0].numel() ** 0.5 if n.endswith("weight") and x.dim() > 1 and "quantize" not in n else x for n, x in theirs.items()}
    louder = {"encoder.patch_embed.weight": 8, "encoder.conv_out.bias": 0.1, "decoder.ffn.2.weight": 8, "decoder.decoder_embed.weight": 8}
    return {n: louder.get(n, 1) * x for n, x in made.items()}


@pytest.fixture(scope="module")
def opened(tmp_path_factory):
    """The recipe, a file, its tensors, and the codec from it."""
    recipe = titoks.small()
    theirs, file = drawn(recipe), tmp_path_factory.mktemp("titok") / "tokenizer.safetensors"
    save_file(theirs, file)
    return recipe, file, theirs, load_paper(file, recipe)


def tower(theirs, name, x):
    def told(h, i, norm):
        return F.layer_norm(h, h.shape[-1:], theirs[f"{name}.transformer.{i}.{norm}.weight"], theirs[f"{name}.transformer.{i}.{norm}.bias"])

    def mapped(h, i, part):
        return h @ theirs[f"{name}.transformer.{i}.{part}weight"].T + theirs[f"{name}.transformer.{i}.{part}bias"]

    x = F.layer_norm(x, x.shape[-1:], theirs[f"{name}.ln_pre.weight"], theirs[f"{name}.ln_pre.bias"])
    for i in range(2):
        q, k, v = (y.unflatten(-1, (HEADS, -1)).transpose(1, 2) for y in mapped(told(x, i, "ln_1"), i, "attn.in_proj_").chunk(3, -1))
        seen = (q @ k.mT / q.shape[-1] ** 0.5).softmax(-1) @ v
        x = x + mapped(seen.transpose(1, 2).flatten(2), i, "attn.out_proj.")
        x = x + mapped(F.gelu(mapped(told(x, i, "ln_2"), i, "mlp.c_fc.")), i, "mlp.c_proj.")
    return x


def closed(theirs, name, x):
    return F.layer_norm(x, x.shape[-1:], theirs[f"{name}.ln_post.weight"], theirs[f"{name}.ln_post.bias"])


def codes(theirs, pixels):
    """Pictures from 0 to 1 -> codes (B, K)."""
    patches = F.conv2d(pixels, theirs["encoder.patch_embed.weight"], theirs["encoder.patch_embed.bias"], stride=16).flatten(2).mT
    front = torch.cat([theirs["encoder.class_embedding"].expand(len(pixels), 1, -1), patches], 1) + theirs["encoder.positional_embedding"]
    latents = theirs["latent_tokens"] + theirs["encoder.latent_token_positional_embedding"]
    h = tower(theirs, "encoder", torch.cat([front, latents.expand(len(pixels), -1, -1)], 1))[:, front.shape[1] :]
    h = closed(theirs, "encoder", h)
    h = F.conv2d(h.reshape(len(h), h.shape[2], h.shape[1], 1), theirs["encoder.conv_out.weight"], theirs["encoder.conv_out.bias"])[..., 0].mT
    return torch.cdist(F.normalize(h, dim=-1), F.normalize(theirs["quantize.embedding.weight"], dim=-1)).argmin(-1)


def pictures(theirs, ids):
    """Codes (B, K) -> pictures, from 0 to 1 where they are any."""
    told = F.normalize(theirs["quantize.embedding.weight"][ids], dim=-1) @ theirs["decoder.decoder_embed.weight"].T + theirs["decoder.decoder_embed.bias"]
    places = theirs["decoder.positional_embedding"]
    front = torch.cat([theirs["decoder.class_embedding"], theirs["decoder.mask_token"][0].expand(len(places) - 1, -1)]) + places
    h = tower(theirs, "decoder", torch.cat([front.expand(len(ids), -1, -1), told + theirs["decoder.latent_token_positional_embedding"]], 1))
    h = closed(theirs, "decoder", h[:, 1 : len(places)]).mT.unflatten(2, GRID)
    h = F.conv2d(F.conv2d(h, theirs["decoder.ffn.0.weight"], theirs["decoder.ffn.0.bias"]).tanh(), theirs["decoder.ffn.2.weight"], theirs["decoder.ffn.2.bias"])
    h = torch.einsum("bchw,cd->bdhw", h.softmax(1), theirs["pixel_quantize.embedding.weight"])

    def conv(x, name):
        weight = theirs[f"pixel_decoder.{name}.weight"]
        return F.conv2d(x, weight, theirs.get(f"pixel_decoder.{name}.bias"), padding=weight.shape[-1] // 2)

    def normed(x, name):
        return F.silu(F.group_norm(x, GROUPS, theirs[f"pixel_decoder.{name}.weight"], theirs[f"pixel_decoder.{name}.bias"], 1e-6))

    def block(x, name):
        y = conv(normed(conv(normed(x, f"{name}.norm1"), f"{name}.conv1"), f"{name}.norm2"), f"{name}.conv2")
        return y + (conv(y, f"{name}.nin_shortcut") if y.shape[1] != x.shape[1] else x)

    h = block(block(conv(h, "conv_in"), "mid.0"), "mid.1")
    for level in (4, 3, 2, 1, 0):
        h = block(block(h, f"up.{level}.block.0"), f"up.{level}.block.1")
        h = conv(F.interpolate(h, scale_factor=2.0, mode="nearest"), f"up.{level}.upsample_conv") if level else h
    return conv(normed(h, "norm_out"), "conv_out")


def test_codes_and_pictures_are_those_of_its_tensors(opened):
    _, _, theirs, system = opened
    pixels = torch.rand(3, 3, 32, 48, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        ids, said = system.codec.encode(2 * pixels - 1).ids[..., 0], codes(theirs, pixels)
        assert torch.equal(ids, said) and ids.shape == (3, 32) and ids.unique().numel() > 5 and not torch.equal(ids[0], ids[1])
        ids = torch.randint(24, (3, 32), generator=torch.Generator().manual_seed(2))
        tokens = replace(system.codec.space.blank(3), ids=ids[..., None])
        want, got = pictures(theirs, ids), (system.codec._said(system.codec.bottleneck.decode(tokens), {}) + 1) / 2
        assert (got - want).abs().max() < 1e-5 * want.abs().max() and want.std() > 0.05 and (want[0] - want[1]).abs().max() > 0.01
        torch.testing.assert_close(system.codec.decode(tokens), 2 * want.clamp(0, 1) - 1, rtol=0, atol=1e-5 * float(want.abs().max()))
    assert not system.training and system.codec.bottleneck.book.begun


def test_a_generators_pictures_come_from_its_tokenizer(opened, tmp_path, monkeypatch):
    from click.testing import CliRunner

    from omniform.cli import PROGRAM

    narrow = {"network.width": 16, "network.backbone.depth": 3, "network.backbone.block.mixer.heads": 2}
    generates = paper("titok-maskgit", "S-128").but(narrow, sizes={}, tiny={}, facts=())
    sizes = {"titok-maskgit": generates, "titok": titoks.small("S-128", 4096)}
    monkeypatch.setattr(adopting, "paper", lambda name, size=None: sizes[name] if size == "S-128" else paper(name, size))
    for name, recipe in sizes.items():
        save_file(drawn(recipe), tmp_path / f"{name}.safetensors")
    generator, tokenizer = (tmp_path / f"{name}.safetensors" for name in sizes)
    system = of.load(generator, recipe="titok-maskgit", size="S-128", codec=tokenizer)
    alone = of.load(tokenizer, recipe="titok", size="S-128")
    told = {"label": [3, 7]}
    made, ids = (system.generate(2, told, steps=2, decode=decode, seed=5) for decode in (True, False))
    assert made.shape == (2, 3, 32, 48) and torch.equal(made, alone.codec.decode(ids)) and ids.ids.shape == (2, 128, 1)
    assert not any(p.requires_grad for p in system.codec.parameters())

    typed = lambda *words: CliRunner().invoke(PROGRAM, [str(w) for w in words])  # noqa: E731
    said = ("--as", "titok-maskgit", "--size", "S-128", "--steps", 1, "--label", 3, "-n", 1, "--out", tmp_path / "x.png")
    done = typed("sample", generator, *said, "--codec", tokenizer)
    assert done.exit_code == 0 and (tmp_path / "x.png").is_file(), done.output
    save_file(opened[2], tmp_path / "other.safetensors")
    for words, says in (
        (("sample", generator, *said, "--codec", generator), "it is a generator of TiTok; say recipe='titok-maskgit'"),
        (("sample", generator, *said, "--codec", tmp_path / "other.safetensors"), "has shape (32, 16) and its config asks for (128, 16)"),
        (("sample", tokenizer, *said, "--codec", tokenizer), "has no"),
        (("sample", tokenizer, "--as", "titok", "--size", "S-128"), "is a codec alone"),
    ):
        result = typed(*words)
        assert result.exit_code == 2 and says in result.stderr and len(result.stderr.strip().splitlines()) <= 3, result.stderr


def test_it_can_be_learned_over(opened, tmp_path):
    """A tokenizer that was opened is one as any other: saved in a folder, and what a generator is built around."""
    of.save(opened[3], tmp_path / "tokenizer")
    for codec in (opened[3], tmp_path / "tokenizer"):
        system = of.build("titok-maskgit", codec=codec, changes={"network.width": 16, "network.backbone.depth": 1})
        assert system.codec.space.length == 32 and system.codec.space.vocab == (24,) and not any(p.requires_grad for p in system.codec.parameters())
        assert torch.equal(system.codec.asking, opened[2]["latent_tokens"])


def test_its_relatives_are_refused(opened, tmp_path):
    recipe, file, theirs, _ = opened
    first = {n: x for n, x in theirs.items() if not n.startswith("pixel_")}
    cases = (
        (first, "after its first stage"),
        ({**first, "decoder.conv_out.weight": torch.zeros(3, 3, 3, 3)}, "later tokenizers, whose decoder says pixels, are not read"),
        ({**first, "decoder.text_guidance_proj.weight": torch.zeros(16, 768)}, "TA-TiTok, whose decoder is told texts"),
        ({"lm_head.weight": torch.zeros(4096, 16)}, "it is a generator of TiTok"),
        ({"model.embeddings.word_embeddings.weight": torch.zeros(5098, 16)}, "it is a generator of TiTok"),
        ({**theirs, "pixel_decoder.up.0.upsample_conv.weight": torch.zeros(4, 4, 3, 3)}, "'pixel_decoder.up.0.upsample_conv.weight' has no place here"),
        ({**theirs, "quantize.embedding.weight": torch.zeros(24, 11)}, "'quantize.embedding.weight' has shape"),
    )
    for tensors, says in cases:
        save_file(tensors, tmp_path / "x.safetensors")
        with pytest.raises(CheckpointError, match=says):
            load_paper(tmp_path / "x.safetensors", recipe)
    with pytest.raises(CheckpointError, match="itself what tokens come from; give no codec"):
        of.load(file, recipe="titok", size="L-32", codec=tmp_path)
    with pytest.raises(CheckpointError, match="is a bare file, and what the tokens of titok come from is read from a folder"):
        of.load(file, recipe="titok", size="L-32", codec=file)
    with pytest.raises(CheckpointError, match="is a bare file, and what the tokens of starflow come from"):
        of.load(file, recipe="starflow", codec=file)
    torch.save(theirs, tmp_path / "x.bin")
    with pytest.raises(CheckpointError, match="say pickled=True"):
        of.load(file, recipe="titok-maskgit", size="S-128", codec=tmp_path / "x.bin")
