"""Autoencoders of clips of the `diffusers` library as our codecs: AutoencoderKLWan."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..codecs.autoencoder import Autoencoder
from ..codecs.bottleneck import KL
from ..codecs.causal import CausalConvolutions
from ..core.errors import CheckpointError
from ..core.spec import Spec
from .language import Asked
from .ties import Reading, Table, Tie, linear, same, shaped

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
    if not 0 < len(said) <= 1 << 10:
        raise CheckpointError(f"{asked.of}: its configuration has {len(said)} values of {name}, which nothing has; fetch it again")
    return tuple(Asked({name: value}, asked.of)(name, kind) for value in said)


def _fits(shape: tuple[int, ...] | None, usual: tuple[int, ...], colours: int, stride: int, span: int) -> tuple[int, ...]:
    """A clip that divides into latents."""
    shape = (usual[0], colours, *usual[2:]) if shape is None else tuple(shape)
    if len(shape) != 4 or min(shape) < 1 or shape[1] != colours or shape[2] % stride or shape[3] % stride or (shape[0] - 1) % span:
        raise CheckpointError(
            f"AutoencoderKLWan takes clips (1 + {span} n, {colours}, rows, columns) whose sides {stride} divides, not of shape {shape}; give shape= so"
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


def wan(config: Mapping[str, Any], shape: tuple[int, ...] | None = None) -> Reading:
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
    ties = [t for half, row in rows for number, layer in enumerate(row) if layer for t in layer[0](f"codec.{half}.{number}", *layer[1:])]
    fixed = {"codec.bottleneck.centre": centre, "codec.bottleneck.spread": spread}
    usual = (81, colours, 480, 832) if stride <= 32 else (1, colours, stride, stride)
    changes = {"codec": spec, "shape": _fits(shape, usual, colours, stride, span)}
    return Reading(of, "wan-vae", changes, Table(of, tuple(ties), fixed=fixed))
