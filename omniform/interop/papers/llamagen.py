"""Checkpoints of FoundationVision/LlamaGen."""

from __future__ import annotations

from ..ties import Table, Tie, joined, layers, same
from .shared import LABEL, MAIN, Own, Paper, depth


def llamagen(own: Own) -> Table:
    """FoundationVision/LlamaGen, by class: pairs of its rotation are neighbours; nothing stands where our mask vector does."""

    def block(i: int) -> list[Tie]:
        ours, theirs = f"{MAIN}backbone.blocks.{i}.", f"layers.{i}."
        named = (
            ("mixer.qkv.each.0", "attention.wqkv"),
            ("mixer.out.each.0", "attention.wo"),
            ("mlp.feed.each.0.down", "feed_forward.w2"),
            ("norm_mixer", "attention_norm"),
            ("norm_mlp", "ffn_norm"),
        )
        up = joined(f"{ours}mlp.feed.each.0.up.weight", [f"{theirs}feed_forward.{w}.weight" for w in ("w1", "w3")])
        return [up, *(same(f"{ours}{a}.weight", f"{theirs}{b}.weight") for a, b in named)]

    ties = (
        same(MAIN + "embed.tables.0.weight", "tok_embeddings.weight"),
        same(LABEL, "cls_embedding.embedding_table.weight"),
        *layers(depth(own, MAIN + "backbone.blocks."), block),
        same(MAIN + "backbone.final.weight", "norm.weight"),
        same(MAIN + "head.out.weight", "output.weight"),
    )
    return Table("LlamaGen", ties, fixed={MAIN + "embed.mask": 0.0})


LLAMAGEN = Paper("LlamaGen", llamagen, {"network.backbone.rotary.interleaved": True}, codec=("vqgan", "VQ-16"))
"""Its rotation turns neighbours."""
