"""Checkpoints of bytedance/1d-tokenizer's first tokenizers, TiTok after its second stage of training: codes there and pictures back."""

from __future__ import annotations

import re
from math import isqrt

import torch

from ...system.recipe import Recipe
from ..ties import Table, Tie, joined, layers, linear, same, shaped
from .shared import BOTH, Own, Paper, depth, pairs

_CODEC = "codec."


def tokenizer(own: Own) -> Table:
    """Both towers, the book, and the pixel decoder of MaskGIT's VQGAN with its own book."""
    (width, content), inputs = own[_CODEC + "into.weight"], own[_CODEC + "squeeze.weight"][0]
    side, towers = isqrt(content // 3), ("encoder", "decoder")
    norms = [(f"norms.{2 * i + j}", f"{tower}.{norm}") for i, tower in enumerate(towers) for j, norm in enumerate(("ln_pre", "ln_post"))]
    ties = (
        *(Tie(_CODEC + ours, tuple(f"{tower}.{theirs}" for tower in towers), torch.stack, torch.unbind) for ours, theirs in _PLACES),
        joined(_CODEC + "first", [f"{tower}.class_embedding" for tower in towers]),
        same(_CODEC + "asking", "latent_tokens"),
        shaped(_CODEC + "hidden", "decoder.mask_token", (width,), (1, 1, width)),
        shaped(_CODEC + "into.weight", "encoder.patch_embed.weight", (width, content), (width, 3, side, side)),
        same(_CODEC + "into.bias", "encoder.patch_embed.bias"),
        shaped(_CODEC + "squeeze.weight", "encoder.conv_out.weight", (inputs, width), (inputs, width, 1, 1)),
        same(_CODEC + "squeeze.bias", "encoder.conv_out.bias"),
        *pairs(_CODEC, "", ("spread", "decoder.decoder_embed"), *norms),
        *(tie for tower in towers for tie in _tower(own, tower)),
        same(_BOOK + "vectors", "quantize.embedding.weight"),
        *(tie for i in (0, 2) for tie in _narrow(own, f"{_PICTURE}logits.{i}", f"decoder.ffn.{i}")),
        same(_PICTURE + "book", "pixel_quantize.embedding.weight"),
        *_pixels(own, _PICTURE + "decoder."),
    )
    return Table("TiTok's tokenizer", ties, fixed={_BOOK + "usage": 1 / own[_BOOK + "vectors"][0], _BOOK + "begun": 1.0})


_BOOK, _PICTURE = _CODEC + "bottleneck.book.", _CODEC + "out_of."
_PLACES = (("patch_place", "positional_embedding"), ("latent_place", "latent_token_positional_embedding"))


def _narrow(own: Own, ours: str, theirs: str) -> list[Tie]:
    """A linear map that they write as a convolution of 1 x 1."""
    shape = tuple(own[f"{ours}.weight"])
    return [shaped(f"{ours}.weight", f"{theirs}.weight", shape, (*shape, 1, 1)), same(f"{ours}.bias", f"{theirs}.bias")]


def _tower(own: Own, tower: str) -> list[Tie]:
    def block(i: int) -> list[Tie]:
        ours, theirs = f"{_CODEC}{tower}.blocks.{i}.", f"{tower}.transformer.{i}."
        maps = (("mixer.out.each.0", "attn.out_proj"), ("mlp.feed.each.0.up", "mlp.c_fc"), ("mlp.feed.each.0.down", "mlp.c_proj"))
        asked = [same(f"{ours}mixer.qkv.each.0.{x}", f"{theirs}attn.in_proj_{x}") for x in BOTH]
        return [*asked, *pairs(ours, theirs, *maps, ("norm_mixer", "ln_1"), ("norm_mlp", "ln_2"))]

    return layers(depth(own, f"{_CODEC}{tower}.blocks."), block)


def _pixels(own: Own, ours: str) -> list[Tie]:
    """The pixel decoder: ours is a row of layers, theirs is nested and counts resolutions from fine to coarse."""

    def block(here: str, theirs: str) -> list[Tie]:
        made = linear(f"{here}.past", f"{theirs}.nin_shortcut", False) if f"{here}.past.weight" in own else []
        for i in (0, 1):
            made += [*linear(f"{here}.norms.{i}", f"{theirs}.norm{i + 1}"), *linear(f"{here}.convs.{i}", f"{theirs}.conv{i + 1}", False)]
        return made

    numbers = sorted({int(name.removeprefix(ours).split(".")[0]) for name in own if name.startswith(ours)})
    ties = [*linear(f"{ours}0", "pixel_decoder.conv_in"), *(tie for i in (0, 1) for tie in block(f"{ours}{1 + i}", f"pixel_decoder.mid.{i}"))]
    level, count = sum(f"{ours}{i}.conv.weight" in own for i in numbers), 0
    for number in numbers[3:-2]:
        here, theirs = f"{ours}{number}", f"pixel_decoder.up.{level}."
        if f"{here}.conv.weight" in own:
            ties += linear(f"{here}.conv", theirs + "upsample_conv")
            level, count = level - 1, 0
        else:
            ties += block(here, f"{theirs}block.{count}")
            count += 1
    return [*ties, *linear(f"{ours}{numbers[-2]}", "pixel_decoder.norm_out"), *linear(f"{ours}{numbers[-1]}", "pixel_decoder.conv_out")]


def _other(theirs: Own, recipe: Recipe) -> str | None:
    """Which of bytedance/1d-tokenizer's checkpoints is another one."""
    kinds = (
        (r"lm_head\.|model\.embeddings\.", "it is a generator of TiTok; say recipe='titok-maskgit' (--as titok-maskgit), and give its tokenizer as the codec"),
        (r"decoder\.text_guidance_", "TA-TiTok, whose decoder is told texts, is not read; TiTok's L-32, B-64 and S-128 are"),
        (r"decoder\.conv_out\.", "TiTok's later tokenizers, whose decoder says pixels, are not read; its L-32, B-64 and S-128 are"),
    )
    why = next((why for pattern, why in kinds if any(re.match(pattern, name) for name in theirs)), None)
    if why is None and "encoder.class_embedding" in theirs and not any(name.startswith("pixel_decoder.") for name in theirs):
        return "after its first stage of training TiTok says another tokenizer's codes and no pictures; give a checkpoint of the second, with pixel_decoder"
    return why


TOKENIZER = Paper("TiTok's tokenizer", tokenizer, refused=_other)
