"""Systems as folders of the `diffusers` library: the transformer, its scheduler, and its autoencoder where that is one of theirs.

As with transformers, what the written configuration says is read back first, and must be the very network that leaves. Two things are not in a configuration
and go into weights: the sign of a velocity (theirs is noise less data), and how the clock counts.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from omniform import recipes
from omniform.backbones.embed import TimeEmbedding
from omniform.codecs.autoencoder import Autoencoder
from omniform.codecs.folded import Folded
from omniform.codecs.patch import Patches
from omniform.core.errors import OmniformError, RecipeError
from omniform.core.spec import Spec, differences
from omniform.interop import autoencoders, pictures, schedulers, streams
from omniform.interop.comparing import Left, at, filled
from omniform.interop.ties import Reading
from omniform.processes.flow import Flow
from omniform.processes.grids import grid
from omniform.processes.paths import Betas
from omniform.system.system import System

_HAS = "of denoising transformers, diffusers has DiT, PixArt and SD3 here"
_OTHER = "write --to onnx or --to torch for one call of any network"
_FREE = ("network.init", "network.head.small", "network.embed.std", "network.time")
"""What two networks may differ in and be the same once they are trained; the clock is compared by itself."""
_CLASSES = 1000
"""DiTPipeline calls the class of this number "nothing"."""
_OFF = 1e-6
"""How far the clock's first layer may be from ours at the noise levels of the grid (ours)."""


def to_diffusers(system: System) -> Left:
    """transformer/, scheduler/, and vae/ with model_index.json where the codec is an AutoencoderKL."""
    import safetensors.torch

    process = _flow(system)
    name, config, reading = _architecture(system, process)
    varies = bool(at(filled(system.recipe.network), "head.learned_variance", False))
    scheduler = schedulers.written(process, varies)
    own = {n: x.detach().cpu() for n, x in system.state_dict().items() if n in {t.ours for t in reading.table.ties}}
    own, off = _clocked(own, system, process, closed=name == "DiTTransformer2DModel")
    if (process.predict == "velocity") != (reading.recipe == "sd3"):  # its table turns the velocity by itself
        own |= {n: -own[n] for n in (f"{pictures.MAIN}head.out.{x}" for x in ("weight", "bias"))}
    spec = system.recipe.codec
    codec, spec = (system.codec.inner, spec.args["inner"]) if isinstance(system.codec, Folded) else (system.codec, spec)
    vae = autoencoders.kl_written(codec, spec, "codec.") if isinstance(codec, Autoencoder) else None
    if vae and name == "DiTTransformer2DModel" and config["num_embeds_ada_norm"] < _CLASSES:
        classes, table = config["num_embeds_ada_norm"], own["conditioning.parts.label.table.weight"]
        own["conditioning.parts.label.table.weight"] = torch.cat([table[:classes], table.new_zeros(_CLASSES - classes, table.shape[1]), table[classes:]])
        config = {**config, "num_embeds_ada_norm": _CLASSES}
        reading = _READ[name](config, folded=True)
    packed = lambda tensors: safetensors.torch.save({n: x.clone().contiguous() for n, x in tensors.items()}, metadata={"format": "pt"})  # noqa: E731
    files = {
        "transformer/config.json": config,
        "transformer/diffusion_pytorch_model.safetensors": packed({**reading.table.theirs(own), **_places(system, config)}),
        "scheduler/scheduler_config.json": scheduler,
    }
    if vae:
        kinds = {"transformer": name, "vae": "AutoencoderKL", "scheduler": scheduler["_class_name"]}
        names = at(filled(system.recipe.conditions), "label.0.names", [])
        pipeline = "PixArtSigmaPipeline" if reading.recipe == "pixart-sigma" else _PIPELINES[name]
        index = {"_class_name": pipeline, **{part: ["diffusers", kind] for part, kind in kinds.items()}}
        files |= {
            "model_index.json": {**index, **({"id2label": dict(enumerate(names))} if names else {})},
            "vae/config.json": vae[0],
            "vae/diffusion_pytorch_model.safetensors": packed(vae[1]),
        }
    return Left(files, _opens(system, process, name, config, scheduler, vae is not None, off))


