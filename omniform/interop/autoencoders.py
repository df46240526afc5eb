"""Autoencoders of the `diffusers` library as our codecs: AutoencoderKL and VQModel; and AutoencoderKL back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from ..codecs.autoencoder import Autoencoder
from ..codecs.bottleneck import KL, VQ
from ..codecs.convolutions import Convolutions
from ..codecs.distortion import Absolute, Perceptual, Squared
from ..core.errors import CheckpointError
from ..core.spec import Spec
from .language import Asked
from .ties import Reading, Table, Tie, fused, linear, same

_LARGEST = 1 << 14
"""Pixels along an edge that a configuration is believed to ask for (ours)."""
OLD = ((".query.", ".to_q."), (".key.", ".to_k."), (".value.", ".to_v."), (".proj_attn.", ".to_out.0."))
"""Names of attention in checkpoints from before 2023, and today's."""


def _widths(asked: Asked) -> tuple[int, ...]:
    widths = asked("block_out_channels", (list, tuple), (64,))
    if not 0 < len(widths) <= 10 or not all(isinstance(w, int) and 0 < w < 1 << 16 for w in widths):
        raise CheckpointError(f"{asked.of}: its configuration says block_out_channels is {widths!r}, which nothing has; fetch it again")
    for name, usual in (("down_block_types", "DownEncoderBlock2D"), ("up_block_types", "UpDecoderBlock2D")):
        kinds = asked(name, (list, tuple), [usual])
        if list(kinds) != [usual] * len(widths):
            raise CheckpointError(f"{asked.of} has {name}={list(kinds)!r}, and {len(widths)} times {usual!r} is built here; use a checkpoint without others")
    return tuple(widths)


