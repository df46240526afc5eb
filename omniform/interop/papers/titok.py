"""Checkpoints of bytedance/1d-tokenizer."""

from __future__ import annotations

import torch

from ...core.errors import CheckpointError
from ...system.recipe import Recipe
from ..ties import Cut, Table, Tie, layers, same, shaped
from .shared import LABEL, MAIN, Own, Paper, depth, pairs


def titok(own: Own) -> Table:
    """bytedance/1d-tokenizer's generator in the shape of a U-ViT (S-128): one table of codes, the mask, classes and none; the class stands at a first place.

    That place enters every row of our classes, and leaves as zeros.
    """
    back = MAIN + "backbone."
    if f"{back}skips.0.weight" not in own:
        raise CheckpointError(f"{_BERTS}; say size='S-128' if the checkpoint is one of it")
    (length, width), half = own[MAIN + "embed.positions.0.table"], depth(own, back + "skips.")

    def block(i: int) -> list[Tie]:
        theirs = f"in_blocks.{i}." if i < half else "mid_block." if i == half else f"out_blocks.{i - half - 1}."
        maps = (("mixer.out.each.0", "attn.proj"), ("mlp.feed.each.0.up", "mlp.fc1"), ("mlp.feed.each.0.down", "mlp.fc2"))
        named = (*maps, ("norm_mixer", "norm1"), ("norm_mlp", "norm2"))
        ours = f"{back}blocks.{i}."
        return [same(f"{ours}mixer.qkv.each.0.weight", f"{theirs}attn.qkv.weight"), *pairs(ours, theirs, *named)]

    pieces, places = tuple(f"embeddings.weight[{x}]" for x in ("codes", "mask", "classes")), ("pos_embed[0]", "pos_embed[1:]")
    ties = (
        same(MAIN + "embed.tables.0.weight", pieces[0]),
        shaped(MAIN + "embed.mask", pieces[1], (width,), (1, width)),
        Tie(LABEL, (pieces[2], places[0]), lambda xs: xs[0] + xs[1][0], lambda x: (x, torch.zeros_like(x[:1])[None])),
        shaped(MAIN + "embed.positions.0.table", places[1], (length, width), (1, length, width)),
        *layers(depth(own, back + "blocks."), block),
        *layers(half, lambda i: pairs(back, "", (f"skips.{i}", f"out_blocks.{i}.skip_linear"))),
        *pairs(MAIN, "", ("backbone.final", "norm"), ("head.out", "lm_head")),
    )
    rows = (own[MAIN + "embed.tables.0.weight"][0], 1, own[LABEL][0])
    return Table("TiTok", ties, cuts=(Cut("embeddings.weight", pieces, rows), Cut("pos_embed", places, (1, length), 1)))


_BERTS = "TiTok's generators of L-32 and B-64 (a BERT, whose class is normed with its place as codes are) are not read; that of S-128 is"


def _bert(theirs: Own, recipe: Recipe) -> str | None:
    """Which of bytedance/1d-tokenizer's generators is not read."""
    return _BERTS if any(n.startswith("model.embeddings.") for n in theirs) else None


TITOK = Paper("TiTok", titok, refused=_bert, codec="titok")
