"""Autoencoders of diffusers are our codecs, number by number."""

from __future__ import annotations

import json

import pytest
import torch
from diffusers import AutoencoderKL, VQModel
from safetensors.torch import load_file, save_file

import omniform as of
from omniform.codecs.autoencoder import Autoencoder
from omniform.codecs.bottleneck import KL
from omniform.codecs.convolutions import Convolutions, Looking
from omniform.core.errors import BadArgument, CheckpointError
from omniform.core.spec import Spec
from omniform.interop.adopting import adopt

from .test_pictures import near, stirred


def blocks(num):
    return {"down_block_types": ["DownEncoderBlock2D"] * num, "up_block_types": ["UpDecoderBlock2D"] * num}


BASE = {"norm_num_groups": 4, "sample_size": 16}
KLS = {
    "kl of three resolutions": {**BASE, **blocks(3), "block_out_channels": (8, 12, 12), "layers_per_block": 2},
    "kl without attention and maps": {
        **BASE, **blocks(2), "block_out_channels": (12, 8), "mid_block_add_attention": False, "use_quant_conv": False, "use_post_quant_conv": False,
        "latent_channels": 16, "scaling_factor": 1.5305, "shift_factor": 0.0609,
    },
    "kl that looks around where it is coarse": {
        **BASE, "down_block_types": ["DownEncoderBlock2D", "AttnDownEncoderBlock2D"], "up_block_types": ["AttnUpDecoderBlock2D", "UpDecoderBlock2D"],
        "block_out_channels": (8, 12), "layers_per_block": 2,
    },
    "kl that looks around where it is coarse in its encoder alone": {
        **BASE, **blocks(2), "down_block_types": ["DownEncoderBlock2D", "AttnDownEncoderBlock2D"], "block_out_channels": (8, 12),
    },
    "kl of one resolution": {**BASE, **blocks(1), "block_out_channels": (8,), "in_channels": 1, "out_channels": 1, "norm_num_groups": 2, "sample_size": [9, 9]},
}
VQS = {
    "vq": {**BASE, **blocks(2), "block_out_channels": (8, 16), "num_vq_embeddings": 13, "vq_embed_dim": 5, "latent_channels": 7},
    "vq that looks around where it is coarse": {
        **BASE, "down_block_types": ["DownEncoderBlock2D", "AttnDownEncoderBlock2D"], "up_block_types": ["AttnUpDecoderBlock2D", "UpDecoderBlock2D"],
        "block_out_channels": (8, 12), "num_vq_embeddings": 13, "latent_channels": 5,
    },
    "vq of one width": {**BASE, **blocks(3), "block_out_channels": (8, 8, 8), "layers_per_block": 2, "num_vq_embeddings": 6},
}


def pixels(system):
    return torch.rand(2, *system.codec.shape, generator=torch.Generator().manual_seed(3)) * 2 - 1


@pytest.mark.parametrize("name", KLS)
def test_gaussians_and_pictures_are_equal(name):
    model = stirred(AutoencoderKL(**KLS[name]))
    system = adopt(model)
    x, codec, scale, shift = pixels(system), system.codec, model.config.scaling_factor, model.config.shift_factor or 0.0
    with torch.no_grad():
        theirs = model.encode(x).latent_dist
        mean, log_variance = codec.bottleneck.gaussian(codec.encoder(x))
        near(mean, theirs.mean)
        near(log_variance, theirs.logvar)
        tokens = codec.encode(x)
        near(tokens.vec, ((theirs.mean - shift) * scale).flatten(2).mT)
        near(codec.decoder(theirs.mean), model.decode(theirs.mean).sample)
        near(codec.decode(tokens), model.decode(theirs.mean).sample.clamp(-1, 1))


@pytest.mark.parametrize("name", VQS)
def test_codes_and_pictures_are_equal(name):
    model = stirred(VQModel(**VQS[name]))
    system = adopt(model)
    x, codec = pixels(system), system.codec
    with torch.no_grad():
        h = model.encode(x).latents
        near(codec.encoder(x), h)
        tokens = codec.encode(x)
        assert torch.equal(tokens.ids.flatten(), model.quantize(h)[2][2]) and len(tokens.ids.unique()) > 1
        near(codec.decode(tokens), model.decode(h).sample.clamp(-1, 1))


def test_gradients_are_equal():
    model = stirred(AutoencoderKL(**KLS["kl of three resolutions"]))
    system = adopt(model)
    x, codec = pixels(system), system.codec
    codec.decoder(codec.bottleneck.gaussian(codec.encoder(x))[0]).square().mean().backward()
    model.decode(model.encode(x).latent_dist.mean).sample.square().mean().backward()
    near(codec.encoder[0].weight.grad, model.encoder.conv_in.weight.grad)


