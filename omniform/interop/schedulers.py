"""Schedulers of the `diffusers` library as path, solver and grid of a process."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from ..core.errors import CheckpointError
from ..core.spec import Spec
from ..processes.grids import Levels, Sigmas
from ..processes.paths import Betas, Linear
from ..processes.solvers import Ancestral, Ddim, DpmPP2M, Euler
from .language import Asked

_KINDS = {"linear": "linear", "scaled_linear": "scaled", "squaredcos_cap_v2": "cosine"}
_PREDICTS = {"epsilon": "noise", "sample": "data"}


def _never(asked: Asked, *names: str) -> None:
    for name in names:
        asked.only(name, (False, None), False)


def _discrete(asked: Asked, spacings: tuple[str, ...], usual: str, solver: Spec, **grid: Any) -> dict[str, Any]:
    """What is over DDPM's levels."""
    asked.only("num_train_timesteps", (1000,), 1000)
    asked.only("trained_betas", (None,))
    _never(asked, "thresholding", "rescale_betas_zero_snr")
    asked.only("prediction_type", tuple(_PREDICTS), "epsilon")
    asked.only("beta_schedule", tuple(_KINDS), "linear")
    asked.only("timestep_spacing", spacings, usual)
    betas = {"kind": _KINDS[asked("beta_schedule", str, "linear")], "low": asked("beta_start", float, 0.0001), "high": asked("beta_end", float, 0.02)}
    offset = asked.config.get("steps_offset", 0)
    if offset not in (0, 1) or isinstance(offset, bool):
        raise CheckpointError(f"{asked.of} has steps_offset={offset!r}, and 0, 1 is what is built here; use a scheduler without it")
    spacing = asked("timestep_spacing", str, usual)
    return {
        "process.path": Spec(Betas, betas),
        "process.predict": _PREDICTS[asked("prediction_type", str, "epsilon")],
        "process.solver": solver,
        "process.grid": Spec(Levels, {"spacing": spacing, "offset": offset, **grid}),
    }


def ddpm(config: Mapping[str, Any], tokens: int) -> dict[str, Any]:
    """DDPMScheduler. A learned variance is used where the network has one, whatever variance_type says, so both must say the same (adopting checks it)."""
    asked = Asked(config, "DDPMScheduler")
    asked.only("clip_sample", (False,), True)
    asked.only("variance_type", ("fixed_small", "fixed_small_log", "learned_range"), "fixed_small")
    return _discrete(asked, ("leading", "trailing", "linspace"), "leading", Spec(Ancestral))


def ddim(config: Mapping[str, Any], tokens: int) -> dict[str, Any]:
    """DDIMScheduler with eta 0. Spaced trailing it steps by levels // steps there and from level to level here: the same where steps divide the levels."""
    asked = Asked(config, "DDIMScheduler")
    asked.only("clip_sample", (False,), True)
    return _discrete(asked, ("leading", "trailing"), "leading", Spec(Ddim), whole=asked("set_alpha_to_one", bool, True))


def dpm(config: Mapping[str, Any], tokens: int) -> dict[str, Any]:
    """DPMSolverMultistepScheduler: DPM-Solver++(2M)."""
    asked = Asked(config, "DPMSolverMultistepScheduler")
    for name, allowed, usual in (
        ("solver_order", (2,), 2),
        ("algorithm_type", ("dpmsolver++",), "dpmsolver++"),
        ("solver_type", ("midpoint",), "midpoint"),
        ("final_sigmas_type", ("zero",), "zero"),
        ("lambda_min_clipped", (-math.inf,), -math.inf),
    ):
        asked.only(name, allowed, usual)
    _never(asked, "use_karras_sigmas", "use_exponential_sigmas", "use_beta_sigmas", "use_lu_lambdas", "use_flow_sigmas", "use_dynamic_shifting")
    kind = asked("timestep_spacing", str, "linspace")
    return _discrete(asked, ("leading", "trailing", "linspace"), "linspace", Spec(DpmPP2M), open=kind != "trailing")


def euler_flow(config: Mapping[str, Any], tokens: int) -> dict[str, Any]:
    """FlowMatchEulerDiscreteScheduler. tokens: of a sample, on which the shift depends where it is dynamic; its pipelines then go down to 1 / steps."""
    asked = Asked(config, "FlowMatchEulerDiscreteScheduler")
    asked.only("num_train_timesteps", (1000,), 1000)
    _never(asked, "invert_sigmas", "use_karras_sigmas", "use_exponential_sigmas", "use_beta_sigmas", "stochastic_sampling")
    shift, terminal = asked("shift", float, 1.0), asked("shift_terminal", float, 0.0)
    least = shift * 0.001 / (1 + (shift - 1) * 0.001)
    if asked("use_dynamic_shifting", bool, False):
        low, high = asked("base_image_seq_len", int, 256), asked("max_image_seq_len", int, 4096)
        first, last = asked("base_shift", float, 0.5), asked("max_shift", float, 1.15)
        if low == high:
            raise CheckpointError(f"{asked.of} has base_image_seq_len and max_image_seq_len of {low}, which make no line; fetch its config again")
        mu = first + (tokens - low) * (last - first) / (high - low)
        asked.only("time_shift_type", ("exponential", "linear"), "exponential")
        shift, least = math.exp(mu) if asked("time_shift_type", str, "exponential") == "exponential" else mu, 0.0
    if shift <= 0 or not 0 <= terminal < 1:
        raise CheckpointError(f"{asked.of} has a shift of {shift} and shift_terminal={terminal}, which nothing has; fetch its config again")
    return {
        "process.path": Spec(Linear),
        "process.predict": "velocity",
        "process.solver": Spec(Euler),
        "process.grid": Spec(Sigmas, {"shift": shift, "least": least, "terminal": terminal}),
    }


SCHEDULERS: dict[str, Callable[[Mapping[str, Any], int], dict[str, Any]]] = {
    "DDPMScheduler": ddpm,
    "DDIMScheduler": ddim,
    "DPMSolverMultistepScheduler": dpm,
    "FlowMatchEulerDiscreteScheduler": euler_flow,
}
"""By the _class_name of a configuration."""


def scheduled(config: Mapping[str, Any], tokens: int) -> dict[str, Any]:
    """Changes of a recipe by path."""
    kind = str(config.get("_class_name"))
    if kind not in SCHEDULERS:
        raise CheckpointError(f"the scheduler is a {kind}, and {', '.join(SCHEDULERS)} are known; load the transformer's folder by itself")
    return SCHEDULERS[kind](config, tokens)
