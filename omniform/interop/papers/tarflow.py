"""Checkpoints of apple/ml-tarflow."""

from __future__ import annotations

from ..ties import Table, Tie, joined, layers, same
from .shared import LABEL, Own, Paper, depth, pairs

BLOCK = (
    ("norm_mixer", "attention.norm"),
    ("mixer.qkv.each.0", "attention.qkv"),
    ("mixer.out.each.0", "attention.proj"),
    ("norm_mlp", "mlp.norm"),
    ("mlp.feed.each.0.up", "mlp.main.0"),
    ("mlp.feed.each.0.down", "mlp.main.2"),
)
"""A block of either."""


def tarflow(own: Own) -> Table:
    """apple/ml-tarflow: each map has a table of classes, ours are side by side in one."""
    maps = depth(own, "network.towers.")

    def one(number: int) -> list[Tie]:
        ours, theirs = f"network.towers.b{number}.", f"blocks.{number}."

        def block(i: int) -> list[Tie]:
            return pairs(f"{ours}backbone.blocks.{i}.", f"{theirs}attn_blocks.{i}.", *BLOCK)

        return [
            *pairs(ours, theirs, ("embed.enter", "proj_in"), ("head.out", "proj_out")),
            same(f"{ours}embed.positions.0.table", f"{theirs}pos_embed"),
            *layers(depth(own, f"{ours}backbone.blocks."), block),
        ]

    told = []
    if LABEL in own:
        table = joined(LABEL, [f"blocks.{i}.class_embed" for i in range(maps)], dim=-1)
        told = [table.then(lambda x: x.squeeze(1), lambda x: x.unsqueeze(1))]
    ignored = ((r"blocks\.\d+\.attn_mask", "the mask, which is computed"), ("var", "the variance of the base, which is one where maps scale"))
    return Table("TarFlow", (*told, *layers(maps, one)), ignored)


TARFLOW = Paper("TarFlow", tarflow)
