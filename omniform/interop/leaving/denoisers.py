"""Transformers of `diffusers` that denoise latents: a target is one row of `DENOISERS`: its class and reader, how its configuration is written from a system
of ours, how it counts time, whose pipeline it stands in, and how it is called."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from omniform.codecs.autoencoder import Autoencoder
from omniform.codecs.folded import Folded
from omniform.codecs.patch import Patches
from omniform.core.errors import RecipeError
from omniform.interop import pictures, streams
from omniform.interop.leaving.comparing import OTHER, at, filled
from omniform.interop.ties import Reading
from omniform.system.system import System

HAS = "of denoising transformers, diffusers has DiT, PixArt, SD3, FLUX, LTX-Video and Wan here"
CLASSES = 1000
"""DiTPipeline calls the class of this number "nothing"."""
_LABELS = "conditioning.parts.label.table.weight"


@dataclass(frozen=True)
class Latents:
    """What a system's tokens are: squares of `patch` of channels x rows x columns numbers, of each of `frames` (0: a picture). folded: in DiT's order, as
    tokens of an autoencoder are (`codecs.folded:Folded`)."""

    channels: int
    rows: int
    columns: int
    patch: int
    frames: int = 0
    folded: bool = False

    @property
    def shape(self) -> tuple[int, ...]:
        """As a reader of latents is told them."""
        return (*([self.frames] if self.frames else []), self.channels, self.rows, self.columns)

    @property
    def numbers(self) -> dict[str, Any]:
        """For lines of Python; wide: of a token."""
        down, across = self.rows // self.patch, self.columns // self.patch
        sizes = {"channels": self.channels, "rows": self.rows, "columns": self.columns, "frames": self.frames, "down": down, "across": across}
        return {**sizes, "wide": self.channels * self.patch**2, "tokens": max(self.frames, 1) * down * across}

    def __str__(self) -> str:
        return f"latents of {f'{self.frames} frames of ' if self.frames else ''}{self.rows} x {self.columns} in patches of {self.patch}"


def latents_of(system: System) -> Latents:
    """Those of a system whose tokens are continuous and lie on a grid."""
    codec = system.codec
    if isinstance(codec, Folded | Autoencoder) and codec.space.channels:
        patch = codec.patch if isinstance(codec, Folded) else 1
        *frames, rows, columns = (a.size for a in codec.space.axes)
        return Latents(codec.space.channels // patch**2, rows * patch, columns * patch, patch, frames[0] if frames else 0, folded=not frames)
    if isinstance(codec, Patches):
        *frames, channels, rows, columns = codec.shape
        return Latents(channels, rows, columns, rows // codec.rows, frames[0] if frames else 0)
    raise RecipeError(f"{system.recipe.name} is over tokens of {type(codec).__name__}, and diffusers denoises latents or pixels on a grid; {HAS}; {OTHER}")


Plain = Any
"""A network of ours as plain data (`comparing.network_of`)."""


@dataclass(frozen=True)
class Denoiser:
    """A target.

    name: its class there. recipe: what its reader calls it. heads: where such a network has their number. over, fits: which latents it reads, in words and as a
    rule; seen: as what it reads them. read: its reader. written: a configuration. start, call: the noise, and the arguments of a call, as lines of Python with
    numbers of latents and configuration in braces; before, after: lines before the first step and behind the last. turned: its table turns the velocity by
    itself, which is noise less data there. closed: it counts one step less to its last frequency of time. waves: how many cosines and sines of the time a
    configuration asks for. pipeline: what it stands in over an AutoencoderKL; alone: which needs no encoder of texts. adds: tensors that are computed here and
    kept there. free: what is no part of a configuration, and says: how a call says it. whole: what its pipeline wants besides, of configuration and tensors.
    """

    name: str
    recipe: str
    heads: str
    over: str
    fits: Callable[[Latents], bool]
    read: Callable[[Mapping[str, Any], Latents], Reading]
    written: Callable[[System, Plain, Latents], dict[str, Any]]
    start: str
    call: str
    before: tuple[str, ...] = ()
    after: tuple[str, ...] = ()
    turned: bool = True
    seen: Callable[[Latents], Latents] = lambda x: x
    closed: bool = False
    waves: Callable[[Mapping[str, Any]], int] = lambda config: 256
    pipeline: str | None = None
    alone: bool = False
    adds: Callable[[System, Mapping[str, Any]], dict[str, Tensor]] = lambda system, config: {}
    free: tuple[str, ...] = ()
    says: Callable[[System], dict[str, Any]] = lambda system: {}
    whole: Callable[[Mapping[str, Any], Mapping[str, Tensor]], tuple[dict[str, Any], dict[str, Tensor]]] = lambda config, own: (dict(config), dict(own))


# ---- configurations --------------------------------------------------------------------------------------------------


def _heads(mine: Plain, heads: str = "backbone.block.mixer.heads") -> dict[str, Any]:
    num = at(mine, heads)
    return {"num_attention_heads": num, "attention_head_dim": mine["width"] // num, "num_layers": at(mine, "backbone.depth", 1)}


def _text(system: System) -> dict[str, Any]:
    """What the caption is, if there is one."""
    conditions = system.recipe.conditions
    return filled(conditions["text"][0]) if "text" in conditions else {}


def _activation(mine: Plain) -> str:
    said = at(mine, "backbone.block.mlp.activation")
    return next((theirs for theirs, ours in pictures.ACTIVATIONS.items() if ours == said), "gelu-approximate")


def _biased(mine: Plain) -> bool:
    return at(mine, "backbone.block.mixer.biases") == "qkvo"


def _common(mine: Plain, x: Latents, norm: str) -> dict[str, Any]:
    return {
        **_heads(mine),
        "in_channels": x.channels,
        "sample_size": x.rows,
        "patch_size": x.patch,
        "out_channels": x.channels * (2 if at(mine, "head.learned_variance", False) else 1),
        "attention_bias": _biased(mine),
        "activation_fn": _activation(mine),
        "norm_type": norm,
        "norm_elementwise_affine": False,
    }


def _as_dit(system: System, mine: Plain, x: Latents) -> dict[str, Any]:
    classes = [at(filled(spec), "classes") for spec, _ in system.recipe.conditions.values()]
    small = at(mine, "backbone.block.mlp_eps")
    return {**_common(mine, x, "ada_norm_zero"), "norm_eps": small, "num_embeds_ada_norm": next((c for c in classes if c), CLASSES)}


def _all_classes(config: Mapping[str, Any], own: Mapping[str, Tensor]) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """DiTPipeline says nothing by the number of ImageNet's classes: as many rows, those between never said."""
    classes, table = config["num_embeds_ada_norm"], own[_LABELS]
    if classes >= CLASSES:
        return dict(config), dict(own)
    table = torch.cat([table[:classes], table.new_zeros(CLASSES - classes, table.shape[1]), table[classes:]])
    return {**config, "num_embeds_ada_norm": CLASSES}, {**own, _LABELS: table}


