"""Autoencoders of clips of diffusers are our codecs, number by number: theirs goes through a clip piece by piece, ours sees it whole."""

from __future__ import annotations

import json

import pytest
import torch
from diffusers import AutoencoderKLLTXVideo, AutoencoderKLWan

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


def ltx(down, up, scaled, up_scaled, *, later=None, **more):
    """A configuration with lists as long as its levels. later: kinds of folding, and factors of the way back, from 0.9.5 on."""
    levels, ups = len(scaled), len(up)
    kinds, factor = later or (["conv"] * levels, [1] * ups)
    block = "LTXVideo095DownBlock3D" if later else "LTXVideoDownBlock3D"
    return {
        "block_out_channels": down,
        "down_block_types": [block] * levels,
        "spatio_temporal_scaling": scaled,
        "downsample_type": kinds,
        "layers_per_block": [1 + i % 2 for i in range(levels + 1)],
        "decoder_block_out_channels": up,
        "decoder_spatio_temporal_scaling": up_scaled,
        "decoder_layers_per_block": [1 + (i + 1) % 2 for i in range(ups + 1)],
        "decoder_inject_noise": [False] * (ups + 1),
        "upsample_residual": [f > 1 for f in factor],
        "upsample_factor": factor,
        "latent_channels": 5,
        **more,
    }


LTX = ltx([6, 8, 8], [6, 8, 8], [True, True, False], [True, True, False], patch_size=2)
FOLDS = (["spatial", "temporal", "spatiotemporal"], [2, 2])
LATER = ltx([4, 8, 16, 32], [16, 32], [True] * 3, [True] * 2, later=FOLDS, timestep_conditioning=True, patch_size=2)
LTXS = {
    "ltx": (LTX, (9, 3, 16, 24)),
    "ltx of other ways": (
        ltx([3, 3, 5], [4, 7], [False, True, True], [True, True], resnet_norm_eps=1e-2, scaling_factor=0.7) | {"encoder_causal": False, "decoder_causal": True},
        (5, 3, 16, 32),
    ),
    "ltx of one frame and colour": (ltx([4, 6], [5], [True, False], [True], patch_size=1, in_channels=1, out_channels=1), (1, 1, 6, 4)),
    "ltx that folds and is told a time": (LATER, (9, 3, 16, 8)),
    "ltx that folds and is not": (
        ltx([8, 8, 8], [8, 8], [True, True], [True, True], later=(["spatiotemporal", "spatiotemporal"], [2, 1]), patch_size=2), (5, 3, 16, 8)
    ),
    "ltx without a level of time": (
        ltx([4, 8, 8], [8], [True, False], [True], later=(["spatiotemporal", "spatial"], [1]), patch_size=2, timestep_conditioning=True), (3, 3, 8, 4)
    ),
}
CLIPS = {**{n: (AutoencoderKLWan, *x) for n, x in WANS.items()}, **{n: (AutoencoderKLLTXVideo, *x) for n, x in LTXS.items()}}


def made(name):
    torch.manual_seed(0)
    kind, config, shape = CLIPS[name]
    model = stirred(kind(**config), 0.05)
    if kind is AutoencoderKLLTXVideo:  # its moments lie beside its weights
        said = latents(model.config.latent_channels)
        model.latents_mean.copy_(torch.tensor(said["latents_mean"]))
        model.latents_std.copy_(torch.tensor(said["latents_std"]))
    return model, adopt(model, shape=shape), torch.rand(2, *shape, generator=torch.Generator().manual_seed(3)) * 2 - 1


def decoded(model, latent):
    """What theirs makes of latents, at the time that its pipeline says."""
    time = torch.zeros(len(latent)) if model.config.get("timestep_conditioning") else None
    return (model.decode(latent) if time is None else model.decode(latent, time)).sample.transpose(1, 2)


def moments(model):
    """Mean and deviation of the latents that its pipeline denoises."""
    if isinstance(model, AutoencoderKLLTXVideo):
        return model.latents_mean, model.latents_std / model.config.scaling_factor
    return torch.tensor(model.config.latents_mean), torch.tensor(model.config.latents_std)


def close(one, other, rel=1e-5):
    """At the scale of the whole."""
    assert one.shape == other.shape and float((one - other).abs().max()) <= rel * float(other.abs().max())


@pytest.mark.parametrize("name", CLIPS)
def test_gaussians_and_clips_are_equal(name):
    model, system, x = made(name)
    codec = system.codec
    with torch.no_grad():
        theirs = model.encode(x.transpose(1, 2)).latent_dist
        mean, log_variance = codec.bottleneck.gaussian(codec.encoder(x))
        close(mean, theirs.mean)
        close(log_variance, theirs.logvar)
        tokens = codec.encode(x)
        centre, spread = (y[:, None, None, None] for y in moments(model))
        near(tokens.vec, ((theirs.mean - centre) / spread).flatten(2).mT, 1e-5)
        small = 0.3 * theirs.mean / theirs.mean.std()
        said, wanted = codec.decoder(small), decoded(model, small)
        assert float((wanted.abs() < 1).float().mean()) > 0.1  # Wan's cut what they say, which hides it
        close(said.clamp(-1, 1), wanted.clamp(-1, 1))
        whole = decoded(model, theirs.mean)
        assert float((codec.decode(tokens) - whole.clamp(-1, 1)).abs().max()) <= 1e-5 * float(whole.abs().max())


