"""Autoencoders of pictures of the `diffusers` library as our codecs: AutoencoderKL and VQModel."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..codecs.autoencoder import Autoencoder
from ..codecs.bottleneck import KL, VQ
from ..codecs.convolutions import Convolutions
from ..core.errors import CheckpointError
from ..core.spec import Spec
from .language import Asked
from .ties import Reading, Table, Tie, fused, linear, same

_LARGEST = 1 << 14
"""Pixels along an edge that a configuration is believed to ask for (ours)."""
OLD = ((".query.", ".to_q."), (".key.", ".to_k."), (".value.", ".to_v."), (".proj_attn.", ".to_out.0."))
"""Names of attention in checkpoints from before 2023, and today's."""


BLOCKS = ("down_block_types", "DownEncoderBlock2D", "AttnDownEncoderBlock2D", -1), ("up_block_types", "UpDecoderBlock2D", "AttnUpDecoderBlock2D", 0)
"""(name of a setting, a block, one that looks around too, and where that may stand: at the coarsest resolution)."""


def _widths(asked: Asked) -> tuple[tuple[int, ...], bool | tuple[bool, bool]]:
    """Of each resolution, and whether the blocks of the coarsest look around, or so in the encoder and in the decoder."""
    widths = asked("block_out_channels", (list, tuple), (64,))
    if not 0 < len(widths) <= 10 or not all(isinstance(w, int) and 0 < w < 1 << 16 for w in widths):
        raise CheckpointError(f"{asked.of}: its configuration says block_out_channels is {widths!r}, which nothing has; fetch it again")
    coarse = []
    for name, usual, looking, place in BLOCKS:
        kinds, wanted = list(asked(name, (list, tuple), [usual])), [usual] * len(widths)
        coarse += [bool(kinds) and kinds[place] == looking]
        wanted[place] = looking if coarse[-1] else usual
        if kinds != wanted:
            raise CheckpointError(f"{asked.of} has {name}={kinds!r}, and {wanted!r} is built here; use a checkpoint without others")
    return tuple(widths), coarse[0] if coarse[0] == coarse[1] else (coarse[0], coarse[1])


def _sides(asked: Asked, stride: int) -> tuple[int, int]:
    """Rows and columns, as many as fill latents."""
    said = asked.config.get("sample_size", 32)
    both = said if isinstance(said, list | tuple) and len(said) == 2 else (said, said)
    rows, columns = (-(-Asked({"sample_size": side}, asked.of)("sample_size", int, most=_LARGEST) // stride) * stride for side in both)
    return rows, columns


def _read(config: Mapping[str, Any], of: str) -> tuple[Asked, dict[str, Any], dict[str, Any]]:
    """What both share: arguments of the network, and stride and shape of the codec."""
    asked = Asked(config, of)
    asked.only("act_fn", ("silu",), "silu")
    colours = asked("in_channels", int, 3)
    asked.only("out_channels", (colours,), 3)
    widths, coarse = _widths(asked)
    network = {
        "widths": widths,
        "depth": asked("layers_per_block", int, 1, most=100),
        "groups": asked("norm_num_groups", int, 32),
        "looks": asked("mid_block_add_attention", bool, True),
        "coarse": coarse,
    }
    stride = 1 << (len(widths) - 1)
    return asked, network, {"stride": stride, "shape": (colours, *_sides(asked, stride))}


def _ties(prefix: str, network: Mapping[str, Any]) -> list[Tie]:
    """Ours are rows of layers, theirs are nested."""
    sizes, coarse, maps = (network["widths"], network["depth"], network["looks"]), network["coarse"], network.get("maps", (True, True))
    both = (coarse, coarse) if isinstance(coarse, bool) else coarse
    return [*_row(prefix + "encoder.", _encoder(*sizes, both[0], maps[0])), *_row(prefix + "decoder.", _decoder(*sizes, both[1], maps[1]))]


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


def _level(theirs: str, into: int, out: int, num: int, looks: bool) -> list[tuple[str, str]]:
    """Blocks of one resolution, each with attention behind it where they look around."""
    row = []
    for i in range(num):
        row += [("widening" if i == 0 and into != out else "block", f"{theirs}.resnets.{i}")]
        row += [("looking", f"{theirs}.attentions.{i}")] if looks else []
    return row


def _encoder(widths: tuple[int, ...], depth: int, looks: bool, coarse: bool, mapped: bool) -> list[tuple[str, str]]:
    """(kind, name) of each layer of the encoder."""
    row = [("plain", "encoder.conv_in")]
    for level, width in enumerate(widths):
        row += [("sampled", f"encoder.down_blocks.{level - 1}.downsamplers.0.conv")] if level else []
        row += _level(f"encoder.down_blocks.{level}", widths[max(level - 1, 0)], width, depth, coarse and level == len(widths) - 1)
    return [*row, *_middle("encoder", looks), *_end("encoder"), *([("plain", "quant_conv")] if mapped else [])]


def _decoder(widths: tuple[int, ...], depth: int, looks: bool, coarse: bool, mapped: bool) -> list[tuple[str, str]]:
    row = [*([("plain", "post_quant_conv")] if mapped else []), ("plain", "decoder.conv_in"), *_middle("decoder", looks)]
    before = widths[-1]
    for number, width in enumerate(reversed(widths)):
        row += _level(f"decoder.up_blocks.{number}", before, width, depth + 1, coarse and not number)
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
    network["inner"] = inner if inner != channels else 0
    bottleneck = Spec(VQ, {"codes": codes, "channels": channels, "ema": 0.0, "restart": 0.0})
    spec = Spec(Autoencoder, {"stride": codec["stride"], "bottleneck": bottleneck, "network": Spec(Convolutions, network)})
    book = prefix + "bottleneck.book."
    ties = (*_ties(prefix, network), same(book + "vectors", "quantize.embedding.weight"))
    return Reading(
        "VQModel", "vq", {"codec": spec, "shape": codec["shape"]}, Table("VQModel", ties, fixed={book + "usage": 1 / codes, book + "begun": 1.0})
    )
