"""Training: first the codec where it has to learn, then the system on tokens made once."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, final

import torch
from torch import Tensor

from omniform.core.batch import Batch
from omniform.core.codec import Codec, LearnedCodec
from omniform.core.errors import BadArgument, nearest
from omniform.core.rng import Rng
from omniform.core.spec import Spec
from omniform.core.tokens import Tokens
from omniform.data import Dataset, Split, order
from omniform.interop.adopting import is_foreign
from omniform.system.storage import find_folder, read_folder, write_folder
from omniform.system.system import CodecSystem, System
from omniform.training import Run, Training, checkpoints
from omniform.training import train as run_training
from omniform.training.objectives.objective import Objective
from omniform.training.team import Team
from omniform.verbs.building import opened, picture_encoder, place_of, untrained
from omniform.verbs.fitting import suits
from omniform.verbs.hearing import heard
from omniform.verbs.progress import Bar

log = logging.getLogger("omniform.verbs")

CODEC_SHARE = 0.25
"""Of the minutes: what a codec that has to learn first is given (ours)."""
CODEC_STEPS = 4000
"""A codec that has to learn first is given as many steps as the system, and no more than this (as recipes/codec).

Its steps are several times cheaper.
"""
CODEC_TRAINING = {"lr": 2e-3}
"""As recipes/codec."""
SETTLED_ON = 2048
"""Examples on which a trained codec measures what unit variance needs (ours)."""
ROOM = 1 << 31
"""Bytes of tokens that are kept in memory at the most (ours)."""
_CHUNK = 256


def train(
    system: System | CodecSystem,
    data: Dataset | str | Path,
    *,
    steps: int | None = None,
    minutes: float | None = None,
    out: str | Path | None = None,
    resume: bool = False,
    on_step: Callable[[int, Tensor], None] | None = None,
    progress: bool | None = None,
    objective: Any = None,
    **settings: Any,
) -> Run:
    """Train a system, or a codec alone, and leave a run in the folder `out`.

    steps or minutes: the end, else the recipe's own. settings: fields of `training.Training` (batch, lr, seed,
    precision...) in place of the recipe's. objective: a part of `training.objectives`, built or as a Spec,
    in place of the recipe's. A learned codec that is still fresh is trained before the system, in
    out/codec: for a quarter of the minutes, or for as many steps besides (4000 at the most). Where a run sees its data
    more than once, the tokens of a learned codec are made once. resume: go on with what is in `out`.
    """
    dataset = opened(data, system.recipe.shape)
    suits(system, dataset)
    out = None if out is None else Path(out)
    if resume and out is None:
        raise BadArgument("resume needs the run's folder; write out='runs/name'")
    if out is not None:
        _claim(out, resume)
    if objective is None or isinstance(objective, Spec | Mapping):
        plan = planned(system.recipe.training, steps=steps, minutes=minutes, **({} if objective is None else {"objective": objective}), **settings)
    else:
        plan = planned(system.recipe.training, steps=steps, minutes=minutes, **{**settings, "objective": None})
    made = _objective(system, plan) if objective is None or isinstance(objective, Spec | Mapping) else objective
    if isinstance(system, CodecSystem):
        return _codec_trained(system, dataset, plan, out, resume, progress, on_step)
    if untrained(system.codec) and not (resume and _codec_recovered(system, out)):
        first, plan = shared(plan)
        run = _codec_first(system, dataset, first, out, resume, progress)
        if run.stopped == "interrupted":
            return Run(system, out, 0, [], run.seconds, "interrupted")
    elif not plan.steps and _fresh_codec(out):
        plan = shared(plan)[1]
    raw = isinstance(made, Objective) and made.raw or plan.objective is not None and plan.objective.make.raw  # type: ignore[union-attr]
    if not raw and isinstance(system.codec, LearnedCodec) and (plan.timed or plan.steps * plan.batch * plan.accumulate > len(dataset.train)):
        dataset = tokenised(system.codec, dataset, seed=plan.seed, progress=progress)
    if plan.timed or plan.steps * plan.batch * plan.accumulate > len(dataset.train):
        heard(system, dataset.train, progress=progress)
    return run_training(system, dataset, plan, out=out, resume=resume, on_step=on_step, progress=progress, objective=made)


def _objective(system: System | CodecSystem, plan: Training) -> Objective | None:
    """What the plan says is learnt besides, where it reads by somebody else's encoder (the trainer builds what does not)."""
    where = None if plan.objective is None else plan.objective.args.get("encoder")
    if plan.objective is None or not isinstance(where, str) or not is_foreign(place_of(where)):
        return None
    return plan.objective.but({"encoder": picture_encoder(where)}).build(system=system)


