"""Checkpoints of papers' own repositories, bare files of weights without a configuration: which recipe it is must be said, and tables follow from our shapes.

Only the network is in them: the autoencoder that their tokens come from is a file of its own.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor

from ..conditions.conditioning import ClassLabel
from ..core.errors import CheckpointError
from ..core.spec import Spec
from .ties import Cut, Table, Tie, joined, layers, reordered, same, shaped

Own = Mapping[str, Sequence[int]]
_MAIN = "network.towers.main."
_LABEL = "conditioning.parts.label.table.weight"
_BOTH = ("weight", "bias")


@dataclass(frozen=True)
class Paper:
    """of: whose. table: from the names and shapes of ours, without the codec's. changes: by path, what makes the recipe theirs to the number.
    refused: from names and shapes of theirs, why a relative of it is not read."""

    of: str
    table: Callable[[Own], Table]
    changes: Mapping[str, Any] = field(default_factory=dict)
    refused: Callable[[Own], str | None] = lambda theirs: None


def _pairs(ours: str, theirs: str, *named: tuple[str, str]) -> list[Tie]:
    """Weight and bias of maps that are the same on both sides."""
    return [same(f"{ours}{a}.{x}", f"{theirs}{b}.{x}") for a, b in named for x in _BOTH]


def _depth(own: Own, prefix: str) -> int:
    """How many blocks stand under a name."""
    return len({name.removeprefix(prefix).split(".")[0] for name in own if name.startswith(prefix)})


def _chunks(ours: str, theirs: str, order: Sequence[int], rows: int) -> list[Tie]:
    """A map whose output is cut into equal chunks, ours[i] being theirs[order[i]]."""
    index = torch.arange(rows).view(len(order), -1)[list(order)].flatten()
    return [reordered(f"{ours}.{x}", f"{theirs}.{x}", index) for x in _BOTH]


def _leveled(ours: str, theirs: str, first: int, sign: int) -> Tie:
    """The map that reads cosines and sines of a noise level k, which they count as first + sign * k: a rotation of its inputs, pair by pair."""

    def angles(width: int) -> tuple[Tensor, Tensor]:
        at = first * torch.exp(-math.log(10000.0) * torch.arange(width // 2, dtype=torch.float64) / (width // 2))
        return at.cos(), at.sin()

    def there(xs: Sequence[Tensor]) -> Tensor:
        (cos, sin), (c, s) = angles(xs[0].shape[1]), xs[0].double().chunk(2, 1)
        return torch.cat([c * cos + s * sin, sign * (s * cos - c * sin)], 1).to(xs[0].dtype)

    def back(x: Tensor) -> Sequence[Tensor]:
        if x.is_meta:
            return (x,)
        (cos, sin), (c, s) = angles(x.shape[1]), x.double().chunk(2, 1)
        return (torch.cat([c * cos - sign * s * sin, c * sin + sign * s * cos], 1).to(x.dtype),)

    return Tie(ours, (theirs,), there, back)


# ---- DiT and SiT ----------------------------------------------------------------------------------------------------


def dit(own: Own, of: str = "DiT", half: bool = False) -> Table:
    """facebookresearch/DiT, willisma/SiT (the same module).

    Their patches enter by a convolution, ours by a linear map over (row, column, channel). Their last map answers, place by place in a patch, the means of all
    channels and then the variances; ours all means and then all variances. DiT's first level is 0, ours 1. half: SiT keeps the variances and never reads
    them; ours has none, and they leave as zeros. Its time is not multiplied by 1000.
    """
    width, fed = own[_MAIN + "embed.enter.weight"]
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
        return _pairs(f"{_MAIN}backbone.blocks.{i}.", f"blocks.{i}.", *named)

    ties = (
        Tie(_MAIN + "embed.enter.weight", ("x_embedder.proj.weight",), enter, left),
        same(_MAIN + "embed.enter.bias", "x_embedder.proj.bias"),
        (same if half else partial(_leveled, first=-1, sign=1))("network.time.net.0.weight", "t_embedder.mlp.0.weight"),
        same("network.time.net.0.bias", "t_embedder.mlp.0.bias"),
        *_pairs("network.time.net.", "t_embedder.mlp.", ("2", "2")),
        same(_LABEL, "y_embedder.embedding_table.weight"),
        *layers(_depth(own, _MAIN + "backbone.blocks."), block),
        *_pairs(_MAIN + "backbone.", "final_layer.", ("final_mod.out", "adaLN_modulation.1")),
        *(Tie(f"{_MAIN}head.out.{x}", (f"final_layer.linear.{x}",), answered, asked) for x in _BOTH),
    )
    return Table(of, ties, (("pos_embed", "sines and cosines, which are computed"),))


def sit(own: Own) -> Table:
    """willisma/SiT."""
    return dit(own, "SiT", half=True)


# ---- VAR ------------------------------------------------------------------------------------------------------------


def var(own: Own) -> Table:
    """FoundationVision/VAR: gates, then scales, then shifts, each of attention and of the MLP; the bias of keys is a buffer of zeros."""
    width, heads = own[_LABEL][1], own[_MAIN + "backbone.blocks.0.mixer.norm.log_scale"][0]
    places = own[_MAIN + "embed.positions.0.table"]

    def block(i: int) -> list[Tie]:
        ours, theirs = f"{_MAIN}backbone.blocks.{i}.", f"blocks.{i}."
        named = (("mixer.out.each.0", "attn.proj"), ("mlp.feed.each.0.up", "ffn.fc1"), ("mlp.feed.each.0.down", "ffn.fc2"))
        return [
            same(f"{ours}mixer.qkv.each.0.weight", f"{theirs}attn.mat_qkv.weight"),
            *(same(f"{ours}mixer.some_bias.{x}", f"{theirs}attn.{x}_bias") for x in "qv"),
            shaped(f"{ours}mixer.norm.log_scale", f"{theirs}attn.scale_mul_1H11", (heads, 1, 1), (1, heads, 1, 1)),
            *_pairs(ours, theirs, *named),
            *_chunks(f"{ours}modulation.0.out", f"{theirs}ada_lin.1", (4, 2, 0, 5, 3, 1), 6 * width),
        ]

    ties = (
        shaped(_MAIN + "embed.mask", "pos_start", (width,), (1, 1, width)),
        *_pairs(_MAIN, "", ("embed.enter", "word_embed"), ("head.out", "head")),
        shaped(_MAIN + "embed.positions.0.table", "pos_1LC", places, (1, *places)),
        same(_MAIN + "embed.positions.1.table", "lvl_embed.weight"),
        same(_LABEL, "class_emb.weight"),
        *layers(_depth(own, _MAIN + "backbone.blocks."), block),
        *_chunks(_MAIN + "backbone.final_mod.out", "head_nm.ada_lin.1", (1, 0), 2 * width),
    )
    ignored = (
        (r"blocks\.\d+\.attn\.zero_k_bias", "zeros"),
        ("lvl_1L", "the level of each place, which is computed"),
        ("attn_bias_for_masking", "the mask, which is computed"),
    )
    return Table("VAR", ties, ignored)


# ---- MAR ------------------------------------------------------------------------------------------------------------


def mar(own: Own) -> Table:
    """LTH14/mar: its tables of places hold those of the copies of the class first; the null class is a vector of its own.

    Its noise levels go from 0 at the data to 999, our small network's from 999 to 0.
    """
    back, mlp, net = _MAIN + "backbone.", _MAIN + "head.mlp.", "diffloss.net."
    _, buffer, width = own[back + "buffer_places"]
    length = own[back + "encode_places.0.table"][0]
    classes = own[_LABEL][0] - 1

    def side(half: str) -> list[Tie]:
        def block(i: int) -> list[Tie]:
            named = (
                ("mixer.qkv.each.0", "attn.qkv"),
                ("mixer.out.each.0", "attn.proj"),
                ("mlp.feed.each.0.up", "mlp.fc1"),
                ("mlp.feed.each.0.down", "mlp.fc2"),
                ("norm_mixer", "norm1"),
                ("norm_mlp", "norm2"),
            )
            return _pairs(f"{back}{half}.blocks.{i}.", f"{half}_blocks.{i}.", *named)

        return layers(_depth(own, f"{back}{half}.blocks."), block)

    def denoising(i: int) -> list[Tie]:
        theirs = f"{net}res_blocks.{i}."
        return _pairs(mlp, theirs, (f"norms.{i}", "in_ln"), (f"mods.{i}", "adaLN_modulation.1"), (f"blocks.{i}.0", "mlp.0"), (f"blocks.{i}.2", "mlp.2"))

    tables = ("encoder_pos_embed_learned", "decoder_pos_embed_learned")
    ties = (
        joined(_LABEL, ("class_emb.weight", "fake_latent"), (classes, 1)),
        *_pairs("", "", (_MAIN + "embed.enter", "z_proj"), (back + "norm", "z_proj_ln"), (back + "enter", "decoder_embed")),
        *_pairs("", "", (back + "encoder.final", "encoder_norm"), (back + "decoder.final", "decoder_norm")),
        shaped(back + "mask", "mask_token", (width,), (1, 1, width)),
        joined(back + "buffer_places", [f"{t}[:{buffer}]" for t in tables]),
        *(
            shaped(f"{back}{ours}_places.0.table", theirs, (length, width), (1, length, width))
            for ours, theirs in (
                ("encode", f"{tables[0]}[{buffer}:]"),
                ("decode", f"{tables[1]}[{buffer}:]"),
                ("last", "diffusion_pos_embed_learned"),
            )
        ),
        *side("encoder"),
        *side("decoder"),
        *_pairs(mlp, net, ("enter", "input_proj"), ("told", "cond_embed"), ("time.2", "time_embed.mlp.2")),
        _leveled(mlp + "time.0.weight", net + "time_embed.mlp.0.weight", 999, -1),
        same(mlp + "time.0.bias", net + "time_embed.mlp.0.bias"),
        *layers(_depth(own, mlp + "blocks."), denoising),
        *_pairs(mlp, net + "final_layer.", ("last_mod", "adaLN_modulation.1"), ("out", "linear")),
    )
    cuts = tuple(Cut(t, (f"{t}[:{buffer}]", f"{t}[{buffer}:]"), (buffer, length), 1) for t in tables)
    return Table("MAR", ties, cuts=cuts)


# ---- LlamaGen -------------------------------------------------------------------------------------------------------


def llamagen(own: Own) -> Table:
    """FoundationVision/LlamaGen, by class: pairs of its rotation are neighbours; nothing stands where our mask vector does."""

    def block(i: int) -> list[Tie]:
        ours, theirs = f"{_MAIN}backbone.blocks.{i}.", f"layers.{i}."
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
        same(_MAIN + "embed.tables.0.weight", "tok_embeddings.weight"),
        same(_LABEL, "cls_embedding.embedding_table.weight"),
        *layers(_depth(own, _MAIN + "backbone.blocks."), block),
        same(_MAIN + "backbone.final.weight", "norm.weight"),
        same(_MAIN + "head.out.weight", "output.weight"),
    )
    return Table("LlamaGen", ties, fixed={_MAIN + "embed.mask": 0.0})


# ---- TarFlow --------------------------------------------------------------------------------------------------------


_BLOCK = (
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
    maps = _depth(own, "network.towers.")

    def one(number: int) -> list[Tie]:
        ours, theirs = f"network.towers.b{number}.", f"blocks.{number}."

        def block(i: int) -> list[Tie]:
            return _pairs(f"{ours}backbone.blocks.{i}.", f"{theirs}attn_blocks.{i}.", *_BLOCK)

        return [
            *_pairs(ours, theirs, ("embed.enter", "proj_in"), ("head.out", "proj_out")),
            same(f"{ours}embed.positions.0.table", f"{theirs}pos_embed"),
            *layers(_depth(own, f"{ours}backbone.blocks."), block),
        ]

    told = []
    if _LABEL in own:
        table = joined(_LABEL, [f"blocks.{i}.class_embed" for i in range(maps)], dim=-1)
        told = [table.then(lambda x: x.squeeze(1), lambda x: x.unsqueeze(1))]
    ignored = ((r"blocks\.\d+\.attn_mask", "the mask, which is computed"), ("var", "the variance of the base, which is one where maps scale"))
    return Table("TarFlow", (*told, *layers(maps, one)), ignored)


# ---- STARFlow -------------------------------------------------------------------------------------------------------

_TURNS = {"interleaved": True, "share": (12, 12)}
"""Of 32 pairs in a head, the last eight are for places in a text."""
_STARFLOW = {f"{at}backbone.rotary.{key}": value for at in ("network.", "network.towers.deep.") for key, value in _TURNS.items()}
_STARFLOW |= {**{f"{at}embed.hidden": "content" for at in ("network.", "network.towers.deep.")}, "process.places": "turns"}


def starflow(own: Own) -> Table:
    """apple/ml-starflow told a class (one of a vocabulary, as one of as many numbers), orders from right to left (its default).

    A map with a bias that reads a single one is a table: the bias enters every row, and leaves as zeros. Norms count their weights from one.
    """
    maps = _depth(own, "network.towers.")

    def one(number: int) -> list[Tie]:
        ours, theirs = f"network.towers.{'deep' if number + 1 == maps else f'b{number}'}.", f"blocks.{number}."

        def block(i: int) -> list[Tie]:
            return _pairs(f"{ours}backbone.blocks.{i}.", f"{theirs}attn_blocks.{i}.", *_BLOCK)

        return [
            shaped(f"{ours}embed.blank", f"{theirs}sos_embed", (own[f"{ours}embed.blank"][0],), (1, 1, own[f"{ours}embed.blank"][0])),
            *_pairs(ours, theirs, ("embed.enter", "proj_in"), ("head.out", "proj_out")),
            *layers(_depth(own, f"{ours}backbone.blocks."), block),
            same(f"{ours}backbone.final.weight", f"{theirs}final_norm.weight").then(lambda x: x + 1, lambda x: x - 1),
        ]

    told = (f"blocks.{maps - 1}.proj_txt.weight", f"blocks.{maps - 1}.proj_txt.bias")
    label = Tie(_LABEL, told, lambda xs: xs[0].T + xs[1], lambda x: (x.T, torch.zeros_like(x[0])))
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


# ---- TiTok ----------------------------------------------------------------------------------------------------------


def titok(own: Own) -> Table:
    """bytedance/1d-tokenizer's generator in the shape of a U-ViT (S-128): one table of codes, the mask, classes and none; the class stands at a first place.

    That place enters every row of our classes, and leaves as zeros.
    """
    back = _MAIN + "backbone."
    if f"{back}skips.0.weight" not in own:
        raise CheckpointError(f"{_BERTS}; say size='S-128' if the checkpoint is one of it")
    (length, width), half = own[_MAIN + "embed.positions.0.table"], _depth(own, back + "skips.")

    def block(i: int) -> list[Tie]:
        theirs = f"in_blocks.{i}." if i < half else "mid_block." if i == half else f"out_blocks.{i - half - 1}."
        maps = (("mixer.out.each.0", "attn.proj"), ("mlp.feed.each.0.up", "mlp.fc1"), ("mlp.feed.each.0.down", "mlp.fc2"))
        named = (*maps, ("norm_mixer", "norm1"), ("norm_mlp", "norm2"))
        ours = f"{back}blocks.{i}."
        return [same(f"{ours}mixer.qkv.each.0.weight", f"{theirs}attn.qkv.weight"), *_pairs(ours, theirs, *named)]

    pieces, places = tuple(f"embeddings.weight[{x}]" for x in ("codes", "mask", "classes")), ("pos_embed[0]", "pos_embed[1:]")
    ties = (
        same(_MAIN + "embed.tables.0.weight", pieces[0]),
        shaped(_MAIN + "embed.mask", pieces[1], (width,), (1, width)),
        Tie(_LABEL, (pieces[2], places[0]), lambda xs: xs[0] + xs[1][0], lambda x: (x, torch.zeros_like(x[:1])[None])),
        shaped(_MAIN + "embed.positions.0.table", places[1], (length, width), (1, length, width)),
        *layers(_depth(own, back + "blocks."), block),
        *layers(half, lambda i: _pairs(back, "", (f"skips.{i}", f"out_blocks.{i}.skip_linear"))),
        *_pairs(_MAIN, "", ("backbone.final", "norm"), ("head.out", "lm_head")),
    )
    rows = (own[_MAIN + "embed.tables.0.weight"][0], 1, own[_LABEL][0])
    return Table("TiTok", ties, cuts=(Cut("embeddings.weight", pieces, rows), Cut("pos_embed", places, (1, length), 1)))


_BERTS = "TiTok's generators of L-32 and B-64 (a BERT, whose class is normed with its place as codes are) are not read; that of S-128 is"


def _bert(theirs: Own) -> str | None:
    """Which of bytedance/1d-tokenizer's generators is not read."""
    return _BERTS if any(n.startswith("model.embeddings.") for n in theirs) else None


PAPERS: dict[str, Paper] = {
    "dit": Paper("DiT", dit),
    "sit": Paper("SiT", sit, {"network.time.scale": 1.0}),
    "var": Paper("VAR", var, {"conditions": {"label": (Spec(ClassLabel, {"classes": 1000}), ("modulate", "start"))}}),
    "mar": Paper("MAR", mar),
    "llamagen": Paper("LlamaGen", llamagen, {"network.backbone.rotary.interleaved": True}),
    "tarflow": Paper("TarFlow", tarflow),
    "starflow": Paper("STARFlow", starflow, _STARFLOW, _texted),
    "titok-maskgit": Paper("TiTok", titok, refused=_bert),
}
"""By the name of a recipe. VAR's class is also what its first place holds; LlamaGen's rotation turns neighbours."""
