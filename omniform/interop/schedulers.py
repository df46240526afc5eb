"""Schedulers of the `diffusers` library as path, solver and grid of a process, and back."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import torch

from ..core.errors import CheckpointError, RecipeError
from ..core.spec import Spec
from ..processes.flow import Flow
from ..processes.grids import Levels, Sigmas, grid
from ..processes.paths import Betas, Linear
from ..processes.solvers import Ancestral, Ddim, DpmPP2M, Euler, UniPC
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
    """DDPMScheduler. A learned variance is used where the network has one, whatever variance_type says, so both must say the same."""
    asked = Asked(config, "DDPMScheduler")
    asked.only("clip_sample", (False,), True)
    learned = asked.only("variance_type", ("fixed_small", "fixed_small_log", "learned_range"), "fixed_small") == "learned_range"
    return {**_discrete(asked, ("leading", "trailing", "linspace"), "leading", Spec(Ancestral)), "network.head.learned_variance": learned}


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
        if abs(mu) > 100:
            raise CheckpointError(f"{asked.of} of {tokens} tokens has a shift of exp({mu:.0f}) by its base_shift and max_shift; fetch its config again")
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


_ALMOST = 1 - float(torch.tensor(1 - 1e-6))
"""Where UniPC begins in place of 0: its code takes a millionth off the first share of noise, in single precision."""


def unipc(config: Mapping[str, Any], tokens: int) -> dict[str, Any]:
    """UniPCMultistepScheduler over a straight path, as Wan's pipeline has it; networks are told whole numbers of 1000."""
    asked = Asked(config, "UniPCMultistepScheduler")
    for name, allowed, usual in (
        ("num_train_timesteps", (1000,), 1000),
        ("solver_order", (2,), 2),
        ("prediction_type", ("flow_prediction",), "epsilon"),
        ("use_flow_sigmas", (True,), False),
        ("predict_x0", (True,), True),
        ("solver_type", ("bh2", "midpoint", "heun", "logrho"), "bh2"),  # its code makes bh2 of DPM-Solver's
        ("lower_order_final", (True,), True),
        ("disable_corrector", ([], ()), []),
        ("solver_p", (None,), None),
        ("final_sigmas_type", ("zero",), "zero"),
    ):
        asked.only(name, allowed, usual)
    _never(asked, "thresholding", "use_karras_sigmas", "use_exponential_sigmas", "use_beta_sigmas", "use_dynamic_shifting", "rescale_betas_zero_snr")
    shift, terminal = asked("flow_shift", float, 1.0), asked("shift_terminal", float, 0.0)
    if shift <= 0 or not 0 <= terminal < 1:
        raise CheckpointError(f"{asked.of} has a flow_shift of {shift} and shift_terminal={terminal}, which nothing has; fetch its config again")
    return {
        "process.path": Spec(Linear),
        "process.predict": "velocity",
        "process.solver": Spec(UniPC),
        "process.grid": Spec(Sigmas, {"shift": shift, "least": 0.001, "terminal": terminal, "open": True, "first": _ALMOST, "whole": 1000}),
    }


SCHEDULERS: dict[str, Callable[[Mapping[str, Any], int], dict[str, Any]]] = {
    "DDPMScheduler": ddpm,
    "DDIMScheduler": ddim,
    "DPMSolverMultistepScheduler": dpm,
    "FlowMatchEulerDiscreteScheduler": euler_flow,
    "UniPCMultistepScheduler": unipc,
}
"""By the _class_name of a configuration."""


def scheduled(config: Mapping[str, Any], tokens: int) -> dict[str, Any]:
    """Changes of a recipe by path."""
    kind = str(config.get("_class_name"))
    if kind not in SCHEDULERS:
        raise CheckpointError(f"the scheduler is a {kind}, and {', '.join(SCHEDULERS)} are known; load the transformer's folder by itself")
    return SCHEDULERS[kind](config, tokens)


# ---- the way back ----------------------------------------------------------------------------------------------------