def planned(recipe: Any, *, steps: int | None = None, minutes: float | None = None, **settings: Any) -> Training:
    """The knobs: the recipe's, with what is said in their place."""
    known = [f.name for f in fields(Training)]
    for name in settings:
        if name not in known:
            raise BadArgument(f"a training has no setting {name!r}; {nearest(name, known)}")
    if steps is not None and minutes is not None:
        raise BadArgument(f"a training ends after steps or after minutes, and was given both ({steps} and {minutes:g}); leave one out")
    knobs: dict[str, Any] = {**recipe, **settings}
    if minutes is not None:
        if not isinstance(minutes, int | float) or not minutes > 0:
            raise BadArgument(f"expected minutes to be a number above 0, found {minutes!r}")
        knobs |= {"steps": None, "seconds": 60.0 * minutes}
    elif steps is not None:
        knobs |= {"steps": steps, "seconds": None}
    elif knobs.get("steps") is None and knobs.get("seconds") is None:
        raise BadArgument("a training needs an end and this recipe states none; write steps=2000 or minutes=5")
    return Training(**knobs)


def shared(plan: Training) -> tuple[Training, Training]:
    """What a codec that learns first is given, and what is left for the system."""
    both = replace(plan, **CODEC_TRAINING, lrs={}, warmup=100, shape="cosine", objective=None)
    if plan.timed:
        return replace(both, seconds=plan.seconds * CODEC_SHARE), replace(plan, seconds=plan.seconds * (1 - CODEC_SHARE))
    return replace(both, steps=min(plan.steps, CODEC_STEPS)), plan


def _claim(out: Path, resume: bool) -> None:
    """Refuses a place that is not this run's to write in, before anything is computed."""
    checkpoints.claim(out, resume=resume)
    if not resume and _fresh_codec(out):
        raise BadArgument(f"{out} holds a run already, which trained its codec; write resume=True (--resume) to go on with it, or choose another place")


def _fresh_codec(out: Path | None) -> bool:
    """Whether the run in this folder trained its codec itself."""
    return out is not None and (out / "codec").is_dir()


# ---- the codec ------------------------------------------------------------------------------------------------------


def _codec_first(system: System, dataset: Dataset, plan: Training, out: Path | None, resume: bool, progress: bool | None) -> Run:
    """The system's codec, trained by itself and frozen."""
    budget = f"{plan.seconds:.0f} s" if plan.timed else f"{plan.steps} steps"
    log.info(
        "the codec of %s is fresh: it is trained first, for %s (give codec= or --codec to use a trained one)",
        system.recipe.name,
        budget,
    )
    recipe = replace(
        system.recipe,
        name=f"{system.recipe.name}-codec",
        title=f"Codec of {system.recipe.title}",
        family="latent",
        network=None,
        process=None,
        conditions={},
        guidance=None,
        training={},
        ungraded={},
    )
    place = None if out is None else out / "codec"
    run = _codec_trained(
        CodecSystem(recipe, system.codec),
        dataset,
        plan,
        place,
        resume and place is not None and place.is_dir(),
        progress,
        None,
    )
    if run.stopped != "interrupted":
        system.codec.requires_grad_(False)
    return run


def _codec_trained(
    system: CodecSystem,
    dataset: Dataset,
    plan: Training,
    out: Path | None,
    resume: bool,
    progress: bool | None,
    on_step: Callable[[int, Tensor], None] | None,
) -> Run:
    """A codec's run, settled at its end."""
    if not isinstance(system.codec, LearnedCodec):
        raise BadArgument(f"{type(system.codec).__name__} has nothing to learn; it is ready as it is")
    run = run_training(system, dataset, plan, out=out, resume=resume, on_step=on_step, progress=progress)
    if run.stopped != "interrupted":
        _settle(system, dataset, plan.seed)
        if out is not None and Team().leads:
            _keep_settled(system, checkpoints.place_of(out))
        Team().wait()
    return run


def _settle(system: CodecSystem, dataset: Dataset, seed: int) -> None:
    """Unit variance, measured on many training examples."""
    num = min(SETTLED_ON, len(dataset.train))
    data = dataset.train.batch(order(len(dataset.train), seed, 0, num)).data
    training = system.training
    system.eval()
    system.codec.settle(data.to(next(system.parameters()).device) if isinstance(data, Tensor) else data)
    system.train(training)


