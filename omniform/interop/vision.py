"""Picture encoders of the `transformers` library: ViT, DINOv2 with and without registers, and the picture half of CLIP."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from ..backbones.attention import Attention
from ..backbones.blocks import PreNorm
from ..backbones.mlp import Mlp
from ..backbones.norms import LayerScale
from ..backbones.stack import Stack
from ..backbones.vision import Pool, VisionTransformer
from ..core.errors import CheckpointError, OmniformError
from ..core.spec import Spec
from ..system.counting import Unstarted
from ..system.sight import PictureEncoder, Preparation
from .files import Weights, digest_of, json_of
from .language import DEEPEST, Asked
from .ties import Table, Tie, fused, layers, linear, same, shaped

ACTIVATIONS = {"gelu": "gelu", "gelu_new": "gelu_tanh", "gelu_pytorch_tanh": "gelu_tanh", "quick_gelu": "gelu_sigmoid", "relu": "relu", "silu": "silu"}
LARGEST = 1 << 12
"""Pixels along an edge that a configuration is believed to ask for (ours)."""
HALF, CLIP, IMAGENET = (
    ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
    ((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)),
    ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
)
"""Mean and deviation of the pictures that ViT, CLIP and DINOv2 were trained on: their processors' defaults."""


@dataclass(frozen=True)
class Seeing:
    """What somebody's configuration becomes here: an encoder, its table of weights, and what its pictures go through where no file says."""

    net: Spec
    table: Table
    prepare: Preparation


def _square(asked: Asked, name: str, usual: int) -> int:
    value = asked.config.get(name, usual)
    value = value[0] if isinstance(value, list | tuple) and value and len(set(map(str, value))) == 1 else value
    return Asked({name: value}, asked.of)(name, int, most=LARGEST)


def body(asked: Asked, hidden: int, qkv: bool, eps: float, *, final: bool, scale: bool = False, gated: bool = False, activation: str = "gelu") -> Spec:
    """The stack that all of them are."""
    width, heads = asked("hidden_size", int, 768), asked("num_attention_heads", int, 12)
    for name in ("attention_probs_dropout_prob", "hidden_dropout_prob", "attention_dropout", "dropout", "drop_path_rate"):
        asked(name, float, 0.0)  # of training only
    act = ACTIVATIONS[asked.only("hidden_act", tuple(ACTIVATIONS), activation)]
    if width % heads:
        raise CheckpointError(f"{asked.of} has {heads} heads of {width} numbers, which do not come out even; fetch its config again")
    mixer = Spec(Attention, {"heads": heads, "biases": "qkvo" if qkv else "o"})
    mlp = Spec(Mlp, {"hidden": hidden, "activation": "swiglu" if gated else act})
    mixer, mlp = (Spec(LayerScale, {"inner": part}) if scale else part for part in (mixer, mlp))
    depth = asked("num_hidden_layers", int, 12, most=DEEPEST)
    return Spec(Stack, {"depth": depth, "eps": eps, "final": "layer" if final else None, "block": Spec(PreNorm, {"mixer": mixer, "mlp": mlp, "eps": eps})})


def _net(asked: Asked, stack: Spec, *, side: int, patch: int, **more: Any) -> Spec:
    side, patch = _square(asked, "image_size", side), _square(asked, "patch_size", patch)
    if side % patch:
        raise CheckpointError(f"{asked.of} has pictures of {side} in patches of {patch}, which do not come out even; fetch its config again")
    width = asked("hidden_size", int, 768)
    return Spec(VisionTransformer, {"width": width, "patch": patch, "side": side, "body": stack, "channels": asked("num_channels", int, 3), **more})


