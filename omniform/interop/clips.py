"""Autoencoders of clips of the `diffusers` library as our codecs: AutoencoderKLWan and AutoencoderKLLTXVideo."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from ..codecs.autoencoder import Autoencoder
from ..codecs.bottleneck import KL
from ..codecs.causal import CausalConvolutions
from ..codecs.patched import PatchedConvolutions
from ..core.errors import BadArgument, CheckpointError
from ..core.spec import Spec
from .language import Asked
from .ties import Reading, Table, Tie, linear, reordered, same, shaped

_WIDEST = 1 << 16
"""Channels that a configuration is believed to ask for (ours)."""
_MEAN = (-0.7571, -0.7089, -0.9113, 0.1075, -0.1745, 0.9653, -0.1517, 1.5508, 0.4134, -0.0715, 0.5517, -0.3632, -0.1922, -0.9497, 0.2503, -0.2921)
_STD = (2.8184, 1.4541, 2.3275, 2.6558, 1.2196, 1.7708, 2.6052, 2.0743, 3.2687, 2.1526, 2.8652, 1.5579, 1.6382, 1.1253, 2.8251, 1.9160)
"""Of the published latents, which a configuration that says nothing means."""


def _listed(asked: Asked, name: str, kind: type, default: tuple[Any, ...], num: int | None = None) -> tuple[Any, ...]:
    """A list of values of one kind, of num values if that is known."""
    said = asked(name, (list, tuple), default)
    if num is not None and len(said) != num:
        raise CheckpointError(f"{asked.of}: its configuration has {len(said)} values of {name} where {num} are expected; fetch it again")
    if not 0 < len(said) <= (32 if num is None else 1 << 10):
        raise CheckpointError(f"{asked.of}: its configuration has {len(said)} values of {name}, which nothing has; fetch it again")
    return tuple(Asked({name: value}, asked.of)(name, kind) for value in said)


def _fits(of: str, shape: tuple[int, ...] | None, usual: tuple[int, ...], colours: int, stride: int, span: int) -> tuple[int, ...]:
    """A clip that divides into latents."""
    shape = (usual[0], colours, *usual[2:]) if shape is None else tuple(shape)
    if len(shape) != 4 or min(shape) < 1 or shape[1] != colours or shape[2] % stride or shape[3] % stride or (shape[0] - 1) % span:
        raise CheckpointError(
            f"{of} takes clips (1 + {span} n, {colours}, rows, columns) whose sides {stride} divides, not of shape {shape}; give shape= so"
        )
    return shape


def _level(ours: str, theirs: str, width: int, dims: int) -> Tie:
    """A norm's weights, which they keep ready to multiply."""
    return shaped(f"{ours}.weight", f"{theirs}.gamma", (width,), (width, *[1] * dims))


def _block(ours: str, theirs: str, into: int, out: int) -> list[Tie]:
    made = [_level(f"{ours}.norms.{i}", f"{theirs}.norm{i + 1}", n, 3) for i, n in enumerate((into, out))]
    made += [t for i in (0, 1) for t in linear(f"{ours}.convs.{i}", f"{theirs}.conv{i + 1}")]
    return made + (linear(ours + ".past", theirs + ".conv_shortcut") if into != out else [])


def _resampled(ours: str, theirs: str, time: bool) -> list[Tie]:
    return [*linear(ours + ".conv", theirs + ".resample.1"), *(linear(ours + ".time", theirs + ".time_conv") if time else [])]


def _middle(theirs: str, width: int) -> list[tuple[Any, ...]]:
    return [(_block, f"{theirs}.resnets.0", width, width), (_glance, f"{theirs}.attentions.0", width), (_block, f"{theirs}.resnets.1", width, width)]


def _glance(ours: str, theirs: str, width: int) -> list[Tie]:
    """Their maps are convolutions of 1 x 1."""
    made = [_level(ours + ".norm", theirs + ".norm", width, 2)]
    for mine, their, num in (("qkv", "to_qkv", 3 * width), ("out", "proj", width)):
        made.append(shaped(f"{ours}.{mine}.weight", f"{theirs}.{their}.weight", (num, width), (num, width, 1, 1)))
        made.append(same(f"{ours}.{mine}.bias", f"{theirs}.{their}.bias"))
    return made


