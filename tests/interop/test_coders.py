"""Codecs of ours are autoencoders of diffusers: the same pictures, the same codes, the same latents."""

from __future__ import annotations

import diffusers
import pytest
import torch

import omniform as of
from omniform.codecs.autoencoder import Autoencoder
from omniform.codecs.bottleneck import KL, VQ
from omniform.codecs.causal import CausalConvolutions
from omniform.codecs.convolutions import Convolutions
from omniform.codecs.distortion import Absolute, Logistic
from omniform.core.errors import RecipeError
from omniform.core.spec import Spec
from omniform.interop.coders import coded

from .cards import opened
from .test_pictures import near

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
        from omniform.interop.adopting import adopt

        again = adopt(found["codec"], shape=system.codec.shape)
    near(again.codec.decode(again.codec.encode(x)), system.codec.decode(tokens))
    assert "library_name: diffusers" in (folder / "README.md").read_text()


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
    assert "of codecs, diffusers has AutoencoderKL, VQModel and AutoencoderKLWan here" in str(error.value)
    assert "\n" not in str(error.value) and not (tmp_path / "out").exists()


def test_what_is_learned_by_is_no_part_of_a_codec():
    """Weights, commitments, moving averages, distortions and critics may be any."""
    network = Spec(Convolutions, {"widths": (8, 8), "groups": 4})
    for bottleneck in (Spec(KL, {"channels": 2, "weight": 0.5}), Spec(VQ, {"codes": 5, "channels": 2, "ema": 0.5, "restart": 0.2, "commitment": 2.0})):
        spec = Spec(Autoencoder, {"stride": 2, "width": 3, "depth": 7, "bottleneck": bottleneck, "network": network})
        assert not coded(spec.build(shape=(1, 8, 8)), spec).why
