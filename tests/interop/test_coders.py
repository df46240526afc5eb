"""Codecs of ours are autoencoders of diffusers: the same pictures, the same codes, the same latents."""

from __future__ import annotations

import diffusers
import pytest
import torch
from click.testing import CliRunner

import omniform as of
from omniform.cli import PROGRAM
from omniform.codecs.autoencoder import Autoencoder
from omniform.codecs.bottleneck import KL, VQ
from omniform.codecs.causal import CausalConvolutions
from omniform.codecs.convolutions import Convolutions
from omniform.codecs.distortion import Absolute, Logistic
from omniform.codecs.patched import PatchedConvolutions
from omniform.core.errors import RecipeError
from omniform.core.spec import Spec
from omniform.interop.adopting import adopt
from omniform.interop.leaving.coders import coded

from .cards import opened
from .test_autoencoders import KLS, VQS
from .test_clips import CLIPS as CLIP_CODECS
from .test_pictures import near, stirred

SMALL = {"widths": (8, 12), "depth": 1, "groups": 4}
PICTURES = {"codec.stride": 2, "shape": (3, 16, 16)}
CLIPS = {"codec.stride": 4, "codec.distortion": Spec(Absolute), "shape": (5, 3, 16, 24)}
CODECS = {
    "kl, settled": ("kl", {**PICTURES, "codec.network": Spec(Convolutions, {**SMALL, "depth": 2})}),
    "kl without maps": ("kl", {**PICTURES, "shape": (3, 8, 12), "codec.network": Spec(Convolutions, {**SMALL, "looks": False, "maps": (False, False)})}),
    "vqgan, which looks around where it is coarse": (
        "vqgan",
        {**PICTURES, "codec.network": Spec(Convolutions, {**SMALL, "coarse": True}), "codec.bottleneck": Spec(VQ, {"codes": 33, "channels": 6})},
    ),
    "vq of wider latents": ("vq", {**PICTURES, "codec.network": Spec(Convolutions, {**SMALL, "inner": 5}), "codec.bottleneck.codes": 17}),
    "ltx-vae, 0.9": (
        "ltx-vae",
        {
            "codec.stride": 8,
            "codec.noise": 0.0,
            "codec.distortion": Spec(Absolute),
            "shape": (5, 3, 16, 24),
            "codec.network": Spec(
                PatchedConvolutions,
                {"patch": 2, "widths": (6, 8, 8, 8), "depths": (1, 2, 1, 1), "down": ("strided", "strided", "none"), "eps": 1e-2, "causal": (True, True)},
            ),
        },
    ),
    "ltx-vae, 0.9.5": (
        "ltx-vae",
        {
            "codec.stride": 8,
            "codec.distortion": Spec(Absolute),
            "shape": (5, 3, 16, 24),
            "codec.network": Spec(
                PatchedConvolutions,
                {
                    "patch": 2,
                    "widths": (4, 8, 16, 16),
                    "depths": (1, 2, 1, 1),
                    "down": ("space", "both", "time"),
                    "back": ((8, 16, 32), (1, 1, 2)),
                    "up": ("unfolded", "unfolded"),
                    "time": 0.0,
                },
            ),
        },
    ),
    "wan-vae": ("wan-vae", {**CLIPS, "codec.network": Spec(CausalConvolutions, {"widths": (6, 12, 12), "depth": 1, "in_time": (False, True)})}),
}


def trained(name):
    """As training leaves it: weights that are no longer small, and latents that have been measured."""
    recipe, changes = CODECS[name]
    system, g = of.build(recipe, changes=changes), torch.Generator().manual_seed(1)
    with torch.no_grad():
        for p in system.parameters():
            p.add_(torch.randn(p.shape, generator=g) * 0.05)
        for n, x in system.named_buffers():
            if n.endswith("book.vectors"):
                x.copy_(torch.randn(x.shape, generator=g))
        if "maps" not in name:
            system.codec.settle(data(system))
    return system.eval()


def data(system):
    return torch.rand(2, *system.codec.shape, generator=torch.Generator().manual_seed(3)) * 2 - 1


@pytest.mark.parametrize("name", CODECS)
@torch.no_grad()
def test_the_lines_of_the_card_code_as_we_do(name, tmp_path):
    system = trained(name)
    folder, x = of.export(system, "diffusers", tmp_path / "out"), data(system)
    clip = len(system.codec.shape) == 4
    found = opened(folder, {"given": x.transpose(1, 2) if clip else x}, {"x = ": "x = given"})
    assert isinstance(found["codec"], diffusers.ModelMixin)
    tokens, picture = system.codec.encode(x), found["picture"]
    near(picture.transpose(1, 2) if clip else picture, system.codec.decode(tokens))
    if system.codec.space.vocab:
        assert torch.equal(found["tokens"].reshape(2, -1), tokens.ids[..., 0]) and len(tokens.ids.unique()) > 1
    else:
        near(found["tokens"].flatten(2).mT, tokens.vec)
    again = of.load(folder)
    if clip:  # no configuration says how large a clip is
        again = adopt(found["codec"], shape=system.codec.shape)
    near(again.codec.decode(again.codec.encode(x)), system.codec.decode(tokens))
    assert "library_name: diffusers" in (folder / "README.md").read_text()