def _end(theirs: str, width: int) -> list[tuple[Any, ...]]:
    return [(lambda ours, name: [_level(ours, name, width, 3)], f"{theirs}.norm_out"), (), (linear, f"{theirs}.conv_out")]


def _encoder(widths: tuple[int, ...], depth: int, in_time: tuple[bool, ...]) -> list[tuple[Any, ...]]:
    """(ties of it, name, and what those need) of each layer of ours; nothing where a layer has no weights. They count blocks through."""
    row: list[tuple[Any, ...]] = []
    for level, width in enumerate(widths):
        row += [(_resampled, in_time[level - 1])] if level else []
        row += [(_block, width if i else widths[max(level - 1, 0)], width) for i in range(depth)]
    named = [(make, f"encoder.down_blocks.{number}", *rest) for number, (make, *rest) in enumerate(row)]
    last = widths[-1]
    return [(), (linear, "encoder.conv_in"), *named, *_middle("encoder.mid_block", last), *_end("encoder", last), (linear, "quant_conv")]


def _decoder(widths: tuple[int, ...], depth: int, in_time: tuple[bool, ...]) -> list[tuple[Any, ...]]:
    row = [(linear, "post_quant_conv"), (linear, "decoder.conv_in"), *_middle("decoder.mid_block", widths[-1])]
    before = widths[-1]
    for number, width in enumerate(reversed(widths)):
        level, name = len(widths) - 1 - number, f"decoder.up_blocks.{number}"
        row += [(_block, f"{name}.resnets.{i}", width if i else before, width) for i in range(depth + 1)]
        row += [(_resampled, f"{name}.upsamplers.0", in_time[level - 1])] if level else []
        before = width // 2
    return [*row, *_end("decoder", widths[0])]


def wan(config: Mapping[str, Any], shape: tuple[int, ...] | None = None, prefix: str = "codec.") -> Reading:
    """AutoencoderKLWan of Wan 2.1. Its latents are (z - latents_mean) / latents_std, as its pipelines have them. shape: of a clip, as published if not said."""
    of = "AutoencoderKLWan"
    asked = Asked(config, of)
    for name, allowed in (("is_residual", (False,)), ("patch_size", (None, 1)), ("attn_scales", ([], ()))):
        asked.only(name, allowed, allowed[0])
    base = asked("base_dim", int, 96, most=_WIDEST)
    asked.only("decoder_base_dim", (None, base))
    colours = asked("in_channels", int, 3, most=_WIDEST)
    asked.only("out_channels", (colours,), 3)
    channels = asked("z_dim", int, 16, most=_WIDEST)
    times = _listed(asked, "dim_mult", int, (1, 2, 4, 4))
    if times[0] != 1 or len(times) > 10 or base * max(times) > _WIDEST:
        raise CheckpointError(f"{of} has dim_mult={list(times)!r} of {base} channels, and what is built here begins with 1 and ends in reason; fetch it again")
    in_time = tuple(bool(x) for x in _listed(asked, "temperal_downsample", bool, (False, True, True), len(times) - 1)) if len(times) > 1 else ()
    if sum(in_time) > 2:
        raise CheckpointError(f"{of} halves time {sum(in_time)} times by its temperal_downsample, and pieces of four frames are halved twice; fetch it again")
    centre, spread = (_listed(asked, f"latents_{x}", float, usual, channels) for x, usual in (("mean", _MEAN), ("std", _STD)))
    if min(spread) <= 0:
        raise CheckpointError(f"{of}: its configuration has a latents_std of {min(spread)}, and deviations are above 0; fetch it again")
    widths, depth = tuple(base * x for x in times), asked("num_res_blocks", int, 2, most=100)
    network = {"widths": widths, "depth": depth, "in_time": in_time}
    stride, span = 1 << (len(widths) - 1), 1 << sum(in_time)
    spec = Spec(Autoencoder, {"stride": stride, "bottleneck": Spec(KL, {"channels": channels}), "network": Spec(CausalConvolutions, network)})
    rows = (("encoder", _encoder(widths, depth, in_time)), ("decoder", _decoder(widths, depth, in_time)))
    ties = [t for half, row in rows for number, layer in enumerate(row) if layer for t in layer[0](f"{prefix}{half}.{number}", *layer[1:])]
    fixed = {prefix + "bottleneck.centre": centre, prefix + "bottleneck.spread": spread}
    usual = (81, colours, 480, 832) if stride <= 32 else (1, colours, stride, stride)
    changes = {"codec": spec, "shape": _fits(of, shape, usual, colours, stride, span)}
    return Reading(of, "wan-vae", changes, Table(of, tuple(ties), fixed=fixed))


