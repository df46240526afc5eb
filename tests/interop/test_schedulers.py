"""Schedulers of diffusers walk as our solvers do, step by step, from the same noise with the same (analytic) network."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from diffusers import DDIMScheduler, DDPMScheduler, DPMSolverMultistepScheduler, FlowMatchEulerDiscreteScheduler, UniPCMultistepScheduler

from omniform.core.errors import BadArgument, CheckpointError
from omniform.interop.schedulers import scheduled
from omniform.processes.grids import Levels, Sigmas, clock, grid
from omniform.processes.paths import Prediction


def network(z, time):
    """Anything smooth that depends on both."""
    return torch.sin(1.3 * z + 0.2) * (0.5 + 0.4 * np.cos(time / 150)) + 0.1 * z


class Same:
    """A generator that hands out given noise."""

    def __init__(self, noise):
        self.noise = noise

    def normal(self, shape):
        return self.noise


DATA = {"prediction_type": "sample"}  # of noise, cosine levels divide by a = 5e-5, and theirs are summed up in single precision
SCALED = {"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012}
FLOW = {"use_flow_sigmas": True, "prediction_type": "flow_prediction"}
CASES = {
    "ddim": (DDIMScheduler, {"clip_sample": False}, 10),
    "ddim offset, ends at level 0": (DDIMScheduler, {"clip_sample": False, **SCALED, "steps_offset": 1, "set_alpha_to_one": False}, 7),
    "ddim trailing, of data": (DDIMScheduler, {"clip_sample": False, "timestep_spacing": "trailing", "prediction_type": "sample"}, 8),
    "ddpm": (DDPMScheduler, {"clip_sample": False}, 9),
    "ddpm trailing, cosine": (DDPMScheduler, {"clip_sample": False, "timestep_spacing": "trailing", "beta_schedule": "squaredcos_cap_v2", **DATA}, 6),
    "ddpm linspace, learned": (DDPMScheduler, {"clip_sample": False, "timestep_spacing": "linspace", "variance_type": "learned_range"}, 5),
    "dpm": (DPMSolverMultistepScheduler, {}, 11),
    "dpm leading": (DPMSolverMultistepScheduler, {"timestep_spacing": "leading", "steps_offset": 1}, 20),
    "dpm trailing": (DPMSolverMultistepScheduler, {"timestep_spacing": "trailing"}, 16),
    "flow": (FlowMatchEulerDiscreteScheduler, {}, 10),
    "flow shifted": (FlowMatchEulerDiscreteScheduler, {"shift": 3.0}, 7),
    "flow by size": (FlowMatchEulerDiscreteScheduler, {"use_dynamic_shifting": True, "shift_terminal": 0.1}, 8),
    "flow by size, linear": (FlowMatchEulerDiscreteScheduler, {"use_dynamic_shifting": True, "time_shift_type": "linear", "max_image_seq_len": 900}, 4),
    "unipc": (UniPCMultistepScheduler, FLOW, 10),
    "unipc shifted": (UniPCMultistepScheduler, {**FLOW, "flow_shift": 5.0}, 7),
    "unipc in two steps": (UniPCMultistepScheduler, {**FLOW, "flow_shift": 3.0}, 2),
    "unipc to an end": (UniPCMultistepScheduler, {**FLOW, "flow_shift": 3.0, "shift_terminal": 0.1234, "solver_type": "midpoint"}, 5),
    "unipc in one step": (UniPCMultistepScheduler, FLOW, 1),
}
TOKENS = 576


@pytest.mark.parametrize("name", CASES)
def test_trajectories_are_equal(name):
    make, config, steps = CASES[name]
    scheduler = make(**config)
    changes = scheduled({"_class_name": make.__name__, **scheduler.config}, TOKENS)
    if config.get("use_dynamic_shifting"):
        c = scheduler.config
        slope = (c.max_shift - c.base_shift) / (c.max_image_seq_len - c.base_image_seq_len)
        scheduler.set_timesteps(sigmas=np.linspace(1.0, 1 / steps, steps), mu=TOKENS * slope + c.base_shift - slope * c.base_image_seq_len)
    else:
        scheduler.set_timesteps(steps)
    path, solver, times = changes["process.path"].build(), changes["process.solver"].build(), changes["process.grid"].build()(steps)
    flows = changes["process.predict"] == "velocity"
    theirs = mine = torch.randn(2, 3, 4, generator=torch.Generator().manual_seed(0))
    heard = clock(changes["process.grid"].build(), steps)

    def number(u):
        """What the network is told at our time."""
        return 1000 * (1 - float(u if heard is None else heard(u))) - (0 if flows else 1)

    learned, past = config.get("variance_type") == "learned_range", None
    assert len(scheduler.timesteps) == steps == len(times) - 1
    for i, told in enumerate(scheduler.timesteps):
        t, s = (torch.tensor(times[i + n], dtype=torch.float64) for n in (0, 1))
        ours = number(t)
        assert abs(ours - float(told)) < 1e-3
        said, spread = network(theirs, float(told)), torch.tanh(theirs)
        answer = (torch.cat([said, spread], 1) if learned else said) * (-1 if flows else 1)  # their velocity is from data to noise
        g = torch.Generator().manual_seed(i)
        noise = torch.randn(2, 3, 4, generator=torch.Generator().manual_seed(i))
        theirs = scheduler.step(answer, told, theirs, **({"generator": g} if make is DDPMScheduler else {})).prev_sample

        class Ask:
            spread = torch.tanh(mine) if learned else None

            def __call__(self, z, t):
                return path.read(changes["process.predict"], network(z, number(t)), z, t)

        mine, past = solver.step(Ask(), path, mine, t, s, past, Same(noise))
        assert float((mine - theirs).abs().max()) <= 1e-5 * float(theirs.abs().max()), i
    assert isinstance(path.read(changes["process.predict"], mine, mine, torch.tensor(0.5)), Prediction)


def test_grids():
    assert Levels().numbers(4) == [750, 500, 250, 0] and Levels("trailing").numbers(4) == [999, 749, 499, 249] and Levels("linspace").numbers(2) == [999, 0]
    assert Levels(open=True).numbers(4) == [800, 600, 400, 200] and Levels("leading", 10, whole=False)(2) == pytest.approx([0.4, 0.9, 0.9])
    assert Sigmas(3.0)(9) == pytest.approx(grid("shifted", 9, shift=3.0)) and 1 - Sigmas(2.0, terminal=0.1)(5)[-2] == pytest.approx(0.1)
    with pytest.raises(BadArgument, match="1001 steps do not fit"):
        Levels()(1001)


@pytest.mark.parametrize(
    "make, config, says",
    [
        (DDIMScheduler, {}, "clip_sample=True"),
        (DDIMScheduler, {"clip_sample": False, "timestep_spacing": "linspace"}, "timestep_spacing='linspace'"),
        (DDIMScheduler, {"clip_sample": False, "prediction_type": "v_prediction"}, "prediction_type='v_prediction'"),
        (DDIMScheduler, {"clip_sample": False, "rescale_betas_zero_snr": True}, "rescale_betas_zero_snr=True"),
        (DDPMScheduler, {"clip_sample": False, "variance_type": "fixed_large"}, "variance_type='fixed_large'"),
        (DPMSolverMultistepScheduler, {"use_karras_sigmas": True}, "use_karras_sigmas=True"),
        (DPMSolverMultistepScheduler, {"solver_order": 3}, "solver_order=3"),
        (DPMSolverMultistepScheduler, {"algorithm_type": "sde-dpmsolver++"}, "sde-dpmsolver"),
        (FlowMatchEulerDiscreteScheduler, {"stochastic_sampling": True}, "stochastic_sampling=True"),
        (FlowMatchEulerDiscreteScheduler, {"use_dynamic_shifting": True, "max_shift": 1e6}, "exp\\("),
        (UniPCMultistepScheduler, {}, "prediction_type='epsilon'"),
        (UniPCMultistepScheduler, {**FLOW, "solver_order": 3}, "solver_order=3"),
        (UniPCMultistepScheduler, {**FLOW, "solver_type": "bh1"}, "solver_type='bh1'"),
        (UniPCMultistepScheduler, {**FLOW, "disable_corrector": [0]}, "disable_corrector"),
        (UniPCMultistepScheduler, {**FLOW, "use_dynamic_shifting": True}, "use_dynamic_shifting=True"),
        (UniPCMultistepScheduler, {**FLOW, "flow_shift": 0.0}, "flow_shift of 0.0"),
    ],
)
def test_a_scheduler_that_is_not_built_here(make, config, says):
    with pytest.raises(CheckpointError, match=says):
        scheduled({"_class_name": make.__name__, **make(**config).config}, TOKENS)
    with pytest.raises(CheckpointError, match="LCMScheduler"):
        scheduled({"_class_name": "LCMScheduler"}, TOKENS)


@pytest.mark.parametrize("shift", [1.0, 3.0, 5.0])
def test_unipc_tells_whole_numbers(shift):
    clock = scheduled({"_class_name": "UniPCMultistepScheduler", **FLOW, "flow_shift": shift}, TOKENS)["process.grid"].build()
    for steps in range(1, 51):
        scheduler = UniPCMultistepScheduler(**FLOW, flow_shift=shift)
        scheduler.set_timesteps(steps)
        told = [1000 * (1 - float(clock.told(torch.tensor(t, dtype=torch.float64), steps))) for t in clock(steps)[:-1]]
        assert told == pytest.approx(scheduler.timesteps.tolist(), abs=1e-6)
