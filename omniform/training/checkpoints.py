"""A run's folder: what a checkpoint holds, when a run may go on from one, and what may be written where.

out/checkpoint/     weights.safetensors (as trained), ema.safetensors (averaged; complete),
                    optimizer-<player>.safetensors and .json, state.json (where the run is), recipe.json (the system)
out/log.csv         one number a row; out/tensorboard/ the same for TensorBoard
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

from torch import nn

from omniform.core.errors import BadArgument, CheckpointError
from omniform.core.spec import differences
from omniform.system.storage import find_folder, read_folder, write_folder
from omniform.training.ema import Ema
from omniform.training.journal import is_log
from omniform.training.optimizers import Player
from omniform.training.plan import Training

BESIDE = frozenset({"run.json", "codec"})
"""What `omniform train` puts into a run's folder before the run begins: what was asked for, and the run of its codec."""


class Progress(NamedTuple):
    """Where a run is: all that cannot be computed from the number of steps."""

    step: int = 0
    seconds: float = 0.0
    losses: tuple[tuple[int, float], ...] = ()
    recent: Mapping[str, Sequence[float]] = MappingProxyType({})  # the numbers of the steps since the log's last row


def place_of(out: Path) -> Path:
    return out / "checkpoint"


def claim(out: Path, *, resume: bool) -> None:
    """Refuses a place that is not this run's to write in."""
    if not out.exists():
        return
    if not out.is_dir():
        raise BadArgument(f"{out} is a file where a run's folder should be; choose another place")
    begun = find_folder(place_of(out)) is not None or is_log(out / "log.csv")
    if begun and not resume:
        raise BadArgument(f"{out} holds a run already; write resume=True (--resume) to go on with it, or choose another place")
    if not begun and any(".partial-" not in x.name and x.name not in BESIDE for x in out.iterdir()):
        raise BadArgument(f"{out} holds other files and no run; choose a new or an empty folder")


def save(
    out: Path,
    system: nn.Module,
    players: Mapping[str, Player],
    ema: Ema | None,
    training: Training,
    progress: Progress,
    data: Mapping[str, Any],
    objective: nn.Module | None = None,
) -> None:
    """One checkpoint in the place of the last."""
    files: dict[str, Any] = {"weights.safetensors": system.state_dict()}
    if ema is not None:
        files["ema.safetensors"] = ema.state(system)
    if own := _own(objective):
        files["objective.safetensors"] = own
    for player in players.values():
        files[f"optimizer-{player.name}.safetensors"], files[f"optimizer-{player.name}.json"] = player.state()
    files["state.json"] = {
        "step": progress.step,
        "seconds": progress.seconds,
        "training": training.json(),
        "data": dict(data),
        "reproducible": not training.timed,
        "note": "ended by the clock: another run takes other steps" if training.timed else "a function of the seed, to the bit on one CPU process",
        "losses": [list(pair) for pair in progress.losses],
        "recent": dict(progress.recent),
    }
    files["recipe.json"] = system.recipe_json()
    write_folder(place_of(out), files)


def plan_of(out: Path) -> tuple[Training, str]:
    """The knobs and the name of the data of the run in a folder."""
    earlier, _, data = _stated(place_of(out), read_folder(place_of(out), ["state.json"]))
    return earlier, str(data.get("name"))


def _own(objective: nn.Module | None) -> dict[str, Any]:
    """What an objective has learnt or averaged itself."""
    return {} if objective is None else {name: x.contiguous() for name, x in objective.state_dict().items()}


def restore(
    out: Path,
    system: nn.Module,
    players: Mapping[str, Player],
    ema: Ema | None,
    training: Training,
    data: Mapping[str, Any],
    objective: nn.Module | None = None,
) -> Progress | None:
    """System, optimizers and average as the last checkpoint left them; None if there is none yet."""
    place = place_of(out)
    if find_folder(place) is None:
        return None
    files = read_folder(place)
    earlier, progress, earlier_data = _stated(place, files)
    _same_run(place, training, earlier, progress.step, data, earlier_data)
    _same_system(place, system, files.get("recipe.json"))
    needed = ["weights.safetensors", *(["ema.safetensors"] if ema else []), *(f"optimizer-{p}.{s}" for p in players for s in ("safetensors", "json"))]
    for name in needed:
        if name not in files:
            raise CheckpointError(f"{place} lacks {name}, which this run needs; go on with the version of omniform that wrote it")
    own = files.get("objective.safetensors", {})
    if {name: x.shape for name, x in own.items()} != {name: x.shape for name, x in _own(objective).items()}:
        raise CheckpointError(f"the run in {place.parent} learnt with another objective; give train the objective of that run")
    if objective is not None and own:
        objective.load_state_dict(own)
    try:
        system.load_state_dict(files["weights.safetensors"])
        if ema is not None:
            ema.load(system, files["ema.safetensors"])
    except (RuntimeError, KeyError) as error:
        reason = " ".join(str(error).split())[:200]
        raise CheckpointError(f"the weights in {place} do not fit this system ({reason}); build the system of that run") from error
    for player in players.values():
        player.load(files[f"optimizer-{player.name}.safetensors"], files[f"optimizer-{player.name}.json"])
    return progress


def _stated(place: Path, files: Mapping[str, Any]) -> tuple[Training, Progress, dict[str, Any]]:
    """What state.json says: the knobs, where the run is, the data."""
    state = files.get("state.json")
    try:
        losses = tuple((int(s), float(x)) for s, x in state["losses"])
        recent = {name: list(values) for name, values in state["recent"].items()}
        progress = Progress(int(state["step"]), float(state["seconds"]), losses, recent)
        return Training(**state["training"]), progress, dict(state["data"])
    except (TypeError, KeyError, ValueError, AttributeError) as error:
        raise CheckpointError(f"{place} is no checkpoint of a run that this version can go on with; go on with the version that wrote it") from error


def _same_run(place: Path, training: Training, earlier: Training, step: int, data: Mapping[str, Any], earlier_data: Any) -> None:
    """The knobs and the data may not have changed, or the end would be another than that of an uninterrupted run."""
    changed = training.changes(earlier, step)
    if changed:
        mine, theirs = training.json(), earlier.json()
        said = ", ".join(f"{n}={mine[n]!r} (the run has {theirs[n]!r})" for n in changed)
        raise BadArgument(f"cannot go on with {place.parent} under other settings: {said}; use the run's, or train {place.parent} on into a new folder")
    if dict(data) != earlier_data:
        raise BadArgument(
            f"cannot go on with {place.parent} on other data: {dict(data)} (the run has {earlier_data}); use the run's, or start a new run elsewhere"
        )


def _same_system(place: Path, system: nn.Module, earlier: Any) -> None:
    changed = differences(system.recipe_json(), earlier)
    if changed:
        path, (mine, theirs) = next(iter(changed.items()))
        raise BadArgument(
            f"cannot go on with {place.parent} with another system: {path or 'its recipe'} is {mine!r} "
            f"(the run has {theirs!r}); "
            "build the run's, or start a new run elsewhere"
        )