# ---- LTX-Video --------------------------------------------------------------------------------------------------------

_HALVED = {"spatial": "space", "temporal": "time", "spatiotemporal": "both"}


def _steps(asked: Asked, levels: int) -> tuple[tuple[str, ...], bool]:
    """What lies behind each level of the encoder, and whether it is folded (0.9.5)."""
    kinds = _listed(asked, "down_block_types", str, ("LTXVideoDownBlock3D",) * 4)
    kind = kinds[0]
    if kind not in ("LTXVideoDownBlock3D", "LTXVideo095DownBlock3D") or len(set(kinds)) > 1:
        raise CheckpointError(f"{asked.of} has down_block_types={list(kinds)!r}, and all LTXVideoDownBlock3D or all LTXVideo095DownBlock3D are built here")
    folded = kind == "LTXVideo095DownBlock3D"
    num = levels - folded
    if num < 1:
        raise CheckpointError(f"{asked.of}: its configuration has block_out_channels of one level, which its blocks do not fill; fetch it again")
    scaled = _listed(asked, "spatio_temporal_scaling", bool, (True, True, True, False), num)
    types = _listed(asked, "downsample_type", str, ("conv",) * 4)
    if not folded:
        return tuple("strided" if x else "none" for x in scaled), False
    if len(types) != num or not set(types) <= set(_HALVED):
        raise CheckpointError(f"{asked.of} has downsample_type={list(types)!r}, and {num} of {', '.join(_HALVED)} are built here; use a checkpoint of them")
    return tuple(_HALVED[t] if x else "none" for x, t in zip(scaled, types, strict=True)), True


