"""Checkpoints of facebookresearch/DiT and willisma/SiT."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor

from ..ties import Table, Tie, layers, same
from .shared import BOTH, LABEL, MAIN, Own, Paper, depth, leveled, pairs


def dit(own: Own, of: str = "DiT", half: bool = False) -> Table:
    """facebookresearch/DiT, willisma/SiT (the same module).

    Their patches enter by a convolution, ours by a linear map over (row, column, channel). Their last map answers, place by place in a patch, the means of all
    channels and then the variances; ours all means and then all variances. DiT's first level is 0, ours 1. half: SiT keeps the variances and never reads
    them; ours has none, and they leave as zeros. Its time is not multiplied by 1000.
    """
    width, fed = own[MAIN + "embed.enter.weight"]
    channels = 4
    patch = math.isqrt(fed // channels)
    grid = (width, patch, patch, channels)

    def enter(xs: Sequence[Tensor]) -> Tensor:
        return xs[0].permute(0, 2, 3, 1).reshape(width, fed)

    def left(x: Tensor) -> Sequence[Tensor]:
        return (x.reshape(grid).permute(0, 3, 1, 2),)

    def answered(xs: Sequence[Tensor]) -> Tensor:
        y = xs[0].unflatten(0, (patch * patch, 2, channels)).transpose(0, 1)
        return (y[0] if half else y).flatten(0, 1 if half else 2)

    def asked(x: Tensor) -> Sequence[Tensor]:
        y = x.unflatten(0, (1 if half else 2, patch * patch, channels))
        return ((torch.cat([y, torch.zeros_like(y)]) if half else y).transpose(0, 1).flatten(0, 2),)

    def block(i: int) -> list[Tie]:
        named = (
            ("mixer.qkv.each.0", "attn.qkv"),
            ("mixer.out.each.0", "attn.proj"),
            ("mlp.feed.each.0.up", "mlp.fc1"),
            ("mlp.feed.each.0.down", "mlp.fc2"),
            ("modulation.0.out", "adaLN_modulation.1"),
        )
        return pairs(f"{MAIN}backbone.blocks.{i}.", f"blocks.{i}.", *named)

    ties = (
        Tie(MAIN + "embed.enter.weight", ("x_embedder.proj.weight",), enter, left),
        same(MAIN + "embed.enter.bias", "x_embedder.proj.bias"),
        (same if half else partial(leveled, first=-1, sign=1))("network.time.net.0.weight", "t_embedder.mlp.0.weight"),
        same("network.time.net.0.bias", "t_embedder.mlp.0.bias"),
        *pairs("network.time.net.", "t_embedder.mlp.", ("2", "2")),
        same(LABEL, "y_embedder.embedding_table.weight"),
        *layers(depth(own, MAIN + "backbone.blocks."), block),
        *pairs(MAIN + "backbone.", "final_layer.", ("final_mod.out", "adaLN_modulation.1")),
        *(Tie(f"{MAIN}head.out.{x}", (f"final_layer.linear.{x}",), answered, asked) for x in BOTH),
    )
    return Table(of, ties, (("pos_embed", "sines and cosines, which are computed"),))


def sit(own: Own) -> Table:
    """willisma/SiT."""
    return dit(own, "SiT", half=True)


DIT = Paper("DiT", dit, codec=("kl", "f8"))
SIT = Paper("SiT", sit, {"network.time.scale": 1.0}, codec=("kl", "f8"))
