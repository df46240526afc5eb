"""Systems as folders of the `diffusers` library: the transformer, its scheduler, and its autoencoder where that is one of theirs; or a codec by itself.

As with transformers, what the written configuration says is read back first, and must be the very network that leaves. Two things are not in a configuration
and go into weights: the sign of a velocity (theirs is noise less data), and how the clock counts. Targets are rows: `denoisers.DENOISERS`, `coders.CODERS`.
"""

from __future__ import annotations

from collections.abc import Callable

from omniform.codecs.folded import Folded
from omniform.core.errors import RecipeError
from omniform.core.process import Process
from omniform.interop import schedulers
from omniform.interop.leaving import coders, unmasking
from omniform.interop.leaving.clock import clocked
from omniform.interop.leaving.coders import coded
from omniform.interop.leaving.comparing import OTHER, Fit, Left, at, fitted, nearest_of, network_of
from omniform.interop.leaving.denoisers import DENOISERS, HAS, Denoiser, Latents, latents_of
from omniform.interop.leaving.opening import denoised
from omniform.interop.leaving.writing import model, pipeline
from omniform.interop.pictures import MAIN
from omniform.processes.flow import Flow
from omniform.processes.masked import Masked
from omniform.system.system import CodecSystem, System

_TIME = ("network.time",)
"""The clock is compared by itself."""


def to_diffusers(system: System | CodecSystem) -> Left:
    """The files of a system, by what it generates by, or of a codec."""
    if not isinstance(system, System):
        return _codec(system)
    process = type(system.process)
    if process not in _BY:
        raise RecipeError(f"{system.recipe.name} generates by {process.__name__}, not from noise to data; {HAS}; {unmasking.HAS}; {OTHER}")
    return _BY[process](system)


def _codec(system: CodecSystem) -> Left:
    """config.json and weights."""
    made = coded(system.codec, system.recipe.codec)
    if made.why:
        raise RecipeError(f"{system.recipe.name} cannot leave: {made.why}; {coders.HAS}")
    return Left(model("", made.config, made.weights), made.opens)


def _denoiser(system: System) -> Left:
    """transformer/, scheduler/, and vae/ with model_index.json where the codec is an AutoencoderKL."""
    recipe, process, given = system.recipe, _flow(system), latents_of(system)
    row, fit = _network(system, given)
    latents, reading, config = row.seen(given), fit.reading, dict(fit.config)
    assert reading is not None
    mine = network_of(recipe, len(system.codec.space.axes))
    scheduler = schedulers.written(process, bool(at(mine, "head.learned_variance", False)))
    own = {tie.ours: system.state_dict()[tie.ours].detach().cpu() for tie in reading.table.ties}
    own, off = clocked(own, system, process, row.waves(config), row.closed, HAS)
    if (process.predict == "velocity") != row.turned:
        own |= {n: -own[n] for n in (f"{MAIN}head.out.{x}" for x in ("weight", "bias"))}
    codec = system.codec
    vae = coded(codec.inner, recipe.codec.args["inner"], "codec.inner.") if isinstance(codec, Folded) else coded(codec, recipe.codec)
    whole = row.pipeline is not None and vae.name == "AutoencoderKL" and latents == given
    if whole:
        config, own = row.whole(config, own)
        reading = row.read(config, latents)
    tensors = {**reading.table.theirs(own), **row.adds(system, config)}
    files = model("transformer", config, tensors) | {"scheduler/scheduler_config.json": scheduler}
    if whole:
        assert row.pipeline is not None
        files |= model("vae", vae.config, vae.weights)
        files |= pipeline(row.pipeline, {"transformer": config, "vae": vae.config, "scheduler": scheduler}, system)
    return Left(files, denoised(system, process, row, given, config, scheduler, whole, off))


def _flow(system: System) -> Flow:
    """The process, if it is a walk from noise to data that a scheduler can take."""
    process, recipe = system.process, system.recipe
    assert isinstance(process, Flow)
    shown = process.shown is not None and "nothing" not in process.shown.kinds
    for said, why in ((shown, "is always shown clean places"), (process.centred, "has noise without a mean"), (process.first, "does not begin at noise")):
        if said:
            raise RecipeError(f"{recipe.name} {why}, which no scheduler of diffusers does; {OTHER}")
    return process


def _network(system: System, latents: Latents) -> tuple[Denoiser, Fit]:
    """The target that it is, with a configuration and what reading that gives."""
    recipe, axes = system.recipe, len(system.codec.space.axes)
    mine = network_of(recipe, axes)
    rows = [row for row in DENOISERS if isinstance(at(mine, row.heads), int)]
    if not rows:
        raise RecipeError(f"{recipe.name} is another network than a stack of attention and MLPs over latents; {HAS}; {OTHER}")
    fitting = [row for row in rows if row.fits(latents)]
    if not fitting:
        over = " or ".join(dict.fromkeys(row.over for row in rows))
        raise RecipeError(f"{recipe.name} is over {latents}, and {HAS}, which are over {over} where they are as it is; {OTHER}")
    found = []
    for row in fitting:
        seen = row.seen(latents)
        config = {"_class_name": row.name, **row.written(system, mine, seen)}
        fit = fitted(row.recipe, recipe, axes, config, lambda config, row=row, seen=seen: row.read(config, seen), (*_TIME, *row.free))  # type: ignore[misc]
        if fit.reading is None or fit.reading.recipe == row.recipe:
            found.append((row, fit))
    best = nearest_of(recipe, HAS, [fit for _, fit in found])
    return next((row, fit) for row, fit in found if fit is best)


_BY: dict[type[Process], Callable[[System], Left]] = {Flow: _denoiser, Masked: unmasking.unmasked}
"""By what a system generates."""