def _climbs(asked: Asked, widths: tuple[int, ...], depths: tuple[int, ...]) -> tuple[tuple[int, ...], tuple[str, ...]]:
    """Widths of the decoder's levels and of its middle, and how it goes up: theirs say the width that comes in, ours that which comes out."""
    num = len(widths)
    scaled = _listed(asked, "decoder_spatio_temporal_scaling", bool, (True, True, True, False), num)
    plain = (False,) * num, (1,) * num
    past = _listed(asked, "upsample_residual", bool, plain[0], num) if asked.config.get("upsample_residual") else plain[0]
    factor = _listed(asked, "upsample_factor", int, plain[1], num) if asked.config.get("upsample_factor") else plain[1]
    made, up = [widths[-1]], []
    for level in reversed(range(num)):
        if past[level] != (factor[level] > 1) or past[level] and not scaled[level]:
            said = f"upsample_residual={list(past)!r} with upsample_factor={list(factor)!r}"
            raise CheckpointError(f"{asked.of} has {said}, and a residual where the factor is above 1 and rows are doubled is built here; use a checkpoint so")
        if widths[level] % factor[level] or past[level] and made[0] != widths[level] // factor[level] * factor[level]:
            raise CheckpointError(f"{asked.of} unfolds {made[0]} channels by upsample_factor={list(factor)!r} to others than it says; fetch its config again")
        made.insert(0, widths[level] // factor[level])
        up.insert(0, "unfolded" if past[level] else "widened" if scaled[level] else "none")
    return tuple(made), tuple(up)


def _passing(ours: str, theirs: str, widened: bool = False) -> list[Tie]:
    """A residual block; where it changes the width, with a norm and a map beside it."""
    made = [t for i in (0, 1) for t in linear(f"{ours}.convs.{i}", f"{theirs}.conv{i + 1}.conv")]
    return made + ([*linear(ours + ".past.0", theirs + ".norm3"), *linear(ours + ".past.1", theirs + ".conv_shortcut.conv")] if widened else [])


def _clock(ours: str, theirs: str) -> list[Tie]:
    return [t for n, m in ((0, 1), (2, 2)) for t in linear(f"{ours}.net.{n}", f"{theirs}.time_embedder.timestep_embedder.linear_{m}")]


def _told(ours: str, theirs: str, depth: int) -> list[Tie]:
    """Residual blocks that are told a time."""
    made = [*_clock(ours + ".clock", theirs), *(t for i in range(depth) for t in _passing(f"{ours}.blocks.{i}", f"{theirs}.resnets.{i}"))]
    return made + [same(f"{ours}.tables.{i}", f"{theirs}.resnets.{i}.scale_shift_table") for i in range(depth)]


def _framed(ours: str, theirs: str, order: Tensor, dim: int) -> list[Tie]:
    """A convolution of pixels: of a patch they count columns of rows, we rows of columns."""
    bias = reordered(ours + ".bias", theirs + ".conv.bias", order) if dim == 0 else same(ours + ".bias", theirs + ".conv.bias")
    return [reordered(ours + ".weight", theirs + ".conv.weight", order, dim), bias]


def _plain(ours: str, theirs: str) -> list[Tie]:
    return linear(ours, theirs + ".conv")


def _packing(ours: str, theirs: str) -> list[Tie]:
    return linear(ours + ".conv", theirs + ".conv.conv")


def _down(network: PatchedConvolutions, order: Tensor) -> list[tuple[Any, ...]]:
    widths, depths = network.widths, network.depths
    row: list[tuple[Any, ...]] = [(), (_framed, "encoder.conv_in", order, 1)]
    for level, step in enumerate(network.down):
        name, widened = f"encoder.down_blocks.{level}", widths[level] != widths[level + 1]
        row += [(_passing, f"{name}.resnets.{i}") for i in range(depths[level])]
        row += [(_plain if step == "strided" else _packing, f"{name}.downsamplers.0")] if step != "none" else []
        row += [(_passing, f"{name}.conv_out", True)] if widened and step in ("strided", "none") else []
    row += [(_passing, f"encoder.mid_block.resnets.{i}") for i in range(depths[-1])]
    return [*row, (), (), (_plain, "encoder.conv_out"), ()]


def _up(network: PatchedConvolutions, order: Tensor) -> list[tuple[Any, ...]]:
    (widths, depths), last = network.back, len(network.up)
    row: list[tuple[Any, ...]] = [(_plain, "decoder.conv_in")]
    for level in reversed(range(len(widths))):
        name = "decoder.mid_block" if level == last else f"decoder.up_blocks.{last - 1 - level}"
        if level < last:
            row += [(_passing, f"{name}.conv_in", True)] if widths[level] != widths[level + 1] and network.up[level] != "unfolded" else []
            row += [(_packing, f"{name}.upsamplers.0")] if network.up[level] != "none" else []
        row += [(_passing, f"{name}.resnets.{i}") for i in range(depths[level])] if network.time is None else [(_told, name, depths[level])]
    ending = () if network.time is None else (lambda ours, at: [*_clock(ours + ".clock", at), same(ours + ".table", at + ".scale_shift_table")], "decoder")
    return [*row, ending, (), (_framed, "decoder.conv_out", order, 0), ()]


def ltx(config: Mapping[str, Any], shape: tuple[int, ...] | None = None) -> Reading:
    """AutoencoderKLLTXVideo: of 0.9, and of 0.9.5 whose decoder is told a time (0, as its pipeline has it; change codec.network.time).

    Its latents are (z - latents_mean) / latents_std * scaling_factor, of which the moments lie beside the weights. shape: of a clip, as published if not said.
    """
    of = "AutoencoderKLLTXVideo"
    asked = Asked(config, of)
    asked.only("patch_size_t", (1,), 1)
    colours = asked("in_channels", int, 3, most=_WIDEST)
    asked.only("out_channels", (colours,), 3)
    channels = asked("latent_channels", int, 128, most=_WIDEST)
    if any(_listed(asked, "decoder_inject_noise", bool, (False,) * 5)):
        raise CheckpointError(f"{of} has decoder_inject_noise (0.9.1), which draws noise while it decodes and is not built here; use 0.9.0, 0.9.5 or later")
    widths = _listed(asked, "block_out_channels", int, (128, 256, 512, 512))
    ups = _listed(asked, "decoder_block_out_channels", int, (128, 256, 512, 512))
    if max(len(widths), len(ups)) > 10 or max(*widths, *ups) > _WIDEST:
        raise CheckpointError(f"{of} has block_out_channels of {list(widths)!r} and {list(ups)!r}, and what is built here ends in reason; fetch it again")
    down, folded = _steps(asked, len(widths))
    levels = widths if folded else (*widths, widths[-1])
    depths = _listed(asked, "layers_per_block", int, (4, 3, 3, 3, 4), len(levels))
    back_depths = _listed(asked, "decoder_layers_per_block", int, (4, 3, 3, 3, 4), len(ups) + 1)
    if max(*depths, *back_depths) > 100:
        raise CheckpointError(f"{of} has {max(*depths, *back_depths)} layers_per_block, which nothing has; fetch it again")
    back, up = _climbs(asked, ups, back_depths)
    patch, scale = asked("patch_size", int, 4, most=1 << 6), asked("scaling_factor", float, 1.0)
    if colours * patch**2 > _WIDEST:
        raise CheckpointError(f"{of} has patch_size={patch} of {colours} channels, which nothing has; fetch its config again")
    if scale <= 0:
        raise CheckpointError(f"{of} has a scaling_factor of {scale}, and latents are multiplied by more than 0; fetch its config again")
    args = {
        "patch": patch,
        "widths": levels,
        "depths": depths,
        "down": down,
        "back": (back, back_depths),
        "up": up,
        "causal": (asked("encoder_causal", bool, True), asked("decoder_causal", bool, False)),
        "time": 0.0 if asked("timestep_conditioning", bool, False) else None,
        "eps": asked("resnet_norm_eps", float, 1e-6),
    }
    try:
        network = PatchedConvolutions(**args)
    except BadArgument as error:
        raise CheckpointError(f"{of} cannot be built here: {error}") from error
    for name, ours in (("spatial", network.stride), ("temporal", network.span)):
        asked.only(f"{name}_compression_ratio", (None, ours))
    spec = Spec(Autoencoder, {"stride": network.stride, "bottleneck": Spec(KL, {"channels": channels}), "network": Spec(PatchedConvolutions, args)})
    order = torch.arange(colours * patch**2).unflatten(0, (colours, patch, patch)).mT.flatten()
    rows = (("encoder", _down(network, order)), ("decoder", _up(network, order)))
    ties = [t for half, row in rows for number, layer in enumerate(row) if layer for t in layer[0](f"codec.{half}.{number}", *layer[1:])]
    ties.append(same("codec.bottleneck.centre", "latents_mean"))
    ties.append(same("codec.bottleneck.spread", "latents_std").then(lambda x: x / scale, lambda x: x * scale))
    ties += [] if network.time is None else [same("codec.decoder.scale", "decoder.timestep_scale_multiplier")]
    whole = 256 % network.stride == 0 and 120 % network.span == 0
    usual = (121, colours, 512, 768) if whole else (1, colours, network.stride, network.stride)
    changes = {"codec": spec, "shape": _fits(of, shape, usual, colours, network.stride, network.span)}
    return Reading(of, "ltx-vae", changes, Table(of, tuple(ties)))