def _side(asked: Asked, stride: int) -> int:
    side = asked.config.get("sample_size", 32)
    side = side[0] if isinstance(side, list | tuple) and side and len(set(side)) == 1 else side
    side = Asked({"sample_size": side}, asked.of)("sample_size", int, most=_LARGEST)
    return -(-side // stride) * stride


def _read(config: Mapping[str, Any], of: str) -> tuple[Asked, dict[str, Any], dict[str, Any]]:
    """What both share: arguments of the network, and stride and shape of the codec."""
    asked = Asked(config, of)
    asked.only("act_fn", ("silu",), "silu")
    colours = asked("in_channels", int, 3)
    asked.only("out_channels", (colours,), 3)
    widths = _widths(asked)
    network = {
        "widths": widths,
        "depth": asked("layers_per_block", int, 1, most=100),
        "groups": asked("norm_num_groups", int, 32),
        "looks": asked("mid_block_add_attention", bool, True),
    }
    stride = 1 << (len(widths) - 1)
    side = _side(asked, stride)
    return asked, network, {"stride": stride, "shape": (colours, side, side)}


def _ties(prefix: str, network: Mapping[str, Any]) -> list[Tie]:
    """Ours are rows of layers, theirs are nested."""
    widths, depth, looks, maps = network["widths"], network["depth"], network["looks"], network.get("maps", (True, True))
    return [*_row(prefix + "encoder.", _encoder(widths, depth, looks, maps[0])), *_row(prefix + "decoder.", _decoder(widths, depth, looks, maps[1]))]


def _row(ours: str, names: list[tuple[str, str]]) -> list[Tie]:
    made: list[Tie] = []
    for number, (kind, theirs) in enumerate(names):
        here = f"{ours}{number}"
        if kind == "plain":
            made += linear(here, theirs)
        elif kind == "sampled":
            made += linear(here + ".conv", theirs)
        elif kind == "looking":
            made += [*linear(here + ".norm", theirs + ".group_norm"), *fused(here + ".qkv", [f"{theirs}.to_{x}" for x in "qkv"])]
            made += linear(here + ".out", theirs + ".to_out.0")
        elif kind in ("block", "widening"):
            made += [t for i in (0, 1) for t in (*linear(f"{here}.norms.{i}", f"{theirs}.norm{i + 1}"), *linear(f"{here}.convs.{i}", f"{theirs}.conv{i + 1}"))]
            made += linear(here + ".past", theirs + ".conv_shortcut") if kind == "widening" else []
    return made


def _middle(theirs: str, looks: bool) -> list[tuple[str, str]]:
    between = [("looking", f"{theirs}.mid_block.attentions.0")] if looks else []
    return [("block", f"{theirs}.mid_block.resnets.0"), *between, ("block", f"{theirs}.mid_block.resnets.1")]


def _end(theirs: str) -> list[tuple[str, str]]:
    return [("plain", f"{theirs}.conv_norm_out"), ("nothing", ""), ("plain", f"{theirs}.conv_out")]


def _encoder(widths: tuple[int, ...], depth: int, looks: bool, mapped: bool) -> list[tuple[str, str]]:
    """(kind, name) of each layer of the encoder."""
    row = [("plain", "encoder.conv_in")]
    for level, width in enumerate(widths):
        before = widths[max(level - 1, 0)]
        row += [("sampled", f"encoder.down_blocks.{level - 1}.downsamplers.0.conv")] if level else []
        row += [("widening" if i == 0 and before != width else "block", f"encoder.down_blocks.{level}.resnets.{i}") for i in range(depth)]
    return [*row, *_middle("encoder", looks), *_end("encoder"), *([("plain", "quant_conv")] if mapped else [])]


def _decoder(widths: tuple[int, ...], depth: int, looks: bool, mapped: bool) -> list[tuple[str, str]]:
    row = [*([("plain", "post_quant_conv")] if mapped else []), ("plain", "decoder.conv_in"), *_middle("decoder", looks)]
    before = widths[-1]
    for number, width in enumerate(reversed(widths)):
        row += [("widening" if i == 0 and before != width else "block", f"decoder.up_blocks.{number}.resnets.{i}") for i in range(depth + 1)]
        row += [("sampled", f"decoder.up_blocks.{number}.upsamplers.0.conv")] if number < len(widths) - 1 else []
        before = width
    return [*row, *_end("decoder")]


def kl(config: Mapping[str, Any], prefix: str = "codec.") -> Reading:
    """AutoencoderKL of two dimensions. Its latents are (z - shift_factor) * scaling_factor, as every pipeline has them."""
    asked, network, codec = _read(config, "AutoencoderKL")
    for name in ("latents_mean", "latents_std"):
        asked.only(name, (None,))
    network["maps"] = (asked("use_quant_conv", bool, True), asked("use_post_quant_conv", bool, True))
    spread = 1 / asked("scaling_factor", float, 0.18215)
    bottleneck = Spec(KL, {"channels": asked("latent_channels", int, 4)})
    spec = Spec(Autoencoder, {"stride": codec["stride"], "bottleneck": bottleneck, "network": Spec(Convolutions, network)})
    centre = asked("shift_factor", float, 0.0)
    fixed = {prefix + "bottleneck.centre": centre, prefix + "bottleneck.spread": spread}
    table = Table("AutoencoderKL", tuple(_ties(prefix, network)), fixed=fixed)
    return Reading("AutoencoderKL", "kl", {"codec": spec, "shape": codec["shape"]}, table)


def vq(config: Mapping[str, Any], prefix: str = "codec.") -> Reading:
    """VQModel."""
    asked, network, codec = _read(config, "VQModel")
    asked.only("norm_type", ("group",), "group")
    codes, inner = asked("num_vq_embeddings", int, 256), asked("latent_channels", int, 3)
    channels = asked("vq_embed_dim", int, inner)
    network["inner"] = inner
    bottleneck = Spec(VQ, {"codes": codes, "channels": channels, "ema": 0.0, "restart": 0.0})
    spec = Spec(Autoencoder, {"stride": codec["stride"], "bottleneck": bottleneck, "network": Spec(Convolutions, network)})
    book = prefix + "bottleneck.book."
    ties = (*_ties(prefix, network), same(book + "vectors", "quantize.embedding.weight"))
    return Reading(
        "VQModel", "vq", {"codec": spec, "shape": codec["shape"]}, Table("VQModel", ties, fixed={book + "usage": 1 / codes, book + "begun": 1.0})
    )


# ---- the way back ----------------------------------------------------------------------------------------------------


def kl_written(codec: Autoencoder, spec: Spec, prefix: str) -> tuple[dict[str, Any], dict[str, Tensor]] | None:
    """Configuration and tensors of an AutoencoderKL that codes as a codec of ours does; None where it is another network. spec: the codec's. prefix: of its
    names in the table that reads it.

    Pipelines divide latents by one number and some add none. Where ours are centred and scaled channel by channel, that goes into the maps of 1 x 1, which
    stand there for it if the network has none.
    """
    network, pixels = spec.args.get("network"), codec.distortion
    pixels = pixels.pixels if isinstance(pixels, Perceptual) else pixels
    if not isinstance(network, Spec) or network.make is not Convolutions or not isinstance(codec.bottleneck, KL) or not isinstance(pixels, Absolute | Squared):
        return None
    made = network.build()
    if made.inner or made.coarse or made.unit or len(set(codec.shape[1:])) > 1:
        return None
    count, centre, spread = codec.bottleneck.channels, codec.bottleneck.centre.cpu(), codec.bottleneck.spread.cpu()
    plain = not bool(centre.any()) and bool((spread == spread[0]).all())
    config = {
        "_class_name": "AutoencoderKL",
        "in_channels": codec.shape[0],
        "out_channels": codec.shape[0],
        "block_out_channels": list(made.widths),
        "down_block_types": ["DownEncoderBlock2D"] * len(made.widths),
        "up_block_types": ["UpDecoderBlock2D"] * len(made.widths),
        "layers_per_block": made.depth,
        "norm_num_groups": made.groups,
        "mid_block_add_attention": made.looks,
        "act_fn": "silu",
        "latent_channels": count,
        "sample_size": codec.shape[1],
        "scaling_factor": 1 / float(spread[0]) if plain else 1.0,
        "use_quant_conv": made.maps[0],
        "use_post_quant_conv": made.maps[1],
    }
    theirs = kl(config, prefix).table.theirs({prefix + n: x.detach().cpu() for n, x in codec.state_dict().items()})
    if plain:
        return config, theirs
    for name, channels, given in (("quant_conv", 2 * count, made.maps[0]), ("post_quant_conv", count, made.maps[1])):
        if not given:
            theirs |= {f"{name}.weight": torch.eye(channels)[:, :, None, None], f"{name}.bias": torch.zeros(channels)}
    scale, moved = torch.cat([1 / spread, torch.ones(count)]), torch.cat([-centre / spread, -2 * spread.log()])
    theirs["quant_conv.bias"] = theirs["quant_conv.bias"] * scale + moved
    theirs["quant_conv.weight"] = theirs["quant_conv.weight"] * scale[:, None, None, None]
    theirs["post_quant_conv.bias"] = theirs["post_quant_conv.bias"] + (theirs["post_quant_conv.weight"][:, :, 0, 0] * centre).sum(1)
    theirs["post_quant_conv.weight"] = theirs["post_quant_conv.weight"] * spread[None, :, None, None]
    return {**config, "use_quant_conv": True, "use_post_quant_conv": True}, theirs
