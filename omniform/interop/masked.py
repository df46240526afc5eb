"""Masked transformers of the `diffusers` library as our recipes: aMUSEd."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from ..codecs.ids import Ids
from ..core.errors import CheckpointError
from ..core.spec import Spec
from .language import DEEPEST, Asked
from .pictures import LARGEST, MAIN, TEXT
from .ties import Cut, Reading, Table, Tie, fused, joined, layers, linear, permuted, same, shaped

_BACKBONE = MAIN + "backbone."


def amused(config: Mapping[str, Any], coded: bool = False) -> Reading:
    """UVit2DModel. No config of it says which code is the mask: the last of its table, as released. coded: an autoencoder makes the codes; else they are given.

    Its maps to scale and shift are to shift and scale here, and its gate comes behind the value.
    """
    of = "aMUSEd"
    asked = Asked(config, of)
    for name, usual in (("use_bias", False), ("hidden_dropout", 0.0), ("attention_dropout", 0.0), ("ln_elementwise_affine", True)):
        asked.only(name, (usual,), usual)
    wide, heads, depth = asked("hidden_size", int, 1024), asked("num_attention_heads", int, 16), asked("num_hidden_layers", int, 22, most=DEEPEST)
    width, channels = asked("in_channels", int, 768), asked("block_out_channels", int, 768)
    pairs, reading = asked("num_res_blocks", int, 3, most=DEEPEST), asked("block_num_heads", int, 12)
    rows, codes, side = asked("vocab_size", int, 8256), asked("codebook_size", int, 8192), asked("sample_size", int, 64, most=LARGEST)
    features, pooled = asked("encoder_hidden_size", int, 768), asked("cond_embed_dim", int, 768)
    waves, told, small = asked("micro_cond_encode_dim", int, 256), asked("micro_cond_embed_dim", int, 1280), asked("layer_norm_eps", float, 1e-6)
    hidden, squares = asked("intermediate_size", int, 2816), asked("downsample", bool, False)
    asked.only("upsample", (squares,), False)
    if rows <= codes or wide % heads or channels % reading or waves % 2 or told != 5 * waves or squares and side % 2 or small <= 0:
        raise CheckpointError(
            f"{of} of {codes} codes in {rows} rows, {heads} heads of {wide}, {reading} of {channels}, five numbers of {waves} in {told}, {side} x {side} codes "
            f"and layer_norm_eps {small:g} does not fit itself; fetch its config again"
        )
    changes: dict[str, Any] = {
        **({} if coded else {"codec": Spec(Ids, {"vocab": codes}), "shape": (side, side)}),
        **{f"conditions.text.0.{k}": v for k, v in (("width", wide), ("features", features), ("pooled", pooled), ("normed", small))},
        "conditions.numbers.0.width": wide,
        "conditions.numbers.0.features": waves,
        "network.width": width,
        "network.embed.extra_ids": rows - codes,
        "network.embed.mask_id": rows - 1,
        "network.backbone.wide": wide,
        "network.backbone.channels": channels,
        "network.backbone.depth": pairs,
        "network.backbone.heads": reading,
        "network.backbone.factor": 2 if squares else 1,
        "network.backbone.eps": small,
        "network.backbone.inner.depth": depth,
        "network.backbone.inner.block.eps": small,
        "network.backbone.inner.block.mixer.heads": heads,
        "network.backbone.inner.block.cross.heads": heads,
        "network.backbone.inner.block.mlp.hidden": hidden,
    }
    weight = lambda ours, theirs: same(ours + ".weight", theirs + ".weight")  # noqa: E731
    point = lambda ours, theirs, out, into: shaped(ours + ".weight", theirs + ".weight", (out, into), (out, into, 1, 1))  # noqa: E731

    def block(i: int) -> list[Tie]:
        ours, theirs = f"{_BACKBONE}inner.blocks.{i}.", f"transformer_layers.{i}."
        return [
            *(t for n in range(3) for t in _restyled(f"{ours}norms.{n}.map.out", f"{theirs}norm{n + 1}.linear", wide)),
            *(weight(f"{ours}norms.{n}.norm", f"{theirs}norm{n + 1}.norm") for n in range(3)),
            *fused(ours + "mixer.qkv.each.0", [f"{theirs}attn1.to_{x}" for x in "qkv"], False),
            weight(ours + "mixer.out.each.0", theirs + "attn1.to_out.0"),
            *_read(ours + "cross", theirs + "attn2"),
            *_restyled(ours + "mlp.feed.each.0.up", theirs + "ff.net.0.proj", hidden),
            weight(ours + "mlp.feed.each.0.down", theirs + "ff.net.2"),
        ]

    def pair(ours: str, theirs: str, i: int) -> list[Tie]:
        mine, mine2 = f"{_BACKBONE}{ours}.{i}.0.", f"{_BACKBONE}{ours}.{i}.1."
        its, its2 = f"{theirs}.res_blocks.{i}.", f"{theirs}.attention_blocks.{i}."
        each, four = (4 * channels,), (1, 1, 1, 4 * channels)
        named = (("depthwise", "depthwise"), ("norm", "norm"), ("up", "channelwise_linear_1"), ("down", "channelwise_linear_2"))
        return [
            *(weight(mine + a, its + b) for a, b in named),
            *(shaped(f"{mine}response.{x}", f"{its}channelwise_norm.{x}", each, four) for x in ("gamma", "beta")),
            *_restyled(mine + "modulation.out", its + "cond_embeds_mapper", channels),
            *([weight(mine2 + "map", its2 + "kv_mapper")] if channels != wide else []),
            *(weight(f"{mine2}norms.{n}", f"{its2}norm{n + 1}") for n in range(2)),
            *(t for n in range(2) for t in _read(f"{mine2}reads.{n}", f"{its2}attn{n + 1}")),
        ]

    sampled = [
        weight(_BACKBONE + "down.0", "down_block.downsample.norm"),
        permuted(
            _BACKBONE + "down.1.weight", "down_block.downsample.conv.weight", (channels, channels, 2, 2), (0, 2, 3, 1), (channels, 4 * channels),
            (channels, channels, 2, 2),
        ),
        weight(_BACKBONE + "up.0", "up_block.upsample.norm"),
        permuted(
            _BACKBONE + "up.1.weight", "up_block.upsample.conv.weight", (channels, channels, 2, 2), (2, 3, 1, 0), (4 * channels, channels),
            (channels, channels, 2, 2),
        ),
    ]  # fmt: skip
    first = "cond_embed.linear_1.weight"
    ties = (
        weight(TEXT + "into.0", "encoder_proj"),
        weight(TEXT + "into.1", "encoder_proj_layer_norm"),
        same(TEXT + "vector.weight", first + " of the text"),
        same("conditioning.parts.numbers.whole.weight", first + " of the numbers"),
        weight(_BACKBONE + "tell", "cond_embed.linear_2"),
        weight(MAIN + "embed.tables.0", "embed.embeddings"),
        weight(_BACKBONE + "enter.0", "embed.layer_norm"),
        point(_BACKBONE + "enter.1", "embed.conv", channels, width),
        *layers(pairs, lambda i: pair("first", "down_block", i)),
        weight(_BACKBONE + "into.0", "project_to_hidden_norm"),
        weight(_BACKBONE + "into.1", "project_to_hidden"),
        *layers(depth, block),
        weight(_BACKBONE + "back.0", "project_from_hidden_norm"),
        weight(_BACKBONE + "back.1", "project_from_hidden"),
        *layers(pairs, lambda i: pair("last", "up_block", i)),
        *(sampled if squares else []),
        point(_BACKBONE + "out", "mlm_layer.conv1", width, channels),
        weight(_BACKBONE + "norm", "mlm_layer.layer_norm"),
        point(MAIN + "head.out", "mlm_layer.conv2", codes, width),
    )
    cut = Cut(first, (first + " of the text", first + " of the numbers"), (pooled, told), 1)
    return Reading(of, "amused", changes, Table(of, ties, cuts=(cut,)))


def _restyled(ours: str, theirs: str, width: int) -> list[Tie]:
    """A map whose halves are the other way round."""
    swap = lambda x: torch.cat([x[width:], x[:width]])  # noqa: E731
    return [same(ours + ".weight", theirs + ".weight").then(swap, swap)]


def _read(ours: str, theirs: str) -> list[Tie]:
    """Cross-attention without biases."""
    return [
        *linear(ours + ".q", theirs + ".to_q", False),
        joined(ours + ".kv.weight", [f"{theirs}.to_{x}.weight" for x in "kv"]),
        *linear(ours + ".out", theirs + ".to_out.0", False),
    ]
