"""Checkpoints of convolutional autoencoders of pictures: LlamaGen's tokenizers, latent diffusion's and MAR's, VAR's.

All are one network under several names. Ours is a row of layers, theirs are nested; what a layer of ours is, its own names and shapes say.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ...core.errors import CheckpointError
from ..ties import Table, Tie, linear, same
from .shared import Own, Paper, depth

_CODEC, _BOOK, _PHI = "codec.", "codec.bottleneck.book.", "codec.bottleneck.phi."
_VECTORS = same(_BOOK + "vectors", "quantize.embedding.weight")


@dataclass(frozen=True)
class Names:
    """How they name things. levels: of the encoder and of the decoder, with {} for a resolution. block: within a level. middle: the block, the attention and
    the block there. asked: the maps of an attention, one of all or three. rising: whether levels of the decoder are counted from the coarsest."""

    levels: tuple[str, str] = ("down.{}.", "up.{}.")
    block: str = "block"
    middle: tuple[str, str, str] = ("mid.block_1", "mid.attn_1", "mid.block_2")
    asked: tuple[str, ...] = ("q", "k", "v")
    rising: bool = False

    def side(self, own: Own, side: str) -> list[Tie]:
        """The ties of an encoder or a decoder, with the map between it and the bottleneck."""
        ours, decodes = f"{_CODEC}{side}.", side == "decoder"
        numbers = sorted({int(name.removeprefix(ours).split(".")[0]) for name in own if name.startswith(ours)})
        mapped = numbers.pop(0 if decodes else -1)
        first, *numbers, norm, last = numbers
        inner, levels = (numbers[:3], numbers[3:]) if decodes else (numbers[-3:], numbers[:-3])
        level = sum(f"{ours}{i}.conv.weight" in own for i in levels) if decodes and not self.rising else 0
        step, count = -1 if decodes and not self.rising else 1, 0
        plain = ((first, "conv_in"), *zip(inner, self.middle, strict=True), (norm, "norm_out"), (last, "conv_out"))
        named = [(mapped, f"{'post_' if decodes else ''}quant_conv"), *((number, f"{side}.{name}") for number, name in plain)]
        for number in levels:
            there = f"{side}.{self.levels[decodes].format(level)}"
            if f"{ours}{number}.conv.weight" in own:
                named += [(number, there + ("upsample" if decodes else "downsample"))]
                level, count = level + step, 0
            elif f"{ours}{number}.qkv.weight" in own:
                named += [(number, f"{there}attn.{count - 1}")]
            else:
                named += [(number, f"{there}{self.block}.{count}")]
                count += 1
        return [tie for number, theirs in named for tie in self._layer(own, f"{ours}{number}", theirs)]

    def _layer(self, own: Own, ours: str, theirs: str) -> list[Tie]:
        if f"{ours}.weight" in own:
            return linear(ours, theirs)
        if f"{ours}.conv.weight" in own:
            return linear(f"{ours}.conv", f"{theirs}.conv")
        if f"{ours}.qkv.weight" in own:
            maps = (*_pointwise(f"{ours}.qkv", theirs, self.asked), *_pointwise(f"{ours}.out", theirs, ("proj_out",)))
            return [*linear(f"{ours}.norm", f"{theirs}.norm"), *maps]
        made = linear(f"{ours}.past", f"{theirs}.nin_shortcut") if f"{ours}.past.weight" in own else []
        return made + [t for i in (0, 1) for x in ("norm", "conv") for t in linear(f"{ours}.{x}s.{i}", f"{theirs}.{x}{i + 1}")]


def _pointwise(ours: str, theirs: str, names: tuple[str, ...]) -> list[Tie]:
    """A linear map that they write as convolutions of 1 x 1, one after the other."""

    def back(x: Tensor) -> tuple[Tensor, ...]:
        return x[:, :, None, None].chunk(len(names))

    weight = Tie(f"{ours}.weight", tuple(f"{theirs}.{n}.weight" for n in names), lambda xs: torch.cat(list(xs)).flatten(1), back)
    bias = Tie(f"{ours}.bias", tuple(f"{theirs}.{n}.bias" for n in names), lambda xs: torch.cat(list(xs)), lambda x: x.chunk(len(names)))
    return [weight, bias]


LLAMAGEN = Names(("conv_blocks.{}.",) * 2, "res", ("mid.0", "mid.1", "mid.2"), rising=True)
LATENT_DIFFUSION = Names()
FUSED = Names(asked=("qkv",))
SCALES = {4: 0.18215, 16: 0.2325}
"""What latents are multiplied by, which no checkpoint says, by their channels: Stable Diffusion's, and MAR's (engine_mar.py)."""


def _ties(own: Own, names: Names) -> tuple[Tie, ...]:
    return (*names.side(own, "encoder"), *names.side(own, "decoder"))


def _read(own: Own, read: str) -> None:
    """Refuses a network of another kind. read: the sizes that are read."""
    if _CODEC + "encoder.0.weight" not in own:
        raise CheckpointError(f"this size computes nothing at full resolution, as no checkpoint of a paper does; say size={read}")


def vqgan(own: Own) -> Table:
    """LlamaGen's VQ-16 and VQ-8."""
    inner, channels, *_ = own[_CODEC + "decoder.0.weight"]
    if inner == channels:
        raise CheckpointError("VQGAN's own checkpoints (f16-1024, f16-16384) are not read, LlamaGen's are; say size='VQ-16' or 'VQ-8' if it is one of them")
    ignored = ((r"quantize\.codebook_used", "the codes that were last in use"),)
    return Table("LlamaGen's tokenizer", (*_ties(own, LLAMAGEN), _VECTORS), ignored, fixed=_used(own))


def kl(own: Own) -> Table:
    """Autoencoders under the names of latent diffusion's code: its own of stride 8, and MAR's of 16."""
    _read(own, "'f8' (Stable Diffusion's) or 'f16' (MAR's)")
    (channels,) = own[_CODEC + "bottleneck.spread"]
    fixed = {_CODEC + "bottleneck.centre": 0.0, _CODEC + "bottleneck.spread": 1 / SCALES[channels]}
    ignored = ((r"loss\..*|model_ema\.(decay|num_updates)", "what it was trained by"),)
    return Table("AutoencoderKL of latent diffusion's code", _ties(own, LATENT_DIFFUSION), ignored, fixed=fixed)


def pyramid(own: Own) -> Table:
    """VAR's tokenizer. Its contexts are what the scales say, and no number scales them."""
    _read(own, "'ch160' (VAR's)")
    shared = [tie for k in range(depth(own, _PHI)) for tie in linear(f"{_PHI}{k}", f"quantize.quant_resi.qresi_ls.{k}")]
    ignored = ((r"quantize\.ema_vocab_hit_SV", "how often each scale used each code"),)
    fixed = {**_used(own), _CODEC + "bottleneck.spread": 1.0}
    return Table("VAR's tokenizer", (*_ties(own, FUSED), _VECTORS, *shared), ignored, fixed=fixed)


def _used(own: Own) -> dict[str, float]:
    """What a book that has learned holds besides."""
    return {_BOOK + "usage": 1 / own[_BOOK + "vectors"][0], _BOOK + "begun": 1.0}


VQGAN = Paper("LlamaGen's tokenizer", vqgan, {"codec.critic": None})
"""Its critic is another one than ours, and no part of what is read."""
KL = Paper("AutoencoderKL of latent diffusion's code", kl)
PYRAMID = Paper("VAR's tokenizer", pyramid)