def blocks(net: Spec, names: Mapping[str, str], qkv: bool, scale: bool = False) -> list[Tie]:
    """names: of theirs by part; "block" holds {}."""

    def block(i: int) -> list[Tie]:
        ours, theirs = f"body.blocks.{i}.", names["block"].format(i)
        inner = "inner." if scale else ""
        return [
            *linear(ours + "norm_mixer", theirs + names["norm1"]),
            *linear(ours + "norm_mlp", theirs + names["norm2"]),
            *fused(f"{ours}mixer.{inner}qkv.each.0", [theirs + names["attention"] + x for x in ("q_proj", "k_proj", "v_proj")], qkv),
            *linear(f"{ours}mixer.{inner}out.each.0", theirs + names["attention"] + names["out"]),
            *linear(f"{ours}mlp.{inner}feed.each.0.up", theirs + names["up"]),
            *linear(f"{ours}mlp.{inner}feed.each.0.down", theirs + names["down"]),
            *([same(f"{ours}{part}.scale", f"{theirs}layer_scale{n}.lambda1") for part, n in (("mixer", 1), ("mlp", 2))] if scale else []),
        ]

    return layers(net.args["body"].args["depth"], block)


def _front(net: Spec) -> list[Tie]:
    """Patches, class token, registers and places, as ViT and DINOv2 name them."""
    width, num = net.args["width"], 1 + (net.args["side"] // net.args["patch"]) ** 2
    registers = net.args.get("registers", 0)
    return [
        *linear("enter", "embeddings.patch_embeddings.projection"),
        shaped("first", "embeddings.cls_token", (width,), (1, 1, width)),
        shaped("places", "embeddings.position_embeddings", (num, width), (1, num, width)),
        *([shaped("registers", "embeddings.register_tokens", (registers, width), (1, registers, width))] if registers else []),
        *linear("body.final", "layernorm"),
    ]


CLIP_BLOCK = {"block": "encoder.layers.{}.", "norm1": "layer_norm1", "norm2": "layer_norm2", "attention": "self_attn.", "out": "out_proj"}
CLIP_BLOCK |= {"up": "mlp.fc1", "down": "mlp.fc2"}
_MASK = (r"embeddings\.mask_token", "a mask, of pretraining only")


def vit(config: Mapping[str, Any], shapes: Mapping[str, Any]) -> Seeing:
    """ViTModel, or what a classifier is built on. Whether there is a pooler, only the file says."""
    asked = Asked(config, "ViT")
    qkv, eps = asked("qkv_bias", bool, True), asked("layer_norm_eps", float, 1e-12)
    pool: dict[str, Any] = {}
    if "pooler.dense.weight" in shapes:
        asked.only("pooler_act", ("tanh",), "tanh")
        pool = {"out": asked("pooler_output_size", int, asked("hidden_size", int, 768)), "tanh": True}
    net = _net(asked, body(asked, asked("intermediate_size", int, 3072), qkv, eps, final=True), side=224, patch=16, pool=Spec(Pool, pool))
    names = {"block": "layers.{}.", "norm1": "layernorm_before", "norm2": "layernorm_after", "attention": "attention.", "out": "o_proj"}
    names |= {"up": "mlp.fc1", "down": "mlp.fc2"}
    ties = (*_front(net), *blocks(net, names, qkv), *(linear("pool.out", "pooler.dense") if pool else ()))
    side = net.args["side"]
    table = Table("ViT", ties, (_MASK, (r"classifier\..*", "of classes")))
    return Seeing(net, table, Preparation((side, side), None, *HALF, "bilinear"))


def dinov2(config: Mapping[str, Any], shapes: Mapping[str, Any]) -> Seeing:
    """Dinov2Model and Dinov2WithRegistersModel."""
    asked = Asked(config, "DINOv2")
    qkv, eps = asked("qkv_bias", bool, True), asked("layer_norm_eps", float, 1e-6)
    gated = asked("use_swiglu_ffn", bool, False)
    ratio = asked("mlp_ratio", float, 4.0)
    if ratio > 100:
        raise CheckpointError(f"DINOv2: its configuration says mlp_ratio is {ratio:g}, which nothing has; fetch it again")
    hidden = int(asked("hidden_size", int, 768) * ratio)
    hidden = (int(hidden * 2 / 3) + 7) // 8 * 8 if gated else hidden
    registers = asked("num_register_tokens", int, 4) if config.get("model_type") == "dinov2_with_registers" else 0
    net = _net(asked, body(asked, hidden, qkv, eps, final=True, scale=True, gated=gated), side=224, patch=14, pool=Spec(Pool), registers=registers)
    names = {"block": "encoder.layer.{}.", "norm1": "norm1", "norm2": "norm2", "attention": "attention.", "out": "o_proj"}
    names |= {"up": "mlp.weights_in", "down": "mlp.weights_out"} if gated else {"up": "mlp.fc1", "down": "mlp.fc2"}
    table = Table("DINOv2", (*_front(net), *blocks(net, names, qkv, True)), (_MASK, (r"classifier\..*", "of classes")))
    return Seeing(net, table, Preparation(256, (224, 224), *IMAGENET))


def clip(config: Mapping[str, Any], shapes: Mapping[str, Any]) -> Seeing:
    """CLIPVisionModel, with a projection where the file has one; of a whole CLIPModel its picture half."""
    wide = config.get("projection_dim")
    inner = config.get("vision_config")
    config = {**inner, "projection_dim": wide} if isinstance(inner, Mapping) else config
    asked = Asked(config, "CLIP (pictures)")
    eps = asked("layer_norm_eps", float, 1e-5)
    out = asked("projection_dim", int, 512) if "visual_projection.weight" in shapes else None
    pool = Spec(Pool, {"norm": eps, "out": out})
    stack = body(asked, asked("intermediate_size", int, 3072), True, eps, final=False, activation="quick_gelu")
    net = _net(asked, stack, side=224, patch=32, pool=pool, before=eps)
    ties = (
        same("enter.weight", "embeddings.patch_embedding.weight"),
        same("first", "embeddings.class_embedding"),
        same("places", "embeddings.position_embedding.weight"),
        *linear("before", "pre_layrnorm"),
        *linear("pool.norm", "post_layernorm"),
        *([same("pool.out.weight", "visual_projection.weight")] if out else []),
        *blocks(net, CLIP_BLOCK, True),
    )
    computed = (r".*position_ids", "numbers of places, which are computed")
    other = (r"text_model\..*|text_projection\.weight|logit_scale", "the other half")
    side = net.args["side"]
    return Seeing(net, Table("CLIP (pictures)", ties, (computed, other)), Preparation(side, (side, side), *CLIP))


ENCODERS: Mapping[str, Callable[[Mapping[str, Any], Mapping[str, Any]], Seeing]] = {
    "vit": vit,
    "dinov2": dinov2,
    "dinov2_with_registers": dinov2,
    "clip": clip,
    "clip_vision_model": clip,
}
"""By the model_type of a configuration."""
_TODAY = (
    (r"^(vit|dinov2|dinov2_with_registers|vision_model)\.", ""),
    (r"\.attention\.attention\.query\.", ".attention.q_proj."),
    (r"\.attention\.attention\.key\.", ".attention.k_proj."),
    (r"\.attention\.attention\.value\.", ".attention.v_proj."),
    (r"\.attention\.output\.dense\.", ".attention.o_proj."),
    (r"^encoder\.layer\.(\d+)\.intermediate\.dense\.", r"layers.\1.mlp.fc1."),
    (r"^encoder\.layer\.(\d+)\.output\.dense\.", r"layers.\1.mlp.fc2."),
    (r"\.mlp\.down_proj\.", ".mlp.weights_out."),
)
"""Names of files from before 2026, and what the tables above call the same."""


def today(weights: Weights, kind: str) -> Weights:
    """The same under the names of the tables; a gate and a value that are two tensors are seen as one."""
    names: dict[str, list[str]] = {}
    for name in sorted(weights.shapes):  # a gate before its value
        now = name
        for old, new in (*_TODAY, *([(r"^encoder\.layer\.", "layers.")] if kind == "vit" else [])):
            now = re.sub(old, new, now)
        halves = re.sub(r"\.mlp\.(gate|up)_proj\.", ".mlp.weights_in.", now)
        names.setdefault(halves, []).append(name)
        if len(names[halves]) > 1 + (halves != now):
            raise CheckpointError(f"{weights.where} holds {name!r} and {names[halves][0]!r}, which are the same; fetch it again")
    rows = lambda each: sum(weights.shapes[n][0] for n in each)  # noqa: E731
    shape = lambda each: (rows(each), *weights.shapes[each[0]][1:]) if len(each) > 1 else tuple(weights.shapes[each[0]])  # noqa: E731
    read = lambda now: torch.cat([weights.read(n) for n in names[now]]) if len(names[now]) > 1 else weights.read(names[now][0])  # noqa: E731
    return Weights(weights.where, {now: shape(each) for now, each in names.items()}, read)


def encoder(config: Mapping[str, Any], weights: Weights, prepare: Preparation | None, name: str) -> PictureEncoder:
    """The encoder of a configuration: compared with the file by names and shapes before anything is allocated. prepare: None: its kind's usual."""
    kind = str(config.get("model_type"))
    weights = today(weights, kind)
    seeing = ENCODERS[kind](config, weights.shapes)
    try:
        with torch.device("meta"), Unstarted():
            own = {n: tuple(x.shape) for n, x in seeing.net.build().state_dict().items()}
        seeing.table.check(own, weights.shapes)
        net = seeing.net.build()
        made = {n: x.to(torch.float32) for n, x in seeing.table.ours(own, weights.read).items()}
        net.load_state_dict(made)
    except OmniformError as error:
        raise error if isinstance(error, CheckpointError) else CheckpointError(f"{weights.where} cannot be built here: {error}") from error
    except (RuntimeError, TypeError) as error:
        raise CheckpointError(f"{weights.where} cannot be read: {str(error).splitlines()[0]}") from error
    if prepare is not None and len(prepare.mean) != net.channels:
        raise CheckpointError(f"{weights.where} reads pictures of {net.channels} channels, and its preprocessor_config.json norms {len(prepare.mean)}")
    return PictureEncoder(net, prepare or seeing.prepare, name, digest_of(made))


_FILTERS = {2: "bilinear", 3: "bicubic"}


def preparation(folder: Path) -> Preparation:
    """What preprocessor_config.json says."""
    config = json_of(folder / "preprocessor_config.json")
    asked = Asked(config, f"{folder.name}/preprocessor_config.json")

    def edges(name: str, usual: Any) -> tuple[int, int] | int:
        said = config.get(name, usual)
        if isinstance(said, Mapping) and set(said) == {"shortest_edge"}:
            return Asked(said, asked.of)("shortest_edge", int, most=LARGEST)
        if isinstance(said, Mapping) and set(said) == {"height", "width"}:
            return tuple(Asked(said, asked.of)(n, int, most=LARGEST) for n in ("height", "width"))  # type: ignore[return-value]
        side = Asked({name: said}, asked.of)(name, int, most=LARGEST)
        return side if name == "size" and config.get("do_center_crop") else (side, side)

    asked.only("do_rescale", (True,), True)
    asked.only("rescale_factor", (1 / 255, 0.00392156862745098), 1 / 255)
    filter_ = _FILTERS[asked.only("resample", tuple(_FILTERS), 2)]
    size = edges("size", 224) if asked("do_resize", bool, True) else None
    crop = edges("crop_size", 224) if asked("do_center_crop", bool, False) else None
    mean, std = (config.get(n, [x] * 3) for n, x in (("image_mean", 0.5), ("image_std", 0.5)))
    if not asked("do_normalize", bool, True):
        mean, std = [0.0] * 3, [1.0] * 3
    for name, row in (("image_mean", mean), ("image_std", std)):
        if not isinstance(row, list) or not row or not all(isinstance(x, float | int) and abs(x) < 1e3 and (x > 0 or name == "image_mean") for x in row):
            raise CheckpointError(f"{asked.of}: {name} is {row!r}, and a number a channel is expected; fetch it again")
    if len(mean) != len(std) or isinstance(crop, int):
        raise CheckpointError(f"{asked.of}: image_mean and image_std of as many channels and a crop_size of two edges are expected; fetch it again")
    return Preparation(size, crop, tuple(map(float, mean)), tuple(map(float, std)), filter_)  # type: ignore[arg-type]
