"""Checkpoints of FoundationVision/VAR."""

from __future__ import annotations

from ...conditions.conditioning import ClassLabel
from ...core.spec import Spec
from ..ties import Table, Tie, layers, same, shaped
from .shared import LABEL, MAIN, Own, Paper, chunks, depth, pairs


def var(own: Own) -> Table:
    """FoundationVision/VAR: gates, then scales, then shifts, each of attention and of the MLP; the bias of keys is a buffer of zeros."""
    width, heads = own[LABEL][1], own[MAIN + "backbone.blocks.0.mixer.norm.log_scale"][0]
    places = own[MAIN + "embed.positions.0.table"]

    def block(i: int) -> list[Tie]:
        ours, theirs = f"{MAIN}backbone.blocks.{i}.", f"blocks.{i}."
        named = (("mixer.out.each.0", "attn.proj"), ("mlp.feed.each.0.up", "ffn.fc1"), ("mlp.feed.each.0.down", "ffn.fc2"))
        return [
            same(f"{ours}mixer.qkv.each.0.weight", f"{theirs}attn.mat_qkv.weight"),
            *(same(f"{ours}mixer.some_bias.{x}", f"{theirs}attn.{x}_bias") for x in "qv"),
            shaped(f"{ours}mixer.norm.log_scale", f"{theirs}attn.scale_mul_1H11", (heads, 1, 1), (1, heads, 1, 1)),
            *pairs(ours, theirs, *named),
            *chunks(f"{ours}modulation.0.out", f"{theirs}ada_lin.1", (4, 2, 0, 5, 3, 1), 6 * width),
        ]

    ties = (
        shaped(MAIN + "embed.mask", "pos_start", (width,), (1, 1, width)),
        *pairs(MAIN, "", ("embed.enter", "word_embed"), ("head.out", "head")),
        shaped(MAIN + "embed.positions.0.table", "pos_1LC", places, (1, *places)),
        same(MAIN + "embed.positions.1.table", "lvl_embed.weight"),
        same(LABEL, "class_emb.weight"),
        *layers(depth(own, MAIN + "backbone.blocks."), block),
        *chunks(MAIN + "backbone.final_mod.out", "head_nm.ada_lin.1", (1, 0), 2 * width),
    )
    ignored = (
        (r"blocks\.\d+\.attn\.zero_k_bias", "zeros"),
        ("lvl_1L", "the level of each place, which is computed"),
        ("attn_bias_for_masking", "the mask, which is computed"),
    )
    return Table("VAR", ties, ignored)


VAR = Paper("VAR", var, {"conditions": {"label": (Spec(ClassLabel, {"classes": 1000}), ("modulate", "start"))}}, codec=("pyramid", "ch160"))
"""Its class is also what the first place holds."""