def test_gradients_of_both_halves_around_codes_are_equal():
    """A code's own gradient is passed by here and there: the encoder's is that of what it says, the decoder's that of what it is given."""
    model = stirred(VQModel(**next(iter(VQS.values()))))
    system = adopt(model)
    x, codec = pixels(system), system.codec
    codec.encoder(x).square().mean().backward()
    codec.decoder(codec.bottleneck.decode(codec.encode(x))).square().mean().backward()
    h = model.encode(x).latents
    h.square().mean().backward()
    model.decode(h.detach()).sample.square().mean().backward()
    near(codec.encoder[0].weight.grad, model.encoder.conv_in.weight.grad)
    near(codec.decoder[-1].weight.grad, model.decoder.conv_out.weight.grad)


def test_a_network_has_the_stride_of_its_codec():
    spec = Spec(Autoencoder, {"stride": 4, "bottleneck": Spec(KL, {"channels": 2}), "network": Spec(Convolutions, {"widths": (8, 8), "groups": 4})})
    with pytest.raises(BadArgument, match="stride is 4 .* one of 2"):
        spec.build(shape=(1, 8, 8))
    with pytest.raises(BadArgument, match="4 groups divide"):
        Convolutions((8, 6), groups=4)
    with pytest.raises(BadArgument, match="a map on both sides"):
        Convolutions((8,), groups=4, inner=3, maps=(True, False))
    with pytest.raises(BadArgument, match="an odd side of the maps' kernel, found 2"):
        Convolutions((8,), groups=4, side=2)


@pytest.mark.parametrize("way, sizes, middle, num", [("encoder", (1, 4), -1, 2), ("decoder", (4, 1), 0, 3)])
def test_attention_at_the_coarsest_resolution_is_vqgans(way, sizes, middle, num):
    """One behind every block of that resolution, beside the middle's own; silent, they change nothing."""
    plain, coarse = (getattr(Convolutions((8, 16), depth=2, groups=4, coarse=c), way)(*sizes) for c in (False, True))
    looks = [m for m in coarse if isinstance(m, Looking)]
    added = [m for m in looks if m is not looks[middle]]
    assert len(added) == num and all(m.out.weight.shape == (16, 16) for m in added)
    for mine, its in zip(plain, [m for m in coarse if not any(m is a for a in added)], strict=True):
        its.load_state_dict(mine.state_dict())
    for m in added:
        torch.nn.init.zeros_(m.out.weight)
        torch.nn.init.zeros_(m.out.bias)
    x = torch.randn(2, sizes[0], 8, 8)
    with torch.no_grad():
        near(coarse(x), plain(x))
        for m in added:
            torch.nn.init.normal_(m.out.weight)
            assert not torch.allclose(coarse(x), plain(x), atol=1e-3)
            torch.nn.init.zeros_(m.out.weight)


def test_a_folder_and_names_of_older_files(tmp_path):
    model = stirred(AutoencoderKL(**KLS["kl of three resolutions"]))
    model.save_pretrained(tmp_path)
    system = of.load(tmp_path)
    file = tmp_path / "diffusion_pytorch_model.safetensors"
    renamed = {}
    for name, x in load_file(file).items():
        for old, new in ((".query.", ".to_q."), (".key.", ".to_k."), (".value.", ".to_v."), (".proj_attn.", ".to_out.0.")):
            name = name.replace(new, old)
        renamed[name] = x
    assert any(".proj_attn." in n for n in renamed)
    save_file(renamed, file)
    older, x = of.load(tmp_path), pixels(system)
    with torch.no_grad():
        near(system.codec.encode(x).vec, ((model.encode(x).latent_dist.mean) * 0.18215).flatten(2).mT)
    assert all(torch.equal(a, older.state_dict()[n]) for n, a in system.state_dict().items())


@pytest.mark.parametrize(
    "change, says",
    [
        ({"act_fn": "relu"}, "act_fn='relu'"),
        ({"out_channels": 4}, "out_channels=4"),
        ({"down_block_types": ["AttnDownEncoderBlock2D"] * 3}, "AttnDownEncoderBlock2D"),
        ({"block_out_channels": [8, 12]}, "down_block_types"),
        ({"block_out_channels": [8, 12, 13]}, "cannot be built here"),
        ({"layers_per_block": 1}, "has no place here"),
        ({"latents_mean": [0.0] * 4}, "latents_mean"),
        ({"sample_size": 1 << 20}, "sample_size is"),
    ],
)
def test_a_configuration_that_is_not_built_here(change, says, tmp_path):
    AutoencoderKL(**KLS["kl of three resolutions"]).save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**config, **change}))
    with pytest.raises(CheckpointError, match=says) as error:
        of.load(tmp_path)
    assert "\n" not in str(error.value)
