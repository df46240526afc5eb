"""Checkpoints of bytedance/1d-tokenizer."""

from __future__ import annotations

from ..bert import block
from ..ties import Cut, Table, Tie, layers, same, shaped
from .shared import LABEL, MAIN, Own, Paper, depth, pairs

_BACK = MAIN + "backbone."


def titok(own: Own) -> Table:
    """A generator: S-128's is a U-ViT, those of L-32 and B-64 are a BERT."""
    return _uvit(own) if f"{_BACK}skips.0.weight" in own else _bert(own)


def _read(own: Own, words: str, places: str, ahead: tuple[int, ...]) -> tuple[list[Tie], tuple[Cut, Cut]]:
    """What both read: a table of codes, the mask, classes and none, and one of places, the class's first. ahead: the axes before its own."""
    length, width = own[MAIN + "embed.positions.0.table"]
    pieces, first, rest = tuple(f"{words}[{x}]" for x in ("codes", "mask", "classes")), f"{places}[0]", f"{places}[1:]"
    ties = [
        same(MAIN + "embed.tables.0.weight", pieces[0]),
        shaped(MAIN + "embed.mask", pieces[1], (width,), (1, width)),
        same(LABEL, pieces[2]),
        shaped(MAIN + "embed.front", first, (1, width), (*ahead, 1, width)),
        shaped(MAIN + "embed.positions.0.table", rest, (length, width), (*ahead, length, width)),
    ]
    rows = (own[MAIN + "embed.tables.0.weight"][0], 1, own[LABEL][0])
    return ties, (Cut(words, pieces, rows), Cut(places, (first, rest), (1, length), len(ahead)))


def _uvit(own: Own) -> Table:
    half = depth(own, _BACK + "skips.")

    def one(i: int) -> list[Tie]:
        theirs = f"in_blocks.{i}." if i < half else "mid_block." if i == half else f"out_blocks.{i - half - 1}."
        maps = (("mixer.out.each.0", "attn.proj"), ("mlp.feed.each.0.up", "mlp.fc1"), ("mlp.feed.each.0.down", "mlp.fc2"))
        named = (*maps, ("norm_mixer", "norm1"), ("norm_mlp", "norm2"))
        ours = f"{_BACK}blocks.{i}."
        return [same(f"{ours}mixer.qkv.each.0.weight", f"{theirs}attn.qkv.weight"), *pairs(ours, theirs, *named)]

    read, cuts = _read(own, "embeddings.weight", "pos_embed", (1,))
    ties = (
        *read,
        *layers(depth(own, _BACK + "blocks."), one),
        *layers(half, lambda i: pairs(_BACK, "", (f"skips.{i}", f"out_blocks.{i}.skip_linear"))),
        *pairs(MAIN, "", ("backbone.final", "norm"), ("head.out", "lm_head")),
    )
    return Table("TiTok", ties, cuts=cuts)


def _bert(own: Own) -> Table:
    theirs = "model.embeddings."
    read, cuts = _read(own, theirs + "word_embeddings.weight", theirs + "position_embeddings.weight", ())
    ties = (
        *read,
        same(MAIN + "embed.kinds.weight", theirs + "token_type_embeddings.weight"),
        *pairs(MAIN, "model.", ("embed.norm", "embeddings.LayerNorm"), ("head.out", "lm_head")),
        *layers(depth(own, _BACK + "blocks."), lambda i: block(f"{_BACK}blocks.{i}.", f"model.encoder.layer.{i}.")),
    )
    return Table("TiTok", ties, cuts=cuts)


TITOK = Paper("TiTok", titok, codec=("titok", None))