# ---- which network ---------------------------------------------------------------------------------------------------


def _flow(system: System) -> Flow:
    """The process, if it is a walk from noise to data that a scheduler can take."""
    process, recipe = system.process, system.recipe
    if not isinstance(process, Flow):
        raise RecipeError(f"{recipe.name} generates by {type(process).__name__}, not from noise to data; {_HAS}, and {_OTHER}")
    for said, why in ((process.shown, "is shown clean places"), (process.centred, "has noise without a mean"), (process.first, "does not begin at noise")):
        if said:
            raise RecipeError(f"{recipe.name} {why}, which no scheduler of diffusers does; {_OTHER}")
    return process


def _architecture(system: System, process: Flow) -> tuple[str, dict[str, Any], Reading]:
    """Its class there, a configuration, and what reading that gives: the network nearest to ours, if they are the same."""
    recipe = system.recipe
    assert recipe.network is not None
    mine = _plain(recipe.network)
    grid = _latents(system)
    if isinstance(mine.get("backbone"), dict) and mine["backbone"].get("make") == "Stack" and isinstance(at(mine, "backbone.block.mixer.heads"), int):
        found = []
        for name, made in _CONFIGS.items():
            config = {"_class_name": name, **grid, **made(system, mine)}
            if config.get("attention_head_dim", 1) == 0:
                continue
            try:
                reading = _READ[name](config, folded=not isinstance(system.codec, Patches))
                other = recipes.get(reading.recipe).but({k: v for k, v in reading.changes.items() if not k.startswith("codec.")})
            except OmniformError:  # a number of ours is not to their reader
                continue
            assert other.network is not None
            differs = {k: v for k, v in differences(mine, _plain(other.network), "network").items() if not k.startswith(_FREE)}
            differs |= differences(_told(recipe.conditions), _told(other.conditions), "conditions")
            if not differs:
                return name, config, reading
            found.append((len(differs), reading.of, differs))
        if found:
            _, of, differs = min(found, key=lambda x: x[0])
            path, (here, there) = next(iter(differs.items()))
            said = [x["make"] if isinstance(x, dict) and "make" in x else f"{x!r}"[:60] for x in (here, there)]
            raise RecipeError(f"{_HAS}; {recipe.name} comes nearest to {of}, but {path} is {said[0]} here and {said[1]} there; {_OTHER}")
    raise RecipeError(f"{recipe.name} is another network than a stack of attention and MLPs over latents; {_HAS}, and {_OTHER}")


def _plain(network: Spec) -> Any:
    """A network with every default written out, those too that are another argument's value."""
    made = filled(network)
    block = at(made, "backbone.block", {})
    block = block if isinstance(block, dict) else {}  # several that take turns are nobody's there
    if block.get("mlp_eps", 0.0) is None:
        block["mlp_eps"] = block["eps"]
    cross = block.get("cross")
    if isinstance(cross, dict) and cross.get("context", 0) is None:
        cross["context"] = made["width"]
    if "embed" in made and isinstance(made["embed"].get("positions"), list):
        made["embed"]["positions"] = dict(enumerate(made["embed"]["positions"]))
    return made


def _told(conditions: Mapping[str, Any]) -> dict[str, Any]:
    """Conditions as plain data, without what a network does not depend on."""
    free = ("names", "std", "unsaid", "length", "mask")
    return {n: {**{k: v for k, v in filled(spec).items() if k not in free}, "place": filled(place)} for n, (spec, place) in conditions.items()}


