"""Denoising transformers of the `diffusers` library as our recipes: DiT, PixArt-alpha and -Sigma."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..codecs.patch import Patches
from ..conditions.caption import Caption, Sizes
from ..conditions.conditioning import ClassLabel
from ..core.errors import CheckpointError
from ..core.spec import Spec
from .language import DEEPEST, Asked
from .ties import Reading, Table, Tie, copied, fused, layers, linear, permuted, same, shaped

MAIN = "network.towers.main."
BLOCK = MAIN + "backbone.blocks.{}."
TEXT = "conditioning.parts.text."
LARGEST = 1 << 12
"""Latents along an edge that a configuration is believed to ask for (ours)."""


@dataclass(frozen=True)
class Grid:
    """Latents (channels, rows, columns) in patches: theirs come out (row, column, channel), ours as the codec lays them.

    folded: the codec is an autoencoder under Folded, (row, column, channel); else Patches of given latents, (channel, row, column). frames: their first
    convolution has a third axis, of time, one long. packed: theirs are given and answered in patches, (channel, row, column), by linear maps (FLUX).
    """

    channels: int
    patch: int
    shape: tuple[int, ...]
    width: int
    folded: bool = False
    frames: bool = False
    packed: bool = False

    def changes(self) -> dict[str, Any]:
        """The codec of a network by itself: latents are given."""
        if self.folded:
            return {"codec.patch": self.patch}  # the rest is the pipeline's to say
        return {"codec": Spec(Patches, {"patch": self.patch, "bounded": False}), "shape": self.shape}

    def fixed(self) -> dict[str, float]:
        """Buffers of the codec, which checkpoints do not have."""
        return {} if self.folded else {"codec.scale": 1.0, "codec.shift": 0.0}

    def enter(self, theirs: str) -> list[Tie]:
        """A convolution whose stride is its size, or a linear map."""
        c, p, num = self.channels, self.patch, self.channels * self.patch**2
        order = (0, 2, 3, 1) if self.folded else (0, 1, 2, 3)
        ours = MAIN + "embed.enter."
        their = (self.width, num) if self.packed else (self.width, c, *([1] if self.frames else []), p, p)
        weight = permuted(ours + "weight", theirs + ".weight", (self.width, c, p, p), order, (self.width, num), their)
        return [weight, same(ours + "bias", theirs + ".bias")]

    def leave(self, theirs: str, says: int = 1) -> list[Tie]:
        """The last linear map. says: 2 where it speaks of a variance besides, whose channels come after the others."""
        c, p, num = self.channels, self.patch, says * self.channels * self.patch**2
        order: tuple[int, ...] = (2, 0, 1, 3) if self.folded else (2, 3, 0, 1)
        ours, view = MAIN + "head.out.", (p, p, says, c)
        if self.packed:
            order, view = (0, 2, 3, 1) if self.folded else (0, 1, 2, 3), (says, c, p, p)
        return [
            permuted(ours + "weight", theirs + ".weight", (*view, self.width), (*order, 4), (num, self.width), (num, self.width)),
            permuted(ours + "bias", theirs + ".bias", view, order, (num,), (num,)),
        ]


def timed(theirs: str) -> list[Tie]:
    """The MLP of the time."""
    return [*linear("network.time.net.0", theirs + ".linear_1"), *linear("network.time.net.2", theirs + ".linear_2")]


ACTIVATIONS = {"gelu-approximate": "gelu_tanh", "gelu": "gelu"}


def _common(asked: Asked, norm: str) -> tuple[int, int, int]:
    """Width, heads and depth; what else such a configuration may say is refused where it is not as it is everywhere."""
    asked.only("norm_type", (norm,), norm)
    asked.only("dropout", (0.0, 0), 0.0)
    asked.only("norm_elementwise_affine", (False,), False)
    asked.only("activation_fn", tuple(ACTIVATIONS), "gelu-approximate")
    asked.only("upcast_attention", (False, None), False)
    asked.only("attention_type", ("default", None), "default")
    heads = asked("num_attention_heads", int, 16)
    return heads * asked("attention_head_dim", int, 72), heads, asked("num_layers", int, 28, most=DEEPEST)


def _grid(asked: Asked, width: int, sample: int, default_out: int | None, folded: bool) -> tuple[Grid, bool]:
    """How latents are cut, and whether the network speaks of a variance."""
    channels, patch = asked("in_channels", int, 4), asked("patch_size", int, 2)
    side = asked("sample_size", int, sample, most=LARGEST)
    out = asked("out_channels", int, default_out, null=True) or channels
    if out not in (channels, 2 * channels):
        raise CheckpointError(f"{asked.of} has out_channels={out} for {channels} channels; as many, or twice as many (a learned variance), are built here")
    if side % patch:
        raise CheckpointError(f"{asked.of} has sample_size={side}, which patches of {patch} do not fill; that is not built here")
    if width % 4:
        raise CheckpointError(f"{asked.of} is {width} wide, and sines and cosines on two axes fill multiples of four; fetch its config again")
    return Grid(channels, patch, (channels, side, side), width, folded), out == 2 * channels


# ---- DiT -------------------------------------------------------------------------------------------------------------


def dit(config: Mapping[str, Any], folded: bool = False) -> Reading:
    """DiTTransformer2DModel. It writes the embeddings of time and label once a block; they are copies, as released, or it is refused."""
    asked = Asked(config, "DiT")
    width, heads, depth = _common(asked, "ada_norm_zero")
    grid, varies = _grid(asked, width, 32, None, folded)
    bias = asked("attention_bias", bool, True)
    classes = asked("num_embeds_ada_norm", int, 1000)
    changes = {
        **grid.changes(),
        "conditions": {"label": (Spec(ClassLabel, {"classes": classes}), "modulate")},
        "network.width": width,
        "network.time.levels": 1000,
        "network.time.closed": True,
        "network.backbone.depth": depth,
        "network.backbone.block.mixer.heads": heads,
        "network.backbone.block.mixer.biases": "qkvo" if bias else "o",
        "network.backbone.block.mlp.activation": ACTIVATIONS[asked("activation_fn", str, "gelu-approximate")],
        "network.backbone.block.mlp_eps": asked("norm_eps", float, 1e-5),
        "network.head.learned_variance": varies,
    }

    def block(i: int) -> list[Tie]:
        ours, theirs = BLOCK.format(i), f"transformer_blocks.{i}."
        return [
            *linear(ours + "modulation.0.out", theirs + "norm1.linear"),
            *attended(ours, theirs, bias),
            *fed(ours, theirs),
        ]

    def everywhere(ours: str, theirs: str) -> Tie:
        return copied(ours, [f"transformer_blocks.{i}.norm1.emb.{theirs}" for i in range(depth)])

    ties = (
        *grid.enter("pos_embed.proj"),
        everywhere("conditioning.parts.label.table.weight", "class_embedder.embedding_table.weight"),
        *(everywhere(f"network.time.net.{n}.{x}", f"timestep_embedder.linear_{m}.{x}") for n, m in ((0, 1), (2, 2)) for x in ("weight", "bias")),
        *layers(depth, block),
        *linear(MAIN + "backbone.final_mod.out", "proj_out_1"),
        *grid.leave("proj_out_2", 1 + varies),
    )
    return Reading("DiT", "dit", changes, Table("DiT", ties, fixed=grid.fixed()))


def attended(
    ours: str,
    theirs: str,
    bias: bool = True,
    name: str = "attn1",
    stream: int = 0,
    out: str | None = "to_out.0",
    named: Sequence[str] = ("to_q", "to_k", "to_v"),
) -> list[Tie]:
    """Self-attention of a stream. out: nothing where it is not answered."""
    ties = fused(f"{ours}mixer.qkv.each.{stream}", [f"{theirs}{name}.{x}" for x in named], bias)
    return ties if out is None else [*ties, *linear(f"{ours}mixer.out.each.{stream}", f"{theirs}{name}.{out}")]


def crossed(ours: str, theirs: str, bias: bool = True) -> list[Tie]:
    """Cross-attention."""
    named = [f"{theirs}attn2.to_{x}" for x in "kv"]
    return [
        *linear(ours + "cross.q", theirs + "attn2.to_q", bias),
        *fused(ours + "cross.kv", named, bias),
        *linear(ours + "cross.out", theirs + "attn2.to_out.0"),
    ]


def fed(ours: str, theirs: str, stream: int = 0, name: str = "ff") -> list[Tie]:
    """The MLP of a stream."""
    return [
        *linear(f"{ours}mlp.feed.each.{stream}.up", f"{theirs}{name}.net.0.proj"),
        *linear(f"{ours}mlp.feed.each.{stream}.down", f"{theirs}{name}.net.2"),
    ]


# ---- PixArt ----------------------------------------------------------------------------------------------------------


def pixart(config: Mapping[str, Any], folded: bool = False) -> Reading:
    """PixArtTransformer2DModel: alpha, with sizes where it is told them, and Sigma. No config says how long captions are: 120 and 300 tokens as published."""
    asked = Asked(config, "PixArt")
    width, heads, depth = _common(asked, "ada_norm_single")
    grid, varies = _grid(asked, width, 128, 8, folded)
    bias, side = asked("attention_bias", bool, True), grid.shape[-1]
    told = asked("use_additional_conditions", bool, side == 128)
    sigma = not told and side >= 128
    reads = asked("cross_attention_dim", int, 1152)
    features = asked("caption_channels", int, null=True)
    if features is not None and reads != width:
        raise CheckpointError(f"PixArt maps its caption to {width} and cross-attention reads {reads}; they are one here")
    asked.only("num_embeds_ada_norm", (config.get("num_embeds_ada_norm", 1000),))
    scale = asked("interpolation_scale", float, float(max(side // 64, 1)))
    caption = {"features": features or reads, "length": 300 if sigma else 120, "into": "mlp" if features else "same"}
    conditions: dict[str, Any] = {"text": (Spec(Caption, caption), "cross")}
    if told:
        conditions["size"] = (Spec(Sizes, {"groups": (2, 1), "usual": (8.0 * side, 8.0 * side, 1.0)}), "modulate")
        if width % 3:
            raise CheckpointError(f"PixArt is told sizes in thirds of its width, and {width} has none; its config is not one of a checkpoint")
    small = asked("norm_eps", float, 1e-6)
    changes = {
        **grid.changes(),
        **({"network.backbone.late": None} if sigma else {}),
        "conditions": conditions,
        "network.width": width,
        "network.time.levels": 1000,
        "network.embed.positions.0.scale": 1 / scale,
        "network.backbone.depth": depth,
        "network.backbone.block.eps": small,
        "network.backbone.block.mixer.heads": heads,
        "network.backbone.block.mixer.biases": "qkvo" if bias else "o",
        "network.backbone.block.cross.heads": heads,
        "network.backbone.block.cross.biases": "qkvo" if bias else "o",
        "network.backbone.block.cross.context": reads,
        "network.backbone.block.mlp.activation": ACTIVATIONS[asked("activation_fn", str, "gelu-approximate")],
        "network.head.learned_variance": varies,
    }

    def block(i: int) -> list[Tie]:
        ours, theirs = BLOCK.format(i), f"transformer_blocks.{i}."
        return [
            shaped(ours + "modulation.0.offset", theirs + "scale_shift_table", (6 * width,), (6, width)),
            *attended(ours, theirs, bias),
            *crossed(ours, theirs, bias),
            *fed(ours, theirs),
        ]

    ties = (
        *grid.enter("pos_embed.proj"),
        *timed("adaln_single.emb.timestep_embedder"),
        *(_sizes() if told else ()),
        *(captioned("caption_projection") if features else ()),
        *linear(MAIN + "backbone.shared.out", "adaln_single.linear"),
        *layers(depth, block),
        same(MAIN + "backbone.ending.table", "scale_shift_table"),
        *grid.leave("proj_out", 1 + varies),
    )
    return Reading("PixArt", "pixart-sigma" if sigma else "pixart", changes, Table("PixArt", ties, fixed=grid.fixed()))


def captioned(theirs: str) -> list[Tie]:
    """The MLP of the caption."""
    return [*linear(TEXT + "into.0", theirs + ".linear_1"), *linear(TEXT + "into.2", theirs + ".linear_2")]


def _sizes() -> list[Tie]:
    named = ((0, "resolution_embedder"), (1, "aspect_ratio_embedder"))
    return [t for g, name in named for n, m in ((0, 1), (2, 2)) for t in linear(f"conditioning.parts.size.maps.{g}.{n}", f"adaln_single.emb.{name}.linear_{m}")]