CAME = {
    **{name: (lambda kwargs=kwargs: diffusers.AutoencoderKL(**kwargs), None) for name, kwargs in KLS.items()},
    **{name: (lambda kwargs=kwargs: diffusers.VQModel(**kwargs), None) for name, kwargs in VQS.items()},
    **{name: (lambda kind=kind, config=config: kind(**config), shape) for name, (kind, config, shape) in CLIP_CODECS.items()},
}


@pytest.mark.parametrize("name", CAME)
@torch.no_grad()
def test_what_came_leaves_as_it_was(name, tmp_path):
    """Where theirs centres latents by numbers that a pipeline may not add, maps of 1 x 1 do: latents are another's, pictures are not."""
    make, shape = CAME[name]
    model = stirred(make(), 0.05)
    system = adopt(model, shape=shape)
    again = type(model).from_pretrained(of.export(system, "diffusers", tmp_path / "out"))
    x = data(system)
    x = x.transpose(1, 2) if shape else x
    told = (torch.zeros(2),) if model.config.get("timestep_conditioning") else ()
    both = []
    for one in (model, again):
        said = one.encode(x)
        both.append(one.decode(said.latents if "latents" in said else said.latent_dist.mode(), *told).sample)
    near(both[1], both[0])


@pytest.mark.parametrize(
    "recipe, changes, says",
    [
        ("kl", {}, "kl cannot leave: its codec is KL behind other convolutions, and those are of codec.network=Convolutions"),
        ("titok", {}, "its codec is OneD"),
        ("vq", {**PICTURES, "codec.network": Spec(Convolutions, SMALL), "codec.bottleneck.normalise": True}, "bottleneck.normalise is True here and False"),
        ("vq", {**PICTURES, "codec.network": Spec(Convolutions, {**SMALL, "unit": True})}, "beside VQModel its codec.network.unit is True here and"),
        ("kl", {**PICTURES, "codec.network": Spec(Convolutions, SMALL), "codec.distortion": Spec(Logistic)}, "says what Logistic makes pixels of"),
        ("wan-vae", {**CLIPS, "codec.network": Spec(CausalConvolutions, {"widths": (8, 10, 12), "in_time": (True, True), "depth": 1})}, "network.widths is"),
    ],
)
def test_what_diffusers_has_not_is_one_line_and_nothing_is_written(recipe, changes, says, tmp_path):
    with pytest.raises(RecipeError, match=says) as error:
        of.export(of.build(recipe, changes=changes), "diffusers", tmp_path / "out")
    assert "of codecs, diffusers has AutoencoderKL, VQModel, AutoencoderKLWan and AutoencoderKLLTXVideo here" in str(error.value)
    assert "\n" not in str(error.value) and not (tmp_path / "out").exists()


def test_what_is_learned_by_is_no_part_of_a_codec():
    """Weights, commitments, moving averages, distortions and critics may be any."""
    network = Spec(Convolutions, {"widths": (8, 8), "groups": 4})
    for bottleneck in (Spec(KL, {"channels": 2, "weight": 0.5}), Spec(VQ, {"codes": 5, "channels": 2, "ema": 0.5, "restart": 0.2, "commitment": 2.0})):
        spec = Spec(Autoencoder, {"stride": 2, "width": 3, "depth": 7, "bottleneck": bottleneck, "network": network})
        assert not coded(spec.build(shape=(1, 8, 8)), spec).why


def test_typed(tmp_path):
    system = trained("kl, settled")
    of.save(system, tmp_path / "run")
    done = CliRunner().invoke(PROGRAM, ["export", str(tmp_path / "run"), "--to", "diffusers", "--out", str(tmp_path / "out")])
    assert done.exit_code == 0 and "diffusion_pytorch_model.safetensors" in done.output, done.output
    near(of.load(tmp_path / "out").codec.encode(data(system)).vec, system.codec.encode(data(system)).vec)
    for to, says in (("transformers", "--to diffusers has some"), ("onnx", "a codec alone, and one call of a network is written")):
        done = CliRunner().invoke(PROGRAM, ["export", str(tmp_path / "run"), "--to", to, "--out", str(tmp_path / "x")])
        assert done.exit_code == 2 and says in done.stderr and len(done.stderr.strip().splitlines()) == 1, done.stderr