def _latents(system: System) -> dict[str, Any]:
    """Channels, side and patch of the latents, if they are square."""
    codec = system.codec
    if isinstance(codec, Folded | Autoencoder) and codec.space.channels:
        patch = codec.patch if isinstance(codec, Folded) else 1
        sides, channels = [a.size * patch for a in codec.space.axes], codec.space.channels // patch**2
    elif isinstance(codec, Patches) and len(codec.shape) == 3:
        sides, patch, channels = list(codec.shape[1:]), codec.shape[1] // codec.rows, codec.shape[0]
    else:
        raise RecipeError(f"{system.recipe.name} is over tokens of {type(codec).__name__}, and diffusers denoises pictures of latents or pixels; {_OTHER}")
    if sides[0] != sides[1]:
        raise RecipeError(f"{system.recipe.name} is over latents of {sides[0]} x {sides[1]}, and {_HAS}, which are over squares; {_OTHER}")
    return {"in_channels": channels, "sample_size": sides[0], "patch_size": patch}


def _heads(system: System, mine: Any) -> dict[str, Any]:
    heads = at(mine, "backbone.block.mixer.heads")
    return {"num_attention_heads": heads, "attention_head_dim": system.network.width // heads, "num_layers": at(mine, "backbone.depth", 1)}


def _common(system: System, mine: Any, norm: str) -> dict[str, Any]:
    channels = _latents(system)["in_channels"]
    said = at(mine, "backbone.block.mlp.activation", "gelu_tanh")
    return {
        **_heads(system, mine),
        "out_channels": channels * (2 if at(mine, "head.learned_variance", False) else 1),
        "attention_bias": at(mine, "backbone.block.mixer.biases", "qkvo") == "qkvo",
        "activation_fn": next((theirs for theirs, ours in pictures.ACTIVATIONS.items() if ours == said), "gelu-approximate"),
        "norm_type": norm,
        "norm_elementwise_affine": False,
    }


def _as_dit(system: System, mine: Any) -> dict[str, Any]:
    classes = [at(filled(spec), "classes") for spec, _ in system.recipe.conditions.values()]
    small = at(mine, "backbone.block.mlp_eps") or at(mine, "backbone.block.eps", 1e-6)
    return {**_common(system, mine, "ada_norm_zero"), "norm_eps": small, "num_embeds_ada_norm": next((c for c in classes if c), _CLASSES)}


def _as_pixart(system: System, mine: Any) -> dict[str, Any]:
    text = filled(system.recipe.conditions["text"][0]) if "text" in system.recipe.conditions else {}
    mapped = text.get("into") == "mlp"
    return {
        **_common(system, mine, "ada_norm_single"),
        "norm_eps": at(mine, "backbone.block.eps", 1e-6),
        "num_embeds_ada_norm": 1000,
        "cross_attention_dim": system.network.width if mapped else text.get("features", 1),
        "caption_channels": text.get("features") if mapped else None,
        "use_additional_conditions": "size" in system.recipe.conditions,
        "interpolation_scale": 1 / at(mine, "embed.positions.0.scale", 1.0),
    }


def _as_sd3(system: System, mine: Any) -> dict[str, Any]:
    text = filled(system.recipe.conditions["text"][0]) if "text" in system.recipe.conditions else {}
    latents = _latents(system)
    rows, scale = latents["sample_size"] // latents["patch_size"], at(mine, "embed.positions.0.scale", 1.0)
    return {
        **_heads(system, mine),
        "out_channels": latents["in_channels"],
        "joint_attention_dim": text.get("features", 1),
        "pooled_projection_dim": text.get("pooled", 1),
        "caption_projection_dim": system.network.width,
        "pos_embed_max_size": round(rows / scale),
        "qk_norm": "rms_norm" if at(mine, "backbone.block.mixer.qk_norm", "none") == "rms" else None,
        "dual_attention_layers": [],
    }


_READ: dict[str, Callable[..., Reading]] = {
    "DiTTransformer2DModel": pictures.dit,
    "PixArtTransformer2DModel": pictures.pixart,
    "SD3Transformer2DModel": streams.sd3,
}
_CONFIGS: dict[str, Callable[[System, Any], dict[str, Any]]] = {
    "DiTTransformer2DModel": _as_dit,
    "PixArtTransformer2DModel": _as_pixart,
    "SD3Transformer2DModel": _as_sd3,
}
_PIPELINES = {"DiTTransformer2DModel": "DiTPipeline", "PixArtTransformer2DModel": "PixArtAlphaPipeline", "SD3Transformer2DModel": "StableDiffusion3Pipeline"}


def _places(system: System, config: Mapping[str, Any]) -> dict[str, Tensor]:
    """What SD3 keeps of its positions: the sines of a whole grid, of which ours are the middle."""
    if "pos_embed_max_size" not in config:
        return {}
    part, side = system.network.towers["main"].embed.positions[0], torch.arange(config["pos_embed_max_size"], dtype=torch.float64)
    coord = torch.cartesian_prod(side, side) - part.first
    return {"pos_embed.pos_embed": part(coord[None].to(part.frequency.device)).cpu()}


# ---- the clock -------------------------------------------------------------------------------------------------------


def _clocked(own: Mapping[str, Tensor], system: System, process: Flow, closed: bool) -> tuple[dict[str, Tensor], float]:
    """The first layer of the clock, for the cosines and sines that theirs makes of a level's number (DDPM's) or of 1000 times the share of noise; and how far
    it is off between the noise levels of the grid.

    Ours is told a number that is first + slope times theirs. Where the frequencies are theirs as well, the cosines and sines of one are a rotation of those of
    the other. Where they are not (DiT of diffusers counts 127 steps to the last frequency where its paper's code counts 128), no map is the same for all
    times: the one is taken that is right at the times of the grid, and nearest to ours at all others.
    """
    clock = system.network.time
    if type(clock) is not TimeEmbedding or clock.net[0].in_features != 256:
        raise RecipeError(f"{system.recipe.name} is told the time by another embedding than 256 cosines and sines; {_HAS}, and {_OTHER}")
    levels = isinstance(process.path, Betas)
    if clock.levels and (not levels or clock.levels != 1000):
        raise RecipeError(f"{system.recipe.name} rounds its time to {clock.levels} noise levels, which its path does not have; {_OTHER}")
    each = clock.scale / 1000
    after = each if levels else 0.0  # level 0 is the first that has noise
    first, slope = (0.0, 1.0) if clock.levels else (after, each) if clock.flip else (clock.scale - after, -each)
    there = torch.exp(-math.log(10000.0) * torch.arange(128, dtype=torch.float64) / (128 - closed))
    here, weight = clock.frequency.double().cpu(), own["network.time.net.0.weight"].double()
    if float((here * abs(slope) / there - 1).abs().max()) < 1e-6:
        cos, sin = (first * here).cos(), (first * here).sin()
        c, s = weight.chunk(2, 1)
        turned = torch.cat([c * cos + s * sin, (s * cos - c * sin) * math.copysign(1.0, slope)], 1)
        return {**own, "network.time.net.0.weight": turned.to(torch.float32)}, 0.0
    times = torch.tensor(grid(process.grid, process.steps, shift=process.shift)[:-1], dtype=torch.float64)
    asked = ((1 - times) * 1000 - (1 if levels else 0), torch.arange(0, 1000, dtype=torch.float64))
    waves = lambda at, f: torch.cat([(at[:, None] * f).cos(), (at[:, None] * f).sin()], 1)  # noqa: E731
    wanted = [waves(first + slope * u, here) @ weight.T for u in asked]
    made = [torch.cat([waves(u, there), torch.ones(len(u), 1)], 1) for u in asked]
    heavy, start = 1e4, torch.cat([weight.T, weight.new_zeros(1, len(weight))])  # errors on the grid count as much more; and it stays near what it was
    rows = [*((k * m, k * (w - m @ start)) for k, m, w in zip((heavy, 1.0), made, wanted, strict=True)), (torch.eye(257), torch.zeros(257, len(weight)))]
    solved = start + torch.linalg.lstsq(*(torch.cat([row[i].double() for row in rows]) for i in (0, 1)), driver="gelsd").solution
    solved = solved.float().double()
    off = [float((m @ solved - w).abs().max() / w.abs().max()) for m, w in zip(made, wanted, strict=True)]
    if off[0] > _OFF:
        raise RecipeError(
            f"{system.recipe.name} counts 128 steps to its last frequency of time and DiT of diffusers 127, and no map makes them one at the {process.steps} "
            "noise levels of its grid; take about 50 (system.process.but(steps=50)), or train it with network.time.closed=true"
        )
    bias = own["network.time.net.0.bias"] + solved[-1].float()
    return {**own, "network.time.net.0.weight": solved[:-1].T.float().contiguous(), "network.time.net.0.bias": bias}, off[1]


# ---- how it is opened ------------------------------------------------------------------------------------------------


def _opens(system: System, process: Flow, name: str, config: Mapping[str, Any], scheduler: Mapping[str, Any], pipeline: bool, off: float) -> str:
    """Lines of Python that give its pictures there."""
    kind, steps, scale = scheduler["_class_name"], process.steps, system.recipe.guidance.args.get("scale", 1.0) if system.recipe.guidance else 1.0
    dit = name == "DiTTransformer2DModel"
    notes = []
    if off:
        notes.append(f"# its clock is right at the {steps} noise levels of this grid; at others its first layer is off by up to {off:.1%}")
    if pipeline and dit and kind != "FlowMatchEulerDiscreteScheduler" and scheduler.get("variance_type") != "learned_range":
        return "\n".join(
            [
                f"from diffusers import {_PIPELINES[name]}",
                *notes,
                f"pipeline = {_PIPELINES[name]}.from_pretrained(FOLDER)",
                f"pipeline(class_labels=[0], guidance_scale={scale}, num_inference_steps={steps}).images[0]",
            ]
        )
    channels, side = config["in_channels"], config["sample_size"]
    if dit:
        told = f"class_labels=torch.tensor([0])  # {config['num_embeds_ada_norm']} says nothing"
    else:
        told = "encoder_hidden_states=features" + (", pooled_projections=pooled" if name == "SD3Transformer2DModel" else "")
    said, _, remark = told.partition("  #")
    grid = f"sigmas=[1 - i / {steps} for i in range({steps})], mu={scheduler['base_shift']}" if scheduler.get("use_dynamic_shifting") else f"{steps}"
    takes = "" if scheduler.get("variance_type") == "learned_range" or not dit or config["out_channels"] == channels else f"[:, :{channels}]"
    lines = [
        "import torch",
        f"from diffusers import {name}, {kind}" + (", AutoencoderKL" if pipeline else ""),
        *notes,
        f'model = {name}.from_pretrained(FOLDER, subfolder="transformer")',
        f'scheduler = {kind}.from_pretrained(FOLDER, subfolder="scheduler")',
        f"scheduler.set_timesteps({grid})",
        f"x = torch.randn(1, {channels}, {side}, {side})",
        "for t in scheduler.timesteps:",
        f"    said = model(x, timestep=t.expand(1), {said}).sample{takes}" + (f"  #{remark}" if remark else ""),
        "    x = scheduler.step(said, t, x).prev_sample",
    ]
    if pipeline:
        lines += ['vae = AutoencoderKL.from_pretrained(FOLDER, subfolder="vae")', "picture = vae.decode(x / vae.config.scaling_factor).sample.clamp(-1, 1)"]
    else:
        lines.append(f"# x: what its codec here ({type(system.codec).__name__}) makes pictures of")
    return "\n".join(lines)
