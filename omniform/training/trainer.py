"""The one trainer: any system or codec that says what a batch costs each player."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol, final

import torch
from torch import Tensor, nn

from omniform.core.batch import Batch
from omniform.core.errors import BadArgument, TrainingError
from omniform.core.process import Losses
from omniform.core.rng import Rng
from omniform.data import Dataset, order
from omniform.training import checkpoints
from omniform.training.checkpoints import Progress
from omniform.training.ema import Ema
from omniform.training.journal import Bar, Journal, log
from omniform.training.objectives.objective import Objective
from omniform.training.optimizers import players_of
from omniform.training.plan import Training
from omniform.training.signals import Stop
from omniform.training.team import Team

__all__ = ["Run", "Trainable", "Training", "train"]
_HELD_OUT = 8  # ours: batches of a validation


class Trainable(Protocol):
    """What the trainer asks of a system; it is an nn.Module besides."""

    def loss(self, batch: Batch, *, rng: Rng) -> tuple[Losses, ...]:
        """What a batch costs each player; one Losses a player."""

    def recipe_json(self) -> dict[str, Any]:
        """What the system is, as plain data."""


@dataclass
class Run:
    """What a training left.

    system: with the averaged weights, as `load(folder)` reads them. losses: (step, mean of the main player's loss since
    the entry before). seconds: of all its parts, if it was interrupted. stopped "time": the seconds were over.
    """

    system: nn.Module
    folder: Path | None
    steps: int
    losses: list[tuple[int, float]]
    seconds: float
    stopped: Literal["done", "interrupted", "time"]


def train(
    system: Trainable,
    dataset: Dataset,
    training: Training,
    *,
    out: Path | str | None = None,
    resume: bool = False,
    on_step: Callable[[int, Tensor], None] | None = None,
    progress: bool | None = None,
    objective: Objective | None = None,
) -> Run:
    """Train a system on a data set, and leave a run in the folder `out`.

    objective: what is learnt besides; else that of the plan.

    The end is a function of the seed and the arguments, to the bit on one CPU process (unless the clock decides it),
    however often the run was killed and resumed. on_step(step, loss) is called after each step with the main player's
    loss of that step. progress None: a bar where a person looks on.
    """
    out = None if out is None else Path(out)
    if resume and out is None:
        raise BadArgument("resume needs the run's folder; write out='runs/name'")
    team = Team()
    if out is not None:
        checkpoints.claim(out, resume=resume)
    team.wait()  # nobody writes before everybody has looked
    if objective is None and training.objective is not None:
        objective = training.objective.build(system=system)
    trainer = _Trainer(system, dataset, training, out, team, objective)
    try:
        trainer.begin(resume=resume, shown=progress)
        return trainer.run(on_step)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise TrainingError(f"the disk is full at step {trainer.step}; free some space and resume {out}") from error
    finally:
        trainer.close()


@dataclass
class _Pending:
    """Numbers of a step that are still on the device: reading them would make the device wait."""

    step: int
    labels: list[tuple[str, str]]  # (player, "count" or the name of a part or "gradient")
    numbers: Tensor


@final
@dataclass
class _Sums:
    """What the micro-batches of a step cost a player so far."""

    count: Tensor
    parts: dict[str, Tensor]


@final
class _Trainer:
    """A run while it goes."""

    def __init__(self, system: Any, dataset: Dataset, training: Training, out: Path | None, team: Team, objective: Objective | None):
        self.system, self.dataset, self.training, self.out, self.team = system, dataset, training, out, team
        if training.batch < team.size:
            raise BadArgument(f"a batch of {training.batch} cannot be shared by {team.size} processes; write batch={team.size} or more")
        system.to(team.device)
        team.agree([*system.parameters(), *system.buffers()])
        self.objective = objective
        if objective is not None:
            objective.to(team.device)
            team.agree([*objective.parameters(), *objective.buffers()])
        self.players = players_of(system, training, objective)
        self.ema = Ema(system, training.ema) if training.ema > 0 else None
        self.step, self.saved = 0, None
        self.losses: list[tuple[int, float]] = []
        self.before, self.since = 0.0, time.monotonic()
        self.stop = Stop()
        self.rng = Rng.seeded(training.seed, device=team.device).split("train")
        self.data = {"name": dataset.name, "examples": len(dataset.train)}
        self.journal: Journal | None = None
        self.bar: Bar | None = None
        self.pending: list[_Pending] = []
        self.recent: dict[str, list[float]] = {}
        self.cleanup = contextlib.ExitStack()

    @property
    def seconds(self) -> float:
        return self.before + time.monotonic() - self.since

    # ---- the frame ---------------------------------------------------------------------------------------------------

    def begin(self, *, resume: bool, shown: bool | None) -> None:
        """Go back to the last checkpoint, open the journal."""
        if resume:
            found = checkpoints.restore(self.out, self.system, self.players, self.ema, self.training, self.data, self.objective)
            if found is None:
                log.warning("%s has no checkpoint yet: starting from the beginning", self.out)
            else:
                self.step, self.before, self.losses = found.step, found.seconds, list(found.losses)
                self.saved, self.recent = found.step, {name: list(values) for name, values in found.recent.items()}
        if self.objective is not None:
            fresh = self.step == 0
            self.objective.begin(self.system, fresh=fresh)
            if fresh and self.ema is not None:
                self.ema = Ema(self.system, self.training.ema)  # of the weights as the objective starts them
        self.team.wait()
        if self.out is not None and self.team.leads:
            self.out.mkdir(parents=True, exist_ok=True)
            self.journal = Journal(self.out, self.step)
            self.cleanup.callback(self.journal.close)
        total = self.training.seconds if self.training.timed else self.training.steps
        self.bar = Bar(total=total, done=self._done(), shown=shown if self.team.leads else False)
        self.cleanup.callback(self.bar.close)
        self.since = time.monotonic()

    def close(self) -> None:
        self.cleanup.close()

    def run(self, on_step: Callable[[int, Tensor], None] | None) -> Run:
        """Steps until the end, and what they left."""
        training, was_training = self.training, self.system.training
        share = self._share()
        self.system.train()
        if self.objective is not None:
            self.objective.train()
        with _own_randomness(self.team.device), self.stop:
            while share < 1 and not self.stop.asked:
                loss, share = self._step(share)
                if on_step is not None:
                    with self.stop.understood():
                        on_step(self.step, loss)
                self._keep(last=share >= 1)
            if self.saved != self.step:
                self._save()
        stopped = "interrupted" if share < 1 else "time" if training.timed else "done"
        if self.objective is not None:
            self.objective.end(self.system)
        if self.ema is not None:
            self.ema.settle()
        self.system.train(was_training)
        return Run(self.system, self.out, self.step, self.losses, self.seconds, stopped)

    def _done(self) -> float:
        return min(self.seconds, self.training.seconds) if self.training.timed else self.step

    def _share(self) -> float:
        """How much of the run is over; the leader's clock decides for all."""
        if not self.training.timed:
            return self.step / self.training.steps
        mine = self.seconds / self.training.seconds if self.training.seconds else 1.0
        if self.team.size == 1:
            return mine
        return float(self.team.summed(torch.tensor([mine if self.team.leads else 0.0], device=self.team.device)))

    def _keep(self, *, last: bool) -> None:
        """After a step: numbers, validation, checkpoint, when it is time for them."""
        due = lambda every: every > 0 and self.step % every == 0  # noqa: E731
        if self.bar is not None and self.bar.shown:
            self.bar.show(self.step, self._done(), self.losses[-1][1] if self.losses else float("nan"))
        if due(self.training.log_every) or last:
            self._tell()
        if due(self.training.validate_every) and self.team.leads and len(self.dataset.test):
            self._write({"val": self._validate()})
        if due(self.training.checkpoint_every):
            self._save()

    def _save(self) -> None:
        """A checkpoint of here, if every number so far was finite."""
        self._read()
        if self.out is not None and self.team.leads:
            where = Progress(self.step, self.seconds, tuple(self.losses), self.recent)
            checkpoints.save(self.out, self.system, self.players, self.ema, self.training, where, self.data, self.objective)
        self.saved = self.step
        self.team.wait()

    # ---- a step ------------------------------------------------------------------------------------------------------

    def _step(self, share: float) -> tuple[Tensor, float]:
        """One step of every player; the main loss, and the share of the run that is over."""
        training = self.training
        if self.objective is not None:
            self.objective.before(self.system, share)
        sums = self._backward()
        labels, numbers, norms = [], [], {}
        for name, s in sums.items():
            s.count = self.team.summed(s.count)
            self.team.sum_gradients(list(self.players[name].parameters.values()))
            norms[name] = self.players[name].norm(s.count)
            labels += [(name, "count"), *((name, part) for part in s.parts), (name, "gradient")]
            numbers += [s.count, *(self.team.summed(x) / s.count for x in s.parts.values()), norms[name]]
        self.pending.append(_Pending(self.step + 1, labels, torch.stack(numbers)))
        if self.team.device.type == "cpu":
            self._read()  # free on a CPU, and the weights stay good; elsewhere when the numbers are needed
        factor = training.factor(self.step, share)
        for name, s in sums.items():
            self.players[name].move(s.count, norms[name], training.clip, factor)
        if self.objective is not None:
            self.objective.after(self.system, self.step + 1)
        if self.ema is not None:  # of the weights as the objective leaves them
            self.ema.update(self.step)
        self.step += 1
        self.stop.agree(self.team)
        first = next(iter(sums))
        main = [x for (player, part), x in zip(labels, numbers, strict=True) if player == first and part not in ("count", "gradient")]
        return sum(main[1:], main[0]), self._share()

    def _backward(self) -> dict[str, _Sums]:
        """The step's micro-batches, one after the other: gradients of sums, to be divided by the summed counts."""
        training, team, sums = self.training, self.team, {}
        indices = order(len(self.dataset.train), training.seed, self.step, training.batch * training.accumulate)
        rng = self.rng.fold(self.step)
        for number, micro in enumerate(indices.split(training.batch)):
            piece = number * team.size + team.rank
            _seed(team.device, training.seed, self.step, piece)
            batch = _on(self.dataset.train.batch(team.share(micro)), team.device)
            with self._precision():
                mine = rng if training.accumulate * team.size == 1 else rng.fold(piece)
                losses = self.system.loss(batch, rng=mine) if self.objective is None else self.objective.loss(self.system, batch, rng=mine)
            self._add(losses, sums)
        return sums

    def _add(self, losses: tuple[Losses, ...], sums: dict[str, _Sums]) -> None:
        """A micro-batch's losses, each back-propagated into its player's parameters only."""
        names = [x.player for x in losses]
        if not names or len(set(names)) != len(names) or not set(names) <= set(self.players):
            raise TrainingError(
                f"a system gives one Losses a player, of the players {', '.join(self.players)}, and "
                "this one gave "
                f"{', '.join(names) or 'none'}; add the parts of a player under one count"
            )
        alone = len(self.players) == 1
        for i, x in enumerate(losses):
            total = sum(list(x.parts.values())[1:], next(iter(x.parts.values())))
            inputs = None if alone else list(self.players[x.player].parameters.values())
            total.backward(inputs=inputs, retain_graph=i + 1 < len(losses))
            count, parts = x.count.detach().float(), {n: v.detach().float() for n, v in x.parts.items()}
            mine = sums.get(x.player)
            if mine is None:
                sums[x.player] = _Sums(count, parts)
            else:
                mine.count = mine.count + count
                mine.parts = {n: mine.parts[n] + v for n, v in parts.items()}

    def _precision(self) -> Any:
        if self.training.precision == "fp32":
            return contextlib.nullcontext()
        return torch.autocast(self.team.device.type, torch.bfloat16)

    # ---- numbers -----------------------------------------------------------------------------------------------------

    def _read(self) -> None:
        """Fetch the pending numbers, and stop at the first that is not finite."""
        for entry in self.pending:
            values = entry.numbers.tolist()
            for (player, what), value in zip(entry.labels, values, strict=True):
                if value - value != 0:  # infinite or not a number
                    raise TrainingError(self._complaint(entry, player, what, value))
                if what != "count":
                    self.recent.setdefault(f"{player}/{what}", []).append(value)
        self.pending.clear()

    def _complaint(self, entry: _Pending, player: str, what: str, value: float) -> str:
        subject = f"the part {what!r} of the loss" if what != "gradient" else "the gradient"
        if what == "gradient":
            bad = [name for name, p in self.players[player].parameters.items() if p.grad is not None and not bool(p.grad.isfinite().all())]
            subject += f" ({bad[0]})" if bad else ""
        good = (
            "there is no checkpoint yet"
            if self.saved is None or self.out is None
            else (f"the last good checkpoint is {checkpoints.place_of(self.out)} (step {self.saved})")
        )
        return (
            f"step {entry.step}: {subject} of the player {player!r} is {value}; {good}; "
            f"start again with a lower lr (now {self.players[player].lr:g}) "
            f"or a longer warmup (now {self.training.warmup})"
        )

    def _tell(self) -> None:
        """Means since the last time, into the journal."""
        self._read()
        if not self.recent:
            return
        means = {name: sum(values) / len(values) for name, values in self.recent.items()}
        self.recent.clear()
        main = next(iter(means)).split("/")[0]
        loss = sum(v for n, v in means.items() if n.startswith(f"{main}/") and not n.endswith("/gradient"))
        self.losses.append((self.step, loss))
        self._write({"loss": loss, **means, "lr": self.players[main].optimizer.param_groups[0]["lr"]})

    def _write(self, numbers: dict[str, float]) -> None:
        if self.journal is not None:
            self.journal.write(self.step, self.seconds, numbers)

    def _validate(self) -> float:
        """The main loss of the averaged weights over the same held-out batches with the same draws every time."""
        held, training = self.dataset.test, self.training
        size = min(training.batch, len(held))
        rng = Rng.seeded(training.seed, device=self.team.device).split("validate")
        total, count = 0.0, 0.0
        self.system.eval()
        with self.ema.applied() if self.ema else contextlib.nullcontext(), torch.no_grad(), self._precision():
            for i in range(min(_HELD_OUT, -(-len(held) // size))):
                _seed(self.team.device, training.seed, i, -1)
                batch = _on(held.batch(order(len(held), training.seed, i, size)), self.team.device)
                losses = self.system.loss(batch, rng=rng.fold(i))[0]
                total += sum(float(x) for x in losses.parts.values())
                count += float(losses.count)
        self.system.train()
        return total / count


@contextlib.contextmanager
def _own_randomness(device: torch.device) -> Any:
    """torch's global generators (dropout reads them) as they were, afterwards."""
    devices, kind = ([], "cuda") if device.type == "cpu" else ([device], device.type)
    with torch.random.fork_rng(devices=devices, device_type=kind):
        yield


def _seed(device: torch.device, *numbers: int) -> None:
    """torch's global generators as a function of these numbers."""
    seed = int.from_bytes(hashlib.blake2b(repr(numbers).encode(), digest_size=8).digest(), "little") >> 1
    torch.default_generator.manual_seed(seed)
    if device.type != "cpu":
        getattr(torch, device.type).manual_seed(seed)


def _on(batch: Batch, device: torch.device) -> Batch:
    """The batch where the system is."""
    if device.type == "cpu":
        return batch
    there = lambda x: x.to(device, non_blocking=True) if isinstance(x, Tensor) else x  # noqa: E731
    return Batch(there(batch.data), {name: there(x) for name, x in batch.condition.items()})