def _keep_settled(system: CodecSystem, place: Path) -> None:
    """What was measured goes into the weights that `load` reads; what a resumed training reads stays as it was."""
    files = read_folder(place)
    name = "ema.safetensors" if "ema.safetensors" in files else "weights.safetensors"
    files[name] = {
        **files[name],
        **{k: b.detach().cpu().contiguous() for k, b in system.named_buffers() if k in files[name]},
    }
    write_folder(place, files)


def _codec_recovered(system: System, out: Path | None) -> bool:
    """The codec of the run that is gone on with, if that run has come to train the system."""
    if out is None or find_folder(checkpoints.place_of(out)) is None:
        return False
    weights = read_folder(checkpoints.place_of(out), ["weights.safetensors"])["weights.safetensors"]
    mine = {name.removeprefix("codec."): x for name, x in weights.items() if name.startswith("codec.")}
    own = system.codec.state_dict()
    if {k: v.shape for k, v in mine.items()} != {k: v.shape for k, v in own.items()}:
        raise BadArgument(f"the codec in {out} is another than this system's; build the system of that run, or start a new one elsewhere")
    system.codec.load_state_dict(mine)
    system.codec.requires_grad_(False)
    return True


# ---- tokens made once -----------------------------------------------------------------------------------------------


@final
class Tokenised(Split):
    """The examples of a split as tokens of a codec that no longer learns.

    Of a stochastic codec each example is one draw (not the mode, whose variance is not the one that the codec
    promises): a function of seed and number. Made in one pass in fixed pieces, so that an interrupted run finds the
    same bits.
    """

    def __init__(self, codec: Codec, source: Split, *, seed: int = 0, progress: bool | None = None):
        self._space, self._num = codec.space, len(source)
        device = next(codec.parameters(), torch.empty(0)).device
        pieces: list[tuple[Tensor | None, Tensor | None, Tensor | None]] = []
        said: dict[str, list[Any]] = {}
        with Bar(self._num, "making tokens", progress) as bar, torch.no_grad():
            for first in range(0, self._num, _CHUNK):
                rows = range(first, min(first + _CHUNK, self._num))
                batch = source.batch(rows)
                data = batch.data.to(device) if isinstance(batch.data, Tensor) else batch.data
                tokens = codec.encode(data, rng=Rng.seeded(seed, rows, device=device).split("tokens"))
                pieces.append((_kept(tokens.ids), _kept(tokens.vec), None if tokens.doc.stride(0) == 0 else tokens.doc.cpu()))
                for name, value in batch.condition.items():
                    said.setdefault(name, []).append(value)
                bar.add(len(rows))
        self._ids, self._vec, self._doc = (None if any(x is None for x in xs) else torch.cat(xs) for xs in zip(*pieces, strict=True))
        self._said = {name: torch.cat(parts) if isinstance(parts[0], Tensor) else [x for part in parts for x in part] for name, parts in said.items()}

    def __len__(self) -> int:
        return self._num

    def batch(self, indices: Sequence[int] | Tensor) -> Batch:
        index = torch.as_tensor(indices)
        blank = self._space.blank(len(index))
        tokens = Tokens(
            None if self._ids is None else self._ids[index].long(),
            None if self._vec is None else self._vec[index],
            blank.coord,
            blank.kind,
            blank.doc if self._doc is None else self._doc[index],
        )
        return Batch(
            tokens,
            {name: x[index] if isinstance(x, Tensor) else [x[i] for i in index.tolist()] for name, x in self._said.items()},
        )


def _kept(x: Tensor | None) -> Tensor | None:
    """As it is kept: codes in 32 bits."""
    return None if x is None else x.cpu() if x.is_floating_point() else x.cpu().to(torch.int32)


def tokenised(codec: Codec, dataset: Dataset, *, seed: int = 0, progress: bool | None = None) -> Dataset:
    """The data set with its training part as tokens, unless they would need too much room: then as it is."""
    space = codec.space
    if len(dataset.train) * space.length * 4 * (space.channels + max(len(space.vocab), bool(space.bits))) > ROOM:
        log.info(
            "the tokens of %s examples would fill memory: each is encoded again whenever it is seen",
            f"{len(dataset.train):,}",
        )
        return dataset
    codec.eval()
    return replace(dataset, train=Tokenised(codec, dataset.train, seed=seed, progress=progress))