def written(flow: Flow, varies: bool) -> dict[str, Any]:
    """The configuration of the scheduler that walks as a process does, read back and compared time by time; RecipeError where there is none. varies: a variance
    is spoken of."""
    path, steps = flow.path, flow.steps
    made = _of_levels(flow, path, varies) if isinstance(path, Betas) else _of_flow(flow) if isinstance(path, Linear) else None
    if made is None:
        raise RecipeError(
            "diffusers has DDPM, DDIM and DPM-Solver++ over noise levels, Euler and UniPC over a straight path, and this walks a "
            f"{type(path).__name__} path by {type(flow.solver).__name__}, predicting {flow.predict}; give it others"
        )
    changes = scheduled(made, 1)
    here, there = (grid(kind, steps, shift=flow.shift, first=flow.first) for kind in (flow.grid, changes["process.grid"].build()))
    if max(abs(a - b) for a, b in zip(here, there, strict=True)) > 1e-9:
        raise RecipeError(
            f"no scheduler of diffusers visits the times of {steps} steps of the grid {flow.grid!r}; over noise levels take a number of steps that divides 1000"
        )
    return made


def _of_levels(flow: Flow, path: Betas, varies: bool) -> dict[str, Any] | None:
    kind, spec = type(flow.solver), flow.grid if isinstance(flow.grid, Levels) else Levels("trailing", path.levels)
    predicts = next((theirs for theirs, ours in _PREDICTS.items() if ours == flow.predict), None)
    names = {Ancestral: "DDPMScheduler", Ddim: "DDIMScheduler", DpmPP2M: "DPMSolverMultistepScheduler"}
    if kind not in names or predicts is None or path.levels != 1000 or flow.temperature != 1:
        return None
    made = {
        "_class_name": names[kind],
        "num_train_timesteps": 1000,
        "beta_schedule": next(theirs for theirs, ours in _KINDS.items() if ours == path.kind),
        "beta_start": path.low,
        "beta_end": path.high,
        "prediction_type": predicts,
        "timestep_spacing": spec.spacing,
        "steps_offset": spec.offset,
    }
    if kind is DpmPP2M:
        return {**made, "algorithm_type": "dpmsolver++", "solver_order": 2, "solver_type": "midpoint", "final_sigmas_type": "zero"}
    if kind is Ddim:
        return {**made, "clip_sample": False, "set_alpha_to_one": spec.whole}
    return {**made, "clip_sample": False, "variance_type": "learned_range" if varies else "fixed_small"} if flow.solver.churn == 1 else None


def _of_flow(flow: Flow) -> dict[str, Any] | None:
    if type(flow.solver) is UniPC and flow.predict == "velocity" and isinstance(flow.grid, Sigmas) and flow.grid.whole == 1000:
        made = {"_class_name": "UniPCMultistepScheduler", "num_train_timesteps": 1000, "use_flow_sigmas": True, "prediction_type": "flow_prediction"}
        return {**made, "solver_order": 2, "solver_type": "bh2", "flow_shift": flow.grid.shift, "shift_terminal": flow.grid.terminal or None}
    if type(flow.solver) is not Euler or flow.predict != "velocity":
        return None
    even = Sigmas(flow.shift if flow.grid == "shifted" else 1.0)
    spec = flow.grid if isinstance(flow.grid, Sigmas) else even
    if spec != Sigmas(spec.shift, spec.least, spec.terminal):
        return None
    made = {"_class_name": "FlowMatchEulerDiscreteScheduler", "num_train_timesteps": 1000, "shift": spec.shift}
    if spec.least:
        return {**made, "shift_terminal": spec.terminal or None}
    if spec.shift == 1 and not spec.terminal:  # what ends at 1 / steps ends there when it is stretched to it
        return {**made, "shift_terminal": 1 / flow.steps if flow.steps > 1 else None}
    mu = math.log(spec.shift)
    return {**made, "shift": 1.0, "use_dynamic_shifting": True, "base_shift": mu, "max_shift": mu, "shift_terminal": spec.terminal or None}
