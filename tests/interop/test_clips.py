"""Autoencoders of clips of diffusers are our codecs, number by number: theirs goes through a clip piece by piece, ours sees it whole."""

from __future__ import annotations

import json

import pytest
import torch
from diffusers import AutoencoderKLWan

import omniform as of
from omniform.core.errors import CheckpointError
from omniform.interop.adopting import adopt

from .test_pictures import near, stirred

G = torch.Generator().manual_seed(5)


def latents(num):
    """Where their latents lie, which is not where they begin."""
    return {"z_dim": num, "latents_mean": torch.randn(num, generator=G).tolist(), "latents_std": (0.5 + torch.rand(num, generator=G)).tolist()}


WANS = {
    "wan": ({"base_dim": 6, "dim_mult": [1, 2, 3, 3], "num_res_blocks": 2, **latents(5)}, (13, 3, 16, 24)),
    "wan of early time": ({"base_dim": 4, "dim_mult": [1, 3], "num_res_blocks": 1, "temperal_downsample": [True], **latents(3)}, (5, 3, 6, 10)),
    "wan of time at once": (
        {"base_dim": 5, "dim_mult": [1, 2, 2], "num_res_blocks": 3, "temperal_downsample": [True, True], "in_channels": 2, "out_channels": 2, **latents(2)},
        (17, 2, 8, 4),
    ),
    "wan of one frame": ({"base_dim": 6, "dim_mult": [1, 2, 4, 4], "num_res_blocks": 1, **latents(4)}, (1, 3, 16, 8)),
}


def made(name):
    torch.manual_seed(0)
    config, shape = WANS[name]
    model = stirred(AutoencoderKLWan(**config), 0.05)
    return model, adopt(model, shape=shape), torch.rand(2, *shape, generator=torch.Generator().manual_seed(3)) * 2 - 1


def close(one, other, rel=1e-5):
    """At the scale of the whole."""
    assert one.shape == other.shape and float((one - other).abs().max()) <= rel * float(other.abs().max())


@pytest.mark.parametrize("name", WANS)
def test_gaussians_and_clips_are_equal(name):
    model, system, x = made(name)
    codec = system.codec
    with torch.no_grad():
        theirs = model.encode(x.transpose(1, 2)).latent_dist
        mean, log_variance = codec.bottleneck.gaussian(codec.encoder(x))
        close(mean, theirs.mean)
        close(log_variance, theirs.logvar)
        tokens = codec.encode(x)
        centre, spread = (torch.tensor(model.config[f"latents_{n}"])[:, None, None, None] for n in ("mean", "std"))
        near(tokens.vec, ((theirs.mean - centre) / spread).flatten(2).mT, 1e-5)
        small = 0.3 * theirs.mean / theirs.mean.std()
        said, wanted = codec.decoder(small), model.decode(small).sample.transpose(1, 2)
        assert float((wanted.abs() < 1).float().mean()) > 0.1  # they cut what they say, which hides it
        close(said.clamp(-1, 1), wanted)
        near(codec.decode(tokens), model.decode(theirs.mean).sample.transpose(1, 2), 1e-5)


def test_gradients_are_equal():
    model, system, x = made("wan")
    codec = system.codec
    target = torch.rand(x.shape, generator=torch.Generator().manual_seed(4))
    said = codec.decoder(codec.bottleneck.gaussian(codec.encoder(x))[0])
    (said.clamp(-1, 1) - target).square().mean().backward()
    (model.decode(model.encode(x.transpose(1, 2)).latent_dist.mean).sample.transpose(1, 2) - target).square().mean().backward()
    for ours, theirs in ((codec.encoder[1], model.encoder.conv_in), (codec.decoder[0], model.post_quant_conv)):
        assert float(theirs.weight.grad.abs().max()) > 0
        close(ours.weight.grad, theirs.weight.grad, 1e-4)


def test_a_folder(tmp_path):
    config = {"base_dim": 2, "dim_mult": [1, 2, 2, 2], "num_res_blocks": 1}
    stirred(AutoencoderKLWan(**config)).save_pretrained(tmp_path)
    system = of.load(tmp_path)
    assert system.codec.shape == (81, 3, 480, 832) and [(a.name, a.size) for a in system.codec.space.axes] == [("frame", 21), ("y", 60), ("x", 104)]
    said = json.loads((tmp_path / "config.json").read_text())
    assert torch.equal(system.codec.bottleneck.spread, torch.tensor(said["latents_std"]))
    (tmp_path / "config.json").write_text(json.dumps({n: x for n, x in said.items() if not n.startswith("latents_")}))
    assert all(torch.equal(x, system.state_dict()[n]) for n, x in of.load(tmp_path).state_dict().items())


@pytest.mark.parametrize(
    "change, says",
    [
        ({"is_residual": True}, "is_residual=True"),
        ({"patch_size": 2}, "patch_size=2"),
        ({"attn_scales": [1.0]}, "attn_scales"),
        ({"decoder_base_dim": 4}, "decoder_base_dim=4"),
        ({"out_channels": 12}, "out_channels=12"),
        ({"dim_mult": [2, 2, 2, 2]}, "begins with 1"),
        ({"dim_mult": [1] * 40}, "dim_mult"),
        ({"dim_mult": [1, 2, 2, 2.5]}, "dim_mult is 2.5"),
        ({"base_dim": 3, "dim_mult": [1, 1, 2, 2]}, "cannot be built here: expected widths"),
        ({"temperal_downsample": [True, True]}, "2 values of temperal_downsample where 3"),
        ({"temperal_downsample": [True] * 3}, "halves time 3 times"),
        ({"temperal_downsample": [0, 1, 1]}, "temperal_downsample is 0"),
        ({"temperal_downsample": [False, False, True]}, "has no place here"),
        ({"num_res_blocks": 2}, "missing"),
        ({"latents_std": [0.0] * 16}, "latents_std of 0.0"),
        ({"latents_mean": [0.0] * 4}, "4 values of latents_mean where 16"),
        ({"latents_mean": [float("nan")] * 16}, "latents_mean is nan"),
        ({"z_dim": 1 << 60}, "z_dim is"),
    ],
)
def test_a_configuration_that_is_not_built_here(change, says, tmp_path):
    AutoencoderKLWan(base_dim=2, dim_mult=[1, 2, 2, 2], num_res_blocks=1).save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**config, **change}))
    with pytest.raises(CheckpointError, match=says) as error:
        of.load(tmp_path)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("shape", [(4, 3, 16, 16), (5, 1, 16, 16), (5, 3, 12, 16), (3, 16, 16), (5, 3, 0, 8)])
def test_a_shape_that_does_not_divide(shape):
    with pytest.raises(CheckpointError, match="1 \\+ 4 n"):
        adopt(AutoencoderKLWan(base_dim=2, dim_mult=[1, 2, 2, 2], num_res_blocks=1), shape=shape)