def _as_pixart(system: System, mine: Plain, x: Latents) -> dict[str, Any]:
    text = _text(system)
    mapped = text.get("into") == "mlp"
    return {
        **_common(mine, x, "ada_norm_single"),
        "norm_eps": at(mine, "backbone.block.eps"),
        "num_embeds_ada_norm": 1000,
        "cross_attention_dim": mine["width"] if mapped else text.get("features", 1),
        "caption_channels": text.get("features") if mapped else None,
        "use_additional_conditions": "size" in system.recipe.conditions,
        "interpolation_scale": 1 / at(mine, "embed.positions.0.scale", 1.0),
    }


def _sizes(system: System) -> dict[str, Any]:
    """What PixArt is told of a picture's size and shape, where it is."""
    told = system.recipe.conditions.get("size")
    if told is None:
        return {"resolution": "None", "ratio": "None"}
    rows, columns, ratio = told[0].args["usual"]
    return {"resolution": f"torch.tensor([[{rows}, {columns}]])", "ratio": f"torch.tensor([[{ratio}]])"}


def _as_sd3(system: System, mine: Plain, x: Latents) -> dict[str, Any]:
    text, scale = _text(system), at(mine, "embed.positions.0.scale", 1.0)
    return {
        **_heads(mine),
        "in_channels": x.channels,
        "out_channels": x.channels,
        "sample_size": x.rows,
        "patch_size": x.patch,
        "joint_attention_dim": text.get("features", 1),
        "pooled_projection_dim": text.get("pooled", 1),
        "caption_projection_dim": mine["width"],
        "pos_embed_max_size": round(x.rows // x.patch / scale),
        "qk_norm": "rms_norm" if at(mine, "backbone.block.mixer.qk_norm", "none") == "rms" else None,
        "dual_attention_layers": [],
    }


def _sines(system: System, config: Mapping[str, Any]) -> dict[str, Tensor]:
    """What SD3 keeps of its positions: the sines of a whole grid, of which ours are the middle."""
    part, side = system.network.towers["main"].embed.positions[0], torch.arange(config["pos_embed_max_size"], dtype=torch.float64)
    coord = torch.cartesian_prod(side, side) - part.first
    return {"pos_embed.pos_embed": part(coord[None].to(part.frequency.device)).cpu()}


_TWO = "backbone.block.0.block.mixer.heads"
"""FLUX's blocks of two streams."""


def _packed(x: Latents) -> Latents:
    """It is given tokens, as if each were a square of 2 x 2 latents; where they are another's, they pass as they are."""
    n = x.numbers
    return x if x.patch == 2 else Latents(n["wide"] // 4, 2 * n["down"], 2 * n["across"], 2)


def _as_flux(system: System, mine: Plain, x: Latents) -> dict[str, Any]:
    text, made = _text(system), _heads(mine, _TWO)
    share = at(mine, "backbone.rotary.share", [0, 0])
    return {
        **made,
        "patch_size": 1,
        "in_channels": 4 * x.channels,
        "out_channels": None,
        "num_layers": at(mine, "backbone.block.0.depth"),
        "num_single_layers": at(mine, "backbone.block.1.depth", 1),
        "axes_dims_rope": [made["attention_head_dim"] - 2 * sum(share), *(2 * n for n in share)],
        "joint_attention_dim": text.get("features", 1),
        "pooled_projection_dim": text.get("pooled", 1) or 1,
        "guidance_embeds": "guidance" in system.recipe.conditions,
    }


def _guided(system: System) -> dict[str, Any]:
    """How strongly, where it is told."""
    told = system.recipe.conditions.get("guidance")
    return {"guided": "None" if told is None else f"torch.tensor({list(told[0].args['usual'])})"}


_SPANS = (20, 2048, 2048)
"""Frames and pixels that LTX-Video of diffusers calls a span; how many of them a place is, a call says."""


def _spans(system: System) -> dict[str, Any]:
    scale = system.network.towers["main"].backbone.rotary.scale.tolist()
    return {"spans": ", ".join(f"{n * span:.6g}" for n, span in zip(scale, _SPANS, strict=True))}


def _as_ltx(system: System, mine: Plain, x: Latents) -> dict[str, Any]:
    return {
        **_heads(mine),
        "in_channels": x.channels,
        "out_channels": x.channels,
        "patch_size": 1,
        "patch_size_t": 1,
        "cross_attention_dim": mine["width"],
        "caption_channels": _text(system).get("features", 1),
        "qk_norm": "rms_norm_across_heads",
        "norm_elementwise_affine": False,
        "norm_eps": at(mine, "backbone.block.eps"),
        "activation_fn": _activation(mine),
        "attention_bias": _biased(mine),
        "attention_out_bias": True,
    }


def _as_wan(system: System, mine: Plain, x: Latents) -> dict[str, Any]:
    return {
        **_heads(mine),
        "patch_size": [1, x.patch, x.patch],
        "in_channels": x.channels,
        "out_channels": x.channels,
        "text_dim": _text(system).get("features", 1),
        "freq_dim": at(mine, "time.features", 256),
        "ffn_dim": at(mine, "backbone.block.mlp.hidden"),
        "cross_attn_norm": bool(at(mine, "backbone.block.norm_cross", False)),
        "qk_norm": "rms_norm_across_heads",
        "eps": at(mine, "backbone.block.eps"),
        "image_dim": None,
        "added_kv_proj_dim": None,
        "rope_max_seq_len": max(1024, *x.shape),
    }


# ---- the table -------------------------------------------------------------------------------------------------------

_ONE = "backbone.block.mixer.heads"
_PICTURE = "torch.randn(1, {channels}, {rows}, {columns})"
_CAPTION = "x, timestep=t.expand(1), encoder_hidden_states=features"
_SQUARE: dict[str, Any] = {"heads": _ONE, "over": "squares", "fits": lambda x: not x.frames and x.rows == x.columns, "start": _PICTURE}
_CLIP: dict[str, Any] = {"heads": _ONE, "over": "clips", "fits": lambda x: bool(x.frames)}
_LEVELS: dict[str, Any] = {"turned": False}
_PIXART: dict[str, Any] = {
    **_SQUARE,
    **_LEVELS,
    "read": lambda config, x: pictures.pixart(config, folded=x.folded),
    "written": _as_pixart,
    "call": _CAPTION + ', added_cond_kwargs={{"resolution": {resolution}, "aspect_ratio": {ratio}}}',
    "says": _sizes,
}
DENOISERS = (
    Denoiser(
        "DiTTransformer2DModel",
        "dit",
        **_SQUARE,
        **_LEVELS,
        read=lambda config, x: pictures.dit(config, folded=x.folded),
        written=_as_dit,
        call="x, timestep=t.expand(1), class_labels=torch.tensor([0])  # {num_embeds_ada_norm} says nothing",
        closed=True,
        pipeline="DiTPipeline",
        alone=True,
        whole=_all_classes,
    ),
    Denoiser("PixArtTransformer2DModel", "pixart", **_PIXART, pipeline="PixArtAlphaPipeline"),
    Denoiser("PixArtTransformer2DModel", "pixart-sigma", **_PIXART, pipeline="PixArtSigmaPipeline"),
    Denoiser(
        "SD3Transformer2DModel",
        "sd3",
        **_SQUARE,
        read=lambda config, x: streams.sd3(config, folded=x.folded),
        written=_as_sd3,
        call=_CAPTION + ", pooled_projections=pooled",
        pipeline="StableDiffusion3Pipeline",
        adds=_sines,
    ),
    Denoiser(
        "FluxTransformer2DModel",
        "flux",
        _TWO,
        "pictures whose tokens are fours of numbers",
        lambda x: not x.frames and x.numbers["wide"] % 4 == 0,
        seen=_packed,
        read=lambda config, x: streams.flux(config, x.shape, folded=x.folded),
        written=_as_flux,
        start="torch.randn(1, {tokens}, {wide})",
        call="x, features, pooled, t.expand(1) / 1000, places, torch.zeros(features.shape[1], 3), {guided}",
        before=("places = torch.cartesian_prod(torch.zeros(1), torch.arange({down}.0), torch.arange({across}.0))",),
        after=("x = x.unflatten(1, ({down}, {across})).unflatten(3, (-1, 2, 2)).permute(0, 3, 1, 4, 2, 5).flatten(4).flatten(2, 3)",),
        pipeline="FluxPipeline",
        says=_guided,
    ),
    Denoiser(
        "LTXVideoTransformer3DModel",
        "ltx-video",
        **_CLIP,
        seen=lambda x: Latents(x.numbers["wide"], x.numbers["down"], x.numbers["across"], 1, x.frames),
        read=lambda config, x: streams.ltx_video(config, x.shape),
        written=_as_ltx,
        start="torch.randn(1, {tokens}, {wide})",
        call="x, features, t.expand(1, 1), torch.ones(1, features.shape[1]), {frames}, {down}, {across}, rope_interpolation_scale=({spans})",
        free=("network.backbone.rotary.scale",),
        says=_spans,
    ),
    Denoiser(
        "WanTransformer3DModel",
        "wan",
        **_CLIP,
        read=lambda config, x: streams.wan(config, x.shape),
        written=_as_wan,
        start="torch.randn(1, {channels}, {frames}, {rows}, {columns})",
        call="x, t.expand(1), features",
        waves=lambda config: config["freq_dim"],
    ),
)
"""Every denoising transformer that leaves, the nearest relatives of ours first."""