@torch.no_grad()
def test_a_decoder_is_told_how_noisy_its_latents_are():
    model, system, _ = made("ltx that folds and is told a time")
    z, time = torch.randn(2, 5, 3, 2, 1, generator=torch.Generator().manual_seed(2)), torch.tensor([0.05, 0.2])
    said = system.codec.decoder(z, time)
    close(said, model.decode(z, time).sample.transpose(1, 2))
    assert float((said - system.codec.decoder(z)).abs().max()) > 1e-3


WEIGHTS = {
    "wan": lambda codec, model: ((codec.encoder[1], model.encoder.conv_in), (codec.decoder[0], model.post_quant_conv)),
    "ltx": lambda codec, model: ((codec.encoder[3], model.encoder.down_blocks[0].downsamplers[0].conv), (codec.decoder[0], model.decoder.conv_in.conv)),
    "ltx that folds and is told a time": lambda codec, model: (
        (codec.decoder[1].clock.net[0], model.decoder.mid_block.time_embedder.timestep_embedder.linear_1),
        (codec.encoder[3].conv, model.encoder.down_blocks[0].downsamplers[0].conv.conv),
    ),
}


@pytest.mark.parametrize("name", WEIGHTS)
def test_gradients_are_equal(name):
    """In double precision: in single their rounding is 2e-5 of the largest, after as many convolutions each way."""
    model, system, x = made(name)
    model, codec, x = model.double(), system.codec.double(), x.double()
    target = torch.rand(x.shape, generator=torch.Generator().manual_seed(4), dtype=torch.float64)
    said = codec.decoder(codec.bottleneck.gaussian(codec.encoder(x))[0])
    (said.clamp(-1, 1) - target).square().mean().backward()
    (decoded(model, model.encode(x.transpose(1, 2)).latent_dist.mean).clamp(-1, 1) - target).square().mean().backward()
    for ours, theirs in WEIGHTS[name](codec, model):
        assert float(theirs.weight.grad.abs().max()) > 0
        close(ours.weight.grad, theirs.weight.grad, 1e-5)


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


def test_a_folder_of_ltx(tmp_path):
    model, system, x = made("ltx that folds and is told a time")
    model.save_pretrained(tmp_path)
    other = of.load(tmp_path)
    assert other.codec.shape == (121, 3, 512, 768) and all(torch.equal(a, b) for a, b in zip(system.parameters(), other.parameters(), strict=True))
    of.save(system, tmp_path / "mine")
    assert torch.equal(of.load(tmp_path / "mine").codec.encode(x).vec, system.codec.encode(x).vec)


@pytest.mark.parametrize(
    "change, says",
    [
        ({"patch_size_t": 2}, "patch_size_t=2"),
        ({"out_channels": 1}, "out_channels=1"),
        ({"decoder_inject_noise": [True, False, False, False]}, "decoder_inject_noise"),
        ({"down_block_types": ["LTXVideoDownBlock3D", "LTXVideo095DownBlock3D"]}, "down_block_types"),
        ({"down_block_types": ["LTXVideo095DownBlock3D"] * 2, "spatio_temporal_scaling": [True, True]}, "downsample_type"),
        ({"spatio_temporal_scaling": [True]}, "1 values of spatio_temporal_scaling where 3"),
        ({"spatio_temporal_scaling": [True, 1, False]}, "spatio_temporal_scaling is 1"),
        ({"decoder_spatio_temporal_scaling": [True, False, False]}, "1 times two"),
        ({"upsample_residual": [True, False, False]}, "upsample_residual"),
        ({"upsample_factor": [2, 1, 1]}, "upsample_factor"),
        ({"upsample_residual": [True, False, False], "upsample_factor": [4, 1, 1]}, "unfolds 8 channels"),
        ({"timestep_conditioning": True}, "told no time"),
        ({"layers_per_block": [1, 1, 1]}, "3 values of layers_per_block where 4"),
        ({"layers_per_block": [1, 1, 1, 1 << 20]}, "layers_per_block"),
        ({"layers_per_block": [1, 1, 1, 1]}, "'encoder.down_blocks.1.resnets.1"),
        ({"block_out_channels": [6, 8, 1 << 20]}, "block_out_channels"),
        ({"block_out_channels": []}, "0 values of block_out_channels"),
        ({"temporal_compression_ratio": 8}, "temporal_compression_ratio=8"),
        ({"patch_size": 3}, "power of two"),
        ({"scaling_factor": 0.0}, "scaling_factor of 0.0"),
        ({"latent_channels": 1 << 60}, "latent_channels is"),
        ({"latent_channels": 4}, "has shape"),
    ],
)
def test_an_ltx_that_is_not_built_here(change, says, tmp_path):
    AutoencoderKLLTXVideo(**LTX).save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**config, **change}))
    with pytest.raises(CheckpointError, match=says) as error:
        of.load(tmp_path)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("shape", [(4, 3, 16, 16), (5, 1, 16, 16), (5, 3, 12, 16), (3, 16, 16), (5, 3, 0, 8)])
@pytest.mark.parametrize("model", [lambda: AutoencoderKLWan(base_dim=2, dim_mult=[1, 2, 2, 2], num_res_blocks=1), lambda: AutoencoderKLLTXVideo(**LTX)])
def test_a_shape_that_does_not_divide(model, shape):
    with pytest.raises(CheckpointError, match="1 \\+ 4 n"):
        adopt(model(), shape=shape)
