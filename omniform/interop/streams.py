"""Flow transformers of the `diffusers` library as our recipes: Stable Diffusion 3 and FLUX.1 (two streams), LTX-Video and Wan (clips).

Their velocity is noise less data, ours data less noise: the last map changes its sign.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from ..backbones.attention import Attention
from ..backbones.blocks import PreNorm, SingleStream
from ..backbones.mlp import Mlp
from ..backbones.stack import Stack
from ..codecs.patch import Patches
from ..conditions.caption import Caption, Sizes
from ..core.errors import CheckpointError
from ..core.spec import Spec
from .language import DEEPEST, Asked
from .pictures import ACTIVATIONS, BLOCK, LARGEST, MAIN, TEXT, Grid, attended, captioned, crossed, fed, timed
from .ties import Cut, Reading, Table, Tie, layers, linear, negated, same, shaped, turned

Shape = tuple[int, ...] | None


def _fits(of: str, shape: Shape, usual: tuple[int, ...], channels: int) -> tuple[int, ...]:
    """Latents (frames, channels, rows, columns), or without frames: configurations do not say how many there are."""
    frames = "frames, " if len(usual) == 4 else ""
    shape = (*usual[:-3], channels, *usual[-2:]) if shape is None else tuple(shape)
    if len(shape) != len(usual) or shape[-3] != channels or min(shape) < 1:
        raise CheckpointError(f"{of} takes latents ({frames}{channels}, rows, columns), not of shape {shape}")
    return shape


def _normed(ours: str, theirs: str) -> list[Tie]:
    """Norms of queries and keys."""
    return [same(f"{ours}.norm.{x}.0.weight", f"{theirs}.norm_{x}.weight") for x in "qk"]


# ---- Stable Diffusion 3 -----------------------------------------------------------------------------------------------


def sd3(config: Mapping[str, Any], folded: bool = False) -> Reading:
    """SD3Transformer2DModel. No config says how long captions are: 77 tokens of CLIP and 256 of T5, as its pipeline has them."""
    of = "SD3"
    asked = Asked(config, of)
    heads = asked("num_attention_heads", int, 18)
    width, depth = heads * asked("attention_head_dim", int, 64), asked("num_layers", int, 18, most=DEEPEST)
    channels, patch, side = asked("in_channels", int, 16), asked("patch_size", int, 2), asked("sample_size", int, 128, most=LARGEST)
    most = asked("pos_embed_max_size", int, 96, most=LARGEST)
    asked.only("out_channels", (channels, None), 16)
    asked.only("caption_projection_dim", (width,), 1152)
    asked.only("qk_norm", (None, "rms_norm"))
    if asked("dual_attention_layers", (list, tuple), ()):
        raise CheckpointError("SD3 has dual_attention_layers (3.5 medium), a second attention in some blocks, which is not built here; use 3 or 3.5 large")
    if side % patch or most < side // patch or width % 4:
        raise CheckpointError(f"SD3 of sample_size {side}, patches of {patch}, {most} positions and width {width} does not fit itself; fetch its config again")
    grid, normed = Grid(channels, patch, (channels, side, side), width, folded), config.get("qk_norm") is not None
    rows = side // patch
    text = {
        "features": asked("joint_attention_dim", int, 4096),
        "length": 333,
        "into": "linear",
        "mask": False,
        "pool": "given",
        "pooled": asked("pooled_projection_dim", int, 2048),
    }
    mixers = {
        f"network.backbone.{b}.mixer.{k}": v for b in ("block", "last") for k, v in (("heads", heads), ("qk_norm", "rms" if normed else "none"))
    }
    changes = {
        **grid.changes(),
        **mixers,
        "conditions": {"text": (Spec(Caption, text), ("joint", "modulate"))},
        "network.width": width,
        "network.backbone.depth": depth,
        "network.embed.positions.0.scale": rows / most,
        "network.embed.positions.0.first": float((most - rows) // 2),
    }

    def block(i: int) -> list[Tie]:
        last = i == depth - 1
        ours, theirs = MAIN + "backbone.last." if last else BLOCK.format(i), f"transformer_blocks.{i}."
        ties = [
            *linear(ours + "modulation.0.out", theirs + "norm1.linear"),
            *attended(ours, theirs, name="attn"),
            *attended(ours, theirs, name="attn", stream=1, out=None if last else "to_add_out", named=("add_q_proj", "add_k_proj", "add_v_proj")),
            *fed(ours, theirs),
        ]
        if last:
            ties += turned(ours + "modulation.1.out", theirs + "norm1_context.linear", width)
        else:
            ties += [*linear(ours + "modulation.1.out", theirs + "norm1_context.linear"), *fed(ours, theirs, 1, "ff_context")]
        if normed:
            ties += [same(f"{ours}mixer.norm.{x}.{n}.weight", f"{theirs}attn.norm_{t}{x}.weight") for x in "qk" for n, t in ((0, ""), (1, "added_"))]
        return ties

    ties = (
        *grid.enter("pos_embed.proj"),
        *timed("time_text_embed.timestep_embedder"),
        *(t for n, m in ((0, 1), (2, 2)) for t in linear(f"{TEXT}vector.{n}", f"time_text_embed.text_embedder.linear_{m}")),
        *linear(TEXT + "into", "context_embedder"),
        *layers(depth, block),
        *turned(MAIN + "backbone.final_mod.out", "norm_out.linear", width),
        *negated(grid.leave("proj_out")),
    )
    computed = ((r"pos_embed\.pos_embed", "sines and cosines, which are computed"),)
    return Reading(of, "sd3", changes, Table(of, ties, computed, grid.fixed()))


# ---- FLUX.1 -----------------------------------------------------------------------------------------------------------


def flux(config: Mapping[str, Any], shape: Shape = None, folded: bool = False) -> Reading:
    """FluxTransformer2DModel, over latents in patches of 2 x 2; told how strongly it is guided (dev) or not (schnell).

    Captions are 512 tokens of T5, 256 where it is not guided, as published: no config says it. The channels of a head that belong to their first axis, along
    which nothing moves, come last here, where nothing turns them.
    """
    of = "FLUX"
    asked = Asked(config, of)
    heads, each = asked("num_attention_heads", int, 24), asked("attention_head_dim", int, 128)
    width, four = heads * each, asked("in_channels", int, 64)
    double, single = asked("num_layers", int, 19, most=DEEPEST), asked("num_single_layers", int, 38, most=DEEPEST)
    axes, guided = asked("axes_dims_rope", (list, tuple), (16, 56, 56)), asked("guidance_embeds", bool, False)
    asked.only("patch_size", (1,), 1)
    asked.only("out_channels", (four, None))
    if len(axes) != 3 or not all(isinstance(n, int) and n >= 0 and n % 2 == 0 for n in axes) or sum(axes) != each or four % 4:
        raise CheckpointError(f"FLUX of {four} channels, heads of {each} and axes_dims_rope={list(axes)!r} does not fit itself; fetch its config again")
    shape = _fits(of, shape, (16, 128, 128), four // 4)
    if shape[1] % 2 or shape[2] % 2:
        raise CheckpointError(f"FLUX reads patches of 2 x 2, which latents of {shape[1]} x {shape[2]} do not fill; give another shape")
    grid = Grid(four // 4, 2, shape, width, folded, packed=True)
    text = {"features": asked("joint_attention_dim", int, 4096), "length": 512 if guided else 256, "into": "linear", "mask": False, "pool": "given"}
    text["pooled"] = asked("pooled_projection_dim", int, 768)
    told: dict[str, Any] = {"text": (Spec(Caption, text), ("joint", "modulate"))}
    if guided:
        told["guidance"] = (Spec(Sizes, {"groups": (1,), "usual": (3.5,), "scale": 1000.0}), "modulate")
    mixer = {"heads": heads, "qk_norm": "rms"}
    joint = Spec(PreNorm, {"mixer": Spec(Attention, mixer), "mlp": Spec(Mlp), "modulate": "zero", "streams": 2})
    alone = Spec(SingleStream, {"mixer": Spec(Attention, {**mixer, "biases": "qkv"}), "mlp": Spec(Mlp)})
    changes = {
        **grid.changes(),
        **({} if guided else {"process.steps": 4, "process.shift": 1.0}),
        "conditions": told,
        "network.width": width,
        "network.backbone.rotary.head_width": each,
        "network.backbone.rotary.share": (axes[1] // 2, axes[2] // 2),
        "network.backbone.block": tuple(Spec(Stack, {"depth": n, "final": None, "block": b}) for n, b in ((double, joint), (single, alone))),
    }
    head = torch.arange(each).roll(-axes[0])
    turned_rows = (torch.arange(2 * heads)[:, None] * each + head).flatten()
    rows = torch.cat([turned_rows, torch.arange(2 * width, 3 * width)])
    kept = lambda ties: [t.ordered(rows) if ".qkv." in t.ours else t for t in ties]  # noqa: E731

    def normed(ours: str, theirs: str, stream: int = 0) -> list[Tie]:
        return [same(f"{ours}mixer.norm.{x}.{stream}.weight", f"{theirs}{x}.weight").ordered(head) for x in "qk"]

    def two(i: int) -> list[Tie]:
        ours, theirs = f"{BLOCK.format(0)}blocks.{i}.", f"transformer_blocks.{i}."
        return [
            *linear(ours + "modulation.0.out", theirs + "norm1.linear"),
            *linear(ours + "modulation.1.out", theirs + "norm1_context.linear"),
            *kept(attended(ours, theirs, name="attn")),
            *kept(attended(ours, theirs, name="attn", stream=1, out="to_add_out", named=("add_q_proj", "add_k_proj", "add_v_proj"))),
            *normed(ours, theirs + "attn.norm_"),
            *normed(ours, theirs + "attn.norm_added_", 1),
            *fed(ours, theirs),
            *fed(ours, theirs, 1, "ff_context"),
        ]

    def one(i: int) -> list[Tie]:
        ours, theirs = f"{BLOCK.format(1)}blocks.{i}.", f"single_transformer_blocks.{i}."
        return [
            *linear(ours + "modulation.out", theirs + "norm.linear"),
            *kept(attended(ours, theirs, name="attn", out=None)),
            *normed(ours, theirs + "attn.norm_"),
            *linear(ours + "mlp.feed.each.0.up", theirs + "proj_mlp"),
            same(ours + "mixer.out.each.0.weight", theirs + "proj_out.weight of attention"),
            same(ours + "mlp.feed.each.0.down.weight", theirs + "proj_out.weight of the MLP"),
            same(ours + "mlp.feed.each.0.down.bias", theirs + "proj_out.bias"),
        ]

    outs = [f"single_transformer_blocks.{i}.proj_out.weight" for i in range(single)]
    cuts = tuple(Cut(name, (name + " of attention", name + " of the MLP"), (width, 4 * width), 1) for name in outs)
    embedded = (("text_embedder", TEXT + "vector"), *((("guidance_embedder", "conditioning.parts.guidance.maps.0"),) if guided else ()))
    ties = (
        *grid.enter("x_embedder"),
        *timed("time_text_embed.timestep_embedder"),
        *(t for theirs, ours in embedded for n, m in ((0, 1), (2, 2)) for t in linear(f"{ours}.{n}", f"time_text_embed.{theirs}.linear_{m}")),
        *linear(TEXT + "into", "context_embedder"),
        *layers(double, two),
        *layers(single, one),
        *turned(MAIN + "backbone.final_mod.out", "norm_out.linear", width),
        *negated(grid.leave("proj_out")),
    )
    return Reading(of, "flux", changes, Table(of, ties, fixed=grid.fixed(), cuts=cuts))


# ---- clips ------------------------------------------------------------------------------------------------------------


def ltx_video(config: Mapping[str, Any], shape: Shape = None) -> Reading:
    """LTXVideoTransformer3DModel: latents of 8 x 32 x 32 pixels, 25 frames a second."""
    of = "LTX-Video"
    asked = Asked(config, of)
    heads = asked("num_attention_heads", int, 32)
    width, depth = heads * asked("attention_head_dim", int, 64), asked("num_layers", int, 28, most=DEEPEST)
    channels = asked("in_channels", int, 128)
    for name, allowed, usual in (
        ("out_channels", (channels, None), 128),
        ("patch_size", (1,), 1),
        ("patch_size_t", (1,), 1),
        ("cross_attention_dim", (width,), 2048),
        ("qk_norm", ("rms_norm_across_heads",), "rms_norm_across_heads"),
        ("norm_elementwise_affine", (False,), False),
        ("attention_out_bias", (True,), True),
        ("activation_fn", tuple(ACTIVATIONS), "gelu-approximate"),
    ):
        asked.only(name, allowed, usual)
    bias = asked("attention_bias", bool, True)
    biases = "qkvo" if bias else "o"
    changes = {
        "codec": Spec(Patches, {"patch": 1, "bounded": False}),
        "shape": _fits(of, shape, (16, 128, 16, 24), channels),
        "conditions": {"text": (Spec(Caption, {"features": asked("caption_channels", int, 4096), "length": 256}), "cross")},
        "network.width": width,
        "network.backbone.depth": depth,
        "network.backbone.rotary.heads": heads,
        "network.backbone.block.eps": asked("norm_eps", float, 1e-6),
        "network.backbone.block.mixer.heads": heads,
        "network.backbone.block.mixer.biases": biases,
        "network.backbone.block.cross.heads": heads,
        "network.backbone.block.cross.biases": biases,
        "network.backbone.block.mlp.activation": ACTIVATIONS[asked("activation_fn", str, "gelu-approximate")],
    }

    def block(i: int) -> list[Tie]:
        ours, theirs = BLOCK.format(i), f"transformer_blocks.{i}."
        return [
            shaped(ours + "modulation.0.offset", theirs + "scale_shift_table", (6 * width,), (6, width)),
            *attended(ours, theirs, bias),
            *_normed(ours + "mixer", theirs + "attn1"),
            *crossed(ours, theirs, bias),
            *_normed(ours + "cross", theirs + "attn2"),
            *fed(ours, theirs),
        ]

    ties = (
        *linear(MAIN + "embed.enter", "proj_in"),
        *timed("time_embed.emb.timestep_embedder"),
        *linear(MAIN + "backbone.shared.out", "time_embed.linear"),
        *captioned("caption_projection"),
        *layers(depth, block),
        same(MAIN + "backbone.ending.table", "scale_shift_table"),
        *negated(linear(MAIN + "head.out", "proj_out")),
    )
    return Reading(of, "ltx-video", changes, Table(of, ties, fixed={"codec.scale": 1.0, "codec.shift": 0.0}))


def wan(config: Mapping[str, Any], shape: Shape = None, folded: bool = False) -> Reading:
    """WanTransformer3DModel that is told text alone."""
    of = "Wan"
    asked = Asked(config, of)
    heads, each = asked("num_attention_heads", int, 40), asked("attention_head_dim", int, 128)
    width, depth, channels = heads * each, asked("num_layers", int, 40, most=DEEPEST), asked("in_channels", int, 16)
    asked.only("out_channels", (channels, None), 16)
    asked.only("qk_norm", ("rms_norm_across_heads",), "rms_norm_across_heads")
    for name in ("image_dim", "added_kv_proj_dim", "pos_embed_seq_len"):
        asked.only(name, (None,))
    patches = asked("patch_size", (list, tuple), (1, 2, 2))
    if len(patches) != 3 or patches[0] != 1 or patches[1] != patches[2] or not isinstance(patches[1], int) or not 0 < patches[1] < 1 << 10:
        raise CheckpointError(f"Wan has patch_size={patches!r}, and (1, n, n) is what is built here; use a checkpoint without patches in time")
    if each % 2:
        raise CheckpointError(f"Wan turns pairs of channels, and its heads have {each}; fetch its config again")
    patch, eps = patches[1], asked("eps", float, 1e-6)
    shape = _fits(of, shape, (21, 16, 60, 104), channels)
    grid = Grid(channels, patch, shape, width, folded, frames=True)
    pairs = each // 6
    changes = {
        **grid.changes(),
        "conditions": {"text": (Spec(Caption, {"features": asked("text_dim", int, 4096), "length": 512, "mask": False}), "cross")},
        "network.width": width,
        "network.time.features": asked("freq_dim", int, 256),
        "network.backbone.depth": depth,
        "network.backbone.final.eps": eps,
        "network.backbone.rotary.head_width": each,
        "network.backbone.rotary.share": (each // 2 - 2 * pairs, pairs, pairs),
        "network.backbone.block.eps": eps,
        "network.backbone.block.norm_cross": asked("cross_attn_norm", bool, True),
        "network.backbone.block.mixer.heads": heads,
        "network.backbone.block.mixer.qk_eps": eps,
        "network.backbone.block.cross.heads": heads,
        "network.backbone.block.cross.qk_eps": eps,
        "network.backbone.block.mlp.hidden": asked("ffn_dim", int, 13824),
    }
    normed = changes["network.backbone.block.norm_cross"]

    def block(i: int) -> list[Tie]:
        ours, theirs = BLOCK.format(i), f"blocks.{i}."
        return [
            shaped(ours + "modulation.0.offset", theirs + "scale_shift_table", (6 * width,), (1, 6, width)),
            *attended(ours, theirs),
            *_normed(ours + "mixer", theirs + "attn1"),
            *crossed(ours, theirs),
            *_normed(ours + "cross", theirs + "attn2"),
            *(linear(ours + "norm_cross", theirs + "norm2") if normed else ()),
            *fed(ours, theirs, name="ffn"),
        ]

    ties = (
        *grid.enter("patch_embedding"),
        *timed("condition_embedder.time_embedder"),
        *linear(MAIN + "backbone.shared.out", "condition_embedder.time_proj"),
        *captioned("condition_embedder.text_embedder"),
        *layers(depth, block),
        shaped(MAIN + "backbone.ending.table", "scale_shift_table", (2, width), (1, 2, width)),
        *negated(grid.leave("proj_out")),
    )
    return Reading(of, "wan", changes, Table(of, ties, fixed=grid.fixed()))
