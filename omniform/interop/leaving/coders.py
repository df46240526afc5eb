"""Codecs that learn, as autoencoders of `diffusers`: a target is one row of `CODERS`, and a configuration is read back and must be the very codec."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from omniform.codecs.autoencoder import Autoencoder
from omniform.codecs.bottleneck import KL, VQ
from omniform.codecs.causal import CausalConvolutions
from omniform.codecs.convolutions import Convolutions
from omniform.codecs.distortion import Absolute, Perceptual, Squared
from omniform.codecs.patched import PatchedConvolutions
from omniform.core.codec import Codec
from omniform.core.errors import CheckpointError
from omniform.core.spec import Spec
from omniform.interop import autoencoders, clips
from omniform.interop.leaving.comparing import apart, difference, plain
from omniform.interop.ties import Reading

HAS = "of codecs, diffusers has AutoencoderKL, VQModel, AutoencoderKLWan and AutoencoderKLLTXVideo here"
_TAUGHT = ("noise", "width", "depth", "distortion", "critic", "align", "bottleneck.weight", "bottleneck.commitment", "bottleneck.ema", "bottleneck.restart")
"""What a codec learns by, and what its own network stands in place of."""


_Config, _Tensors = dict[str, Any], dict[str, Tensor]


@dataclass(frozen=True)
class Coded:
    """What leaves: a class there, its configuration and tensors, and lines that open it in FOLDER. why: none of it, for this reason."""

    name: str = ""
    config: Mapping[str, Any] = field(default_factory=dict)
    weights: Mapping[str, Tensor] = field(default_factory=dict)
    opens: str = ""
    why: str = ""


@dataclass(frozen=True)
class Coder:
    """A target. read: its reader, told names of ours and the shape of the data. written: a configuration. scaled: what a configuration cannot say of the
    latents, as changes of it and of the tensors. said: how it is asked, as lines of Python."""

    name: str
    bottleneck: type
    network: type
    read: Callable[[Mapping[str, Any], str, tuple[int, ...]], Reading]
    written: Callable[[Autoencoder, Any], dict[str, Any]]
    said: tuple[str, ...]
    told: Callable[[Mapping[str, Any]], str] = lambda config: ""
    scaled: Callable[[Autoencoder, _Config, _Tensors], tuple[_Config, _Tensors]] = lambda codec, config, theirs: (config, theirs)


def coded(codec: Codec, spec: Spec, prefix: str = "codec.", changes: Mapping[str, Any] | None = None) -> Coded:
    """A codec of ours there, or why not. spec: what it was built from. prefix: of its names in the table that reads it. changes: of what is read back, by path,
    where those who use it there see to the rest."""
    network = spec.args.get("network")
    rows = [] if not isinstance(codec, Autoencoder) or not isinstance(network, Spec) else CODERS
    row = next((row for row in rows if type(codec.bottleneck) is row.bottleneck and network.make is row.network), None)  # type: ignore[union-attr]
    if row is None:
        made = type(codec).__name__ if not isinstance(codec, Autoencoder) else f"{type(codec.bottleneck).__name__} behind other convolutions"
        return Coded(why=f"its codec is {made}, and those are of codec.network=Convolutions, CausalConvolutions or PatchedConvolutions")
    assert isinstance(codec, Autoencoder) and isinstance(network, Spec)
    pixels = codec.distortion.pixels if isinstance(codec.distortion, Perceptual) else codec.distortion
    if not isinstance(pixels, Absolute | Squared):
        return Coded(why=f"its decoder says what {type(pixels).__name__} makes pixels of, and theirs says pixels; train it with Absolute or Squared")
    config = {"_class_name": row.name, **row.written(codec, network.build())}
    try:
        reading = row.read(config, prefix, codec.shape)
    except CheckpointError as error:  # a number of ours is not to their reader
        return Coded(why=str(error))
    there: Any = reading.changes["codec"]
    differs = apart(plain(spec), plain(there.but(changes or {})), "codec") | apart(list(codec.shape), list(reading.changes["shape"]), "shape")  # type: ignore[call-overload]
    differs = {k: v for k, v in differs.items() if not k.startswith(tuple(f"codec.{name}" for name in _TAUGHT))}
    if differs:
        return Coded(why=f"beside {row.name} its {difference(differs)}")
    theirs = reading.table.theirs({prefix + n: x.detach().cpu() for n, x in codec.state_dict().items()})
    config, theirs = row.scaled(codec, config, theirs)
    opens = ["import torch", f"from diffusers import {row.name}", f"codec = {row.name}.from_pretrained(FOLDER)"]
    return Coded(row.name, config, theirs, "\n".join([*opens, *(line.format(*codec.shape, told=row.told(config)) for line in row.said)]))


def _pictured(codec: Autoencoder, made: Any) -> dict[str, Any]:
    """What AutoencoderKL and VQModel both say."""
    kinds = {name: [usual] * len(made.widths) for name, usual, _, _ in autoencoders.BLOCKS}
    for (name, usual, looking, place), looks in zip(autoencoders.BLOCKS, made.coarse, strict=True):
        kinds[name][place] = looking if looks else usual
    return {
        "in_channels": codec.shape[0],
        "out_channels": codec.shape[0],
        "block_out_channels": list(made.widths),
        **kinds,
        "layers_per_block": made.depth,
        "norm_num_groups": made.groups,
        "mid_block_add_attention": made.looks,
        "act_fn": "silu",
        "sample_size": list(codec.shape[1:]) if len(set(codec.shape[1:])) > 1 else codec.shape[1],
    }


def _as_kl(codec: Autoencoder, made: Any) -> dict[str, Any]:
    return {
        **_pictured(codec, made),
        "latent_channels": codec.bottleneck.channels,
        "scaling_factor": 1.0,
        "shift_factor": 0.0,
        "use_quant_conv": made.maps[0],
        "use_post_quant_conv": made.maps[1],
    }


def _unit_variance(codec: Autoencoder, config: _Config, theirs: _Tensors) -> tuple[_Config, _Tensors]:
    """Pipelines divide latents by one number and some add none. Where ours are centred and scaled channel by channel, that goes into the maps of 1 x 1, which
    stand there for it if the network has none."""
    count, centre, spread = codec.bottleneck.channels, codec.bottleneck.centre.cpu(), codec.bottleneck.spread.cpu()
    if not bool(centre.any()) and bool((spread == spread[0]).all()):
        return {**config, "scaling_factor": 1 / float(spread[0])}, theirs
    for name, channels, use in (("quant_conv", 2 * count, "use_quant_conv"), ("post_quant_conv", count, "use_post_quant_conv")):
        if not config[use]:
            theirs |= {f"{name}.weight": torch.eye(channels)[:, :, None, None], f"{name}.bias": torch.zeros(channels)}
    scale, moved = torch.cat([1 / spread, torch.ones(count)]), torch.cat([-centre / spread, -2 * spread.log()])
    theirs["quant_conv.bias"] = theirs["quant_conv.bias"] * scale + moved
    theirs["quant_conv.weight"] = theirs["quant_conv.weight"] * scale[:, None, None, None]
    theirs["post_quant_conv.bias"] = theirs["post_quant_conv.bias"] + (theirs["post_quant_conv.weight"][:, :, 0, 0] * centre).sum(1)
    theirs["post_quant_conv.weight"] = theirs["post_quant_conv.weight"] * spread[None, :, None, None]
    return {**config, "use_quant_conv": True, "use_post_quant_conv": True}, theirs


def _as_vq(codec: Autoencoder, made: Any) -> dict[str, Any]:
    channels = codec.bottleneck.channels
    sizes = {"num_vq_embeddings": codec.space.vocab[0], "latent_channels": made.inner or channels, "vq_embed_dim": channels}
    return {**_pictured(codec, made), **sizes, "norm_type": "group", "lookup_from_codebook": True}


def _as_wan(codec: Autoencoder, made: Any) -> dict[str, Any]:
    base = made.widths[0]
    return {
        "base_dim": base,
        "dim_mult": [width // base for width in made.widths],
        "z_dim": codec.bottleneck.channels,
        "num_res_blocks": made.depth,
        "temperal_downsample": list(made.in_time),
        "attn_scales": [],
        "dropout": 0.0,
        "in_channels": codec.shape[1],
        "out_channels": codec.shape[1],
        "latents_mean": codec.bottleneck.centre.tolist(),
        "latents_std": codec.bottleneck.spread.tolist(),
        "scale_factor_temporal": made.span,
        "scale_factor_spatial": made.stride,
    }


_FOLDS = {"space": "spatial", "time": "temporal", "both": "spatiotemporal"}


def _as_ltx(codec: Autoencoder, made: Any) -> dict[str, Any]:
    """Theirs say the width that comes in on the way up, ours that which comes out; 0.9 has its last width twice."""
    (back, back_depths), folded = made.back, bool(set(made.down) & set(_FOLDS))
    levels, unfolded = made.widths if folded else made.widths[:-1], [up == "unfolded" for up in made.up]
    return {
        "in_channels": codec.shape[1],
        "out_channels": codec.shape[1],
        "latent_channels": codec.bottleneck.channels,
        "block_out_channels": list(levels),
        "down_block_types": ["LTXVideo095DownBlock3D" if folded else "LTXVideoDownBlock3D"] * len(made.down),
        "spatio_temporal_scaling": [down != "none" for down in made.down],
        "downsample_type": [_FOLDS.get(down, "spatial" if folded else "conv") for down in made.down],
        "layers_per_block": list(made.depths),
        "decoder_block_out_channels": [back[i + past] for i, past in enumerate(unfolded)],
        "decoder_spatio_temporal_scaling": [up != "none" for up in made.up],
        "decoder_layers_per_block": list(back_depths),
        "decoder_inject_noise": [False] * len(back),
        "upsample_residual": unfolded,
        "upsample_factor": [back[i + 1] // back[i] if past else 1 for i, past in enumerate(unfolded)],
        "timestep_conditioning": made.time is not None,
        "patch_size": made.patch,
        "patch_size_t": 1,
        "resnet_norm_eps": made.eps,
        "scaling_factor": 1.0,
        "encoder_causal": made.causal[0],
        "decoder_causal": made.causal[1],
        "spatial_compression_ratio": made.stride,
        "temporal_compression_ratio": made.span,
    }


_PICTURE = "x = torch.zeros(1, {}, {}, {})  # from -1 to 1"
_GAUSSIAN = ("z = codec.encode(x).latent_dist.mode()", "picture = codec.decode(z{told}).sample.clamp(-1, 1)")
_CLIP = "x = torch.zeros(1, {1}, {0}, {2}, {3})  # from -1 to 1, (colours, frames, rows, columns)"
CODERS = (
    Coder(
        "AutoencoderKL",
        KL,
        Convolutions,
        lambda config, prefix, shape: autoencoders.kl(config, prefix),
        _as_kl,
        (_PICTURE, *_GAUSSIAN, "tokens = z * codec.config.scaling_factor"),
        scaled=_unit_variance,
    ),
    Coder(
        "VQModel",
        VQ,
        Convolutions,
        lambda config, prefix, shape: autoencoders.vq(config, prefix),
        _as_vq,
        (_PICTURE, "z = codec.encode(x).latents", "tokens = codec.quantize(z)[2][2]", "picture = codec.decode(z).sample.clamp(-1, 1)"),
    ),
    Coder(
        "AutoencoderKLWan",
        KL,
        CausalConvolutions,
        lambda config, prefix, shape: clips.wan(config, shape),
        _as_wan,
        (
            _CLIP,
            *_GAUSSIAN,
            "mean, std = (torch.tensor(codec.config[name]).view(1, -1, 1, 1, 1) for name in ('latents_mean', 'latents_std'))",
            "tokens = (z - mean) / std",
        ),
    ),
    Coder(
        "AutoencoderKLLTXVideo",
        KL,
        PatchedConvolutions,
        lambda config, prefix, shape: clips.ltx(config, shape),
        _as_ltx,
        (_CLIP, *_GAUSSIAN, "tokens = (z - codec.latents_mean.view(1, -1, 1, 1, 1)) / codec.latents_std.view(1, -1, 1, 1, 1)"),
        lambda config: ", torch.zeros(len(z))" if config["timestep_conditioning"] else "",
    ),
)
"""Every codec that leaves."""
