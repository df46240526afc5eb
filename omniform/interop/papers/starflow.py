"""Checkpoints of apple/ml-starflow."""

from __future__ import annotations

import torch

from ..ties import Table, Tie, layers, same, shaped
from .shared import LABEL, Own, Paper, depth, pairs
from .tarflow import BLOCK

_TURNS = {"interleaved": True, "share": (12, 12)}
"""Of 32 pairs in a head, the last eight are for places in a text."""
_CHANGES = {f"{at}backbone.rotary.{key}": value for at in ("network.", "network.towers.deep.") for key, value in _TURNS.items()}
_CHANGES |= {**{f"{at}embed.hidden": "content" for at in ("network.", "network.towers.deep.")}, "process.places": "turns"}


def starflow(own: Own) -> Table:
    """apple/ml-starflow told a class (one of a vocabulary, as one of as many numbers), orders from right to left (its default).

    A map with a bias that reads a single one is a table: the bias enters every row, and leaves as zeros. Norms count their weights from one.
    """
    maps = depth(own, "network.towers.")

    def one(number: int) -> list[Tie]:
        ours, theirs = f"network.towers.{'deep' if number + 1 == maps else f'b{number}'}.", f"blocks.{number}."

        def block(i: int) -> list[Tie]:
            return pairs(f"{ours}backbone.blocks.{i}.", f"{theirs}attn_blocks.{i}.", *BLOCK)

        return [
            shaped(f"{ours}embed.blank", f"{theirs}sos_embed", (own[f"{ours}embed.blank"][0],), (1, 1, own[f"{ours}embed.blank"][0])),
            *pairs(ours, theirs, ("embed.enter", "proj_in"), ("head.out", "proj_out")),
            *layers(depth(own, f"{ours}backbone.blocks."), block),
            same(f"{ours}backbone.final.weight", f"{theirs}final_norm.weight").then(lambda x: x + 1, lambda x: x - 1),
        ]

    told = (f"blocks.{maps - 1}.proj_txt.weight", f"blocks.{maps - 1}.proj_txt.bias")
    label = Tie(LABEL, told, lambda xs: xs[0].T + xs[1], lambda x: (x.T, torch.zeros_like(x[0])))
    ignored = (
        (r"blocks\.\d+\.attn_mask", "the mask, which is computed"),
        (r"feat_rope\.freqs_(cos|sin)", "zeros that old files have"),
        ("var", "the variance of the base, which is one"),
    )
    return Table("STARFlow", (label, *layers(maps, one)), ignored)


def _texted(theirs: Own) -> str | None:
    """What of apple/ml-starflow is not read."""
    if any(n.startswith("learnable_self_denoiser.") for n in theirs):
        return "STARFlow's network that learns to denoise (its model of clips) is not built here; without it, a model told a class is read"
    told = [s for n, s in theirs.items() if n.endswith(".proj_txt.weight")]
    if any(tuple(s[1:]) != (1001,) for s in told):
        found = next(tuple(s[1:]) for s in told if tuple(s[1:]) != (1001,))
        return f"this STARFlow is told texts by vectors of {'x'.join(map(str, found)) or 'no'} numbers; what is read is one told one of 1000 classes (of 1001)"
    return None


STARFLOW = Paper("STARFlow", starflow, _CHANGES, _texted)
