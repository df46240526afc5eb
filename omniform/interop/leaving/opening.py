"""Lines of Python that give a system's pictures in `diffusers`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from omniform.interop.leaving.denoisers import Denoiser, Latents
from omniform.processes.flow import Flow
from omniform.system.system import System


def denoised(system: System, process: Flow, row: Denoiser, x: Latents, config: Mapping[str, Any], scheduler: Mapping[str, Any], coded: bool, off: float) -> str:
    """The transformer, step by step, or its pipeline where that walks in the same way by itself. coded: whether its autoencoder is there. off: by how much its
    clock is, between the noise levels of the grid."""
    kind, steps = scheduler["_class_name"], process.steps
    notes = [f"# its clock is right at the {steps} noise levels of this grid; at others its first layer is off by up to {off:.1%}"] if off else []
    ranged = scheduler.get("variance_type") == "learned_range"
    if coded and row.alone and not kind.startswith("FlowMatch") and not ranged:
        scale = system.recipe.guidance.args.get("scale", 1.0) if system.recipe.guidance else 1.0
        return "\n".join(
            [
                f"from diffusers import {row.pipeline}",
                *notes,
                f"pipeline = {row.pipeline}.from_pretrained(FOLDER)",
                f"picture = pipeline(class_labels=[0], guidance_scale={scale}, num_inference_steps={steps}).images[0]",
            ]
        )
    seen = row.seen(x)
    numbers = {**config, **seen.numbers, **row.says(system)}
    written = lambda lines: [line.format(**numbers) for line in lines]  # noqa: E731
    call, _, remark = row.call.format(**numbers).partition("  # ")
    whole = ranged or config["out_channels"] in (None, config["in_channels"])
    grid = f"sigmas=[1 - i / {steps} for i in range({steps})], mu={scheduler['base_shift']}" if scheduler.get("use_dynamic_shifting") else f"{steps}"
    lines = [
        "import torch",
        f"from diffusers import {row.name}, {kind}" + (", AutoencoderKL" if coded else ""),
        *notes,
        f'model = {row.name}.from_pretrained(FOLDER, subfolder="transformer")',
        f'scheduler = {kind}.from_pretrained(FOLDER, subfolder="scheduler")',
        f"scheduler.set_timesteps({grid})",
        *written((*row.before, "x = " + row.start)),
        "for t in scheduler.timesteps:",
        f"    said = model({call}).sample{'' if whole else f'[:, :{seen.channels}]'}" + (f"  # {remark}" if remark else ""),
        "    x = scheduler.step(said, t, x).prev_sample",
        *(written(row.after) if seen == x else []),
    ]
    return "\n".join([*lines, *_pictured(system, coded)])


def _pictured(system: System, coded: bool) -> Sequence[str]:
    if coded:
        return ['vae = AutoencoderKL.from_pretrained(FOLDER, subfolder="vae")', "picture = vae.decode(x / vae.config.scaling_factor).sample.clamp(-1, 1)"]
    return [f"# x: what its codec here ({type(system.codec).__name__}) makes pictures of"]
