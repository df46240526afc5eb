"""Systems that show hidden codes, as folders of `diffusers`: UVit2DModel, AmusedScheduler, and the whole AmusedPipeline where the codec is its VQModel."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from omniform.core.distribution import Sampling
from omniform.core.errors import RecipeError
from omniform.interop import masked
from omniform.interop.leaving.coders import coded
from omniform.interop.leaving.comparing import OTHER, Left, at, filled, fitted, nearest_of, network_of
from omniform.interop.leaving.writing import model, pipeline
from omniform.processes.masked import Masked
from omniform.system.system import System

HAS = "of masked transformers, diffusers has aMUSEd (UVit2DModel) here"
_TABLE, _MASK = "network.towers.main.embed.tables.0.weight", "network.towers.main.embed.mask"
_HIDDEN = ("network.embed.mask_id", "network.embed.extra_ids", "network.embed.hidden")
"""Which row of the table is the mask, a scheduler says; a mask vector that is no row of it becomes one."""


def unmasked(system: System) -> Left:
    """transformer/ and scheduler/, and vqvae/ with model_index.json where codes are of a VQModel whose pictures are from 0 to 1 inside."""
    recipe, process, mine = system.recipe, system.process, network_of(system.recipe, 2)
    assert isinstance(process, Masked)
    heads = at(mine, "backbone.inner.block.mixer.heads")
    if not isinstance(heads, int) or {"text", "numbers"} - set(recipe.conditions):
        raise RecipeError(f"{recipe.name} is another network than a U-ViT that is told a text and five numbers; {HAS}; {OTHER}")
    scheduler, temperature = _scheduled(system, process)
    config = {"_class_name": "UVit2DModel", **_as_amused(system, mine)}
    fit = nearest_of(recipe, HAS, [fitted("aMUSEd", recipe, 2, config, masked.amused, _HIDDEN)])
    assert fit.reading is not None
    own, ties = system.state_dict(), {tie.ours for tie in fit.reading.table.ties}
    tensors = {n: own[n].detach().cpu() for n in ties}
    if _MASK in own:
        tensors[_TABLE] = torch.cat([tensors[_TABLE], own[_MASK].detach().cpu()[None]])
    vq = coded(system.codec, recipe.codec, changes={"network.unit": True})
    channels = vq.config.get("latent_channels")
    whole = not vq.why and channels == vq.config["vq_embed_dim"]  # its pipeline lays out codes of as many channels as latents have
    files = model("transformer", config, fit.reading.table.theirs(tensors)) | {"scheduler/scheduler_config.json": scheduler}
    if whole:
        files |= model("vqvae", vq.config, vq.weights)
        files |= pipeline("AmusedPipeline", {"transformer": config, "vqvae": vq.config, "scheduler": scheduler}, system)
    return Left(files, "\n".join(_opens(system, process, config, scheduler, temperature, channels if whole else None)))


def _scheduled(system: System, process: Masked) -> tuple[dict[str, Any], float]:
    """Its configuration, and how much noise there is at the first question; none at the last."""
    mask, how = system.network.towers["main"].embed.mask_id, process.sampling
    plain = process.choose == "confidence" and process.temperature is None and process.run is None and process.schedule in ("cosine", "linear")
    if not plain or how != Sampling():
        raise RecipeError(f"{system.recipe.name} shows its codes otherwise than the surest first, by a cosine or a line; AmusedScheduler cannot; {OTHER}")
    vocab = system.codec.space.vocab[0]
    noise = process.noise if process.whole else process.noise * (1 - 1 / process.steps)  # MaskGIT's is a step further at each
    return {"_class_name": "AmusedScheduler", "mask_token_id": vocab if mask is None else mask, "masking_schedule": process.schedule}, noise


def _as_amused(system: System, mine: Any) -> dict[str, Any]:
    space, conditions = system.codec.space, system.recipe.conditions
    text, numbers = (filled(conditions[name][0]) for name in ("text", "numbers"))
    codes, inner, squares = space.vocab[0], at(mine, "backbone.inner"), at(mine, "backbone.factor", 1) > 1
    return {
        "hidden_size": at(mine, "backbone.wide"),
        "use_bias": False,
        "hidden_dropout": 0.0,
        "cond_embed_dim": text["pooled"],
        "micro_cond_encode_dim": numbers["features"],
        "micro_cond_embed_dim": 5 * numbers["features"],
        "encoder_hidden_size": text["features"],
        "vocab_size": codes + max(at(mine, "embed.extra_ids", 0), 1),
        "codebook_size": codes,
        "in_channels": mine["width"],
        "block_out_channels": at(mine, "backbone.channels") or mine["width"],
        "num_res_blocks": at(mine, "backbone.depth"),
        "downsample": squares,
        "upsample": squares,
        "block_num_heads": at(mine, "backbone.heads"),
        "num_hidden_layers": at(inner, "depth"),
        "num_attention_heads": at(inner, "block.mixer.heads"),
        "attention_dropout": 0.0,
        "intermediate_size": at(inner, "block.mlp.hidden"),
        "layer_norm_eps": at(mine, "backbone.eps"),
        "ln_elementwise_affine": True,
        "sample_size": space.axes[0].size,
    }


def _opens(system: System, process: Masked, config: Mapping[str, Any], scheduler: Mapping[str, Any], temperature: float, channels: int | None) -> list[str]:
    """Step by step, told features, a pooled vector and numbers. channels: of a code, where its VQModel is there."""
    side, said = config["sample_size"], filled(system.recipe.conditions["numbers"][0])["usual"]
    lines = [
        "import torch",
        "from diffusers import UVit2DModel, AmusedScheduler" + (", VQModel" if channels else ""),
        'model = UVit2DModel.from_pretrained(FOLDER, subfolder="transformer")',
        'scheduler = AmusedScheduler.from_pretrained(FOLDER, subfolder="scheduler")',
        f"scheduler.set_timesteps({process.steps}, temperature=({temperature:.6g}, 0))",
        f"numbers = torch.tensor([{list(said)}])",
        f"x = torch.full((1, {side}, {side}), {scheduler['mask_token_id']})",
        "for t in scheduler.timesteps:",
        "    said = model(x, features, pooled, numbers)",
        "    x = scheduler.step(said, t, x).prev_sample",
    ]
    if channels is None:
        return [*lines, f"# x: what its codec here ({type(system.codec).__name__}) makes pictures of"]
    return [
        *lines,
        'codec = VQModel.from_pretrained(FOLDER, subfolder="vqvae")',
        f"picture = codec.decode(x, force_not_quantize=True, shape=(1, {side}, {side}, {channels})).sample.clip(0, 1)",
    ]
